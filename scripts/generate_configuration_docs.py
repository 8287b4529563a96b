"""Rewrites the tables of docs/configuration.md from what tuning/ really does.

Run it after changing tuning/settings/names.py or a preset: `python
scripts/generate_configuration_docs.py`. A test makes the tables again and compares.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from tuning.config import TrainingConfig, parse
from tuning.settings import names

TARGET = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"
_BLOCK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    heads = list(head)
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def defaults() -> str:
    """What `lora` and `qlora` mean when nothing is said."""
    configs = [config for config, _ in (parse(None, "lora"), parse(None, "qlora")) if config]
    rows = []
    for path, source in configs[1].sources.items():
        values = [_value(config, path) for config in configs]
        if source in ("method", "default") and values[1] is not None:
            rows.append([f"`{path}`", *(f"`{_yaml(value)}`" for value in values)])
    return table(("setting", "lora", "qlora"), rows)


def _value(config: TrainingConfig, path: str) -> object:
    section, _, key = path.partition(".")
    owner = getattr(config, section)
    if not key:
        return owner
    return owner.get(key) if isinstance(owner, Mapping) else getattr(owner, key)


def _yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def renamed() -> str:
    """Old names and today's."""
    rows = [
        [section, f"`{old}`", f"`{new}`"]
        for section, table_ in names.RENAMED.items()
        for old, new in table_.items()
    ]
    return table(("section", "you write", "it is read as"), rows)


def refused() -> str:
    """Keys that end in an error, and what to do."""
    return _by_reason(names.REFUSED, "instead")


def ignored() -> str:
    """Keys without effect, and why."""
    return _by_reason(names.IGNORED, "because")


def _by_reason(tables: Mapping[str, Mapping[str, str]], head: str) -> str:
    rows = []
    for section, reasons in tables.items():
        keys = defaultdict(list)
        for key, reason in reasons.items():
            keys[reason].append(f"`{key}`")
        rows += [[section, ", ".join(found), reason] for reason, found in keys.items()]
    return table(("section", "keys", head), rows)


def rewritten(text: str) -> str:
    """The page with every table as it should be."""
    tables = {f.__name__: f for f in (defaults, renamed, refused, ignored)}
    return _BLOCK.sub(lambda block: f"{block[1]}{tables[block[2]]()}{block[3]}", text)


if __name__ == "__main__":
    TARGET.write_text(rewritten(TARGET.read_text("utf-8")))
