"""YAML text from a user → plain values, or one Problem.

Everything the user writes in YAML comes through here: Workspaces, ConfigMaps, presets, training
configurations. Refuses what a parser would choke on: alias bombs, huge files, duplicate keys,
non-UTF-8. Imports PyYAML only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from presets.problem import Problem, printable, shown

# A Kubernetes object is at most 1.5 MiB (etcd's request limit): nothing larger is a manifest.
MAX_BYTES = 2 * 1024 * 1024
_MAX_ALIASES = 100
_MAX_DEPTH = 60
_MAX_DIGITS = 100


class _Refused(yaml.YAMLError):
    """A document that is valid YAML and still not wanted."""


class _Loader(yaml.SafeLoader):
    """SafeLoader that counts aliases and depth and refuses a key given twice."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._aliases = 0
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            self._aliases += 1
            if self._aliases > _MAX_ALIASES:
                raise _Refused(f"more than {_MAX_ALIASES} YAML aliases")
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise _Refused(f"nested deeper than {_MAX_DEPTH} levels")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            name = str(key.value)
            if isinstance(key, yaml.ScalarNode) and name in seen and name != "<<":
                line = key.start_mark.line + 1
                raise _Refused(f"line {line}: the key {shown(name)} is given twice")
            seen.add(name)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        # YAML 1.1 has numbers in base 60, 1:59:59…, and PyYAML's time for one is quadratic
        if len(str(node.value)) > _MAX_DIGITS:
            raise _Refused(f"a number of more than {_MAX_DIGITS} digits")
        return int(super().construct_yaml_int(node))


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def read_documents(text: str) -> tuple[list[Any], Problem | None]:
    """Every document of a YAML text, empty ones left out; or ([], the reason why not)."""
    if len(text) > MAX_BYTES:
        what = f"{len(text)} characters are too many for a manifest (at most {MAX_BYTES})"
        return [], Problem("", what, "put data elsewhere and name it by URL")
    try:
        documents = list(yaml.load_all(text, Loader=_Loader))
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as error:
        return [], Problem("", f"not valid YAML: {_one_line(error)}", "correct the file")
    return [d for d in documents if d is not None], None


def read_file(path: Path) -> tuple[list[Any], Problem | None]:
    """`read_documents` of a file."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        return read_documents(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return [], Problem("", f"not UTF-8 text (byte {error.start})", "save the file as UTF-8")
    except OSError as error:
        return [], Problem("", f"cannot be read: {error.strerror}", "check the path")


def _one_line(error: Exception) -> str:
    return printable(" ".join(str(error).split()))[:300]
