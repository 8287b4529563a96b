"""A Workspace's run in rig/world.py: its text, its label, and the writes that made it."""

from __future__ import annotations

from rig.world import World

from jobs import slim
from jobs.decision import Apply

CONFIG = "training_config: {TrainingArguments: {max_steps: 7}}"


def kinds(world: World) -> list[str]:
    """The writes so far, in their order."""
    names = []
    for action in world.done:
        if isinstance(action, Apply):
            names.append(f"apply {action.object['kind']}")
        else:
            names.append(f"{type(action).__name__.lower()} {action.ref.kind}")
    return names


def run_label(world: World) -> str:
    assert world.job is not None
    return slim.job(world.job).run
