"""One value at a time: exactly what was written, or one sentence."""

from __future__ import annotations

import datetime
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tuning.settings.options import Option
from tuning.settings.values import WrongValue, coerce, vet

FLOAT, INT, BOOL, TEXT = (Option((kind,)) for kind in ("float", "int", "bool", "str"))


@pytest.mark.parametrize(
    ("value", "option", "wanted"),
    [
        ("2e-4", FLOAT, 0.0002),
        (".5", FLOAT, 0.5),
        ("1.", FLOAT, 1.0),
        ("-1E+3", FLOAT, -1000.0),
        (3, FLOAT, 3.0),
        ("16", INT, 16),
        ("1e3", INT, 1000),
        (8.0, INT, 8),
        (-1, INT, -1),
        (True, BOOL, True),
        ("False", BOOL, False),
        (False, Option(("str",), choices=("no", "steps")), "no"),
        ("Cosine", Option(("str",), choices=("linear", "cosine")), "cosine"),
        ("text", TEXT, "text"),
        (["a", "b"], Option(("list[str]",)), ["a", "b"]),
        ("a, b c", Option(("list[str]", "null")), ["a", "b", "c"]),
        (["1", 2], Option(("list[int]",)), [1, 2]),
        ([[0, 4], [2, 5]], Option(("list[list[int]]",)), [[0, 4], [2, 5]]),
        ({"a": {"b": None}}, Option(("dict",)), {"a": {"b": None}}),
        ('{"use_reentrant": false}', Option(("dict", "str")), {"use_reentrant": False}),
        (7, Option(("int", "str")), 7),
    ],
)
def test_what_was_written_is_what_the_option_gets(value: Any, option: Option, wanted: Any) -> None:
    got = coerce(value, option)
    assert got == wanted and type(got) is type(wanted)


@pytest.mark.parametrize(
    ("value", "option", "what", "do"),
    [
        ("fast", FLOAT, '"fast" is text, not a number', "write a number"),
        ("1_000", INT, '"1_000" is text, not a whole number', "write a whole number"),
        ("nan", FLOAT, '"nan" is text, not a number', "write a number"),
        ("1e999", FLOAT, '"1e999" is text, not a number', "write a number"),
        (1.5, INT, "1.5 is a number, not a whole number", "write a whole number"),
        (True, INT, "true is true or false, not a whole number", "write a whole number"),
        (1, BOOL, "1 is a whole number, not true or false", "write true or false"),
        ("yes", BOOL, '"yes" is text, not true or false', "write true or false"),
        (12, TEXT, "12 is a whole number, not text", "put it in quotes: '12'"),
        ({}, TEXT, "{} is a map, not text", "write text"),
        ("x.json", Option(("dict", "str")), '"x.json" is text, not text or a map', None),
        ("{x", Option(("dict", "str")), '"{x" is not valid JSON', "write it as a YAML map"),
        ({1: 2}, Option(("dict",)), "the key 1 is not text", "put it in quotes"),
        (["a", 2], Option(("list[str]",)), "in the list, 2 is a whole number, not text", None),
        (
            "cosin",
            Option(("str",), choices=("linear", "cosine")),
            '"cosin" is not one of its choices',
            "write one of linear, cosine",
        ),
    ],
)
def test_a_wrong_value_is_told_with_the_value(
    value: Any, option: Option, what: str, do: str | None
) -> None:
    with pytest.raises(WrongValue) as caught:
        coerce(value, option)
    assert caught.value.what == what
    assert do is None or caught.value.do == do


@pytest.mark.parametrize(
    "value",
    [
        math.inf,
        math.nan,
        2**63,
        "\ud800",
        {"a": [b"bytes"]},
        {"a": {1, 2}},
        datetime.date(2026, 1, 1),
        [[]] * 5000,
    ],
)
def test_what_json_cannot_keep_is_refused(value: Any) -> None:
    with pytest.raises(WrongValue):
        vet(value)


def test_a_number_too_long_to_print_is_refused_without_printing_it() -> None:
    with pytest.raises(WrongValue, match="63 bits"):
        vet({"r": 1 << 100_000})


def test_a_loop_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(WrongValue):
        vet(loop)


KINDS = st.sets(
    st.sampled_from(["bool", "int", "float", "str", "dict", "list", "list[str]", "list[int]"]),
    min_size=1,
)
VALUES = st.recursive(
    st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(VALUES, KINDS)
@example(":", {"list[int]", "list[str]"})
@example("0", {"list[int]", "list[str]"})
def test_any_value_meets_any_option_without_surprise(value: Any, kinds: set[str]) -> None:
    option = Option(tuple(sorted(kinds)))
    try:
        got = coerce(value, option)
    except WrongValue as error:
        assert error.what and error.do
    else:
        assert coerce(got, option) == got


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_written_as_text_is_the_same_number(number: float) -> None:
    assert coerce(repr(number), FLOAT) == number
