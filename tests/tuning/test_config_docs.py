"""docs/configuration.md says what tuning/ does: its tables and its examples."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from tuning.config import Method, parse

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "configuration.md").read_text("utf-8")


def test_the_tables_are_what_the_code_does() -> None:
    path = ROOT / "scripts" / "generate_configuration_docs.py"
    spec = importlib.util.spec_from_file_location("generate_configuration_docs", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.rewritten(PAGE) == PAGE, "run: python scripts/generate_configuration_docs.py"
    assert PAGE.count("<!-- table: ") == 4


@pytest.mark.parametrize("example", re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
def test_the_examples_are_accepted_without_a_word(example: str) -> None:
    methods: tuple[Method, ...] = ("lora", "qlora")
    if "load_in_" in example:
        methods = ("qlora",)
    for method in methods:
        config, problems = parse(example, method)
        assert config is not None and problems == ()
