"""Requests of the tuning pod follow the model; time to end follows the checkpoint."""

from __future__ import annotations

import pytest

from jobs.memory import Plan, plan
from jobs.needs import Needs, needs
from presets import Architecture, Catalog
from tuning.config import parse

CARD = "Standard_NC24ads_A100_v4"
MODELS = ("smollm2-135m-instruct", "phi-3-mini-128k-instruct", "phi-4")


def asked(catalog: Catalog, name: str, config: str | None = None, **where: bool) -> Needs:
    architecture, chosen = planned(catalog, name, config)
    settings = {"on_cpu": False, "local": False, **where}
    return needs(chosen, architecture, 1, **settings)


def planned(
    catalog: Catalog, name: str, config: str | None = None
) -> tuple[Architecture, Plan | None]:
    preset, gpu = catalog.preset(name), catalog.gpu(CARD)
    assert preset is not None and preset.architecture is not None and gpu is not None
    read, problems = parse(config, "qlora")
    assert read is not None, problems
    return preset.architecture, plan(preset.architecture, gpu, read, catalog)[0]


def test_what_goes_to_a_registry_has_room_and_time(catalog: Catalog) -> None:
    stays, goes = (asked(catalog, "phi-4", uploads=uploads) for uploads in (False, True))
    assert goes.disk_gib > stays.disk_gib
    assert goes.grace_s > stays.grace_s


def test_larger_models_ask_for_more(catalog: Catalog) -> None:
    sizes = [asked(catalog, name) for name in MODELS]
    assert [n.disk_gib for n in sizes] == sorted({n.disk_gib for n in sizes})
    assert [n.memory_gib for n in sizes] == sorted(n.memory_gib for n in sizes)


def test_the_disk_holds_the_16_bit_weights(catalog: Catalog) -> None:
    architecture, _ = planned(catalog, "phi-4")
    weights_gib = architecture.parameters * 2 / 2**30
    assert asked(catalog, "phi-4").disk_gib > weights_gib
    assert asked(catalog, "phi-4", local=True).disk_gib < weights_gib


def test_a_pod_of_a_7b_model_fits_the_smallest_host_of_its_card(catalog: Catalog) -> None:
    """A Standard_NC6s_v3 has 112 GiB, an AWS g5.xlarge 16: KAITO's users tune 7B models there."""
    assert asked(catalog, "mistral-7b-v0.3").memory_gib < 15


def test_a_cpu_holds_what_a_card_would_hold(catalog: Catalog) -> None:
    _, chosen = planned(catalog, "smollm2-135m-instruct")
    assert chosen is not None
    found = asked(catalog, "smollm2-135m-instruct", on_cpu=True)
    assert found.memory_gib >= chosen.estimate.total_gib + 1


def test_each_card_has_a_process(catalog: Catalog) -> None:
    architecture, chosen = planned(catalog, "phi-4")
    one, eight = (needs(chosen, architecture, gpus, on_cpu=False, local=False) for gpus in (1, 8))
    assert eight.memory_gib >= one.memory_gib + 7 * 3


@pytest.mark.parametrize("name", MODELS)
def test_there_is_time_for_a_checkpoint_on_a_slow_disk(catalog: Catalog, name: str) -> None:
    _, chosen = planned(catalog, name)
    assert chosen is not None
    saved_bytes = chosen.estimate.adapters_gib * 2**30 * 12 / 18
    found = asked(catalog, name).grace_s
    assert 60 + saved_bytes / 50e6 <= found <= 600


def test_a_huge_adapter_does_not_hold_up_a_node_for_ever(catalog: Catalog) -> None:
    config = "training_config: {LoraConfig: {r: 256, modules_to_save: [embed_tokens, lm_head]}}"
    assert 300 < asked(catalog, "phi-4", config).grace_s <= 600


def test_without_numbers_only_what_is_certain_is_asked_for() -> None:
    assert needs(None, None, 2, on_cpu=False, local=False) == Needs(2, 8, 0, 60)
