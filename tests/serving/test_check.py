"""Every adapter that a runtime would take and serve wrongly is refused, in one sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rig.loras import lora
from rig.tiny import MODEL_ID
from safetensors.torch import load_file, save_file

from presets.problem import Problem, errors
from serving.adapter import read
from serving.base import Base
from serving.check import TRANSFORMERS, VLLM, Limits, check
from tuning.images.oci import CONFIG_FILE, WEIGHTS_FILE
from tuning.result import Record

Tensors = dict[str, torch.Tensor]
Q0 = "base_model.model.model.layers.0.self_attn.q_proj"
Q1 = "base_model.model.model.layers.1.self_attn.q_proj"


@pytest.fixture(scope="module")
def good(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lora(tiny, tmp_path_factory.mktemp("good") / "a", target_modules=["q_proj", "v_proj"])


@pytest.fixture
def copy(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "facts"))


def rewrite(folder: Path, **changes: Any) -> None:
    path = folder / CONFIG_FILE
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **changes}))


def retensor(folder: Path, change: Callable[[Tensors], object]) -> None:
    tensors = load_file(folder / WEIGHTS_FILE)
    change(tensors)
    save_file(tensors, folder / WEIGHTS_FILE)


def problems(folder: Path, base: Base, limits: Limits = VLLM) -> tuple[Problem, ...]:
    found, unreadable = read("facts", folder)
    return unreadable if found is None else check(found, base, limits)


def only(folder: Path, base: Base, limits: Limits = VLLM) -> str:
    (found,) = problems(folder, base, limits)
    assert found.path == "adapter facts"
    return found.line()


def test_a_good_adapter_has_no_problem(good: Path, base: Base) -> None:
    assert problems(good, base) == ()


def test_the_wrong_base_is_refused_with_both_names(copy: Path, base: Base) -> None:
    rewrite(copy, base_model_name_or_path="microsoft/phi-4")
    assert only(copy, base) == (
        f"adapter facts: was trained for microsoft/phi-4, and {MODEL_ID} is served; "
        f"serve microsoft/phi-4, or name an adapter of {MODEL_ID}"
    )


def test_a_path_of_the_trainers_machine_is_no_model(copy: Path, base: Base) -> None:
    rewrite(copy, base_model_name_or_path="/workspace/weights")
    (warning,) = problems(copy, base)
    assert warning.warning and "does not say which model" in warning.what


def test_our_own_record_says_it_instead(copy: Path, base: Base) -> None:
    rewrite(copy, base_model_name_or_path="/workspace/weights")
    record = Record(
        method="lora",
        base_model="microsoft/phi-4",
        revision="a" * 40,
        data="facts",
        data_sha256="",
        rows=1,
        eval_rows=0,
        steps=1,
        epochs=1,
        tokens=1,
        tokens_with_loss=1,
        trainable_parameters=1,
        train_loss=1,
        final_loss=1,
        eval_loss=None,
        seed=0,
        dtype="float32",
        curve=(),
        eval_curve=(),
        settings={},
        versions={},
        identity="",
    )
    (copy / "training.json").write_text(record.model_dump_json())
    assert "was trained for microsoft/phi-4" in only(copy, base)


def test_another_commit_is_told_and_not_refused(copy: Path, base: Base) -> None:
    rewrite(copy, revision="a" * 40)
    pinned = Base(base.id, base.also, "b" * 40, base.modules)
    (warning,) = problems(copy, pinned)
    assert warning.warning and "aaaaaaaaaaaa" in warning.what and "bbbbbbbbbbbb" in warning.what
    assert problems(copy, base) == ()


CONFIGS: list[tuple[dict[str, Any], str]] = [
    ({"use_dora": True}, "has DoRA"),
    ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
    ({"trainable_token_indices": [1]}, "trained embeddings"),
    ({"target_parameters": ["experts.w"]}, "parameters instead of modules"),
    ({"layer_replication": [[0, 1]]}, "repeated layers"),
    ({"alora_invocation_tokens": [1]}, "activated LoRA"),
    ({"use_qalora": True}, "QALoRA"),
    ({"lora_bias": True}, "biases of its own"),
    ({"bias": "all"}, 'trains biases (bias: "all")'),
    ({"task_type": "SEQ_CLS"}, 'is for the task "SEQ_CLS"'),
    ({"init_lora_weights": "pissa_niter_4"}, "changed the base's weights"),
    ({"peft_type": "IA3"}, 'is of the kind "IA3"'),
    ({"peft_type": None}, "is of the kind None"),
    ({"r": 4}, "has tensors of rank 8 where its configuration says 4"),
    ({"rank_pattern": {"q_proj": 2}}, "has tensors of rank 8 where its configuration says 2"),
    ({"rank_pattern": {"(a+)+b": 8}}, "regular expressions"),
    ({"alpha_pattern": {".*q_proj": 8}}, "regular expressions"),
    ({"r": 0}, "adapter_config.json: r: "),
    ({"r": "8"}, "adapter_config.json: r: "),
    ({"lora_alpha": None}, "adapter_config.json: lora_alpha: "),
    ({"lora_alpha": float("nan")}, "adapter_config.json: lora_alpha: "),
    ({"rank_pattern": {"q_proj": -1}}, "adapter_config.json: rank_pattern.q_proj: "),
]


@pytest.mark.parametrize(("change", "sentence"), CONFIGS, ids=str)
def test_what_a_runtime_does_not_add_is_refused(
    copy: Path, base: Base, change: dict[str, Any], sentence: str
) -> None:
    rewrite(copy, **change)
    for limits in (VLLM, TRANSFORMERS):
        found = only(copy, base, limits)
        assert sentence in found and "; " in found


def drop(tensors: Tensors) -> None:
    del tensors[f"{Q0}.lora_B.weight"]


def narrow(tensors: Tensors) -> None:
    tensors[f"{Q0}.lora_A.weight"] = tensors[f"{Q0}.lora_A.weight"][:, :64].clone()


def wide(tensors: Tensors) -> None:
    tensors[f"{Q0}.lora_B.weight"] = torch.ones(256, 8)


def beyond(tensors: Tensors) -> None:
    for part in ("lora_A", "lora_B"):
        key = f"{Q1}.{part}.weight"
        tensors[key.replace("layers.1", "layers.7")] = tensors.pop(key)


def foreign(tensors: Tensors) -> None:
    for part in ("lora_A", "lora_B"):
        tensors[f"{Q0}.{part}.weight".replace("q_proj", "foo")] = torch.ones(8, 8)


def unmatched(tensors: Tensors) -> None:
    tensors[f"{Q0}.lora_B.weight"] = torch.ones(128, 7)


def nan(tensors: Tensors) -> None:
    tensors[f"{Q0}.lora_A.weight"][3, 3] = torch.nan


def integers(tensors: Tensors) -> None:
    tensors[f"{Q0}.lora_A.weight"] = torch.ones(8, 128, dtype=torch.int8)


def dora(tensors: Tensors) -> None:
    tensors[f"{Q0}.lora_magnitude_vector"] = torch.ones(128)


def head(tensors: Tensors) -> None:
    tensors["base_model.model.lm_head.weight"] = torch.ones(512, 128)


def embedding(tensors: Tensors) -> None:
    tensors["base_model.model.model.embed_tokens.lora_embedding_A"] = torch.ones(8, 512)


TENSORS: list[tuple[Callable[[Tensors], object], str]] = [
    (drop, "has only one of lora_A and lora_B for model.layers.0.self_attn.q_proj"),
    (narrow, f"has other shapes than {MODEL_ID} (64→128 where the model has 128→128)"),
    (wide, f"has other shapes than {MODEL_ID} (128→256 where the model has 128→128)"),
    (beyond, f"adapts modules that {MODEL_ID} does not have: model.layers.7.self_attn.q_proj"),
    (foreign, f"adapts modules that {MODEL_ID} does not have: model.layers.0.self_attn.foo"),
    (unmatched, "has lora_A and lora_B that do not fit each other: model.layers.0"),
    (nan, "infinite or not a number: model.layers.0.self_attn.q_proj.lora_A"),
    (integers, "are no 16- or 32-bit numbers: model.layers.0.self_attn.q_proj.lora_A (I8)"),
    (dora, "no part of a plain LoRA: base_model.model.model.layers.0.self_attn.q_proj.lora_magn"),
    (head, "no part of a plain LoRA: base_model.model.lm_head.weight"),
    (embedding, "no part of a plain LoRA: base_model.model.model.embed_tokens.lora_embedding_A"),
]


@pytest.mark.parametrize(("change", "sentence"), TENSORS, ids=lambda v: getattr(v, "__name__", ""))
def test_tensors_that_do_not_fit_are_refused(
    copy: Path, base: Base, change: Callable[[Tensors], object], sentence: str
) -> None:
    retensor(copy, change)
    assert sentence in only(copy, base)


def test_a_rank_above_the_runtimes_limit(copy: Path, base: Base) -> None:
    rewrite(copy, r=640)

    def grow(tensors: Tensors) -> None:
        for key, tensor in tensors.items():
            shape = (640, tensor.shape[1]) if "lora_A" in key else (tensor.shape[0], 640)
            tensors[key] = torch.zeros(shape)

    retensor(copy, grow)
    assert only(copy, base) == (
        "adapter facts: has rank 640, and vLLM takes at most 512; train with r: 512 or less"
    )
    assert problems(copy, base, TRANSFORMERS) == ()


def test_everything_is_told_at_once(copy: Path, base: Base) -> None:
    rewrite(copy, base_model_name_or_path="microsoft/phi-4", use_dora=True)
    retensor(copy, nan)
    assert len(errors(problems(copy, base))) == 3


FILES: list[tuple[str, bytes | None, str]] = [
    (CONFIG_FILE, None, "there is no adapter_config.json (No such file or directory)"),
    (CONFIG_FILE, b"{", "adapter_config.json is not JSON"),
    (CONFIG_FILE, b"[" * 100_000, "adapter_config.json is not JSON"),
    (CONFIG_FILE, b"[]", "adapter_config.json is not a JSON object"),
    (CONFIG_FILE, b" " * (5 << 20), "adapter_config.json is larger than 4 MiB"),
    (WEIGHTS_FILE, None, "has no adapter_model.safetensors (No such file or directory)"),
    (WEIGHTS_FILE, b"version https://git-lfs", "is not a whole safetensors file"),
    (WEIGHTS_FILE, b"\x02\0\0\0\0\0\0\0{}", "has no tensors"),
]


@pytest.mark.parametrize(("file", "content", "sentence"), FILES)
def test_files_that_are_missing_or_broken(
    copy: Path, base: Base, file: str, content: bytes | None, sentence: str
) -> None:
    (copy / file).unlink()
    if content is not None:
        (copy / file).write_bytes(content)
    assert sentence in only(copy, base)


def test_a_cut_file_is_refused(copy: Path, base: Base) -> None:
    whole = (copy / WEIGHTS_FILE).read_bytes()
    (copy / WEIGHTS_FILE).write_bytes(whole[:-100])
    assert "is cut or damaged" in only(copy, base)


def test_an_unknown_base_is_told_and_not_refused(good: Path) -> None:
    (warning,) = problems(good, Base(MODEL_ID))
    assert warning.warning and "cannot be compared" in warning.what


def test_layers_that_lie_the_other_way_round(copy: Path) -> None:
    rewrite(copy, fan_in_fan_out=True)
    modules = {f"model.layers.{n}.self_attn.{m}_proj": (128, 128) for n in (0, 1) for m in "qv"}
    turned = {**modules, "model.layers.0.self_attn.v_proj": (64, 128)}
    turned |= {"model.layers.1.self_attn.v_proj": (64, 128)}
    assert problems(copy, Base(MODEL_ID, modules=turned)) == ()


def test_names_cannot_forge_a_line(copy: Path, base: Base) -> None:
    retensor(copy, lambda t: t.update({"x\nadapter other: is good": torch.ones(1)}))
    assert "\n" not in only(copy, base)


def test_numbers_are_read_in_bfloat16(copy: Path, base: Base) -> None:
    retensor(copy, lambda t: t.update({k: v.bfloat16() for k, v in t.items()}))
    found, _ = read("facts", copy)
    assert found is not None and problems(copy, base) == ()
    layer = found.layers["model.layers.0.self_attn.q_proj"]
    real = load_file(copy / WEIGHTS_FILE)[f"{Q0}.lora_A.weight"].float().numpy()
    assert np.array_equal(layer.a.floats(), real)
