"""A merge-patch makes one object of the other."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from rig.apiserver import merged as applied

from mergepatch import merge_patch

VALUES = st.recursive(
    st.integers(0, 3) | st.text("ab", max_size=1),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xyz"), inner),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from("xyz"), VALUES)


@given(OBJECTS, OBJECTS)
def test_applied_it_gives_what_was_wanted(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert applied(before, merge_patch(before, after)) == after


@given(OBJECTS)
def test_equal_objects_need_no_patch(same: dict[str, Any]) -> None:
    assert merge_patch(same, dict(same)) == {}


def test_only_what_differs_is_sent() -> None:
    before = {"state": "Running", "progress": {"step": 1, "of": 9}, "attempts": [1], "x": 1}
    after = {"state": "Running", "progress": {"step": 2, "of": 9}, "attempts": [1]}
    assert merge_patch(before, after) == {"progress": {"step": 2}, "x": None}
