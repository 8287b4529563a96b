"""Adapters of a plan → what a server may be given, and why it is not given the others.

The middle of `prepare`, and of serving/live.py while the server runs: each adapter is fetched,
checked against the base and composed with its strength. A bad one is an answer, not an exception.
Imports no torch.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from presets.problem import Problem, errors
from serving import adapter as adapters
from serving import compose
from serving.adapter import Adapter
from serving.base import Base
from serving.check import TRANSFORMERS, VLLM, Limits, check
from serving.compose import Weighted
from serving.lastwords import AdapterWords
from serving.obtain import client, obtain
from serving.plan import AdapterPlan, ServePlan
from serving.ready import Served, template_of
from tuning.failure import Failure, Kind
from tuning.images.registry import Registry

Note = Callable[[str], None]

BAD_ADAPTER = "BadAdapter"
"""The kind of an adapter that was fetched and does not fit."""
_INCOMING = ".incoming"
_DIGEST = "digest"


@dataclass(frozen=True, slots=True)
class Good:
    """An adapter that is served, and what there is to tell about it."""

    part: Weighted
    plan: AdapterPlan
    digest: str | None
    warnings: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Examined:
    """What a server is given, and what there is to say of each adapter."""

    served: tuple[Served, ...]
    words: tuple[AdapterWords, ...]


def examine(plan: ServePlan, base: Base, note: Note) -> Examined:
    """Fetch, check and compose all adapters of the plan. Raises OSError when there is no room.

    What was fetched before, for this plan or another, is not fetched again: `forget` removes it.
    """
    limits, registry = _limits(plan), client(plan.places)
    incoming = _incoming(plan)
    incoming.mkdir(parents=True, exist_ok=True)
    good: list[Good] = []
    bad: list[AdapterWords] = []
    for one in plan.adapters:
        result = _examine(one, incoming / one.source(), plan, base, limits, registry)
        if isinstance(result, Good):
            note(f"adapter {one.name} is good (rank {result.part.adapter.rank})")
            good.append(result)
        else:
            note(f"adapter {one.name} is not served: {result.sentence}")
            bad.append(result)
    served, unfit = _served(plan, good, base, limits)
    told = {one.name: one for one in (*map(_words, good), *bad, *unfit)}
    asked = {one.name: one.asked() for one in plan.adapters if plan.live}
    words = (one.model_copy(update={"asked": asked.get(one.name)}) for one in told.values())
    return Examined(tuple(served), tuple(words))


def forget(plan: ServePlan, kept: Sequence[AdapterPlan] = ()) -> None:
    """Remove what was fetched, but for these; what is served stands elsewhere."""
    names = {one.source() for one in kept}
    incoming = _incoming(plan)
    if not names:
        shutil.rmtree(incoming, ignore_errors=True)
    for folder in incoming.iterdir() if incoming.is_dir() else ():
        if folder.name not in names:
            shutil.rmtree(folder, ignore_errors=True)


def names(plan: ServePlan, served: Sequence[Served]) -> tuple[str, ...]:
    """What clients may write as `model`; with transformers every part is a name of the one."""
    one_model = plan.runtime == "transformers"
    parts = (name for one in served for name in (one.parts if one_model else [one.name]))
    return tuple(dict.fromkeys([plan.model.name, *parts]))


def template_warning(served: Sequence[Served]) -> str | None:
    """A server has one chat template for all that it serves."""
    own = [one.name for one in served if one.template is not None]
    if not own or template_of(served) is not None:
        return None
    what = f"the chat template that {adapters.some(own)} was trained with is not used"
    return f"{what}: others need another; serve it in a Workspace of its own"


def _incoming(plan: ServePlan) -> Path:
    return Path(plan.places.adapters) / _INCOMING


def _limits(plan: ServePlan) -> Limits:
    """The runtime's, or lower ones of the user's."""
    if plan.runtime == "transformers":
        return TRANSFORMERS
    chosen = plan.user_flags.get("max-lora-rank")
    return Limits("vLLM", chosen) if isinstance(chosen, int) else VLLM


def _examine(
    one: AdapterPlan, place: Path, plan: ServePlan, base: Base, limits: Limits, registry: Registry
) -> Good | AdapterWords:
    """One adapter, fetched and checked."""
    try:
        folder, digest = _obtained(one, place, registry)
    except Failure as failure:
        sentence = f"adapter {one.name}: {failure.sentence}"
        if one.image and failure.kind is Kind.NO_ACCESS:
            sentence += "; its imagePullSecrets name the Secrets that are used"
        return AdapterWords(name=one.name, kind=failure.kind.reason, sentence=sentence)
    read, unreadable = adapters.read(one.name, folder)
    problems = (*_name_problems(one, plan), *unreadable)
    if read is not None:
        problems += check(read, base, limits)
    if read is None or errors(problems):
        return _refused(one.name, errors(problems), digest)
    return Good(Weighted(read, one.strength), one, digest, problems)


def _obtained(one: AdapterPlan, place: Path, registry: Registry) -> tuple[Path, str | None]:
    """Its files and, of an image, the digest. The digest is written last: then all is there."""
    folder, note = place / "data", place / _DIGEST
    if not note.is_file():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        digest = obtain(one, folder, registry)
        note.write_text(digest or "")
    return folder, note.read_text() or None


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
