from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tuning import result
from tuning.result import Point, Record, Result
from tuning.training import card, chart, summary


def record(**changed: object) -> Record:
    values: dict[str, object] = {
        "method": "lora",
        "base_model": "org/name",
        "revision": "abc",
        "data": "codes.parquet",
        "data_sha256": "0" * 64,
        "rows": 64,
        "eval_rows": 0,
        "steps": 160,
        "epochs": 40.0,
        "tokens": 1000,
        "tokens_with_loss": 100,
        "trainable_parameters": 10,
        "train_loss": 1.0,
        "final_loss": 0.5,
        "eval_loss": None,
        "seed": 0,
        "dtype": "bfloat16",
        "curve": (Point(step=1, loss=2.0), Point(step=160, loss=0.1)),
        "eval_curve": (),
        "settings": {"lora": {"r": 16}, "training": {"learning_rate": 1e-4}},
        "versions": {"torch": "2.0"},
        "identity": "1" * 64,
    }
    return Record.model_validate(values | changed)


def test_the_card_has_a_header_that_the_hub_reads() -> None:
    text = card.readme(record(), ["q_proj"])
    header = yaml.safe_load(text.split("---")[1])
    assert header["base_model"] == "org/name" and header["library_name"] == "peft"


def test_the_card_shows_the_curve_the_metrics_and_the_provenance() -> None:
    text = card.readme(record(eval_loss=0.25, eval_rows=8), ["q_proj", "v_proj"])
    for words in ("loss.svg", "0.5000", "8 evaluation rows | 0.2500", "q_proj, v_proj", "abc"):
        assert words in text


HOSTILE = ["x\n---\nbase: evil", "a|b", "`<script>`", "\u202eabc", "x" * 500]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_stays_inside_its_line(name: str) -> None:
    text = card.readme(record(base_model=name, data=name), ["q_proj"])
    assert yaml.safe_load(text.split("\n---\n")[0].removeprefix("---\n"))["base_model"] == name
    body = text.split("\n---\n", 1)[1]
    assert "<script>" not in body.split("```")[0] and "\u202e" not in body.split("```")[0]


points = st.lists(st.builds(Point, step=st.integers(1, 10**6), loss=st.floats(0, 1e6)), max_size=50)


@given(points, points)
def test_any_curve_is_a_well_formed_picture_within_its_frame(
    train: list[Point], evaluation: list[Point]
) -> None:
    root = ElementTree.fromstring(chart.loss_curve(train, evaluation))
    for line in root.iter("{http://www.w3.org/2000/svg}polyline"):
        for pair in line.attrib["points"].split():
            x, y = map(float, pair.split(","))
            assert 0 <= x <= 640 and 0 <= y <= 300


def test_equal_points_give_equal_bytes() -> None:
    curve = [Point(step=n, loss=1 / n) for n in range(1, 99)]
    assert chart.loss_curve(curve) == chart.loss_curve(list(curve))


@given(st.integers(0, 3000), st.integers(1, 500))
def test_a_thinned_curve_keeps_its_mean_and_its_end(count: int, most: int) -> None:
    curve = [Point(step=n, loss=float(n)) for n in range(1, count + 1)]
    thin = summary.thinned(curve, most)
    assert len(thin) <= most
    if curve:
        assert thin[-1].step == count


def test_a_short_curve_is_kept_as_it_is() -> None:
    curve = tuple(Point(step=n, loss=float(n)) for n in range(1, 9))
    assert summary.thinned(curve) == curve


def finished() -> Result:
    shared = record().model_dump(include=set(Result.model_fields))
    return Result(**shared, adapter_sha256="2" * 64, seconds=1.0, peak_memory_gib=0.5)


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    result.write(finished(), tmp_path / "result.json")
    assert result.read(tmp_path / "result.json") == finished()
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"steps": "many"}'])
def test_what_is_no_result_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "result.json").write_bytes(content)
    assert result.read(tmp_path / "result.json") is None
    assert result.read(tmp_path / "absent.json") is None
