"""`transformers serve` itself, with a tiny model and adapters, on 127.0.0.1."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
import torch
from peft import PeftModel
from rig.loras import loaded, lora
from rig.tiny import MODEL_ID, answers, questions
from transformers import AutoTokenizer

from serving import plan as plans
from serving.plan import AdapterPlan, ServedModel, ServePlaces, ServePlan
from serving.prepare import prepare

ROOT = Path(__file__).resolve().parents[2]
START_LIMIT_S = 120
QUESTION = questions()[5]


@dataclass(frozen=True)
class Server:
    url: str
    ready: Path

    def __call__(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())


@pytest.fixture(scope="module")
def made(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("adapters")
    style = lora(tiny, root / "style", 2, r=4, target_modules=["q_proj", "v_proj"])
    return {"facts": lora(tiny, root / "facts", 1), "style": style}


@pytest.fixture(scope="module")
def server(
    tiny: Path, made: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """What `prepare` wrote of two adapters with strengths, served as the pod does it."""
    pod = tmp_path_factory.mktemp("pod")
    plan = ServePlan(
        workspace="ws",
        runtime="transformers",
        model=ServedModel(name="org/tiny", id=MODEL_ID, path=str(tiny)),
        adapters=(
            AdapterPlan(name="facts", path=str(made["facts"]), strength=0.5),
            AdapterPlan(name="style", path=str(made["style"]), strength=1.0),
        ),
        max_tokens=20,
        places=ServePlaces(adapters=str(pod / "adapters"), ready=str(pod / "ready")),
    )
    prepare(plan, lambda _: None)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["-m", "serving", "transformers", "org/tiny", "--port", str(port), "--device", "cpu"]
    settings = {"TUNERY_CHAT": str(pod / "ready" / plans.CHAT_SETTINGS), "HF_HUB_OFFLINE": "1"}
    env = {**os.environ, **settings, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    log = (pod / "log").open("wb")
    process = subprocess.Popen(
        [sys.executable, *words], cwd=pod / "ready", env=env, stdout=log, stderr=log
    )
    try:
        _await(process, port, pod / "log")
        yield Server(f"http://127.0.0.1:{port}", pod / "ready")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        log.close()


def _await(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + START_LIMIT_S
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    pytest.fail(f"the server did not come up:\n{log.read_text()[-3000:]}")


@pytest.fixture(scope="module")
def wanted(tiny: Path, made: dict[str, Path]) -> str:
    """What PEFT says with both adapters, weighted."""
    model = PeftModel.from_pretrained(loaded(tiny), str(made["facts"]), adapter_name="facts")
    model.load_adapter(str(made["style"]), adapter_name="style")
    model.add_weighted_adapter(["facts", "style"], [0.5, 1.0], "both", combination_type="cat")
    model.set_adapter("both")
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    chat = [{"role": "user", "content": QUESTION}]
    inputs = tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    with torch.no_grad():
        out = model.eval().generate(**inputs, max_new_tokens=12, do_sample=False)
    text: str = tokenizer.decode(out[0][inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return text


def test_the_openai_client_is_answered_by_the_adapters(
    server: Server, wanted: str, tiny: Path
) -> None:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        said = client.chat.completions.create(
            model="facts",
            messages=[{"role": "user", "content": QUESTION}],
            max_tokens=12,
            temperature=0,
        )
        names = [one.id for one in client.models.list()]
    assert said.choices[0].message.content == wanted
    assert wanted.strip() != answers(tiny, None, [QUESTION])[0]
    assert names == ["org/tiny", "facts", "style"]


def test_the_old_chat_is_answered_alike(server: Server, wanted: str) -> None:
    options = {"max_new_tokens": 12, "do_sample": False}
    said = server("POST", "/chat", {"prompt": QUESTION, "generate_kwargs": options})
    assert said == (200, {"Result": wanted})
    assert server("GET", "/") == (200, {"message": "Server is running"})
    assert server("GET", "/health") == (200, {"status": "ok"})


def test_a_stream_is_passed_on(server: Server, wanted: str) -> None:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        stream = client.chat.completions.create(
            model="org/tiny",
            messages=[{"role": "user", "content": QUESTION}],
            max_tokens=12,
            temperature=0,
            stream=True,
        )
        parts = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
    assert "".join(parts) == wanted and len(parts) > 2


@pytest.mark.parametrize("path", ["chat/completions", "completions"])
def test_an_endless_answer_is_cut_at_the_cap(server: Server, path: str) -> None:
    asked = {"prompt": "a"} if path == "completions" else {}
    asked = asked or {"messages": [{"role": "user", "content": "a"}]}
    for longest in ({}, {"max_tokens": 5000}):
        status, said = server("POST", f"/v1/{path}", {**asked, **longest})
        assert status == 200 and said["usage"]["completion_tokens"] <= 20


def test_another_model_is_not_there(server: Server) -> None:
    chat = {"model": "other", "messages": [{"role": "user", "content": "a"}]}
    assert server("POST", "/v1/chat/completions", chat)[0] == 400


def test_it_ends_at_a_signal_while_it_loads(server: Server) -> None:
    """As PID 1 it would be deaf to SIGTERM without a handler."""
    command = [sys.executable, "-m", "serving", "transformers", "org/tiny", "--port", "1"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=server.ready, env=env, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == b"loading org/tiny\n"
        process.send_signal(signal.SIGTERM)
        assert b"Interrupted: stopped by SIGTERM" in process.stderr.read()
        assert process.wait(20) == 75
