"""Users' catalog files: good ones win, bad ones are told whole."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from presets import PresetError, load

GOOD = """
architectures:
  ours: {model_type: llama, layers: 2, hidden: 64, heads: 4, kv_heads: 2, head_dim: 16, ffn: 128,
         vocab: 512, tied: true, context: 512}
models:
  - name: house-model
    id: our-org/house-model
    aliases: [house]
    architecture: ours
    context: 256
  - name: other-model
    id: our-org/other-model
    architecture: {model_type: phi3, layers: 2, hidden: 64, heads: 4, kv_heads: 2, head_dim: 16,
                   ffn: 128, vocab: 512, tied: true, context: 512}
cards:
  NVIDIA RTX 4090: {gib: 23.5, architecture: ada, bf16: true}
instances:
  - {sku: desk, cloud: house, card: NVIDIA RTX 4090, count: 2, price_usd_per_hour: 0.4}
  - {sku: big, cloud: house, card: NVIDIA H200, count: 1}
"""


def _file(folder: Path, text: str, name: str = "extra.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def _problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(PresetError) as caught:
        load([_file(folder, text)])
    lines = [p.line() for p in caught.value.problems]
    assert all(str(folder / "extra.yaml") in line or "given twice" in line for line in lines)
    return lines


def test_a_users_models_and_instances_are_added(tmp_path: Path) -> None:
    catalog = load([_file(tmp_path, GOOD)])
    house = catalog.preset("HOUSE")
    assert house and house.id == "our-org/house-model"
    assert house.architecture and house.architecture.context == 256
    other = catalog.preset("other-model")
    assert other and other.architecture and "qkv_proj" in other.architecture.linear_modules()
    desk, big = catalog.gpu("desk"), catalog.gpu("big")
    assert desk and desk.gib_per_gpu == 23.5 and desk.price_usd_per_hour == 0.4
    assert big and big.card == "NVIDIA H200"
    assert catalog.preset("phi-4") and catalog.gpu("g5.xlarge")


def test_a_users_row_wins_over_a_shipped_one(tmp_path: Path) -> None:
    text = (
        "models: [{name: Phi-4, id: our-org/phi-4-tuned}]\n"
        "instances: [{sku: G5.xlarge, cloud: aws, card: NVIDIA L4, count: 1}]\n"
    )
    catalog = load([_file(tmp_path, text)])
    phi, gpu = catalog.preset("phi-4"), catalog.gpu("g5.xlarge")
    assert phi and phi.id == "our-org/phi-4-tuned"
    assert gpu and gpu.card == "NVIDIA L4"


def test_a_users_preset_for_a_known_id_wins(tmp_path: Path) -> None:
    text = "models: [{name: my-phi, id: microsoft/phi-4, revision: abc}]"
    catalog = load([_file(tmp_path, text)])
    for name in ("my-phi", "Microsoft/Phi-4"):
        preset = catalog.preset(name)
        assert preset and preset.revision == "abc"


def test_all_problems_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    first = _file(tmp_path, "models: [{name: a}]", "first.yaml")
    second = _file(tmp_path, "instances: [{sku: s, cloud: c, card: nope, count: 0}]", "second.yaml")
    with pytest.raises(PresetError) as caught:
        load([first, tmp_path / "absent.yaml", second])
    text = str(caught.value)
    assert "first.yaml: models[0].id: is missing" in text
    assert "absent.yaml: cannot be read: No such file or directory" in text
    assert "second.yaml: instances[0].count: 0 is not a whole number above 0" in text


NUMBERS = (
    "layers: 2, hidden: 64, heads: 4, kv_heads: 2, head_dim: 16, ffn: 128, vocab: 9, tied: true"
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "0 YAML documents where one is expected"),
        ("a: 1\n---\nb: 2", "2 YAML documents where one is expected"),
        ("[1, 2]", "is not a set of keys"),
        ("just words", '"just words" is not a set of keys'),
        ("model: []", 'unknown key "model"; did you mean "models"?'),
        ("models: {a: 1}", "models: {'a': 1} is not a list"),
        ("models: [1]", "models[0]: 1 is not a set of keys"),
        ("models: [{name: a, id: 7}]", "models[0].id: 7 is not a text"),
        ("models: [{name: a, id: a/b, gated: maybe}]", 'gated: "maybe" is not true or false'),
        ("models: [{name: a, id: a/b, aliases: x}]", 'aliases: "x" is not a list of texts'),
        ("models: [{name: a, id: a/b, license: mit}]", 'did you mean "licence"?'),
        ("models: [{name: a, id: a/b, architecture: nope}]", 'unknown name "nope"'),
        (
            "models: [{name: a, id: a/b, architecture: lama-3-8b}]",
            'did you mean "llama-3-8b"?',
        ),
        ("models: [{name: a, id: a/b, architecture: {layers: 2}}]", "model_type: is missing"),
        (
            f"architectures: {{x: {{model_type: llama, {NUMBERS}, context: -1}}}}",
            "architectures.x.context: -1 is not a whole number above 0",
        ),
        (
            f"architectures: {{x: {{model_type: llama, {NUMBERS}, context: 1.5}}}}",
            "context: 1.5 is not a whole number above 0",
        ),
        ("cards: {c: {gib: true, architecture: ada, bf16: true}}", "gib: True is not a number"),
        ("cards: {c: {gib: .nan, architecture: ada, bf16: true}}", "gib: nan is not a number"),
        ("cards: {c: {gib: .inf, architecture: ada, bf16: true}}", "gib: inf is not a number"),
        ("instances: [{sku: s, cloud: c, card: x y, count: 1}]", 'unknown name "x y"'),
        ("models: [{name: a, id: a/b}, {name: A, id: c/d}]", '"a" is given twice'),
        ("models: [{name: a, id: a/b}, {name: b, id: A/B}]", '"a/b" is given twice'),
        (
            "instances: [{sku: s, cloud: c, card: NVIDIA L4, count: 1},"
            " {sku: S, cloud: c, card: NVIDIA L4, count: 1}]",
            '"s" is given twice',
        ),
        ("models: [", "not valid YAML"),
        ("models: []\nmodels: []", "is given twice"),
        ("models: [{name: !!python/object/apply:os.system [id], id: a/b}]", "not valid YAML"),
    ],
)
def test_a_bad_file_is_refused_with_a_reason(tmp_path: Path, text: str, told: str) -> None:
    assert any(told in line for line in _problems(tmp_path, text))


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = _file(tmp_path, "models:\n" + "- {name: a, id: a/b}\n" * 200_000)
    with pytest.raises(PresetError, match="too many"):
        load([path])


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PresetError, match="cannot be read"):
        load([tmp_path])


def test_an_alias_bomb_is_refused(tmp_path: Path) -> None:
    levels = "\n".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]" for i in range(1, 20))
    assert "aliases" in _problems(tmp_path, f"l0: &l0 [x]\n{levels}")[0]


def test_a_key_with_control_characters_cannot_forge_a_line(tmp_path: Path) -> None:
    lines = _problems(tmp_path, 'cards: {"a\\nb: fine": {gib: 0}}\n"x\\ty": 1')
    assert all("\n" not in line and "\t" not in line for line in lines)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
_ROWS = st.dictionaries(
    st.sampled_from(["name", "id", "architecture", "aliases", "sku", "card", "count", "gib"]),
    _VALUES,
)
_FILES = st.dictionaries(
    st.sampled_from(["architectures", "models", "cards", "instances", "x"]),
    _VALUES | st.lists(_ROWS, max_size=2) | st.dictionaries(st.text(max_size=4), _ROWS),
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(_FILES)
def test_any_yaml_is_a_catalog_or_problems(tmp_path: Path, content: object) -> None:
    path = _file(tmp_path, yaml.safe_dump(content, allow_unicode=False))
    try:
        assert load([path]).preset("phi-4")
    except PresetError as error:
        assert error.problems
