"""The sidecar of live adapters: real adapters, checked and composed, and a server that keeps what
it was told. What the real vLLM makes of it is in tests/serving/vllm."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from rig.loras import lora
from rig.tiny import MODEL_ID

from serving import plan as plans
from serving.live import Live
from serving.plan import AdapterPlan, ServedModel, ServePlaces, ServePlan, adapter_set
from serving.prepare import prepare
from serving.runtime import Server


@dataclass
class Vllm:
    """vLLM's three routes, and what it was asked."""

    loaded: dict[str, str] = field(default_factory=dict)
    refuses: str = ""
    away: bool = False
    asked: list[tuple[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    url: str = ""

    def answer(self, path: str, body: Any) -> tuple[int, Any]:
        if self.away:
            return 503, {}
        if path.startswith("/v1/models"):
            cards = [{"id": "tiny"}, *({"id": n, "parent": "tiny"} for n in self.loaded)]
            return 200, {"data": cards}
        self.asked.append((path, body))
        if path == "/v1/load_lora_adapter":
            if self.refuses and self.refuses in body["lora_name"]:
                return 500, {"error": {"message": "it does not fit"}}
            self.loaded[body["lora_name"]] = body["lora_path"]
        elif path == "/v1/unload_lora_adapter":
            del self.loaded[body["lora_name"]]
        return 200, {"choices": [{"text": "a"}]}


@pytest.fixture
def vllm() -> Iterator[Vllm]:
    server = Vllm()

    class Handler(BaseHTTPRequestHandler):
        def _say(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            server.keys.append(self.headers.get("Authorization"))
            status, said = server.answer(self.path, body)
            raw = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST = _say

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        server.url = f"http://127.0.0.1:{listening.server_port}"
        yield server
        listening.shutdown()


@pytest.fixture(scope="module")
def made(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("adapters")
    lora(tiny, root / "one", 1)
    lora(tiny, root / "two", 2)
    lora(tiny, root / "big", 3, r=32)
    return root


@dataclass
class Pod:
    """The folders of a pod, its sidecar, and the plan that the operator writes."""

    tiny: Path
    root: Path
    vllm: Vllm
    now: float = 0

    def __post_init__(self) -> None:
        self.file = self.root / "plan.json"
        self.notes: list[str] = []
        self.live = self.started()

    def started(self) -> Live:
        return Live(self.file, Server(self.vllm.url), self.notes.append, lambda: self.now)

    def plan(self, *adapters: AdapterPlan, together: str | None = None) -> ServePlan:
        places = {name: str(self.root / name) for name in ("adapters", "model", "ready")}
        made = ServePlan(
            workspace="ws",
            model=ServedModel(name="tiny", id=MODEL_ID, path=str(self.tiny)),
            adapters=adapters,
            together=together,
            live=True,
            adapter_set=adapter_set(adapters, together),
            places=ServePlaces(**places, registry_patience_s=0.2),
        )
        plans.write(made, self.file)
        return made

    @property
    def file_of_state(self) -> Path:
        return self.root / "adapters" / "live.json"

    @property
    def state(self) -> Any:
        path = self.file_of_state
        return json.loads(path.read_text()) if path.exists() else None

    @property
    def names(self) -> Any:
        return self.state["names"]

    def words(self, name: str) -> Any:
        return next(one for one in self.state["words"]["adapters"] if one["name"] == name)


@pytest.fixture
def pod(tiny: Path, tmp_path: Path, vllm: Vllm, made: Path) -> Pod:
    """Prepared for adapter `facts`, which is `one`; its server runs."""
    found = Pod(tiny, tmp_path, vllm)
    prepare(found.plan(AdapterPlan(name="facts", path=str(made / "one"))), found.notes.append)
    return found


def test_what_was_prepared_is_loaded_and_asked_before_anybody_hears_of_it(pod: Pod) -> None:
    assert pod.state is None
    pod.live.look()
    (version,) = pod.vllm.loaded
    assert version.startswith("facts@") and pod.names == {"facts": version}
    load, ask = pod.vllm.asked
    assert load[0] == "/v1/load_lora_adapter" and ask[1]["model"] == version
    assert ask[1]["max_tokens"] == 1
    assert (pod.state["model"], pod.state["words"]["models"]) == ("facts", ["tiny", "facts"])
    pod.live.look()
    assert len(pod.vllm.asked) == 2, "nothing is to be done"


def test_a_replaced_version_goes_on_until_nobody_can_ask_for_it(pod: Pod, made: Path) -> None:
    pod.live.look()
    before = pod.names["facts"]
    pod.plan(AdapterPlan(name="facts", path=str(made / "two")))
    pod.live.look()
    assert pod.names["facts"] != before and before in pod.vllm.loaded
    pod.now += 29
    pod.live.look()
    assert before in pod.vllm.loaded
    pod.now += 2
    pod.live.look()
    assert list(pod.vllm.loaded) == [pod.names["facts"]]
    assert Path(pod.vllm.loaded[pod.names["facts"]]).is_dir()
    pod.plan(AdapterPlan(name="facts", path=str(made / "one")))
    pod.live.look()
    assert pod.names["facts"] == before, "the same content is the same version"


def test_added_removed_and_together(pod: Pod, made: Path) -> None:
    pod.live.look()
    one, two = (AdapterPlan(name=n, path=str(made / n), strength=0.5) for n in ("one", "two"))
    pod.plan(one, two, together="both")
    pod.live.look()
    assert list(pod.names) == ["one", "two", "both"] and pod.state["model"] == "both"
    pod.plan()
    pod.live.look()
    assert pod.names == {} and pod.state["model"] == "tiny"


def test_a_server_that_was_started_again_gets_all_of_it(pod: Pod) -> None:
    pod.live.look()
    names = pod.names
    pod.vllm.loaded.clear()
    pod.vllm.away = True
    pod.live.look()
    assert pod.names == names, "it may only be busy: nobody is refused for that"
    pod.vllm.away = False
    pod.live.look()
    assert pod.names == names and set(pod.vllm.loaded) == set(names.values())


def test_a_server_that_answers_again_is_told_so(pod: Pod) -> None:
    """Readiness waits for a file of the server's own life, also when there is nothing to load."""
    pod.plan()
    pod.live.look()
    before = pod.file_of_state.stat().st_ino
    pod.live.look()
    assert pod.file_of_state.stat().st_ino == before
    pod.vllm.away = True
    pod.live.look()
    pod.vllm.away = False
    pod.live.look()
    assert pod.file_of_state.stat().st_ino != before


def test_one_that_comes_back_fast_gets_all_of_it_too(pod: Pod) -> None:
    pod.live.look()
    pod.vllm.loaded.clear()
    pod.live.look()
    assert set(pod.vllm.loaded) == set(pod.names.values())


def test_a_sidecar_that_was_started_again_fetches_and_loads_nothing(
    pod: Pod, made: Path, tmp_path: Path
) -> None:
    pod.live.look()
    state, asked = pod.state, len(pod.vllm.asked)
    (made / "one").rename(made / "moved")
    try:
        again = pod.started()
        again.look()
        assert (pod.state, len(pod.vllm.asked)) == (state, asked)
    finally:
        (made / "moved").rename(made / "one")


def test_one_that_cannot_be_fetched_is_tried_again(pod: Pod, made: Path) -> None:
    pod.live.look()
    before = pod.names["facts"]
    pod.plan(
        AdapterPlan(name="facts", path=str(made / "later")),
        AdapterPlan(name="more", path=str(made / "two")),
    )
    pod.live.look()
    assert pod.names["facts"] == before, "what is served goes on"
    assert "more" in pod.names
    assert pod.words("facts")["kind"] == "NoAccess"
    lora(pod.tiny, made / "later", 4)
    pod.live.look()
    assert pod.words("facts")["kind"] == "NoAccess"
    pod.now += 31
    pod.live.look()
    assert "kind" not in pod.words("facts") and pod.names["facts"] != before


def test_one_that_the_server_refuses_is_named_and_the_old_one_goes_on(pod: Pod, made: Path) -> None:
    pod.live.look()
    before, pod.vllm.refuses = pod.names["facts"], "facts"
    pod.plan(AdapterPlan(name="facts", path=str(made / "two")))
    pod.live.look()
    assert pod.names["facts"] == before
    assert pod.words("facts")["kind"] == "BadAdapter"
    assert "the server says 500: it does not fit" in pod.words("facts")["sentence"]
    asked = len(pod.vllm.asked)
    pod.live.look()
    assert len(pod.vllm.asked) == asked, "the same is not tried for ever"


def test_a_rank_above_the_servers_needs_another_pod(pod: Pod, made: Path) -> None:
    pod.live.look()
    before = pod.state
    wanted = pod.plan(AdapterPlan(name="big", path=str(made / "big")))
    pod.live.look()
    words = pod.state["words"]
    assert words["restart"] == "adapter big has rank 32, and the server was started for 16"
    assert words["adapter_set"] == wanted.adapter_set
    assert words["adapters"] == before["words"]["adapters"], "what is served goes on"
    assert pod.names == before["names"]


def test_a_plan_of_another_tunery_needs_another_pod(pod: Pod) -> None:
    pod.live.look()
    names = pod.names
    pod.file.write_text(json.dumps({"version": 2, "adapter_set": "abc"}))
    pod.live.look()
    assert pod.names == names
    assert pod.state["words"]["adapter_set"] == "abc"
    assert "cannot read" in pod.state["words"]["restart"]


@pytest.mark.parametrize("text", ["", "[]", "{", '"a"', '{"adapter_set": {}}'])
def test_a_plan_that_is_none_stops_nothing(pod: Pod, text: str) -> None:
    pod.live.look()
    names = pod.names
    pod.file.write_text(text)
    pod.live.look()
    assert pod.names == names and pod.state["words"]["restart"]


def test_a_server_with_a_key_of_the_users_is_asked_with_it(vllm: Vllm) -> None:
    Server(vllm.url, "secret").versions()
    Server(vllm.url).versions()
    assert vllm.keys == ["Bearer secret", None]
