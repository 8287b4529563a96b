"""charts/tunery, rendered by helm on this side: no cluster is asked."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

from cluster.build import build, program
from cluster.layout import default

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "tunery"
NAMESPACE = "tunery-system"
Object = dict[str, Any]


def helm(home: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run helm, which is built when it was not yet."""
    layout = default()
    build(layout, ["helm"])
    folders = {f"HELM_{name}_HOME": str(home) for name in ("CACHE", "CONFIG", "DATA")}
    return subprocess.run(
        [program(layout, "helm"), *argv],
        env={**os.environ, **folders},
        capture_output=True,
        text=True,
    )


def settings(values: Object) -> list[str]:
    """Values as arguments: `{"webhook.enabled": False}`."""
    return [f"--set-json={key}={json.dumps(value)}" for key, value in values.items()]


def template(home: Path, values: Object | None = None, name: str = "tunery") -> list[Object]:
    """The objects of an installation."""
    arguments = settings(values or {})
    done = helm(home, "template", name, str(CHART), f"--namespace={NAMESPACE}", *arguments)
    assert done.returncode == 0, done.stderr
    return [found for found in yaml.safe_load_all(done.stdout) if found]


def refusal(home: Path, values: Object) -> str:
    """What helm says against values; empty when it takes them."""
    done = helm(home, "template", "tunery", str(CHART), *settings(values))
    return done.stderr if done.returncode else ""


def only(objects: list[Object], kind: str, name: str = "") -> Object:
    """The one object of a kind."""
    found = [o for o in objects if o["kind"] == kind and name in ("", o["metadata"]["name"])]
    assert len(found) == 1, [o["metadata"]["name"] for o in found]
    return found[0]
