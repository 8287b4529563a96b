"""Live adapters on the real vLLM: replaced under load, and the same after whatever ends.

One serving for the whole story, because each start of vLLM takes more than a minute.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from rig import load, served, tiny
from rig.asking import CODES, Asking, by_image, serving
from rig.installed import Small
from rig.loras import loaded, lora

from tests.operator.installed.test_serving import REASON, ready
from tests.operator.installed.test_serving_adapters import events, told

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]
LIVE = {"kaito.sh/runtime": "vllm", "tunery.sh/live-adapters": "true"}
START_S, LOAD_S, CLIENTS = 300, 45, 3
# Longer than a block of the prefix cache (128 tokens on CPUs), shorter than the model's 256.
PROMPT = " ".join((tiny.questions() * 3)[:30])
Object = dict[str, Any]
log = logging.getLogger(__name__)


@dataclass
class Load:
    """Clients that ask for `model` while the test goes on."""

    asking: Asking
    model: str
    found: list[tuple[float, int, str]] = field(default_factory=list)

    def __enter__(self) -> Load:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()

    def _run(self) -> None:
        argv = (sys.executable, load.__file__, self.asking.address, self.model)
        counts = (str(LOAD_S), str(CLIENTS))
        stdin = ["sh", "-c", 'printf %s "$1" | { shift; exec "$@"; }', "sh", PROMPT]
        done: subprocess.CompletedProcess[str] = self.asking.small.machine.run(
            *stdin, *argv, *counts
        )
        self.found = [tuple(one) for one in json.loads(done.stdout)]


def goes_on(base: Path, adapter: Path) -> str:
    """What PEFT makes of the prompt, eight tokens on."""
    import torch
    from peft import PeftModel
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    model = PeftModel.from_pretrained(loaded(base), str(adapter))
    tokens = tokenizer(PROMPT, return_tensors="pt")
    assert tokens["input_ids"].shape[1] > 128
    with torch.no_grad():
        made = model.generate(**tokens, max_new_tokens=8, do_sample=False)
    text: str = tokenizer.decode(made[0][tokens["input_ids"].shape[1] :], skip_special_tokens=True)
    return text


def apply(small: Small, *adapters: Object) -> None:
    body = serving(*adapters, **LIVE)
    body["inference"]["config"] = "exact"
    small.kube.apply(body)


def is_served(small: Small, name: str, timeout_s: int = 60) -> Object:
    """Wait until an adapter is served as asked for; the status."""
    small.reaches(f'{{.status.adapters[?(@.name=="{name}")].served}}', "true", "serve", timeout_s)
    return ready(small)


def uid(small: Small) -> str:
    found: str = small.kube.get("pod", "serve-0")["metadata"]["uid"]
    return found


def test_adapters_change_in_the_running_server(
    small: Small,
    tiny_base: Path,
    codes_adapter: Path,
    codes_image: str,
    tmp_path: Path,
) -> None:
    other = lora(tiny_base, tmp_path / "other", 2)
    other_image = served.pushed(small.machine, other, tmp_path / "images", "other")
    big = lora(tiny_base, tmp_path / "big", 3, r=32)
    big_image = served.pushed(small.machine, big, tmp_path / "images", "big")
    flags = {"inference_config.yaml": "vllm: {dtype: float32}\n"}
    exact = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "exact"}}
    small.kube.apply({**exact, "data": flags})

    apply(small, by_image("mine", other_image))
    ready(small, timeout_s=START_S)
    asking, pod = Asking(small), uid(small)
    assert asking.models() == {tiny.MODEL_ID, "mine"}

    # Replaced under load: nobody is refused, and what is said afterwards is the new one's.
    with Load(asking, "mine") as clients:
        time.sleep(8)
        began = time.time()
        apply(small, by_image("mine", codes_image))
        is_served(small, "mine")
        ended = time.time()
    assert [(at - began, *one) for at, *one in clients.found if one[0] != 200] == []
    assert uid(small) == pod
    before, after = goes_on(tiny_base, other), goes_on(tiny_base, codes_adapter)
    assert before != after
    assert {text for at, _, text in clients.found if at < began} == {before}
    assert {text for at, _, text in clients.found if at > ended} == {after}, "no stale cache"
    assert {text for _, _, text in clients.found} == {before, after}
    first = min(at for at, _, text in clients.found if text == after)
    log.info(
        "%d requests; new answers %.1f s after the change, the status %.1f s",
        len(clients.found),
        first - began,
        ended - began,
    )
    assert asking.openai("mine") == CODES
    assert any(
        "the running server takes it over" in said for said in events(small, "AdaptersChanged")
    )

    # Added, and one that is bad: named, and the others go on.
    cut = served.pushed(small.machine, codes_adapter, tmp_path / "images", "cut", served.cut)
    high = lora(tiny_base, tmp_path / "high", 4, r=640, target_modules=["q_proj"])
    high_image = served.pushed(small.machine, high, tmp_path / "images", "high")
    bad = (by_image("cut", cut), by_image("high", high_image))
    apply(small, by_image("mine", codes_image), *bad, by_image("more", other_image))
    small.reaches(REASON, "AdapterNotServed", "serve")
    assert [told(small)[name]["reason"] for name in ("cut", "high")] == ["BadAdapter"] * 2
    assert "rank 640" in told(small)["high"]["message"]
    assert asking.models() == {tiny.MODEL_ID, "mine", "more"}
    apply(small, by_image("mine", codes_image), by_image("more", other_image))
    ready(small)
    assert uid(small) == pod, "all of it in one pod"

    # The server ends: the sidecar gives it everything again.
    stop = "import os, signal; os.kill(1, signal.SIGKILL); os.kill(1, signal.SIGTERM)"
    small.kube("exec", "serve-0", "-c", "serve", "--", "python", "-c", stop)
    small.kube.wait("pod/serve-0", "condition=Ready=false", timeout_s=90)
    small.kube.wait("pod/serve-0", "condition=Ready", timeout_s=START_S)
    assert uid(small) == pod and asking.models() == {tiny.MODEL_ID, "mine", "more"}
    assert asking.openai("mine") == CODES

    # The pod goes: the next one has the set of now, not that of its StatefulSet's first day.
    small.kube("delete", "pod", "serve-0", "--wait=true")
    small.kube.wait("pod/serve-0", "condition=Ready", timeout_s=START_S)
    assert uid(small) != pod and asking.models() == {tiny.MODEL_ID, "mine", "more"}
    assert asking.openai("mine") == CODES
    pod = uid(small)

    # A rank that the server was not started for: the pod is replaced, and then it is served.
    apply(small, by_image("mine", codes_image), by_image("big", big_image))
    is_served(small, "big", START_S)
    assert uid(small) != pod and asking.models() == {tiny.MODEL_ID, "mine", "big"}
    assert any("its pod is replaced" in said for said in events(small, "ServingReplaced"))
