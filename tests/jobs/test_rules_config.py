"""The ConfigMap that a Workspace names, and whether it fits the model and the card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from rig.manifests import Changes, Judge, tuning

from presets.problem import Problem

AT = "tuning.config (ConfigMap mine).training_config."


def config(sections: Mapping[str, Any]) -> dict[tuple[str, str], dict[str, str]]:
    text = yaml.safe_dump({"training_config": dict(sections)})
    return {("default", "mine"): {"training_config.yaml": text}}


def judged(create: Judge, sections: Mapping[str, Any], changes: Changes | None = None) -> Any:
    body = tuning({"tuning.config": "mine", **(changes or {})})
    return create(body, config_maps=config(sections))


def errors(problems: tuple[Problem, ...]) -> list[Problem]:
    return [p for p in problems if not p.warning]


def test_a_missing_config_map_is_told_in_kaitos_words(create: Judge) -> None:
    [problem] = create(tuning({"tuning.config": "mine"}))
    assert problem.kaito() == (
        "ConfigMap 'mine' specified in 'config' not found in namespace 'default': tuning.config"
    )
    first = "create it before the Workspace (in one file: above it)"
    assert problem.do == f"{first}, with the key training_config.yaml"


def test_the_nearest_config_map_is_named(create: Judge) -> None:
    [problem] = create(tuning({"tuning.config": "mine1"}), config_maps=config({}))
    assert problem.do == 'did you mean "mine"?'


def test_a_config_map_in_another_namespace_does_not_count(create: Judge) -> None:
    body = tuning({"tuning.config": "mine", "metadata.namespace": "team"})
    [problem] = create(body, config_maps=config({}))
    assert problem.what.endswith("not found in namespace 'team'")
    assert problem.do == "it is in namespace 'default': a Workspace reads only its own"


def test_not_having_looked_is_only_a_warning(create: Judge) -> None:
    [problem] = create(tuning({"tuning.config": "mine"}), config_maps=None)
    assert problem.warning
    assert "was not looked up" in problem.what


@pytest.mark.parametrize(
    ("key", "do"),
    [
        ("training-config.yaml", 'rename the key "training-config.yaml"'),
        ("training_config.yml", 'rename the key "training_config.yml"'),
        ("zzz", "add the key training_config.yaml to ConfigMap 'mine'"),
    ],
)
def test_a_config_map_without_the_key_is_told(create: Judge, key: str, do: str) -> None:
    maps = {("default", "mine"): {key: "training_config: {}"}}
    [problem] = create(tuning({"tuning.config": "mine"}), config_maps=maps)
    assert problem.kaito() == ("missing field(s): tuning.config.training_config.yaml in ConfigMap")
    assert problem.do == do


def test_a_name_that_no_config_map_can_have_is_told(create: Judge) -> None:
    [problem] = create(tuning({"tuning.config": "My_Config"}))
    assert problem.what.startswith('"My_Config" is no name of a ConfigMap: a lowercase RFC 1123')


def test_every_mistake_inside_is_told_with_the_config_maps_name(create: Judge) -> None:
    problems = judged(create, {"LoraConfig": {"rr": 8}, "TrainingArguments": {"max_steps": "x"}})
    assert len(errors(problems)) == 2
    assert all(p.path.startswith(AT) for p in problems)


def test_an_output_dir_outside_mnt_is_told(create: Judge) -> None:
    [problem] = errors(judged(create, {"TrainingArguments": {"output_dir": "../x"}}))
    assert problem.path == f"{AT}TrainingArguments.output_dir"
    assert "Invalid output_dir specified: '../x', must be a directory" in problem.kaito()


def test_a_method_in_capitals_has_its_defaults(create: Judge) -> None:
    sections = {"QuantizationConfig": {"load_in_4bit": True}}
    assert errors(judged(create, sections, {"tuning.method": "QLORA"})) == []
    assert len(errors(judged(create, sections, {"tuning.method": "LoRA"}))) == 1


def test_an_unknown_method_does_not_make_the_configuration_wrong(create: Judge) -> None:
    sections = {"QuantizationConfig": {"load_in_4bit": True}}
    problems = judged(create, sections, {"tuning.method": "sft"})
    assert [p.path for p in problems] == ["tuning.method"]


@pytest.mark.parametrize(
    ("preset", "targets", "wrong"),
    [
        ("phi-3-mini-128k-instruct", ["q_prj", "o_proj", "fc1"], [0, 2]),
        ("phi-3-mini-128k-instruct", ["qkv_proj", "o_proj"], []),
        ("phi-3-mini-128k-instruct", "all-linear", []),
        ("phi-3-mini-128k-instruct", "fc1", [0]),
        ("mistral-7b", ["q_proj", "self_attn.k_proj", "mlp.up"], [2]),
        ("mistral-7b", ["q_proj"], []),
        ("some-org/some-model", ["anything"], []),
    ],
)
def test_a_target_that_the_model_lacks_is_refused(
    create: Judge, preset: str, targets: object, wrong: list[int]
) -> None:
    """PEFT skips it without a word: KAITO's Phi-3 adapters had two layers of four."""
    sections = {"LoraConfig": {"target_modules": targets}}
    problems = errors(judged(create, sections, {"tuning.preset.name": preset}))
    assert [p.path for p in problems] == [f"{AT}LoraConfig.target_modules[{n}]" for n in wrong]


def test_a_missing_target_is_told_what_there_is(create: Judge) -> None:
    sections = {"LoraConfig": {"target_modules": ["qkv_prj"]}}
    [problem] = errors(judged(create, sections))
    assert problem.do == (
        'did you mean "qkv_proj"? it has qkv_proj, o_proj, gate_up_proj, down_proj; '
        "all-linear means all of them"
    )


def test_parts_of_a_fused_layer_are_a_warning(create: Judge) -> None:
    """KAITO's public example for Phi-3 names them."""
    parts = {"target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "self_attn.q_proj"]}
    found = judged(create, {"LoraConfig": parts})
    assert errors(found) == []
    (told,) = [p for p in found if "target_modules" in p.path]
    assert told.what == (
        "q_proj, k_proj, v_proj are one layer of phi3, qkv_proj: that gets the adapter"
    )
    assert [p for p in judged(create, {"LoraConfig": {"target_modules": ["qkv_proj"]}})] == []


def test_more_tokens_than_the_context_are_refused(create: Judge) -> None:
    sections = {"TrainingArguments": {"max_length": 5000}}
    short = {"tuning.preset.name": "phi-2"}
    problems = errors(judged(create, sections, short))
    assert problems[0].path == f"{AT}TrainingArguments.max_length"
    assert problems[0].what == "5000 tokens are more than the model's context of 2048"
    assert errors(judged(create, sections)) == []


def test_a_layer_that_the_model_lacks_is_refused(create: Judge) -> None:
    sections = {"LoraConfig": {"target_modules": ["o_proj"], "layers_to_transform": [0, 31, 32]}}
    [problem] = errors(judged(create, sections))
    assert problem.what == "the model has no layer 32: they are 0 to 31"


def test_a_model_that_does_not_fit_is_refused_with_what_would(create: Judge) -> None:
    changes = {
        "tuning.preset.name": "phi-3-medium-128k-instruct",
        "tuning.method": "lora",
        "resource.instanceType": "Standard_NC6s_v3",
    }
    [problem] = errors(create(tuning(changes)))
    assert problem.path == "resource.instanceType"
    assert "GiB" in problem.what and "qlora" in problem.do


def test_a_model_of_unknown_size_is_not_estimated(create: Judge) -> None:
    changes = {"tuning.preset.name": "some-org/huge", "resource.instanceType": "Standard_NC6s_v3"}
    assert create(tuning(changes)) == ()
