"""Whatever stands in a Workspace or in its status, deciding answers."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rig.manifests import inference, tuning
from rig.world import INSTALLATION, NOW, World, node

from jobs.decide import decide
from jobs.seen import Seen
from presets import Catalog, load

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
BODIES = st.sampled_from([tuning(), inference()])


@pytest.fixture(scope="module")
def known() -> Catalog:
    return load()


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    found = [at] if at else []
    if isinstance(value, dict | list):
        for key, item in inner:
            found += paths(item, (*at, key)) if isinstance(item, dict | list) else [(*at, key)]
    return found


@settings(deadline=None, max_examples=150)
@given(data=st.data(), body=BODIES, value=JSON)
def test_any_value_anywhere_in_the_workspace(
    known: Catalog, data: st.DataObject, body: dict[str, Any], value: Any
) -> None:
    body = copy.deepcopy(body)
    body["metadata"]["annotations"] = {"tunery.sh/retry": "1"}
    places = [p for p in paths(body) if p not in (("metadata",), ("metadata", "name"))]
    *above, last = data.draw(st.sampled_from(places))
    holder: Any = body
    for key in above:
        holder = holder[key]
    holder[last] = value
    seen = Seen(nodes=(node(),), config_maps={})
    decision = decide(body, seen, {}, INSTALLATION, known, NOW)
    assert decision.status is not None


@settings(deadline=None, max_examples=150)
@given(
    status=JSON.filter(lambda v: isinstance(v, dict)),
    run=JSON,
    key=st.sampled_from(["run", "attempts", "conditions", "progress", "output", "workerNodes"]),
)
def test_any_value_in_the_status(known: Catalog, status: Any, run: Any, key: str) -> None:
    world = World(tuning(), known).settle()
    world.body["status"] = {**world.body["status"], **status, key: run}
    assert world.decide().status is not None


@settings(deadline=None, max_examples=100)
@given(text=st.text() | st.sampled_from(["{", "a: [", "training_config: null", "- 1"]))
def test_any_text_in_the_config_map(known: Catalog, text: str) -> None:
    world = World(tuning({"tuning.config": "mine"}), known, configs={"mine": text})
    assert world.decide().status is not None
