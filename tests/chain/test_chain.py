"""One Workspace, start to finish: YAML → training → image → pulled by digest → answering."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rig.chain import Chain, write_workspace
from rig.registry import RunningRegistry, running_registry

ANSWERS = """
import sys
from pathlib import Path
from rig.tiny import exact
model, adapter = Path(sys.argv[1]), Path(sys.argv[2])
print(exact(model, None), exact(model, adapter))
"""


def right_answers(chain: Chain, adapter: Path) -> list[int]:
    """Of 64, in a fresh process: by the base, by the adapter."""
    environment = {**chain.env(), "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    done = subprocess.run(
        [sys.executable, "-c", ANSWERS, str(chain.model), str(adapter)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(word) for word in done.stdout.split()]


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_a_workspace_becomes_an_adapter_that_answers(
    chain: Chain, registry: RunningRegistry, tmp_path: Path, method: str
) -> None:
    write_workspace(chain.file, method, num_train_epochs=50)
    image = f"{registry.host}/memory/{method}:v1"
    done = chain.finish([*chain.run_words(tmp_path / "work", image), "--json"])
    assert done.returncode == 0, done.stderr
    digest = json.loads(done.stdout)["digest"]

    pulled = chain("pull", f"{registry.host}/memory/{method}@{digest}", str(tmp_path / "adapter"))
    assert pulled.returncode == 0, pulled.stderr
    assert right_answers(chain, tmp_path / "adapter") == [0, 64]


def test_a_finished_run_only_pushes(
    chain: Chain, registry: RunningRegistry, tmp_path: Path
) -> None:
    command = [*chain.run_words(tmp_path / "work", f"{registry.host}/again/a:v1"), "--json"]
    first = chain.finish(command)
    second = chain.finish(command)
    assert first.returncode == second.returncode == 0
    assert json.loads(first.stdout)["digest"] == json.loads(second.stdout)["digest"]
    assert "finished already" in second.stderr
    assert "step " not in second.stderr.split("training on")[-1].split("finished already")[-1]


def test_the_same_run_elsewhere_gives_the_same_digest(chain: Chain, tmp_path: Path) -> None:
    digests = set()
    for place, seed in (("a", "1"), ("b", "2")):
        here = replace(chain, environment={"PYTHONHASHSEED": seed})
        command = here.run_words(tmp_path / place, f"oci:{tmp_path / place}-layout")
        done = here.finish([*command, "--json"])
        assert done.returncode == 0, done.stderr
        digests.add(json.loads(done.stdout)["digest"])
    assert len(digests) == 1


def test_a_layout_is_one_image_that_others_read(chain: Chain, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    assert chain.finish(chain.run_words(tmp_path / "work", f"oci:{layout}")).returncode == 0
    index = json.loads((layout / "index.json").read_text())
    assert len(index["manifests"]) == 1
    seen = subprocess.run(
        ["skopeo", "inspect", f"oci:{layout}"], capture_output=True, text=True, check=True
    )
    assert json.loads(seen.stdout)["Digest"] == index["manifests"][0]["digest"]
    shown = chain("inspect", f"oci:{layout}", "--json")
    assert json.loads(shown.stdout)["base_model"] == "tunery-tests/tiny-llama"


def test_ctrl_c_stops_with_a_checkpoint_and_says_how_to_go_on(chain: Chain, tmp_path: Path) -> None:
    command = chain.run_words(tmp_path / "work", str(tmp_path / "adapter"))
    process = chain.start(command)
    assert process.stderr is not None
    for line in process.stderr:
        if "(50 %)" in line:
            process.send_signal(signal.SIGINT)
            break
    _, said = process.communicate(timeout=120)
    assert process.returncode == 75
    assert re.search(r"stopped by SIGINT at step \d+ of 24", said)
    assert f"tunery run {chain.file}" in said
    assert list((tmp_path / "work").glob("checkpoint-*/tunery.json"))
    assert not (tmp_path / "adapter").exists()
    assert chain.finish(command).returncode == 0
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()


def test_a_changed_run_does_not_go_on_from_another(chain: Chain, tmp_path: Path) -> None:
    command = chain.run_words(tmp_path / "work", str(tmp_path / "adapter"))
    process = chain.start(command)
    assert process.stderr is not None
    next(line for line in process.stderr if "(50 %)" in line)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    write_workspace(chain.file, num_train_epochs=6, save_steps=8, learning_rate=0.001)
    done = chain.finish(command)
    assert done.returncode == 78
    assert "learning_rate was 0.005, is 0.001" in done.stderr
    assert "another work folder" in done.stderr


def test_a_wrong_password_ends_it_before_training(chain: Chain, tmp_path: Path) -> None:
    with running_registry("htpasswd") as registry:
        login = registry.login("pusher", "wrong")
        here = replace(chain, environment={"DOCKER_CONFIG": str(login.parent)})
        image = f"{registry.host}/a/b:v1"
        started = time.monotonic()
        done = here.finish(here.run_words(tmp_path / "work", image))
        took_s = time.monotonic() - started
        assert done.returncode == 77
        assert "refused user pusher" in done.stderr
        assert "wrong" not in done.stderr
        assert not (tmp_path / "work" / "prepared.json").exists()
        assert took_s < 60  # not the minutes of a retry loop; the registry's part is < 2 s


def test_check_tells_all_that_is_wrong_and_trains_nothing(chain: Chain, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"messages": []}\n' * 5)
    with running_registry("htpasswd") as registry:
        image = f"{registry.host}/a/b:v1"
        words = ("--data", str(bad), "--model", str(chain.model), "--output", image)
        done = chain("check", str(chain.file), *words, "--json")
    found = json.loads(done.stdout)
    assert [f["kind"] for f in found["failures"]] == ["BadData", "NoAccess"]
    assert done.returncode == 65
    assert found["memory_gib"] > 0
    assert "learning_rate" in json.dumps(found["settings"])


def test_check_of_a_good_file(chain: Chain, registry: RunningRegistry) -> None:
    words = ("--data", str(chain.data), "--model", str(chain.model))
    done = chain("check", str(chain.file), *words, "--output", f"{registry.host}/a/b:v1")
    assert done.returncode == 0, done.stderr
    for text in ("training.learning_rate", "(user)", "memory: ", "rows: 64", "steps: 24", "push: "):
        assert text in done.stdout
    assert not (Path(__file__).parents[2] / "out" / "tiny").exists()


def test_an_adapter_from_elsewhere_is_pushed_and_pulled(
    chain: Chain, registry: RunningRegistry, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    assert chain.finish(chain.run_words(work, str(tmp_path / "out"))).returncode == 0
    image = f"{registry.host}/foreign/a:v1"
    pushed = chain("push", str(tmp_path / "out"), image, "--json")
    assert pushed.returncode == 0, pushed.stderr
    again = chain("push", str(tmp_path / "out"), image)
    assert "was there already" in again.stdout
    assert chain("pull", image, str(tmp_path / "pulled")).returncode == 0
    for name in ("adapter_config.json", "adapter_model.safetensors", "README.md", "loss.svg"):
        ours, theirs = tmp_path / "out" / name, tmp_path / "pulled" / name
        assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("run", "no.yaml"), 78, "no.yaml: cannot be read"),
        (("pull", "registry.example/UPPER:1", "x"), 78, "UPPER"),
        (("pull", "oci:nowhere", "x"), 65, "nowhere"),
        (("inspect", "127.0.0.1:9/a/b:1"), 69, "127.0.0.1:9"),
        (("push", "nowhere", "127.0.0.1:9/a/b:1"), 78, "nowhere holds no adapter"),
        (("push", "nowhere", "a/b"), 78, "a/b names no registry"),
        (("ask", "no.yaml", "Hello?"), 78, "no.yaml: no such file"),
    ],
)
def test_a_mistake_is_one_sentence(
    chain: Chain, words: tuple[str, ...], code: int, said: str
) -> None:
    done = chain(*words)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
