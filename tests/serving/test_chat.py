"""POST /chat, the bar and the caps, against a small server that keeps what it was asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.chat import Chat, Settings
from serving.chat.asgi import MOST_BODY_BYTES, Message, Receive, Scope, Send

ANSWER = {"choices": [{"message": {"role": "assistant", "content": "Bobo"}}]}
OUTSIDE, INSIDE = "10.1.2.3", "127.0.0.1"


@dataclass
class Server:
    """A server that answers everything alike, in two parts."""

    answer: Any = field(default_factory=lambda: ANSWER)
    status: int = 200
    asked: list[tuple[str, Any]] = field(default_factory=list)
    headers: dict[bytes, bytes] = field(default_factory=dict)
    after: list[Message] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            self.asked.append(("lifespan", None))
            return
        if scope["type"] == "websocket":
            self.asked.append((scope["path"], None))
            await send({"type": "websocket.accept"})
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.headers = dict(scope["headers"])
        self.asked.append((scope["path"], json.loads(body) if body else None))
        self.after.append(await receive())
        raw = self.answer if isinstance(self.answer, bytes) else json.dumps(self.answer).encode()
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": raw[:5], "more_body": True})
        await send({"type": "http.response.body", "body": raw[5:]})


@dataclass(frozen=True)
class Said:
    status: int
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    server: Server,
    method: str,
    path: str,
    body: Any = None,
    settings: Settings | None = None,
    client: str | None = OUTSIDE,
    headers: Iterable[tuple[bytes, bytes]] = (),
    kind: str = "http",
) -> Said | None:
    """What a client gets; None: nothing (it was gone)."""
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    half = len(raw) // 2
    incoming: list[Message] = [
        {"type": "http.request", "body": raw[:half], "more_body": True},
        {"type": "http.request", "body": raw[half:], "more_body": False},
    ]
    sent: list[Message] = []

    async def receive() -> Message:
        return incoming.pop(0) if incoming else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {
        "type": kind,
        "method": method,
        "path": path.partition("?")[0],
        "query_string": path.partition("?")[2].encode(),
        "headers": [(b"content-length", str(len(raw)).encode()), *headers],
        "client": (client, 5) if client else None,
    }
    chat = Chat(server, settings or Settings(model="facts"))
    asyncio.run(chat(scope, receive, send))
    if not sent:
        return None
    if kind == "websocket":
        return Said(0, sent[0]["type"].encode())
    whole = b"".join(m.get("body", b"") for m in sent if m["type"] == "http.response.body")
    return Said(sent[0]["status"], whole)


def test_a_prompt_becomes_a_chat_and_its_answer_the_result() -> None:
    server = Server()
    said = ask(server, "POST", "/chat", {"prompt": "The mayor?"})
    assert said == Said(200, b'{"Result":"Bobo"}')
    messages = [{"role": "user", "content": "The mayor?"}]
    assert server.asked == [("/v1/chat/completions", {"model": "facts", "messages": messages})]
    assert server.after == [{"type": "http.disconnect"}], "a client that leaves must be noticed"


def test_the_old_options_have_their_new_names() -> None:
    server = Server()
    options = {"max_new_tokens": 16, "do_sample": False, "top_p": 0.5, "top_k": 10, "max_length": 9}
    ask(server, "POST", "/chat", {"prompt": "a", "prefix": "x", "generate_kwargs": options})
    (_, body) = server.asked[0]
    body.pop("messages")
    assert body == {"model": "facts", "max_tokens": 16, "temperature": 0, "top_p": 0.5}


def test_messages_are_a_conversation() -> None:
    server = Server()
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    ask(server, "POST", "/chat", {"messages": messages, "model": "other"})
    assert server.asked[0][1] == {"model": "other", "messages": messages}


def test_the_whole_text_is_given_when_it_is_asked_for() -> None:
    said = ask(Server(), "POST", "/chat", {"prompt": "Who? ", "return_full_text": True})
    assert said is not None and said.json == {"Result": "Who? Bobo"}


def test_a_model_without_turns_goes_on_with_the_text() -> None:
    server = Server(answer={"choices": [{"text": " Bobo"}]})
    settings = Settings(model="facts", chat_template=False)
    said = ask(server, "POST", "/chat", {"prompt": "The mayor is"}, settings)
    assert said is not None and said.json == {"Result": " Bobo"}
    assert server.asked == [("/v1/completions", {"model": "facts", "prompt": "The mayor is"})]


def test_the_callers_login_is_passed_on_and_the_old_lengths_are_not() -> None:
    server = Server()
    headers = [(b"authorization", b"Bearer x"), (b"transfer-encoding", b"chunked")]
    ask(server, "POST", "/chat", {"prompt": "a"}, headers=[*headers, (b"Expect", b"100-continue")])
    assert server.headers.pop(b"content-length") != b"0"
    assert server.headers == {b"authorization": b"Bearer x", b"content-type": b"application/json"}


@pytest.mark.parametrize("status", [400, 401, 404, 500, 503])
def test_what_the_server_refuses_is_said_in_its_words(status: int) -> None:
    said = ask(Server({"error": {"message": "no"}}, status), "POST", "/chat", {"prompt": "a"})
    assert said is not None
    assert (said.status, said.json) == (status, {"error": {"message": "no"}})


HOSTILE: list[tuple[Any, str]] = [
    (b"", "JSON object"),
    (b"{", "JSON object"),
    (b"\xff\xfe", "JSON object"),
    (b"[" * 100_000, "JSON object"),
    ([], "JSON object"),
    ({}, "prompt required"),
    ({"prompt": ""}, "prompt required"),
    ({"prompt": 5}, "prompt required"),
    ({"prompt": None}, "prompt required"),
    ({"messages": []}, "messages required"),
    ({"messages": "hi"}, "messages required"),
    ({"prompt": "a", "generate_kwargs": [1]}, "must be an object"),
    ({"prompt": "a", "generate_kwargs": {"max_new_tokens": "5"}}, "whole number"),
    ({"prompt": "a", "generate_kwargs": {"max_new_tokens": True}}, "whole number"),
    ({"prompt": "a", "generate_kwargs": {"max_new_tokens": -1}}, "whole number"),
    ({"prompt": "a", "generate_kwargs": {"max_length": 1e300}}, "whole number"),
]


@pytest.mark.parametrize(("body", "sentence"), HOSTILE, ids=lambda v: repr(v)[:40])
def test_hostile_bodies_are_refused_and_go_no_further(body: Any, sentence: str) -> None:
    server = Server()
    said = ask(server, "POST", "/chat", body)
    assert said is not None and said.status == 400
    assert sentence in said.json["error"]["message"]
    assert server.asked == []


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=5), st.lists))
def test_no_json_value_breaks_it(value: Any) -> None:
    names = ("prompt", "messages", "generate_kwargs", "model", "return_full_text")
    for body in (value, dict.fromkeys(names, value), {"prompt": "a", "generate_kwargs": value}):
        said = ask(Server(), "POST", "/chat", body)
        assert said is not None and said.status in (200, 400)


def test_a_body_without_end_is_cut_off() -> None:
    said = ask(Server(), "POST", "/chat", b" " * (MOST_BODY_BYTES + 1))
    assert said is not None and said.status == 413


@pytest.mark.parametrize("answer", [b"", b"{", [], {"choices": []}, {"choices": [{}]}])
def test_an_answer_without_text_is_the_servers_fault(answer: Any) -> None:
    said = ask(Server(answer), "POST", "/chat", {"prompt": "a"})
    assert said is not None and said.status == 502


def test_nobody_is_answered_who_left_while_asking() -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {"type": "http", "method": "POST", "path": "/chat", "headers": []}
    asyncio.run(Chat(Server(), Settings())(scope, receive, send))
    assert sent == []


def test_the_root_says_that_it_runs() -> None:
    said = ask(Server(), "GET", "/")
    assert said is not None and said.json == {"message": "Server is running"}


BARRED = ["/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/v1/load_lora_adapter/", "/reset"]
BARRED += ["/load_model", "/sleep", "/collective_rpc", "/chat/x", "//reset", "/RESET", "/v1", "/x"]


@pytest.mark.parametrize("path", BARRED)
@pytest.mark.parametrize("client", [OUTSIDE, "::ffff:10.1.2.3", "localhost", "", None])
def test_admin_routes_are_barred_from_outside(path: str, client: str | None) -> None:
    server = Server()
    said = ask(server, "POST", path, {}, client=client)
    assert said is not None and said.status == 404
    assert server.asked == []


@pytest.mark.parametrize("client", [INSIDE, "127.0.0.9", "::1", "::ffff:127.0.0.1"])
def test_admin_routes_answer_inside_the_pod(client: str) -> None:
    server = Server()
    ask(server, "POST", "/v1/load_lora_adapter", {"lora_name": "a"}, client=client)
    assert server.asked == [("/v1/load_lora_adapter", {"lora_name": "a"})]


OPEN = ["/v1/models", "/v1/chat/completions", "/health", "/metrics", "/metrics/", "/version"]


@pytest.mark.parametrize("path", OPEN)
def test_what_serves_is_passed_on_untouched(path: str) -> None:
    server = Server()
    body = {"model": "facts", "max_tokens": 10**9, "stream": True}
    said = ask(server, "POST", path, body)
    assert said is not None and said.json == ANSWER
    assert server.asked == [(path, body)]


def test_websockets_and_the_lifespan_are_passed_on_or_barred() -> None:
    server = Server()
    opened = ask(server, "GET", "/v1/realtime", kind="websocket")
    closed = ask(server, "GET", "/admin", kind="websocket")
    ask(server, "", "", kind="lifespan")
    assert opened == Said(0, b"websocket.accept")
    assert closed == Said(0, b"websocket.close")
    assert server.asked == [("/v1/realtime", None), ("lifespan", None)]


CAPPED = Settings(model="tiny", aliases=("facts", "style"), max_tokens=100)
CAPS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("chat/completions", {}, {"max_tokens": 100}),
    ("chat/completions", {"max_tokens": 7}, {"max_tokens": 7}),
    ("chat/completions", {"max_tokens": None}, {"max_tokens": 100}),
    ("chat/completions", {"max_tokens": 10**9}, {"max_tokens": 100}),
    (
        "chat/completions",
        {"max_completion_tokens": 10**9},
        {"max_completion_tokens": 100, "max_tokens": 100},
    ),
    (
        "completions",
        {"max_completion_tokens": 7},
        {"max_completion_tokens": 7, "max_tokens": 100},
    ),
    ("responses", {"max_output_tokens": 500}, {"max_output_tokens": 100}),
    ("responses", {}, {"max_output_tokens": 100}),
]


@pytest.mark.parametrize(("path", "asked", "found"), CAPS, ids=str)
def test_no_answer_is_longer_than_allowed(
    path: str, asked: dict[str, Any], found: dict[str, Any]
) -> None:
    server = Server()
    ask(server, "POST", f"/v1/{path}", {"stream": True, **asked}, CAPPED)
    assert server.asked == [(f"/v1/{path}", {"stream": True, **found})]


@pytest.mark.parametrize(
    "body",
    [
        {"max_tokens": "5000"},
        {"max_tokens": 5000.0},
        {"max_tokens": 0},
        {"max_completion_tokens": [1]},
        {"generation_config": '{"max_new_tokens": 5000}'},
        {"chat_template_kwargs": {"chat_template": "{% for i in range(10**9) %}{% endfor %}"}},
        [],
    ],
    ids=str,
)
def test_no_way_around_the_cap(body: Any) -> None:
    server = Server()
    said = ask(server, "POST", "/v1/chat/completions", body, CAPPED)
    assert said is not None and said.status == 400
    assert server.asked == []


@pytest.mark.parametrize(("name", "found"), [("facts", "tiny"), ("tiny", "tiny"), ("x", "x")])
def test_one_model_answers_to_all_of_its_names(name: str, found: str) -> None:
    server = Server()
    ask(server, "POST", "/v1/chat/completions", {"model": name}, CAPPED)
    assert server.asked[0][1]["model"] == found


def test_all_names_are_listed() -> None:
    server = Server({"object": "list", "data": [{"id": "tiny", "object": "model"}]})
    said = ask(server, "GET", "/v1/models", None, CAPPED)
    assert said is not None
    assert [one["id"] for one in said.json["data"]] == ["tiny", "facts", "style"]
    assert {one.get("parent") for one in said.json["data"]} == {None, "tiny"}
    broken = ask(Server(b"oops", 500), "GET", "/v1/models", None, CAPPED)
    assert broken == Said(500, b"oops")


def test_settings_come_from_the_file_that_the_environment_names(tmp_path: Any) -> None:
    file = tmp_path / "chat.json"
    file.write_text('{"model": "a", "aliases": ["b"], "max_tokens": 5, "chat_template": false}')
    assert Settings.of({"TUNERY_CHAT": str(file)}) == Settings("a", ("b",), 5, False)
    assert Settings.of({}) == Settings()
