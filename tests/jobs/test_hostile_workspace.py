"""Whatever is handed in: problems or a Workspace, never an exception, never two lines for one."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from rig.manifests import ABSENT, changed, inference, tuning

from jobs.validate import Context, validate_create, validate_update
from jobs.workspace import parse
from presets import load
from presets.problem import Problem
from presets.text import read_documents

CONTEXT = Context(load(), config_maps={("default", "c"): {"training_config.yaml": "]["}})

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["lora", "1", "<x>", "http://[", "a@b", "\ud800", "\x1b[2J\n\u202e"])
)
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8) | scalars, inner)
    ),
    max_leaves=12,
)
odd = st.binary(max_size=4) | st.sets(st.integers()) | st.dates() | st.just(object())

PATHS = [
    "apiVersion",
    "kind",
    "metadata",
    "metadata.name",
    "metadata.namespace",
    "metadata.labels",
    "metadata.annotations",
    "resource",
    "resource.count",
    "resource.instanceType",
    "resource.labelSelector",
    "resource.labelSelector.matchLabels",
    "resource.labelSelector.matchExpressions",
    "resource.partition",
    "tuning",
    "tuning.preset",
    "tuning.preset.name",
    "tuning.preset.presetOptions",
    "tuning.method",
    "tuning.config",
    "tuning.input",
    "tuning.input.urls",
    "tuning.input.image",
    "tuning.input.volumeSource",
    "tuning.output",
    "tuning.output.image",
    "tuning.output.volumeSource",
    "inference",
    "inference.preset",
    "inference.template",
    "inference.config",
    "inference.adapters",
]
texts = st.text(max_size=30) | st.sampled_from(
    ["c", "phi-4", "org/name", "QLORA", "http://2130706433/", "https://a.invalid/b", "a/b:c@d"]
)


def told(problems: tuple[Problem, ...]) -> None:
    """Every message is one printable line, and short."""
    for problem in problems:
        for line in (problem.line(), problem.kaito()):
            assert line.isprintable()
            assert len(line) < 2000


def judged(body: object) -> None:
    workspace, problems = parse(body)
    assert workspace is not None or any(not p.warning for p in problems)
    told(problems)
    if workspace is not None:
        told(validate_create(workspace, CONTEXT))
        told(validate_update(workspace, workspace, CONTEXT))


@given(values | odd | st.dictionaries(st.text(), odd))
def test_any_value_is_judged(body: object) -> None:
    judged(body)


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from(PATHS), values, max_size=4))
def test_any_value_in_any_field_is_judged(changes: dict[str, Any]) -> None:
    for good in (tuning(), inference()):
        # A parent that is no map cannot take a field.
        for path, value in sorted(changes.items()):
            parent: Any = good
            for key in path.split(".")[:-1]:
                parent = parent.get(key) if isinstance(parent, dict) else None
            if isinstance(parent, dict):
                parent[path.split(".")[-1]] = value
        judged(good)


@settings(max_examples=300)
@given(
    st.dictionaries(st.sampled_from(PATHS), texts, max_size=3),
    st.lists(texts, max_size=4),
    st.dictionaries(texts, texts, max_size=3),
)
def test_any_text_where_text_belongs_is_judged(
    changes: dict[str, Any], urls: list[str], labels: dict[str, str]
) -> None:
    wanted = {
        path: text
        for path, text in changes.items()
        if path.endswith(("name", "image", "method", "config", "instanceType"))
        and path.startswith(("tuning", "resource", "metadata"))
    }
    body = tuning(wanted | {"tuning.input.urls": urls})
    body["resource"]["labelSelector"]["matchLabels"] = labels
    judged(body)


@given(values, values)
def test_any_change_is_judged(before: Any, after: Any) -> None:
    for path in ("tuning.input", "tuning.output.volumeSource", "resource"):
        old, new = (parse(tuning({path: value}))[0] for value in (before, after))
        if old is not None and new is not None:
            told(validate_update(old, new, CONTEXT))


@given(st.dictionaries(st.sampled_from(PATHS), texts, max_size=2))
def test_judging_twice_says_the_same(changes: dict[str, Any]) -> None:
    flat = {p: t for p, t in changes.items() if p.count(".") == 1}
    body = tuning(flat)
    first, second = parse(body), parse(body)
    assert first == second
    if first[0] is not None:
        assert validate_create(first[0], CONTEXT) == validate_create(first[0], CONTEXT)


def test_a_bomb_of_aliases_is_refused_before_it_unfolds() -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 10)}]\n" for i in range(8)
    )
    documents, problem = read_documents(bomb)
    assert problem is None  # 80 aliases: under the reader's limit, a hundred million values
    workspace, problems = parse(tuning({"tuning.input.volumeSource": documents[0]}))
    assert workspace is None
    assert [p.what for p in problems] == ["more than 100000 values"]


def test_a_value_that_holds_itself_is_refused() -> None:
    loop: dict[str, Any] = {}
    loop["again"] = [loop, loop]
    workspace, problems = parse(tuning({"tuning.input.volumeSource": loop}))
    assert workspace is None
    told(problems)


@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: {"a": v}], ids=["lists", "maps"])
def test_deep_nesting_is_refused(wrap: Any) -> None:
    deep: Any = "x"
    for _ in range(10_000):
        deep = wrap(deep)
    for body in (deep, tuning({"inference.template": deep})):
        workspace, problems = parse(body)
        assert workspace is None
        told(problems)


@pytest.mark.parametrize(
    "path",
    [
        "metadata.name",
        "resource.instanceType",
        "tuning.preset.name",
        "tuning.method",
        "tuning.config",
        "tuning.input.image",
        "tuning.output.image",
        "tuning.output.imagePushSecret",
        "unknownField",
    ],
)
@pytest.mark.parametrize("text", ["_" * 2**20, "A" * 2**20, "<" * 2**20, "a-" * 2**19])
def test_a_megabyte_of_text_is_told_in_a_short_line(path: str, text: str) -> None:
    judged(tuning({path: text, "tuning.input": {"urls": ["https://" + text]}}))
    judged({**tuning(), text: 1})


def test_a_hundred_thousand_mistakes_are_told_in_a_hundred_lines() -> None:
    workspace, problems = parse({**tuning(), **{f"x{i}": 1 for i in range(50_000)}})
    assert len(problems) == 101
    assert workspace is not None
    told(problems)


@pytest.mark.parametrize("name", ["a\nb: c", "a\x1b[31mb", "a\u202eb", "a\u2028b", "a\x00b"])
def test_control_characters_stay_in_their_line(name: str) -> None:
    for path in ("metadata.name", "tuning.preset.name", "tuning.config", "tuning.output.image"):
        judged(tuning({path: name}))
    judged({**tuning(), name: 1})
    judged(tuning({"resource.labelSelector.matchLabels": {"kaito.sh/workspace": name}}))


@pytest.mark.parametrize(
    "value",
    [b"x", {1, 2}, object(), 10**5000, "\ud800", {"\ud800": 1}, {1: 2}, {None: 1}, 1j],
    ids=["bytes", "set", "object", "huge", "surrogate", "surrogate key", "int", "none", "complex"],
)
def test_what_json_cannot_hold_is_refused_where_it_is(value: object) -> None:
    workspace, problems = parse(tuning({"tuning.input.volumeSource": {"nfs": value}}))
    assert workspace is None
    assert [p.path for p in problems] == ["tuning.input.volumeSource.nfs"] or len(problems) == 1
    told(problems)


def test_a_date_that_yaml_made_of_a_name_is_told() -> None:
    body = yaml.safe_load("2024-01-01")
    assert isinstance(body, datetime.date)
    _, problems = parse(tuning({"metadata.name": body}))
    assert [p.line() for p in problems] == [
        'metadata.name: must be text, not 2024-01-01; put it in quotes: "2024-01-01"'
    ]


def test_user_patterns_are_never_run() -> None:
    """A regular expression that would take longer than the universe has."""
    text = "training_config:\n  LoraConfig:\n    target_modules: '(a+)+(a+)+(a+)+$|.*.*.*.*x'\n"
    maps = {("default", "c"): {"training_config.yaml": text}}
    workspace, _ = parse(tuning({"tuning.config": "c"}))
    assert workspace is not None
    told(validate_create(workspace, Context(load(), config_maps=maps)))


def test_the_helper_itself_takes_fields_out() -> None:
    assert "method" not in changed(tuning(), {"tuning.method": ABSENT})["tuning"]
