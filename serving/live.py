"""`live`: the adapters of the plan, in the server that runs, for as long as the pod lives.

The word of a serving pod's sidecar, beside vLLM. Level-triggered: it looks at the plan (a ConfigMap
that the operator writes anew) and at what the server has, loads what is missing, has it answer one
token, and only then says that clients' names mean it (serving/chat/live.py). Each version of an
adapter is loaded under a name and from a folder of its own that are never used for another: vLLM
answers from stale prefix caches otherwise, and its `load_inplace` reads the files again at every
step of every request that follows. A server that was started again has nothing, and gets all of it.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from serving import base as bases
from serving import examine, plan, ready
from serving.base import Base
from serving.examine import Examined, Note
from serving.lastwords import AdapterWords, ServeWords
from serving.plan import LIVE_STATE, MODEL_LINK, REVISION, VLLM_CONFIG, ServePlan
from serving.ready import Served
from serving.runtime import Away, Server
from tuning.failure import Failure, Kind

_LOOK_S = 1.0
"""The plan is one stat away. A folder tells no process that it has changed without inotify, which
Python lacks; and whether the server lives has to be asked anyway."""
_AGAIN_S = 30.0
"""What could not be fetched is tried again this often: registries come back, Secrets are mended."""
_LINGER_S = 30.0
"""A replaced version stays so long: whoever was told its name has asked by then."""
_VERSION_DIGITS = 12

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the plan asks for, fetched and checked."""

    plan: ServePlan
    examined: Examined
    restart: str | None
    failure: str | None = None
    """Why nothing of it could be done."""

    @property
    def passes(self) -> bool:
        """Something is wrong that may pass: not an adapter that was fetched and does not fit."""
        bad = (one for one in self.examined.words if one.sentence)
        return bool(self.failure) or any(one.kind != examine.BAD_ADAPTER for one in bad)


class Live:
    """`look` again and again."""

    def __init__(
        self, path: Path, server: Server, note: Note, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._server = server
        self._note = note
        self._clock = clock
        self._read_as: tuple[int, int] | None = None
        self._again_at = float("inf")
        self._wanted: Wanted | None = None
        self._refused: dict[str, str] = {}
        """Versions that the server would not load, in its present life."""
        self._told: dict[str, Any] | None = None
        self._unused_since: dict[str, float] = {}

    def look(self) -> float:
        """Make the server have what is wanted; when to look again, in seconds."""
        wanted = self._current()
        if wanted is None:
            return _LOOK_S
        try:
            has = self._server.versions()
            names = self._names(wanted, has)
            self._tell(wanted, names)
            self._unload(has, names)
        except Away as away:
            if self._told is not None:
                self._note(f"the server does not answer ({away})")
            # It may only be busy, so its names stay. They are told again when it answers: one that
            # was started meanwhile is ready by that (serving/chat/readiness.py).
            self._refused, self._told, self._unused_since = {}, None, {}
        return _LOOK_S

    def _current(self) -> Wanted | None:
        """What the plan asks for; it is read again when it is another one, or when it is time."""
        found = self._path.stat()
        read_as = (found.st_mtime_ns, found.st_ino)
        if read_as != self._read_as or self._clock() >= self._again_at:
            self._wanted = self._examined()
            self._read_as, self._refused = read_as, {}
            again = self._wanted is None or self._wanted.passes
            self._again_at = self._clock() + _AGAIN_S if again else float("inf")
        return self._wanted

    def _examined(self) -> Wanted | None:
        """Keeps the one before when this one cannot be read: only another pod can."""
        try:
            wanted = plan.read(self._path)
        except Failure as failure:
            self._note(f"{failure.sentence}; another pod is needed")
            return _unread(self._wanted, self._path)
        places = wanted.places
        try:
            base = _base(wanted)
            found = examine.examine(wanted, base, self._note)
            examine.forget(wanted, wanted.adapters)
        except (Failure, OSError) as error:
            self._note(f"the adapters cannot be prepared: {error}")
            before = self._wanted.examined if self._wanted else Examined((), ())
            return Wanted(wanted, before, None, failure=str(error))
        flags = yaml.safe_load((Path(places.ready) / VLLM_CONFIG).read_text(encoding="utf-8"))
        restart = ready.restart_for(flags, found.served)
        if restart is not None:
            self._note(f"{restart}: another pod is needed")
        return Wanted(wanted, found, restart)

    def _names(self, wanted: Wanted, has: frozenset[str]) -> dict[str, str]:
        """What clients write → what the server knows it as; missing versions are loaded."""
        before = self._known_names(wanted, has)
        if wanted.restart or wanted.failure:
            return before
        names = {}
        for one in wanted.examined.served:
            version = _version(one)
            if version not in has and version not in self._refused:
                self._load(one, version)
            if version not in self._refused:
                names[one.name] = version
            elif one.name in before:
                names[one.name] = before[one.name]
        # What could not be fetched just now goes on as it was.
        asked = {one.name for one in wanted.plan.adapters}
        bad = {one.name for one in wanted.examined.words if one.sentence}
        return {**{n: v for n, v in before.items() if n in asked & bad}, **names}

    def _load(self, one: Served, version: str) -> None:
        sentence = self._server.load(version, one.folder)
        if sentence is None:
            self._note(f"adapter {one.name} is loaded as {version}")
            self._told = None
        else:
            self._note(f"adapter {one.name} cannot be loaded: {sentence}")
            self._refused[version] = sentence

    def _known_names(self, wanted: Wanted, has: frozenset[str]) -> dict[str, str]:
        """As they were told last, as far as the server still has them."""
        names: Mapping[str, str] = self._before(wanted.plan).get("names", {})
        return {name: version for name, version in names.items() if version in has}

    def _before(self, settings: ServePlan) -> Mapping[str, Any]:
        """What was told last, by this process or by the one before it."""
        return self._told or _object_in(_state_file(settings))

    def _tell(self, wanted: Wanted, names: dict[str, str]) -> None:
        state = _state_file(wanted.plan)
        told = {
            "model": ready.chat_model(wanted.plan, list(names)),
            "names": names,
            "words": self._words(wanted, names).model_dump(mode="json", exclude_none=True),
        }
        if told == self._told:
            return
        part = state.with_name(f".{state.name}.part")
        part.write_text(json.dumps(told), encoding="utf-8")
        part.rename(state)
        self._told = told

    def _words(self, wanted: Wanted, names: Mapping[str, str]) -> ServeWords:
        found, settings = wanted.examined, wanted.plan
        adapters = tuple(self._adapter_words(one, found) for one in found.words)
        if wanted.restart:
            adapters = self._adapters_before(settings)
        return ServeWords(
            state="failed" if wanted.failure else "done",
            kind=Kind.UNAVAILABLE.reason if wanted.failure else None,
            sentence=wanted.failure,
            warning=examine.template_warning(found.served),
            models=tuple(dict.fromkeys([settings.model.name, *names])),
            adapters=adapters,
            adapter_set=settings.adapter_set,
            restart=wanted.restart,
        )

    def _adapters_before(self, settings: ServePlan) -> tuple[AdapterWords, ...]:
        """What goes on while another pod is waited for."""
        return ServeWords(**self._before(settings).get("words", {})).adapters

    def _adapter_words(self, one: AdapterWords, found: Examined) -> AdapterWords:
        served = next((s for s in found.served if s.name == one.name), None)
        refused = self._refused.get(_version(served)) if served else None
        if refused is None:
            return one
        sentence = f"adapter {one.name}: {refused}"
        return one.model_copy(update={"kind": examine.BAD_ADAPTER, "sentence": sentence})

    def _unload(self, has: frozenset[str], names: Mapping[str, str]) -> None:
        """Versions that no name means any more, once nobody can still be about to ask them."""
        unused = {one for one in has if "@" in one} - set(names.values())
        now = self._clock()
        self._unused_since = {one: self._unused_since.get(one, now) for one in unused}
        for one, since in self._unused_since.items():
            if now - since >= _LINGER_S:
                self._server.unload(one)
                self._note(f"{one} is unloaded")


def _state_file(settings: ServePlan) -> Path:
    return Path(settings.places.adapters) / LIVE_STATE


def _version(one: Served) -> str:
    """The name that the server knows this very content by."""
    return f"{one.name}@{one.folder.parent.name[:_VERSION_DIGITS]}"


def _base(wanted: ServePlan) -> Base:
    """The base that `prepare` has found."""
    place = Path(wanted.places.ready)
    revision = (place / REVISION).read_text(encoding="utf-8") or None
    return bases.read(wanted.model, (place / MODEL_LINK).resolve(), revision)


def _unread(before: Wanted | None, path: Path) -> Wanted | None:
    """The plan of another Tunery: what was served goes on, and it says for which set it cannot."""
    if before is None:
        return None
    named = str(_object_in(path).get("adapter_set", ""))
    plan_before = before.plan.model_copy(update={"adapter_set": named})
    why = "this pod's version of Tunery cannot read what another one wrote"
    return replace(before, plan=plan_before, restart=why)


def _object_in(path: Path) -> Mapping[str, Any]:
    """The JSON object in a file; an empty one where there is none."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
