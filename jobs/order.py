"""A case → the order for its Job, or why there can be none: rules, card, memory plan.

What only a new run needs. The operator asks when a Job is to be made, and again when a container
ran out of memory, to tell what was predicted.
"""

from __future__ import annotations

from collections.abc import Sequence

from jobs import nodes, site
from jobs.case import Case
from jobs.resolve import resolve
from jobs.seen import Container, Pod
from jobs.tune import Order
from jobs.validate import Context, validate_create
from presets import Gpu
from presets.problem import Problem, errors
from tuning.failure import Kind


def problems_of(case: Case) -> tuple[Problem, ...]:
    """Every error of the Workspace as it is written now; the webhook may have been down."""
    found = validate_create(case.workspace, context_of(case))
    return tuple(dict.fromkeys((*case.unreadable, *errors(found))))


def order(case: Case) -> tuple[Order | None, tuple[Problem, ...]]:
    """The run of a Workspace without problems, for the nodes that are there."""
    tuning, preset = case.workspace.tuning, case.preset
    if tuning is None or preset is None:
        return None, ()
    card = _card(case)
    where = site.of_pod(tuning, preset, card, case.run_hash, case.installation)
    found = resolve(case.workspace, context_of(case), where)
    if found.run is None:
        return None, errors(found.problems)
    made = Order(
        workspace=case.workspace,
        run_hash=case.run_hash,
        revision=case.number,
        run=found.run,
        preset=preset,
        plan=found.plan,
        gpus=case.nodes.gpus,
    )
    return made, ()


def context_of(case: Case) -> Context:
    installation = case.installation
    return Context(
        catalog=case.catalog,
        config_maps=case.seen.config_maps,
        auto_provisioning=installation.auto_provisioning,
        allow_hosts=installation.allow_hosts,
        allow_host_path=installation.allow_host_path,
    )


def predicted_gib(case: Case, pods: Sequence[Pod]) -> float:
    """What one card was expected to need, where a container of `pods` ran out of memory; else 0."""
    if not any(_ran_out(container) for pod in pods for container in pod.containers):
        return 0.0
    made, _ = order(case)
    return made.plan.estimate.total_gib if made and made.plan else 0.0


def _ran_out(container: Container) -> bool:
    code = Kind.OUT_OF_MEMORY.exit_code
    return container.reason == "OOMKilled" or container.exit_code == code


def _card(case: Case) -> Gpu | None:
    if case.installation.device == "cpu":
        return nodes.cpu_card(case.nodes, case.installation)
    return nodes.card(case.workspace, case.nodes, case.installation, case.catalog)
