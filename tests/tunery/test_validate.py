"""`tunery validate` as people and scripts see it: lines, JSON, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from rig.chain import write_workspace

from tunery.__main__ import main

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLE = ROOT / "examples" / "tuning" / "local.yaml"


def edited(tmp_path: Path, *changes: tuple[str, str]) -> str:
    """The example with words replaced."""
    text = EXAMPLE.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file = tmp_path / "edited.yaml"
    file.write_text(text)
    return str(file)


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, list[str]]:
    code = main(["validate", *words])
    return code, capsys.readouterr().out.splitlines()


def test_the_example_is_valid(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, str(EXAMPLE)) == (0, ["1 Workspace valid"])


def test_every_problem_one_a_line_with_its_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = edited(
        tmp_path,
        ("smollm2-135m-instruct", "smollm2-135m-instrct"),
        ("method: lora", "method: qora"),
        ("Standard_NC24ads_A100_v4", "Standard_NC24ads_A100_v9"),
        ("https://data", "ftp://data"),
        ("    imagePushSecret: adapters-push\n", ""),
        ("learning_rate", "learnin_rate"),
    )
    code, lines = said(capsys, file)
    assert code == 78
    assert all(line.startswith(f"{file}: ") for line in lines)
    found = "\n".join(lines)
    for words in (
        'did you mean "smollm2-135m-instruct"?',
        "tuning.method: ",
        'did you mean "Standard_NC24ads_A100_v4"?',
        "data source URL must use HTTP or HTTPS",
        "Must specify imagePushSecret with destination image",
    ):
        assert words in found


def test_a_misspelt_training_option_is_named_with_its_neighbour(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines = said(capsys, edited(tmp_path, ("learning_rate", "learnin_rate")))
    assert code == 78
    assert len(lines) == 1
    assert "TrainingArguments.learnin_rate" in lines[0]
    assert "learning_rate" in lines[0]


def test_a_config_map_that_is_not_in_the_files_is_only_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "alone.yaml"
    file.write_text(EXAMPLE.read_text().split("\n---\n")[1])
    code, lines = said(capsys, str(file))
    assert code == 0
    assert lines[0].startswith(f"{file}: warning: ")
    assert "brambleport-training" in lines[0]


def test_json_for_scripts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = edited(tmp_path, ("method: lora", "method: full"))
    assert main(["validate", "--json", file]) == 78
    found = json.loads(capsys.readouterr().out)
    assert found["valid"] is False
    assert [p["path"] for p in found["problems"]] == ["tuning.method"]
    assert found["problems"][0]["severity"] == "error"


def test_a_change_that_is_not_allowed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = edited(tmp_path, ("method: lora", "method: qlora"))
    code, lines = said(capsys, "--old", str(EXAMPLE), changed)
    assert code == 78
    assert "Method cannot be changed" in lines[0]


def test_a_host_in_house_must_be_allowed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = edited(tmp_path, ("https://data.example.org", "http://10.1.2.3"))
    assert said(capsys, file)[0] == 78
    assert said(capsys, "--allow-host", "10.0.0.0/8", file)[0] == 0


def test_standard_input(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tunery", "validate", "-"],
        input=EXAMPLE.read_bytes(),
        capture_output=True,
        cwd=ROOT,
    )
    assert (done.returncode, done.stdout) == (0, b"1 Workspace valid\n")


def test_users_presets_are_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = edited(tmp_path, ("Standard_NC24ads_A100_v4", "our-own-box"))
    assert said(capsys, file)[0] == 78
    ours = tmp_path / "ours.yaml"
    ours.write_text(
        "cards: {A40: {gib: 45, architecture: ampere, bf16: true}}\n"
        "instances:\n- {sku: our-own-box, cloud: ours, card: A40, count: 1}\n"
    )
    assert said(capsys, "--presets", str(ours), file)[0] == 0


def test_a_broken_presets_file_is_one_line_a_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = tmp_path / "ours.yaml"
    ours.write_text("instances:\n- {sku: 5}\n")
    assert main(["validate", "--presets", str(ours), str(EXAMPLE)]) == 78
    assert "instances[0]" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["", "validate", "check", "run", "push", "pull", "inspect", "ask"])
def test_every_word_explains_itself(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([word, "--help"] if word else ["--help"])
    assert ended.value.code == 0
    assert "usage: tunery" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["vaildate"], [], ["run"], ["validate", "--nope", "x"]])
def test_a_misspelt_command_is_usage(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2


def test_the_tests_own_workspace_is_valid(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for method in ("lora", "qlora"):
        assert said(capsys, str(write_workspace(tmp_path / "w.yaml", method)))[0] == 0


def test_every_example_is_valid(capsys: pytest.CaptureFixture[str]) -> None:
    for file in sorted((ROOT / "examples").rglob("*.yaml")):
        brought = ["--byo"] if file.stem == "own-nodes" else []
        assert said(capsys, *brought, str(file))[0] == 0, file
