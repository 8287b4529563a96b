"""`prepare`: everything that a server would find out too late, or never.

The word of a serving pod's init container: the base's files, every adapter fetched, checked against
the base and composed with its strength, and what the server reads at its start. A bad adapter is
named and left out; the others are served. Imports no torch.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from presets.problem import Problem, errors
from serving import adapter as adapters
from serving import base as bases
from serving import compose, ready
from serving.adapter import Adapter
from serving.base import Base
from serving.check import TRANSFORMERS, VLLM, Limits, check
from serving.compose import Weighted
from serving.lastwords import AdapterWords, ServeWords
from serving.obtain import client, obtain
from serving.plan import AdapterPlan, ServePlan
from serving.ready import Served
from tuning import weights
from tuning.failure import Failure, Kind
from tuning.images.registry import Registry
from tuning.run import BaseModelSource

Note = Callable[[str], None]

BAD_ADAPTER = "BadAdapter"
"""The kind of an adapter that was fetched and does not fit."""
_INCOMING = ".incoming"
_ATTEMPTS = ".attempts"
_MOST_ATTEMPTS = 3
"""So often the pod is started again for a registry that does not answer."""


@dataclass(frozen=True, slots=True)
class Good:
    """An adapter that is served, and what there is to tell about it."""

    part: Weighted
    digest: str | None
    warnings: tuple[Problem, ...]


def prepare(plan: ServePlan, note: Note) -> ServeWords:
    """Fetch, check, compose and write; says what is served. Raises Failure when nothing can be.

    Raises Failure (UNAVAILABLE) also when an adapter could not be fetched for now, a few times: the
    kubelet starts the init container again.
    """
    model = plan.model
    source = BaseModelSource(id=model.id, revision=model.revision, path=model.path)
    token = plan.places.hub_token
    found = weights.fetch(source, Path(plan.places.model), token, note, field="inference")
    base = bases.read(model, found.folder, found.revision)
    limits = _limits(plan)
    good, bad = _examined(plan, base, limits, note)
    _again_if_unavailable(plan, bad)
    served, unfit = _served(plan, good, base, limits)
    ready.write(plan, found.folder, served)
    shutil.rmtree(Path(plan.places.adapters) / _INCOMING, ignore_errors=True)
    told = {one.name: one for one in (*map(_words, good), *bad, *unfit)}
    # With transformers all parts of the one model are names of it.
    one_model = plan.runtime == "transformers"
    names = [model.name, *(n for one in served for n in (one.parts if one_model else [one.name]))]
    return ServeWords(
        state="done",
        revision=found.revision,
        warning=_template_warning(served),
        models=tuple(dict.fromkeys(names)),
        adapters=tuple(told.values()),
    )


def _limits(plan: ServePlan) -> Limits:
    """The runtime's, or lower ones of the user's."""
    if plan.runtime == "transformers":
        return TRANSFORMERS
    chosen = plan.user_flags.get("max-lora-rank")
    return Limits("vLLM", chosen) if isinstance(chosen, int) else VLLM


def _examined(
    plan: ServePlan, base: Base, limits: Limits, note: Note
) -> tuple[list[Good], list[AdapterWords]]:
    incoming = Path(plan.places.adapters) / _INCOMING
    shutil.rmtree(incoming, ignore_errors=True)
    incoming.mkdir(parents=True)
    registry = client(plan.places)
    good: list[Good] = []
    bad: list[AdapterWords] = []
    for number, one in enumerate(plan.adapters):
        folder = incoming / str(number)
        result = _examine(one, folder, plan, base, limits, registry)
        if isinstance(result, Good):
            note(f"adapter {one.name} is good (rank {result.part.adapter.rank})")
            good.append(result)
        else:
            note(f"adapter {one.name} is not served: {result.sentence}")
            bad.append(result)
    return good, bad


def _examine(
    one: AdapterPlan, folder: Path, plan: ServePlan, base: Base, limits: Limits, registry: Registry
) -> Good | AdapterWords:
    """One adapter, fetched and checked; what is wrong with it is an answer, not an exception."""
    try:
        digest = obtain(one, folder, registry)
    except Failure as failure:
        sentence = f"adapter {one.name}: {failure.sentence}"
        return AdapterWords(name=one.name, kind=failure.kind.reason, sentence=sentence)
    read, unreadable = adapters.read(one.name, folder)
    problems = (*_name_problems(one, plan), *unreadable)
    if read is not None:
        problems += check(read, base, limits)
    if read is None or errors(problems):
        return _refused(one.name, errors(problems), digest)
    return Good(Weighted(read, one.strength), digest, problems)


def _name_problems(one: AdapterPlan, plan: ServePlan) -> Iterator[Problem]:
    """Clients choose by name, so a name means one thing."""
    others = [plan.model.name, *([plan.together] if plan.together else [])]
    if plan.runtime == "vllm" and one.name in others:
        what = "has the name of a model that is served already"
        yield adapters.about(one.name, what, "give it another name")


def _served(
    plan: ServePlan, good: Sequence[Good], base: Base, limits: Limits
) -> tuple[list[Served], list[AdapterWords]]:
    """What the server is given, by runtime: vLLM each by its name, transformers all as one."""
    parts = [one.part for one in good]
    groups: dict[str, list[Weighted]] = {}
    if plan.runtime == "vllm":
        groups = {part.adapter.name: [part] for part in parts}
    together = plan.together if plan.runtime == "vllm" else plan.model.name
    if together and parts:
        groups[together] = parts
    served, unfit = [], []
    for name, group in groups.items():
        problems = tuple(compose.problems(name, group, limits))
        if problems:
            unfit.append(_refused(name, problems, None))
        else:
            served.append(_placed(plan, name, group, base))
    return served, unfit


def _placed(plan: ServePlan, name: str, parts: Sequence[Weighted], base: Base) -> Served:
    """`<adapters>/<digest>/<name>`: what is there already has the same content."""
    folder = Path(plan.places.adapters) / compose.digest(parts) / _folder_name(name)
    if not folder.is_dir():
        part = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        compose.write(parts, base.id, part)
        part.rename(folder)
    names = tuple(part.adapter.name for part in parts)
    return Served(name, folder, compose.rank(parts), compose.template_of(parts), names)


def _template_warning(served: Sequence[Served]) -> str | None:
    """A server has one chat template for all that it serves."""
    own = [one.name for one in served if one.template is not None]
    if not own or ready.template_of(served) is not None:
        return None
    what = f"the chat template that {adapters.some(own)} was trained with is not used"
    return f"{what}: others need another; serve it in a Workspace of its own"


def _folder_name(name: str) -> str:
    """A model's name may be `org/name`."""
    return name.replace("/", "--")


def _refused(name: str, problems: Sequence[Problem], digest: str | None) -> AdapterWords:
    sentence = ". ".join(problem.line() for problem in problems)
    return AdapterWords(name=name, kind=BAD_ADAPTER, sentence=sentence, digest=digest)


def _words(good: Good) -> AdapterWords:
    adapter: Adapter = good.part.adapter
    warning = ". ".join(problem.line() for problem in good.warnings) or None
    return AdapterWords(name=adapter.name, digest=good.digest, rank=adapter.rank, warning=warning)


def _again_if_unavailable(plan: ServePlan, bad: Sequence[AdapterWords]) -> None:
    """Raises Failure (UNAVAILABLE) the first few times that an adapter is out of reach."""
    away = [one for one in bad if one.kind == Kind.UNAVAILABLE.reason]
    if not away:
        return
    counter = Path(plan.places.adapters) / _ATTEMPTS
    attempt = 1
    with contextlib.suppress(OSError, ValueError):  # absent at the first attempt
        attempt = int(counter.read_text()) + 1
    counter.write_text(f"{attempt}\n")
    if attempt < _MOST_ATTEMPTS:
        raise Failure(Kind.UNAVAILABLE, away[0].sentence or "")
