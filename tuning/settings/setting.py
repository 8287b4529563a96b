"""The settings of one configuration while it is being judged: values with path and source.

Passed from tuning/settings/read.py to tuning/settings/rules.py to tuning/config.py. Pure data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from presets.problem import Problem, Shape
from tuning.settings.names import SECTIONS

Source = Literal["user", "preset", "method", "default", "memory", "hardware"]
ROOT = "training_config"
_SPELLED = {ours: theirs for theirs, ours in SECTIONS.items()}


@dataclass(frozen=True, slots=True)
class Setting:
    """One value, where the user wrote it (in their spelling), and who chose it."""

    value: Any
    path: str
    source: Source


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings by dotted name ("training.max_length")."""

    by_name: Mapping[str, Setting]

    def get(self, name: str, default: Any = None) -> Any:
        """The value, or `default` when nobody set it."""
        setting = self.by_name.get(name)
        return default if setting is None else setting.value

    def is_user(self, name: str) -> bool:
        """Did the user write it?"""
        setting = self.by_name.get(name)
        return setting is not None and setting.source == "user"

    def path(self, name: str) -> str:
        """Where the user wrote it, or would write it."""
        setting = self.by_name.get(name)
        section, _, key = name.partition(".")
        return setting.path if setting else f"{ROOT}.{_SPELLED[section]}.{key}"

    def problem(self, name: str, what: str, do: str, shape: Shape = "invalid") -> Problem:
        """An error at a setting."""
        return Problem(self.path(name), what, do, shape)

    def warning(self, name: str, what: str, do: str = "") -> Problem:
        """Something to tell about a setting that refuses nothing."""
        return Problem(self.path(name), what, do, warning=True)

    def over(self, defaults: Settings) -> Settings:
        """These, and for the rest `defaults`."""
        return Settings({**defaults.by_name, **self.by_name})

    def without(self, *names: str) -> Settings:
        """All but `names`."""
        return Settings({n: s for n, s in self.by_name.items() if n not in names})

    def section(self, section: str) -> Iterator[tuple[str, Setting]]:
        """The settings of one section, by their own names."""
        for name, setting in self.by_name.items():
            head, _, key = name.partition(".")
            if head == section:
                yield key, setting
