"""Each rule with its exact sentence: one small configuration, one line told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from presets.problem import errors
from tuning.config import Method, parse

T, L, D, Q = "TrainingArguments", "LoraConfig", "DatasetConfig", "QuantizationConfig"
SENTENCES = Path(__file__).with_name("config_sentences.yaml")


def sentences(kind: str) -> list[tuple[str, dict[str, Any], str]]:
    """Section, keys, what is said."""
    rows = yaml.safe_load(SENTENCES.read_text("utf-8"))[kind]
    return [(next(iter(row)), row[next(iter(row))], row["says"]) for row in rows]


def short(value: object) -> str:
    return str(value)[:40]


def lines(config: dict[str, Any], method: Method = "lora") -> list[str]:
    """What is told, paths without their common beginning."""
    _, problems = parse(yaml.safe_dump({"training_config": config}), method)
    return [problem.line().removeprefix("training_config.") for problem in problems]


def refused(config: dict[str, Any], method: Method = "lora") -> bool:
    parsed, problems = parse(yaml.safe_dump({"training_config": config}), method)
    assert (parsed is None) == bool(errors(problems))
    return parsed is None


@pytest.mark.parametrize(("section", "keys", "line"), sentences("refused"), ids=short)
def test_a_wrong_setting_is_refused_in_one_sentence(
    section: str, keys: dict[str, Any], line: str
) -> None:
    assert f"{section}.{line}" in lines({section: keys})
    assert refused({section: keys})


@pytest.mark.parametrize(("section", "keys", "line"), sentences("warned"), ids=short)
def test_a_setting_without_effect_is_told_and_refuses_nothing(
    section: str, keys: dict[str, Any], line: str
) -> None:
    assert f"{section}.{line}" in lines({section: keys})
    assert not refused({section: keys})


def test_a_secret_is_never_shown() -> None:
    for key in ("hub_token", "push_to_hub_token"):
        told = lines({T: {key: "hf_secret"}})
        assert told and "hf_secret" not in " ".join(told)


LORA = "For method 'lora', 'load_in_4bit' or 'load_in_8bit' must not be true"
QLORA = "For method 'qlora', either 'load_in_4bit' or 'load_in_8bit' must be true"
BOTH = "Cannot set both 'load_in_4bit' and 'load_in_8bit' to true"


@pytest.mark.parametrize(
    ("method", "keys", "line"),
    [
        ("lora", {"load_in_4bit": True}, f"{LORA}; write method: qlora, or remove it"),
        ("lora", {"load_in_8bit": True}, f"{LORA}; write method: qlora, or remove it"),
        ("qlora", {"load_in_4bit": False}, f"{QLORA}; write method: lora, or load_in_4bit: true"),
        ("qlora", {"load_in_4bit": True, "load_in_8bit": True}, f"{BOTH}; keep one of them"),
    ],
)
def test_method_and_quantization_must_agree(
    method: Method, keys: dict[str, Any], line: str
) -> None:
    assert lines({Q: keys}, method) == [f"{Q}: {line}"]


BEST = {"load_best_model_at_end": True, "eval_strategy": "steps", "save_strategy": "steps"}
ALIGN = "load_best_model_at_end: true needs save_steps (30) to be a multiple of eval_steps"
EQUAL = "load_best_model_at_end: true needs equal strategies, but evaluates by"
SAME = "set eval_strategy and save_strategy to the same"
F1 = 'metric_for_best_model: "f1" is not measured'
KEEP_BEST = 'save_strategy: "best" compares evaluations, and eval_strategy is no'


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({**BEST, "eval_steps": 10, "save_steps": 20}, None),
        ({**BEST, "eval_steps": 0.1, "save_steps": 0.2}, None),
        ({**BEST, "save_strategy": "best"}, None),
        ({**BEST, "eval_strategy": "epoch", "save_strategy": "epoch"}, None),
        ({**BEST, "metric_for_best_model": "eval_mean_token_accuracy"}, None),
        (
            {**BEST, "metric_for_best_model": "f1"},
            f"{F1}; write one of loss, mean_token_accuracy, entropy",
        ),
        ({**BEST, "eval_steps": 20, "save_steps": 30}, f"{ALIGN} (20); set save_steps to 20"),
        ({**BEST, "eval_steps": 0.1, "save_steps": 30}, f"{ALIGN} (0.1); set save_steps to 0.1"),
        ({**BEST, "save_strategy": "epoch"}, f"{EQUAL} steps and saves by epoch; {SAME}"),
        ({"load_best_model_at_end": True}, f"{EQUAL} no and saves by steps; {SAME}"),
        ({"save_strategy": "best"}, f"{KEEP_BEST}; set eval_strategy to steps or epoch"),
    ],
)
def test_the_best_model_needs_aligned_steps(keys: dict[str, Any], line: str | None) -> None:
    told = lines({T: keys, D: {"train_test_split": 0.9}})
    assert told == ([f"{T}.{line}"] if line else [])


def test_all_problems_are_told_at_once() -> None:
    config = {
        T: {"learning_rate": "fast", "max_steps": 0, "push_to_hub": True, "fsdp": "x"},
        L: {"r": -1, "rr": 2, "target_modules": "lm_head"},
        D: {"train_test_split": 7},
        "Lora": {},
    }
    assert len(lines(config)) == 9


@pytest.mark.parametrize(
    ("text", "resolved"),
    [
        ("/mnt/results", "/mnt/results"),
        ("results", "/mnt/results"),
        ("/mnt//a/./b/", "/mnt/a/b"),
        ("//mnt/a", "/mnt/a"),
        ("/data/x", "/mnt/data/x"),
        ("/mnt/../etc", "/mnt/etc"),
    ],
)
def test_output_dir_is_resolved_as_kaito_does(text: str, resolved: str) -> None:
    config, problems = parse(yaml.safe_dump({"training_config": {T: {"output_dir": text}}}), "lora")
    assert config is not None and not problems
    assert config.output_dir == resolved and "output_dir" not in config.training


def test_a_hostile_pattern_is_not_run() -> None:
    pattern = "(.*)" * 200 + "x"
    assert not refused({L: {"target_modules": pattern}})
    assert refused({L: {"target_modules": pattern * 10}})
    assert refused({L: {"target_modules": "(" * 900}})
