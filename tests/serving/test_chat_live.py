"""Live adapters, as clients see them: one name, whatever version of it the server has now."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from serving.chat import Chat, Settings
from tests.serving.test_chat import Said, Server, ask
from tests.serving.test_readiness import Server as Asked
from tests.serving.test_readiness import get

OLD, NEW = "facts@111111111111", "facts@222222222222"
WORDS = {"state": "done", "models": ["tiny", "facts"], "adapter_set": "abc"}
CARDS = {"data": [{"id": "tiny"}, {"id": OLD, "root": "/a", "parent": "tiny"}, {"id": NEW}]}


class State:
    """The file that the sidecar writes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings = Settings(model="facts", models=("tiny",), live=str(path))

    def write(self, model: str = "facts", **names: str) -> None:
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps({"model": model, "names": names, "words": WORDS}))
        part.rename(self.path)


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path / "live.json")


def asked(state: State, path: str, body: Any, **how: Any) -> tuple[Any, Said | None]:
    server = Server()
    said = ask(server, "POST", path, body, state.settings, **how)
    return (server.asked[0][1] if server.asked else None), said


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/tokenize"])
def test_a_name_means_the_version_that_is_there_now(state: State, path: str) -> None:
    body = {"model": "facts", "prompt": "a", "n": 1}
    state.write(facts=OLD)
    assert asked(state, path, body)[0] == {**body, "model": OLD}
    state.write(facts=NEW)
    assert asked(state, path, body)[0] == {**body, "model": NEW}


def test_in_one_process_the_next_request_gets_the_new_version(state: State) -> None:
    server, chat = Server(), Chat(Server(), state.settings)
    chat._app = server
    state.write(facts=OLD)
    versions = chat._live
    assert versions is not None
    assert dict(versions.versions().names) == {"facts": OLD}  # type: ignore[union-attr]
    state.write(facts=NEW)
    assert dict(versions.versions().names) == {"facts": NEW}  # type: ignore[union-attr]
    os.unlink(state.path)
    assert versions.versions() is None


@pytest.mark.parametrize(
    "body",
    [
        {"model": "tiny"},
        {"model": "other"},
        {"model": OLD},
        {"model": ["facts"]},
        {"messages": []},
        [],
    ],
)
def test_everything_else_is_the_servers_own_business(state: State, body: Any) -> None:
    state.write(facts=NEW)
    assert asked(state, "/v1/chat/completions", body)[0] == body


def test_what_is_no_json_is_passed_on_unread(state: State) -> None:
    state.write(facts=NEW)
    headers = [(b"content-type", b"multipart/form-data; boundary=x")]
    server = Server(answer=b"{}")
    with pytest.raises(ValueError, match="Expecting value"):  # this server reads only JSON
        ask(server, "POST", "/v1/audio/x", b"--x\r\n", state.settings, headers=headers)


def test_the_old_chat_asks_whom_it_should_now(state: State) -> None:
    state.write("facts", facts=OLD)
    body, said = asked(state, "/chat", {"prompt": "a"})
    assert body["model"] == OLD and said is not None and said.json == {"Result": "Bobo"}
    state.write("tiny", facts=OLD, more=NEW)
    assert asked(state, "/chat", {"prompt": "a"})[0]["model"] == "tiny"
    assert asked(state, "/chat", {"prompt": "a", "model": "more"})[0]["model"] == NEW


def models(state: State, path: str = "/v1/models") -> list[str]:
    said = ask(Server(answer=CARDS), "GET", path, settings=state.settings)
    assert said is not None
    return [card["id"] for card in said.json["data"]]


def test_the_list_has_the_names_that_clients_write(state: State) -> None:
    assert models(state) == ["tiny"]
    state.write(facts=OLD, lost="lost@1")
    assert models(state) == ["tiny", "facts"]
    assert models(state, "/v1/models?versions=true") == ["tiny", OLD, NEW]


def test_a_list_that_is_none_is_passed_on(state: State) -> None:
    state.write(facts=OLD)
    error = {"error": {"message": "no"}}
    said = ask(Server(answer=error, status=401), "GET", "/v1/models", settings=state.settings)
    assert said is not None and (said.status, said.json) == (401, error)


def test_what_it_has_is_told_to_whoever_asks(state: State) -> None:
    said = ask(Server(), "GET", "/adapters", settings=state.settings)
    assert said == Said(503, b"{}")
    state.write(facts=OLD)
    said = ask(Server(), "GET", "/adapters", settings=state.settings)
    assert said is not None and (said.status, said.json) == (200, WORDS)


def test_only_the_pod_itself_may_load(state: State) -> None:
    state.write(facts=OLD)
    body = {"lora_name": "facts", "model": "facts"}
    path = "/v1/load_lora_adapter"
    assert asked(state, path, body)[1].status == 404  # type: ignore[union-attr]
    assert asked(state, path, body, client="127.0.0.1")[0] == body


def test_ready_once_every_version_has_answered(state: State) -> None:
    async def scenario() -> None:
        server = Asked()
        app = Chat(server, state.settings)
        assert (await get(app))[0] == 503
        state.write(facts=OLD)
        assert (await get(app))[0] == 200
        assert [asked[2]["model"] for asked in server.asked] == ["tiny", OLD]
        state.write(facts=NEW)
        assert (await get(app))[0] == 200, "later ones have been asked by the sidecar"
        assert len(server.asked) == 2

    asyncio.run(scenario())


def test_what_the_server_before_had_makes_this_one_not_ready(state: State) -> None:
    async def scenario() -> None:
        state.write(facts=OLD)
        os.utime(state.path, (1, 1))
        app = Chat(Asked(), state.settings)
        assert (await get(app))[0] == 503
        state.write(facts=OLD)
        assert (await get(app))[0] == 200

    asyncio.run(scenario())
