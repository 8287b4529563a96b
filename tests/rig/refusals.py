"""What an API server says against a Workspace."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rig.kube import Kube

PARTITION = {"mode": "accelerator", "count": 2}
ELEVEN = [{"source": {"name": f"a{n}", "image": "registry.invalid/a:1"}} for n in range(11)]
"""One adapter too many."""


def refusal(kube: Kube, body: Mapping[str, Any], *how: str) -> str:
    """What the API server says against a body; empty when it takes it."""
    done = kube.attempt(
        *(how or ("create",)), "--dry-run=server", "-f", "-", stdin=json.dumps(body)
    )
    return done.stderr if done.returncode else ""
