"""The generated data file is what the installed libraries say, and the tables speak of it."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from types import ModuleType

import pytest

from tuning.settings import names
from tuning.settings.options import installed
from tuning.settings.read import known, options

ROOT = Path(__file__).parents[2]


def generator() -> ModuleType:
    path = ROOT / "scripts" / "generate_options.py"
    spec = importlib.util.spec_from_file_location("generate_options", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_committed_file_is_what_the_installed_libraries_say() -> None:
    module = generator()
    with warnings.catch_warnings():
        # deprecations of options that are only looked at here
        warnings.simplefilter("ignore")
        text = module.generate()
    assert (ROOT / "tuning" / "settings" / "options.json").read_text("utf-8") == text, (
        "run: python scripts/generate_options.py"
    )


def test_the_options_that_everybody_uses_are_there() -> None:
    training, lora = installed().training, installed().lora
    assert training["learning_rate"].types == ("float",)
    assert training["eval_strategy"].choices == ("no", "steps", "epoch")
    assert "cosine" in training["lr_scheduler_type"].choices
    assert set(training["lr_scheduler_type"].choices) == set(installed().schedulers)
    assert lora["r"].types == ("int",)
    assert lora["bias"].choices == ("none", "all", "lora_only")


def test_names_of_today_exist_today() -> None:
    for section, table in names.RENAMED.items():
        for new in table.values():
            assert new in options(section), new


def test_no_option_that_lives_is_told_to_be_gone() -> None:
    gone = [
        key for key, why in names.IGNORED["TrainingArguments"].items() if "no longer has it" in why
    ]
    assert gone and not set(gone) & set(installed().training)


@pytest.mark.parametrize("section", names.SECTIONS)
def test_a_key_is_in_one_table_only(section: str) -> None:
    tables = [t.get(section, {}) for t in (names.RENAMED, names.IGNORED, names.REFUSED)]
    keys = [key for table in tables for key in table]
    assert len(keys) == len(set(keys))
    assert set(keys) <= known(section)


def test_every_option_of_a_librarys_own_class_is_dealt_with() -> None:
    """YAML cannot say one, so it must be refused or ignored by name."""
    for section in ("TrainingArguments", "LoraConfig"):
        dealt = {**names.REFUSED[section], **names.IGNORED[section]}
        for key, option in options(section).items():
            assert "object" not in option.types or key in dealt, key


def test_what_other_trainers_call_it_is_no_key_of_ours() -> None:
    everywhere = {key: section for section in names.SECTIONS for key in options(section)}
    for key, meant in names.MEANT.items():
        assert key not in everywhere and meant in everywhere
