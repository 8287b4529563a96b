"""What the rules need to know of the world, gathered by whoever calls them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from presets import Catalog


@dataclass(frozen=True, slots=True)
class Context:
    """An installation's settings and what was looked up for one Workspace."""

    catalog: Catalog
    config_maps: Mapping[tuple[str, str], Mapping[str, str]] | None = None
    """(namespace, name) → data. None: not looked up, so a missing one is only a warning."""
    auto_provisioning: bool = True
    """False: bring your own nodes (KAITO's BYO)."""
    allow_hosts: tuple[str, ...] = ()
    """Hosts or networks that data URLs may name although they are private."""
    allow_host_path: bool = False
    """Volumes may be a folder of the node: whoever can write a Workspace can then read the node."""
    node_classes: tuple[str, ...] | None = None
    """NodeClasses that kaito.sh/node-class-name may choose. None: not checked."""
