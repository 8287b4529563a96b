from __future__ import annotations

from pathlib import Path

import pytest
import torch
from rig import tiny

from tuning.config import QuantizationSection
from tuning.failure import Failure, Kind
from tuning.run import Hardware, Run
from tuning.training import device, export, model
from tuning.training.device import Machine

CPU = Machine(cuda=False, bf16=True, name="CPU")
A100 = Machine(cuda=True, bf16=True, name="A100")
V100 = Machine(cuda=True, bf16=False, name="V100")

CHOICES = [
    (CPU, None, "cpu", "bfloat16"),
    (CPU, "bfloat16", "cpu", "bfloat16"),
    (CPU, "float32", "cpu", "float32"),
    (CPU, "float16", "cpu", "bfloat16"),
    (A100, None, "cuda", "bfloat16"),
    (A100, "bfloat16", "cuda", "bfloat16"),
    (A100, "float16", "cuda", "float16"),
    (A100, "float32", "cuda", "float32"),
    (V100, None, "cuda", "float16"),
    # the public templates say bfloat16, whatever the card
    (V100, "bfloat16", "cuda", "float16"),
    (V100, "float32", "cuda", "float32"),
]


def run_on(tmp_path: Path, gpus: int, dtype: str | None = None) -> Run:
    run = tiny.make_run(tmp_path, tmp_path, dtype=dtype)
    hardware = Hardware(gpus=gpus, gib_per_gpu=16, bf16=True, name="the card")
    return run.model_copy(update={"hardware": hardware})


@pytest.mark.parametrize(("machine", "asked", "kind", "precision"), CHOICES)
def test_precision_follows_the_card_and_the_user_and_says_why(
    tmp_path: Path, machine: Machine, asked: str | None, kind: str, precision: str
) -> None:
    chosen = device.choose(run_on(tmp_path, int(machine.cuda), asked), machine)
    assert (chosen.kind, chosen.precision) == (kind, precision)
    assert chosen.reason.startswith(precision)
    assert chosen.dtype is getattr(torch, precision)


def test_a_missing_gpu_is_told_instead_of_training_for_weeks(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="no GPU is visible") as missing:
        device.choose(run_on(tmp_path, 1), CPU)
    assert missing.value.kind is Kind.UNAVAILABLE


def test_a_run_for_a_cpu_leaves_the_gpu_alone(tmp_path: Path) -> None:
    assert device.choose(run_on(tmp_path, 0), A100).kind == "cpu"


QUANTIZED = [
    (V100, "bfloat16", torch.float16),
    (A100, "bfloat16", torch.bfloat16),
    (A100, None, torch.bfloat16),
    (A100, "float32", torch.float32),
]


@pytest.mark.parametrize(("machine", "asked", "computed"), QUANTIZED)
def test_4_bit_weights_are_computed_in_what_the_card_has(
    tmp_path: Path, machine: Machine, asked: str | None, computed: torch.dtype
) -> None:
    section = QuantizationSection(load_in_4bit=True, bnb_4bit_compute_dtype=asked)
    run = run_on(tmp_path, 1)
    run = run.model_copy(update={"config": run.config.model_copy(update={"quantization": section})})
    asked_for = model.quantization(run, device.choose(run, machine))
    assert asked_for is not None and asked_for.bnb_4bit_compute_dtype is computed
    assert asked_for.bnb_4bit_quant_type == "nf4" and asked_for.bnb_4bit_use_double_quant


def test_without_quantization_the_base_is_loaded_as_it_is(tmp_path: Path) -> None:
    run = run_on(tmp_path, 0)
    assert model.quantization(run, device.choose(run, CPU)) is None


def test_eight_bits_are_possible(tmp_path: Path) -> None:
    run = run_on(tmp_path, 1)
    section = QuantizationSection(load_in_8bit=True)
    run = run.model_copy(update={"config": run.config.model_copy(update={"quantization": section})})
    asked_for = model.quantization(run, device.choose(run, A100))
    assert asked_for is not None and asked_for.load_in_8bit and not asked_for.load_in_4bit


@pytest.mark.parametrize("given", [{}, {"target_modules": None}, {"target_modules": []}])
def test_all_linear_layers_unless_something_is_said(given: dict[str, object]) -> None:
    assert model.lora_options(given)["target_modules"] == "all-linear"


def test_the_users_targets_are_kept() -> None:
    options = model.lora_options({"target_modules": ["q_proj"], "r": 4})
    assert options == {"target_modules": ["q_proj"], "r": 4, "task_type": "CAUSAL_LM"}


def test_the_weights_folder_is_the_given_one_else_the_fetched_one(tmp_path: Path) -> None:
    run = run_on(tmp_path, 0)
    assert model.folder(run) == tmp_path
    fetched = run.model_copy(update={"model": run.model.model_copy(update={"path": None})})
    assert model.folder(fetched) == run.places.model_dir


def test_the_published_configuration_is_the_same_in_any_order() -> None:
    names = ["v_proj", "q_proj", "k_proj"]
    shuffled = [
        export.canonical_config({"target_modules": n}, "o/n", None) for n in (names, names[::-1])
    ]
    assert shuffled[0] == shuffled[1]
    assert shuffled[0]["target_modules"] == sorted(names)


def test_the_published_configuration_names_the_public_base() -> None:
    config = {"base_model_name_or_path": "/mnt/weights", "target_modules": ".*q_proj", "r": 8}
    published = export.canonical_config(config, "org/name", "abc")
    assert published == {
        "base_model_name_or_path": "org/name",
        "revision": "abc",
        "target_modules": ".*q_proj",
        "r": 8,
    }
