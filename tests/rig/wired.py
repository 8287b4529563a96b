"""The operator's wire to the API server of our machine, as administrator or as somebody.

with entered(machine.pid): asyncio.run(...)
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import kopf
import yaml
from rig.kube import Machine

from wire import Wire


@asynccontextmanager
async def wired(machine: Machine, token: str = "") -> AsyncIterator[Wire]:
    """With the token of a service account, or as administrator."""
    config: dict[str, Any] = yaml.safe_load(machine.layout.kubeconfig.read_text("utf-8"))
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    admin = {
        "certificate_path": user["client-certificate"],
        "private_key_path": user["client-key"],
    }
    who: dict[str, Any] = {"token": token} if token else admin
    authority = cluster["certificate-authority"]
    wire = Wire(lambda: kopf.ConnectionInfo(server=cluster["server"], ca_path=authority, **who))
    try:
        yield wire
    finally:
        await wire.close()
