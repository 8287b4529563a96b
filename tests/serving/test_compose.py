"""Strengths and combinations, held against PEFT on a real (tiny) model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from rig.loras import loaded, lora

from serving import compose
from serving.adapter import Adapter, read
from serving.check import VLLM
from serving.compose import Weighted
from tuning.images.oci import CONFIG_FILE, WEIGHTS_FILE

TOKENS = torch.arange(5, 37).reshape(2, 16)


@pytest.fixture(scope="module")
def folders(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("adapters")
    ends = ["q_proj", "v_proj"]
    return {
        "all": lora(tiny, root / "all", 1, r=16, lora_alpha=32),
        "ends": lora(tiny, root / "ends", 2, r=8, lora_alpha=4, target_modules=ends),
        "rslora": lora(tiny, root / "rslora", 3, r=4, lora_alpha=8, use_rslora=True),
        "patterns": lora(
            tiny,
            root / "patterns",
            4,
            rank_pattern={"q_proj": 2, "layers.1.mlp.up_proj": 12},
            alpha_pattern={"q_proj": 3, "model.layers.0.self_attn.v_proj": 20},
        ),
    }


def adapter(folder: Path) -> Adapter:
    found, problems = read(folder.name, folder)
    assert found is not None and problems == ()
    return found


def composed(parts: Sequence[tuple[Path, float]], folder: Path) -> Path:
    weighted = [Weighted(adapter(path), strength) for path, strength in parts]
    compose.write(weighted, "org/base", folder)
    return folder


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(TOKENS).logits
    return found


def with_adapter(tiny: Path, folder: Path) -> torch.Tensor:
    return logits(PeftModel.from_pretrained(loaded(tiny), str(folder)))


def by_hand(tiny: Path, parts: Sequence[tuple[Path, float]]) -> torch.Tensor:
    """The base's weights plus the weighted sum of PEFT's own deltas."""
    model = loaded(tiny)
    for folder, strength in parts:
        model = PeftModel.from_pretrained(model, str(folder))
        weights = [m for m in model.modules() if hasattr(m, "get_delta_weight")]
        for layer in weights:
            with torch.no_grad():
                layer.get_base_layer().weight += strength * layer.get_delta_weight("default")
        model = model.unload()
    return logits(model)


CASES = [
    [("all", 0.5)],
    [("all", 2.0)],
    [("rslora", 0.5)],
    [("patterns", 0.5)],
    [("all", 0.7), ("ends", -0.4)],
    [("all", 0.5), ("all", 0.5)],
    [("rslora", 1.0), ("patterns", 0.25), ("ends", 1.0)],
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_is_served_is_the_weighted_sum(
    tiny: Path, folders: dict[str, Path], tmp_path: Path, case: list[tuple[str, float]]
) -> None:
    parts = [(folders[name], strength) for name, strength in case]
    found = with_adapter(tiny, composed(parts, tmp_path / "one"))
    torch.testing.assert_close(found, by_hand(tiny, parts), rtol=1e-4, atol=2e-4)
    assert (found - logits(loaded(tiny))).abs().max() > 0.5


@pytest.mark.parametrize("way", ["cat", "linear"])
def test_as_peft_weighs_one(tiny: Path, folders: dict[str, Path], tmp_path: Path, way: str) -> None:
    peft = PeftModel.from_pretrained(loaded(tiny), str(folders["all"]), adapter_name="a")
    peft.add_weighted_adapter(["a"], [0.5], "both", combination_type=way)
    peft.set_adapter("both")
    found = with_adapter(tiny, composed([(folders["all"], 0.5)], tmp_path / "one"))
    torch.testing.assert_close(found, logits(peft), rtol=1e-4, atol=2e-4)


def test_as_peft_concatenates_two(tiny: Path, folders: dict[str, Path], tmp_path: Path) -> None:
    peft = PeftModel.from_pretrained(loaded(tiny), str(folders["all"]), adapter_name="a")
    peft.load_adapter(str(folders["ends"]), adapter_name="b")
    peft.add_weighted_adapter(["a", "b"], [0.7, 0.4], "both", combination_type="cat")
    peft.set_adapter("both")
    parts = [(folders["all"], 0.7), (folders["ends"], 0.4)]
    found = with_adapter(tiny, composed(parts, tmp_path / "one"))
    torch.testing.assert_close(found, logits(peft), rtol=1e-4, atol=2e-4)


def test_strength_zero_is_the_base(tiny: Path, folders: dict[str, Path], tmp_path: Path) -> None:
    found = with_adapter(tiny, composed([(folders["patterns"], 0.0)], tmp_path / "one"))
    torch.testing.assert_close(found, logits(loaded(tiny)), rtol=0, atol=1e-5)


def test_strength_one_keeps_the_weights_byte_for_byte(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    one = composed([(folders["all"], 1.0)], tmp_path / "one")
    assert (one / WEIGHTS_FILE).read_bytes() == (folders["all"] / WEIGHTS_FILE).read_bytes()
    config = json.loads((one / CONFIG_FILE).read_bytes())
    assert config["lora_alpha"] == 32
    assert config["base_model_name_or_path"] == "org/base"


def test_what_is_served_passes_the_check_itself(folders: dict[str, Path], tmp_path: Path) -> None:
    parts = [(folders["all"], 0.7), (folders["patterns"], 0.4)]
    one = adapter(composed(parts, tmp_path / "one"))
    weighted = [Weighted(adapter(path), strength) for path, strength in parts]
    assert one.rank == compose.rank(weighted) == 28
    assert {m: one.rank_of(m) for m in one.layers} == dict.fromkeys(one.layers, 28)


def test_equal_parts_have_equal_digests(folders: dict[str, Path]) -> None:
    def digest(*parts: tuple[str, float]) -> str:
        return compose.digest([Weighted(adapter(folders[n]), s) for n, s in parts])

    assert digest(("all", 0.5)) == digest(("all", 0.5))
    names = {
        digest(("all", 0.5)),
        digest(("all", 0.25)),
        digest(("ends", 0.5)),
        digest(("all", 0.5), ("ends", 1.0)),
        digest(("ends", 1.0), ("all", 0.5)),
    }
    assert len(names) == 5


def test_ranks_that_are_too_large_together_are_refused(tiny: Path, tmp_path: Path) -> None:
    large = adapter(lora(tiny, tmp_path / "large", r=300, target_modules=["q_proj"]))
    found = list(compose.problems("both", [Weighted(large, 1.0), Weighted(large, 0.5)], VLLM))
    assert [p.line() for p in found] == [
        "adapter both: has rank 600 together, and vLLM takes at most 512; "
        "combine fewer adapters, or some of a lower rank"
    ]
    assert list(compose.problems("one", [Weighted(large, 1.0)], VLLM)) == []
