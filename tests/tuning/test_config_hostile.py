"""Whatever is written, there is a configuration or a list of problems, soon and in few words."""

from __future__ import annotations

import time
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from presets.problem import Problem, errors
from tuning.config import TrainingConfig, parse
from tuning.run import canonical
from tuning.settings.names import SECTIONS
from tuning.settings.read import known


def judged(text: str) -> tuple[Problem, ...]:
    """The promise for any text at all."""
    for method in ("lora", "qlora"):
        config, problems = parse(text, method)
        assert (config is None) == bool(errors(problems))
        assert all(p.path.startswith("training_config") for p in problems)
        assert all(len(p.line()) < 900 and "\n" not in p.line() for p in problems)
        if config is not None:
            dumped = canonical(config.model_dump(mode="json"))
            assert TrainingConfig.model_validate_json(dumped) == config
    return problems


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.dates()
    | st.binary(max_size=5)
    | st.sampled_from(["2e-4", "no", "steps", "{", '{"a": 1e999}', "\x1b[2J", "\u202e", "/mnt/x"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SCALARS, inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(sorted(set().union(*(known(s) for s in SECTIONS)))) | SCALARS
BODIES = st.dictionaries(
    st.sampled_from(list(SECTIONS)) | SCALARS,
    st.dictionaries(KEYS, VALUES, max_size=6) | VALUES,
    max_size=4,
)


@settings(max_examples=300, deadline=None)
@given(BODIES | VALUES)
def test_any_value_is_judged(body: Any) -> None:
    try:
        text = yaml.safe_dump({"training_config": body}, allow_unicode=True)
    except (yaml.YAMLError, UnicodeError):
        text = repr(body)
    judged(text)


@settings(max_examples=300, deadline=None)
@given(
    st.text() | st.text(alphabet="{}[]:,&*!|>-?'\"# \n\tab1.<~").map("training_config: ".__add__)
)
def test_any_text_is_judged(text: str) -> None:
    judged(text)


def bomb(levels: int, width: int) -> str:
    lines = ["a0: &a0 [x]"]
    for n in range(1, levels):
        lines.append(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]")
    return "\n".join(
        [*lines, "training_config:", f"  LoraConfig: {{rank_pattern: *a{levels - 1}}}"]
    )


HOSTILE = {
    "an alias bomb": bomb(9, 9),
    "a bomb in one section": "training_config:\n  LoraConfig:\n    "
    + bomb(9, 9).replace("\n", "\n    ").replace("training_config:", "r:"),
    "a merge bomb": "a0: &a0 {x: 1}\n"
    + "\n".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 9))
    + "\ntraining_config: {LoraConfig: *a8}",
    "a list that holds itself": "training_config: {LoraConfig: {target_modules: &a [*a]}}",
    "a map that holds itself": "training_config: &a {LoraConfig: *a}",
    "deep nesting": "training_config: " + "[" * 5000 + "]" * 5000,
    "deep maps": "training_config: {LoraConfig: {rank_pattern: " + "{a: " * 50 + "1" + "}" * 52,
    "two megabytes of text": "training_config: {ModelConfig: {chat_template: '"
    + "x" * 2_000_000
    + "'}}",
    "more than two megabytes": "training_config: {}\n#" + "x" * 3_000_000,
    "a long key": "training_config: {LoraConfig: {? '" + "k" * 1_000_000 + "' : 1}}",
    "a long section": "training_config: {'" + "k" * 100_000 + "': {}}",
    "many keys": "training_config:\n  TrainingArguments:\n"
    + "".join(f"    learning_rat{n}: 1\n" for n in range(2000)),
    "a huge whole number": "training_config: {LoraConfig: {r: 0x" + "f" * 100_000 + "}}",
    "a huge decimal": "training_config: {LoraConfig: {r: " + "9" * 10_000 + "}}",
    "a number in base sixty": "training_config: {LoraConfig: {r: 1" + ":59" * 500_000 + "}}",
    "half a surrogate pair": 'training_config: {TrainingArguments: {run_name: "\\ud800"}}',
    "not a number": "training_config: {TrainingArguments: {learning_rate: .nan}}",
    "infinite": "training_config: {TrainingArguments: {num_train_epochs: .inf}}",
    "a python object": "training_config: !!python/object/apply:os.system [id]",
    "a key twice": "training_config: {LoraConfig: {r: 1, r: 2}}",
    "a null byte": "training_config: {LoraConfig: {r: \x00}}",
    "infinite in json": "training_config:\n  TrainingArguments:\n"
    "    lr_scheduler_kwargs: '{\"a\": 1e999}'",
    "deep json": 'training_config: {TrainingArguments: {lr_scheduler_kwargs: \'{"a": '
    + "[" * 100_000
    + "'}}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_is_refused_soon(name: str) -> None:
    begin = time.process_time()
    problems = judged(HOSTILE[name])
    assert errors(problems)
    assert time.process_time() - begin < 10


def test_a_name_of_a_terminal_sequence_stays_harmless() -> None:
    for problem in judged('training_config: {LoraConfig: {"\\e[2J\\n\\u202e": 1}}'):
        assert problem.line().isprintable() and problem.kaito().isprintable()
