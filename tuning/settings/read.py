"""The text of a training_config.yaml → its settings by today's names, and what is wrong with them.

Second of three steps: presets/text.py reads YAML, this file knows sections, keys and types,
tuning/settings/rules.py knows which settings fight. Says all problems at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from presets.problem import Problem, did_you_mean, nearest
from presets.text import read_documents
from tuning.settings import names
from tuning.settings.options import Option, installed
from tuning.settings.setting import ROOT, Setting, Settings, Source
from tuning.settings.values import WrongValue, coerce, said, vet

# No option and no section comes near these; what does is an attack or an accident.
_LONG = 80
_MANY = 400
_GO_TYPES = {"str": "string", "int": "int", "float": "float64", "list": "[]interface {}"}
_NO_MAP = "Expected 'training_config' key to contain a map"


def read(text: str, source: Source) -> tuple[Settings, tuple[Problem, ...]]:
    """Every setting that could be understood, and every problem (paths start "training_config")."""
    found: dict[str, Setting] = {}
    problems: list[Problem] = []
    sections, refusals = _sections(text)
    problems += refusals
    for section, keys in sections:
        for key, value in keys.items():
            setting, told = _entry(section, key, value, source)
            problems += told
            if setting is not None:
                problems += _twice(found, *setting)
                found.setdefault(*setting)
    return Settings(found), tuple(problems)


def _sections(text: str) -> tuple[list[tuple[str, Mapping[Any, Any]]], list[Problem]]:
    """The sections that are maps, by KAITO's names."""
    documents, refusal = read_documents(text)
    if refusal is not None:
        return [], [refusal.under(ROOT)]
    try:
        vet(documents)
    except WrongValue as error:
        return [], [Problem(ROOT, error.what, error.do)]
    if len(documents) != 1 or not isinstance(documents[0], dict):
        return [], [Problem(ROOT, _NO_MAP, "begin the text with training_config: and one map")]
    top = documents[0]
    body = top.get(ROOT)
    if not isinstance(body, dict):
        do = "put the sections under it"
        if any(section in top for section in names.SECTIONS):
            do = "put one line training_config: above the sections, and indent them"
        return [], [Problem(ROOT, _NO_MAP, do)]
    beside = [
        Problem(ROOT, f"the key {said(key)} beside it has no effect", "remove it", warning=True)
        for key in top
        if key != ROOT
    ]
    checked = [_section(name, keys) for name, keys in body.items()]
    good = [(section, keys) for section, keys, _ in checked if section is not None]
    return good, [*beside, *(problem for *_, problem in checked if problem is not None)]


def _section(name: Any, keys: Any) -> tuple[str | None, Mapping[Any, Any], Problem | None]:
    if not isinstance(name, str):
        return None, {}, Problem(ROOT, "Section key must be a string", "correct its name")
    path = _path(name)
    if name not in names.SECTIONS:
        do = did_you_mean(name[:_LONG], names.SECTIONS) or f"write {' or '.join(names.SECTIONS)}"
        return None, {}, Problem(path, f"Unrecognized section: {name[:_LONG]}", do)
    if keys is None:
        return name, {}, None
    if not isinstance(keys, dict):
        return None, {}, Problem(path, f"{said(keys)} is not a map", "write its keys below it")
    if len(keys) > _MANY:
        what = f"{len(keys)} keys are more than any section has"
        return None, {}, Problem(path, what, "remove those that are not options")
    return name, keys, None


def _entry(
    section: str, key: Any, value: Any, source: Source
) -> tuple[tuple[str, Setting] | None, list[Problem]]:
    """One key of a section → its dotted name and setting, if it is kept."""
    path = _path(section, key)
    if not isinstance(key, str):
        return None, [Problem(path, f"the key {said(key)} is not text", "correct its name")]
    told = _dropped(section, key, value, path)
    if told is not None:
        return None, told
    name = names.RENAMED.get(section, {}).get(key, key)
    option = options(section).get(name)
    if option is None:
        return None, [_unknown(section, key, path)]
    warnings = [_renamed(key, name, path)] if name != key else []
    if value is None:
        return None, warnings
    try:
        value = _value(key, name, value, option)
    except WrongValue as error:
        return None, [*warnings, Problem(path, error.what, error.do)]
    if value is None:
        return None, warnings
    dotted = f"{names.SECTIONS[section]}.{name}"
    return (dotted, Setting(value, path, source)), warnings


def options(section: str) -> Mapping[str, Option]:
    """The options that a section keeps, by today's names."""
    if section == "LoraConfig":
        return installed().lora
    if section == "TrainingArguments":
        return installed().training
    ours = {
        "ModelConfig": names.MODEL,
        "QuantizationConfig": names.QUANTIZATION,
        "DatasetConfig": names.DATASET,
    }
    return ours.get(section, {})


def known(section: str) -> set[str]:
    """Every key that a section may have, whatever becomes of it."""
    tables = (names.RENAMED, names.IGNORED, names.REFUSED)
    return {key for table in tables for key in table.get(section, ())} | set(options(section))


def _path(*parts: Any) -> str:
    return ".".join((ROOT, *(str(part)[:_LONG] for part in parts)))


def _dropped(section: str, key: str, value: Any, path: str) -> list[Problem] | None:
    """What to tell about a key that is not kept; None for one that is."""
    refused = names.REFUSED.get(section, {}).get(key)
    ignored = names.IGNORED.get(section, {}).get(key)
    if refused is None and ignored is None:
        return None
    if _says_nothing(section, key, value):
        return []
    if refused is not None:
        return [Problem(path, f"{said(value)} is not supported", refused)]
    if key in names.SECRET:
        do = "remove it: a ConfigMap is no place for a secret"
        return [Problem(path, f"is ignored: {ignored}", do, warning=True)]
    return [Problem(path, f"{said(value)} is ignored: {ignored}", warning=True)]


def _says_nothing(section: str, key: str, value: Any) -> bool:
    """Is the value what holds anyway?"""
    if value in (None, "", [], {}) or value is False:
        return key not in ("completion_only_loss", "remove_unused_columns") or value is None
    option = options(section).get(key) or installed().quantization.get(key)
    by_default = (option.default,) if option and option.default is not None else ()
    silent = (*names.SILENT.get(section, {}).get(key, ()), *by_default)
    return any(type(value) is type(said) and value == said for said in silent)


def _unknown(section: str, key: str, path: str) -> Problem:
    what = f"{section} has no key {said(key)}"
    others = [other for other in names.SECTIONS if other != section]
    for other in others:
        if key in known(other):
            return Problem(path, what, f"move it to the section {other}")
    meant = names.MEANT.get(key.lower())
    if meant:
        home = next(name for name in (section, *others) if meant in options(name))
        return Problem(path, what, f"write {meant} in the section {home}")
    here = did_you_mean(key[:_LONG], known(section))
    if here:
        return Problem(path, what, here)
    for other in others:
        close = nearest(key[:_LONG], known(other))
        if close:
            return Problem(path, what, f'did you mean "{close}" in the section {other}?')
    return Problem(path, what, "remove it")


def _renamed(key: str, name: str, path: str) -> Problem:
    return Problem(path, f"is read as {name}, its name today", f"write {name}", warning=True)


def _value(key: str, name: str, value: Any, option: Option) -> Any:
    """A value in today's words; None when it says nothing. Raises WrongValue."""
    if name.startswith("load_in_") and not isinstance(value, bool):
        kind = _GO_TYPES.get(type(value).__name__, "map[interface {}]interface {}")
        what = f"value must be either nil or a boolean, got type {kind}"
        raise WrongValue(what, "write true or false, without quotes")
    if isinstance(value, str):
        value = _word(name, value)
    value = coerce(value, names.OLD_OPTIONS.get(key, option))
    if key == "group_by_length":
        return "group_by_length" if value else None
    return None if name.endswith("dtype") and value == "auto" else value


def _word(name: str, text: str) -> str:
    """A text in today's spelling."""
    if name.endswith("dtype"):
        bare = text.removeprefix("torch.")
        return names.DTYPE_WORDS.get(bare, bare)
    if name == "dataset_extension":
        return text.removeprefix(".")
    return names.VALUES.get(name, {}).get(text, text)


def _twice(found: Mapping[str, Setting], name: str, setting: Setting) -> Iterator[Problem]:
    """An old and a new name for one option may not differ."""
    first = found.get(name)
    if first is not None and first.value != setting.value:
        what = f"{said(setting.value)} differs from {said(first.value)} at {first.path}"
        yield Problem(setting.path, what, "they are one option: keep one of them")
