"""Catalog files → Catalog: the shipped ones, then users' own of the same form, which win.

A catalog file has up to four sections: architectures, models, cards, instances. docs/presets.md
tells users how to write one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from presets import text
from presets.architecture import Architecture
from presets.catalog import Catalog, Gpu, Preset
from presets.problem import Problem, did_you_mean, printable, shown
from presets.rows import AMOUNT, COUNT, FLAG, TEXT, TEXTS, Field, Reader, must

_HERE = Path(__file__).parent
_SHIPPED = ("models.yaml", "gpus.yaml")

_SECTIONS = {
    "architectures": Field("a set of keys", lambda _: True),
    "models": Field("a list", lambda _: True),
    "cards": Field("a set of keys", lambda _: True),
    "instances": Field("a list", lambda _: True),
}
_NUMBERS = ("layers", "hidden", "heads", "kv_heads", "head_dim", "ffn", "vocab", "context")
_ARCHITECTURE = {
    "model_type": must(TEXT),
    **{name: must(COUNT) for name in _NUMBERS},
    "tied": must(FLAG),
    "experts": COUNT,
}
_MODEL = {
    "name": must(TEXT),
    "id": must(TEXT),
    "aliases": TEXTS,
    "revision": TEXT,
    "licence": TEXT,
    "gated": FLAG,
    "architecture": Field("a name or a set of keys", lambda v: isinstance(v, str | Mapping)),
    "context": COUNT,
    "lora_targets": TEXTS,
    "chat_template": TEXT,
    "weights_image": TEXT,
    "tuning": FLAG,
    "why": TEXT,
}
_CARD = {"gib": must(AMOUNT), "architecture": must(TEXT), "bf16": must(FLAG), "cuda": FLAG}
_INSTANCE = {
    "sku": must(TEXT),
    "cloud": must(TEXT),
    "card": must(TEXT),
    "count": must(COUNT),
    "price_usd_per_hour": AMOUNT,
}


class PresetError(ValueError):
    """Users' catalog files cannot be used; every problem of every file."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(p.line() for p in problems))
        self.problems = problems


@dataclass(slots=True)
class _Tables:
    """What files may refer to by name."""

    architectures: dict[str, dict[str, Any]] = field(default_factory=dict)
    cards: dict[str, dict[str, Any]] = field(default_factory=dict)


def load(extra: Sequence[Path] = ()) -> Catalog:
    """The shipped catalog plus users' files of the same form (theirs win).

    Raises PresetError with all problems of all extra files.
    """
    tables, reader = _Tables(), Reader()
    shipped = [_catalog(_shipped(name), name, tables, reader) for name in _SHIPPED]
    users = [_user_file(path, tables, reader) for path in extra]
    _no_name_twice(users, reader)
    if reader.problems:
        raise PresetError(tuple(reader.problems))
    files = [*reversed(users), *shipped]
    return Catalog(_presets(files), _gpus(files))


def _shipped(name: str) -> Any:
    # libyaml where PyYAML has it: six times faster, and every start of the command line pays.
    loader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load((_HERE / name).read_bytes(), Loader=loader)  # noqa: S506 a SafeLoader


def _user_file(path: Path, tables: _Tables, reader: Reader) -> Catalog:
    documents, problem = text.read_file(path)
    where = printable(str(path))
    if problem is None and len(documents) != 1:
        what = f"{len(documents)} YAML documents where one is expected"
        problem = Problem("", what, "keep one document in the file")
    if problem is not None:
        reader.problems.append(Problem(where, problem.what, problem.do))
        return Catalog((), ())
    return _catalog(documents[0], where, tables, reader)


def _catalog(document: Any, where: str, tables: _Tables, reader: Reader) -> Catalog:
    sections = reader.row(document, where, _SECTIONS) or {}
    for key, row in reader.section(
        sections.get("architectures"), f"{where}: architectures", dict
    ).items():
        numbers = reader.row(row, f"{where}: architectures.{printable(str(key))}", _ARCHITECTURE)
        tables.architectures[str(key)] = numbers or {}
    for key, row in reader.section(sections.get("cards"), f"{where}: cards", dict).items():
        card = reader.row(row, f"{where}: cards.{printable(str(key))}", _CARD)
        tables.cards[str(key)] = card or {}
    models = reader.section(sections.get("models"), f"{where}: models", list)
    instances = reader.section(sections.get("instances"), f"{where}: instances", list)
    presets = [
        _preset(row, f"{where}: models[{i}]", tables, reader) for i, row in enumerate(models)
    ]
    gpus = [
        _gpu(row, f"{where}: instances[{i}]", tables, reader) for i, row in enumerate(instances)
    ]
    return Catalog(tuple(p for p in presets if p), tuple(g for g in gpus if g))


def _preset(row: Any, path: str, tables: _Tables, reader: Reader) -> Preset | None:
    values = reader.row(row, path, _MODEL)
    if values is None:
        return None
    architecture = _architecture(values, path, tables, reader)
    plain = {k: v for k, v in values.items() if k not in ("architecture", "context")}
    for key in ("aliases", "lora_targets"):
        plain[key] = tuple(plain.get(key, ()))
    return Preset(**plain, architecture=architecture)


def _architecture(
    values: Mapping[str, Any], path: str, tables: _Tables, reader: Reader
) -> Architecture | None:
    given = values.get("architecture")
    if given is None:
        return None
    if isinstance(given, str):
        numbers = _named(given, tables.architectures, f"{path}.architecture", reader)
    else:
        numbers = reader.row(given, f"{path}.architecture", _ARCHITECTURE)
    if not numbers:
        return None
    return Architecture(**{**numbers, "context": values.get("context", numbers["context"])})


def _gpu(row: Any, path: str, tables: _Tables, reader: Reader) -> Gpu | None:
    values = reader.row(row, path, _INSTANCE)
    card = _named(values["card"], tables.cards, f"{path}.card", reader) if values else None
    if not values or not card:
        return None
    facts = {("gib_per_gpu" if k == "gib" else k): v for k, v in card.items()}
    return Gpu(**values, **facts)


def _named(
    name: str, table: Mapping[str, dict[str, Any]], path: str, reader: Reader
) -> dict[str, Any] | None:
    """The row of that name; an empty one was already told to be wrong."""
    if name not in table:
        hint = did_you_mean(name, table) or f"known are {', '.join(sorted(table))}"
        reader.problems.append(Problem(path, f"unknown name {shown(name)}", hint))
    return table.get(name)


def _no_name_twice(users: Iterable[Catalog], reader: Reader) -> None:
    """Within users' files a name means one thing; over a shipped one it wins."""
    seen: set[str] = set()
    for catalog in users:
        for preset in catalog.presets:
            names = {n.lower() for n in (preset.name, preset.id, *preset.aliases)}
            _once(names, seen, "models", reader)
        for gpu in catalog.gpus:
            _once({gpu.sku.lower()}, seen, "instances", reader)


def _once(names: set[str], seen: set[str], section: str, reader: Reader) -> None:
    for name in sorted(names & seen):
        reader.problems.append(Problem(section, f"{shown(name)} is given twice", "remove one"))
    seen |= names


def _presets(files: Sequence[Catalog]) -> tuple[Preset, ...]:
    """Earlier files win: a preset of the same name or id hides later ones."""
    chosen: dict[str, Preset] = {}
    ids: set[str] = set()
    for catalog in files:
        for preset in catalog.presets:
            if preset.name.lower() not in chosen and preset.id.lower() not in ids:
                chosen[preset.name.lower()] = preset
        ids |= {p.id.lower() for p in catalog.presets}
    return tuple(chosen.values())


def _gpus(files: Sequence[Catalog]) -> tuple[Gpu, ...]:
    chosen: dict[str, Gpu] = {}
    for catalog in files:
        for gpu in catalog.gpus:
            chosen.setdefault(gpu.sku.lower(), gpu)
    return tuple(chosen.values())
