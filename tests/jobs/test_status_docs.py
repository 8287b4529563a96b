"""docs/status.md names what the code says, all of it and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from rig.statuses import cases, facts_of

from jobs.causes import Why, end_of, failed_condition, failure_of, waiting_of
from jobs.conditions import Reason, State, Type
from jobs.events import What
from tuning.failure import Kind

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "status.md").read_text()
SOURCES = [*(ROOT / "jobs").rglob("*.py"), *(ROOT / "operator").rglob("*.py")]
MARK = re.compile(r'^\w+ = "((?:kaito\.sh|tunery\.sh|workspace\.kaito\.io)/(?!v1)[a-z-]+)"', re.M)
NODES = re.compile(r'"(Nodes?(?:Plugins)?(?:Not)?Ready)"')


def section(heading: str) -> set[str]:
    """First column of the table under a heading."""
    body = re.split(r"^##+ ", TEXT, flags=re.M)
    [found] = [part for part in body if part.startswith(f"{heading}\n")]
    return set(re.findall(r"^\| `([^`]+)` \|", found, re.M))


def fields(schema: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for name, inner in schema.get("properties", {}).items():
        yield path + name
        if name not in ("conditions", "performance"):
            yield from fields(inner, f"{path}{name}.")
            yield from fields(inner.get("items", {}), f"{path}{name}[].")


def declared() -> set[str]:
    crd = yaml.safe_load((ROOT / "charts" / "tunery" / "files" / "crd.yaml").read_text())
    schema = crd["spec"]["versions"][-1]["schema"]["openAPIV3Schema"]
    return set(fields(schema["properties"]["status"]))


def marks() -> set[str]:
    return {name for path in SOURCES for name in MARK.findall(path.read_text())}


def node_reasons() -> set[str]:
    return set(NODES.findall((ROOT / "jobs" / "nodes.py").read_text()))


@pytest.mark.parametrize(
    ("heading", "names"),
    [
        ("States", set(get_args(State))),
        ("Conditions", set(Type)),
        ("Reasons", set(Reason) | node_reasons()),
        ("Causes", set(Why)),
        ("Fields", declared()),
        ("Events", set(What)),
        ("Labels and annotations", marks()),
    ],
)
def test_every_name_is_told_and_no_other(heading: str, names: set[str]) -> None:
    assert names and section(heading) == names


@pytest.mark.parametrize("kind", Kind)
def test_the_kinds_of_the_pod_are_named(kind: Kind) -> None:
    assert kind.reason in TEXT


def test_what_comes_next() -> None:
    """As it was in some recorded case; a pod that vanished has left no status to record."""
    words = {"waits": "waiting", "retried": "retried", "final": "final"}
    rows = re.findall(r"^\| `(\w+)` \| [^|]* \| ([a-z]+(?:; [a-z]+)?) \|$", TEXT, re.M)
    said = {name: {words[w] for w in then.split("; ")} for name, then in rows if name in set(Why)}
    assert said.pop(Why.POD_GONE) == {"retried"}
    assert said == {why: stages for why, stages in recorded().items() if why in set(Why)}


def recorded() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for group in ("ends", "images", "starting", "creation", "scheduling", "kaito"):
        for case in cases(group):
            facts = facts_of(group, case)
            causes = [waiting_of(facts), *(end_of(pod, facts) for pod in facts.pods)]
            if facts.job and failed_condition(facts.job) and not facts.pods:
                causes.append(failure_of(facts, []))
            for cause in causes:
                if cause:
                    found.setdefault(cause.reason, set()).add(cause.stage)
    return found
