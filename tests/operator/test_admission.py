"""The webhook's judgement as a function: AdmissionReview in, AdmissionReview out."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

import pytest
from rig.manifests import ABSENT, changed, inference, tuning

from admission import NotAReview, looking_up, request_of, review
from apierror import ApiError
from jobs.context import Context
from jobs.decision import Object, Ref
from presets import Catalog, load

Body = dict[str, Any]
CONFIG = ("default", "my-config")
GOOD = {"training_config.yaml": "training_config:\n  LoraConfig: {r: 8}\n"}


class Server:
    """The API server's ConfigMaps, and what was asked of it."""

    def __init__(self, maps: Mapping[tuple[str, str], Mapping[str, str]], error: str = "") -> None:
        self.maps = maps
        self.error = error
        self.asked: list[Ref] = []

    async def read(self, ref: Ref) -> Object:
        self.asked.append(ref)
        if self.error:
            raise ApiError(self.error, "it is busy")  # type: ignore[arg-type]
        found = self.maps.get((ref.namespace, ref.name))
        if found is None:
            raise ApiError("absent", "not found", 404)
        return {"data": found}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load()


def request(operation: str, new: Body | None, old: Body | None = None) -> Body:
    return {"uid": "u-1", "operation": operation, "object": new, "oldObject": old}


def ask(
    catalog: Catalog,
    asked: Body,
    server: Server | None = None,
    known: Mapping[tuple[str, str], Mapping[str, str]] | None = None,
    **settings: Any,
) -> Body:
    """The response to a request."""
    of = looking_up(Context(catalog, **settings), lambda: known or {}, (server or Server({})).read)
    answered: Body = dict(asyncio.run(review(asked, of)))
    assert answered["kind"] == "AdmissionReview"
    assert answered["apiVersion"] == "admission.k8s.io/v1"
    assert answered["response"]["uid"] == "u-1"
    response: Body = answered["response"]
    return response


def refusal(response: Body) -> list[str]:
    assert response["allowed"] is False
    lines: list[str] = response["status"]["message"].split("\n")
    return lines


def test_a_good_workspace_is_admitted_without_a_word(catalog: Catalog) -> None:
    for body in (tuning(), inference()):
        assert ask(catalog, request("CREATE", body)) == {"uid": "u-1", "allowed": True}


def test_every_problem_is_a_line_in_kaitos_words_and_says_what_to_do(catalog: Catalog) -> None:
    body = tuning(
        {"tuning.method": "dora", "tuning.preset": ABSENT, "tuning.output.imagePushSecret": ABSENT}
    )
    response = ask(catalog, request("CREATE", body))
    assert refusal(response) == [
        'invalid value: "dora" is not a tuning method: tuning.method; did you mean "lora"?',
        "missing field(s): tuning.preset; name the model, for example preset: "
        "{name: phi-4-mini-instruct}",
        "missing field(s): tuning.output.Must specify imagePushSecret with destination image; "
        "name a registry Secret of the same namespace at tuning.output.imagePushSecret",
    ]
    status = response["status"]
    assert (status["code"], status["reason"]) == (400, "BadRequest")
    assert [c["field"] for c in status["details"]["causes"]] == [
        "tuning.method",
        "tuning.preset",
        "tuning.output",
    ]


def test_an_unknown_field_is_told_together_with_everything_else(catalog: Catalog) -> None:
    body = tuning({"tuning.metod": "lora", "tuning.method": ABSENT, "resource.count": 2})
    lines = refusal(ask(catalog, request("CREATE", body)))
    assert lines[0] == 'unknown field: tuning.metod; did you mean "method"?'
    assert any("multinode" in line for line in lines)
    assert len(lines) == 2


def test_warnings_are_told_whether_or_not_it_is_admitted(catalog: Catalog) -> None:
    annotation = {"metadata.annotations": {"kaito.sh/enablelb": "true"}}
    admitted = ask(catalog, request("CREATE", tuning(annotation)))
    refused = ask(catalog, request("CREATE", tuning({**annotation, "tuning.method": "x"})))
    said = ['metadata.annotations[kaito.sh/enablelb]: "true" is ignored: only the exact text True']
    for response in (admitted, refused):
        assert [w[: len(said[0])] for w in response["warnings"]] == said
    assert (admitted["allowed"], refused["allowed"]) == (True, False)


def test_the_named_config_map_is_looked_up_when_asked_and_not_from_memory(
    catalog: Catalog,
) -> None:
    body = tuning({"tuning.config": "my-config"})
    server = Server({CONFIG: GOOD})
    stale = {CONFIG: {"training_config.yaml": "nonsense"}}
    assert ask(catalog, request("CREATE", body), server, known=stale)["allowed"] is True
    assert server.asked == [Ref("v1", "ConfigMap", "default", "my-config")]


def test_a_config_map_that_is_gone_is_missing_although_it_is_remembered(catalog: Catalog) -> None:
    body = tuning({"tuning.config": "my-config"})
    lines = refusal(ask(catalog, request("CREATE", body), Server({}), known={CONFIG: GOOD}))
    assert lines == [
        "ConfigMap 'my-config' specified in 'config' not found in namespace 'default': "
        "tuning.config; create it before the Workspace (in one file: above it), "
        "with the key training_config.yaml"
    ]


def test_names_that_are_known_help_with_one_that_is_not(catalog: Catalog) -> None:
    body = tuning({"tuning.config": "my-confg"})
    (line,) = refusal(ask(catalog, request("CREATE", body), Server({}), known={CONFIG: GOOD}))
    assert line.endswith('; did you mean "my-config"?')


def test_what_is_wrong_in_the_config_map_is_told(catalog: Catalog) -> None:
    body = tuning({"tuning.config": "my-config"})
    wrong = {"training_config.yaml": "training_config:\n  LoraConfig: {r: 0}\n"}
    (line,) = refusal(ask(catalog, request("CREATE", body), Server({CONFIG: wrong})))
    assert "tuning.config (ConfigMap my-config).training_config.LoraConfig.r" in line


def test_a_config_map_without_data_lacks_the_key(catalog: Catalog) -> None:
    body = tuning({"tuning.config": "my-config"})
    (line,) = refusal(ask(catalog, request("CREATE", body), Server({CONFIG: {}})))
    assert line.startswith("missing field(s): tuning.config.training_config.yaml in ConfigMap")


@pytest.mark.parametrize("known", [{}, {CONFIG: GOOD}])
def test_an_api_server_that_does_not_answer_keeps_nobody_from_working(
    catalog: Catalog, known: Mapping[tuple[str, str], Mapping[str, str]]
) -> None:
    body = tuning({"tuning.config": "my-config"})
    response = ask(catalog, request("CREATE", body), Server({}, "transient"), known=known)
    assert response["allowed"] is True
    warned = "\n".join(response.get("warnings", []))
    assert ("was not looked up" in warned) is (known == {})


@pytest.mark.parametrize("name", ["../secrets/a", "a/b", "x?y", "", "A", "a" * 254])
def test_no_name_of_a_config_map_becomes_another_request(catalog: Catalog, name: str) -> None:
    server = Server({})
    ask(catalog, request("CREATE", tuning({"tuning.config": name})), server)
    body = tuning({"tuning.config": "x", "metadata.namespace": "../../x"})
    ask(catalog, request("CREATE", body), server)
    assert server.asked == []


def test_nothing_is_looked_up_when_no_config_map_is_named(catalog: Catalog) -> None:
    server = Server({})
    ask(catalog, request("CREATE", tuning()), server)
    assert server.asked == []


def test_the_rules_of_an_update_are_those_of_kaito(catalog: Catalog) -> None:
    new = tuning(
        {
            "resource.instanceType": "Standard_NC48ads_A100_v4",
            "tuning.method": "lora",
            "tuning.preset.name": "phi-4",
        }
    )
    lines = refusal(ask(catalog, request("UPDATE", new, tuning())))
    assert [line.split(";")[0] for line in lines] == [
        "instanceType cannot be changed once set when node auto-provisioning is enabled: "
        "resource.instanceType",
        "Preset cannot be changed: tuning.preset",
        "Method cannot be changed: tuning.method",
    ]


def test_an_update_may_change_where_data_comes_from_and_where_it_goes(catalog: Catalog) -> None:
    new = tuning({"tuning.output.image": "registry.invalid/adapters/phi-3:2"})
    assert ask(catalog, request("UPDATE", new, tuning()))["allowed"] is True


def test_the_contents_are_judged_on_update_too(catalog: Catalog) -> None:
    new = tuning({"tuning.input.urls": ["ftp://data.invalid/x"]})
    (line,) = refusal(ask(catalog, request("UPDATE", new, tuning())))
    assert "data source URL must use HTTP or HTTPS: tuning.input.urls[0]" in line


def test_metadata_of_a_workspace_that_is_wrong_by_now_stays_writable(catalog: Catalog) -> None:
    stored = tuning({"tuning.method": "dora", "unknown": 1})
    new = changed(stored, {"metadata.annotations": {"a": "b"}, "metadata.finalizers": []})
    assert ask(catalog, request("UPDATE", new, stored))["allowed"] is True


def test_a_workspace_that_is_going_away_can_be_written_in_any_way(catalog: Catalog) -> None:
    new = tuning({"metadata.deletionTimestamp": "2026-11-27T10:00:00Z", "tuning.method": "x"})
    assert ask(catalog, request("UPDATE", new, tuning()))["allowed"] is True


def test_an_old_object_that_nobody_can_read_makes_the_new_one_a_creation(catalog: Catalog) -> None:
    old = {"apiVersion": "kaito.sh/v2", "kind": "Workspace"}
    assert ask(catalog, request("UPDATE", tuning(), old))["allowed"] is True
    assert ask(catalog, request("UPDATE", tuning({"tuning.method": "x"}), old))["allowed"] is False


@pytest.mark.parametrize("operation", ["DELETE", "CONNECT", None])
def test_nothing_else_is_judged(catalog: Catalog, operation: Any) -> None:
    assert ask(catalog, request(operation, None, tuning()))["allowed"] is True
    status = {
        **request("UPDATE", tuning({"tuning.method": "x"}), tuning()),
        "subResource": "status",
    }
    assert ask(catalog, status)["allowed"] is True


def test_each_version_is_judged_by_its_own_rules(catalog: Catalog) -> None:
    """The API server sends v1alpha1 as it was written: its default instance type is nobody's."""
    old = {"apiVersion": "kaito.sh/v1alpha1"}
    body = tuning(old)
    assert ask(catalog, request("CREATE", body), auto_provisioning=False)["allowed"] is True
    assert ask(catalog, request("CREATE", tuning()), auto_provisioning=False)["allowed"] is False


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "x",
        {},
        {"apiVersion": "kaito.sh/v1beta1", "kind": "Workspace"},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}},
        tuning({"tuning.input.urls": {"a": {"b": [None] * 9}}}),
        tuning({"metadata": []}),
        tuning({"tuning.input.urls": ["x" * 2_000_000]}),
        tuning({f"tuning.{'a' * 50}{n}": 1 for n in range(2000)}),
    ],
)
def test_whatever_is_sent_is_refused_in_sentences(catalog: Catalog, body: Any) -> None:
    response = ask(catalog, request("CREATE", body))
    lines = refusal(response)
    assert response["status"]["code"] == 400
    assert 1 <= len(lines) <= 101 and max(map(len, lines)) < 1000


def test_no_text_can_forge_a_line(catalog: Catalog) -> None:
    body = tuning({"tuning.method": "x\nadmission passed\u202e"})
    (line,) = refusal(ask(catalog, request("CREATE", body)))
    assert line.startswith(r'invalid value: "x\nadmission passed\u202e" is not a tuning method')


@pytest.mark.parametrize("body", [None, [], "x", {}, {"request": 1}, {"request": {"uid": 3}}])
def test_what_is_no_review_has_no_answer(body: Any) -> None:
    with pytest.raises(NotAReview):
        request_of(body)


def test_a_bug_is_told_in_our_words_and_its_text_only_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken(workspace: object) -> Context:
        raise RuntimeError("a secret detail")

    with caplog.at_level(logging.ERROR):
        answered = asyncio.run(review(request("CREATE", tuning()), broken))
    response = answered["response"]
    assert response["allowed"] is False
    assert response["status"]["code"] == 500
    assert "secret" not in str(response)
    assert "uid=u-1" in response["status"]["message"]
    assert "a secret detail" in caplog.text


def test_the_largest_workspace_keeps_nobody_else_waiting(catalog: Catalog) -> None:
    urls = [f"https://data.invalid/{number:09}" for number in range(20_000)]
    asked = request("UPDATE", tuning({"tuning.input.urls": urls}), tuning())
    pauses_s = []

    async def look_at_the_clock() -> None:
        while True:
            began_s = time.monotonic()
            await asyncio.sleep(0)
            pauses_s.append(time.monotonic() - began_s)

    async def scenario() -> float:
        clock = asyncio.create_task(look_at_the_clock())
        began_s = time.monotonic()
        context_of = looking_up(Context(catalog), dict, Server({}).read)
        assert (await review(asked, context_of))["response"]["allowed"] is True
        clock.cancel()
        return time.monotonic() - began_s

    whole_s = asyncio.run(scenario())
    assert max(pauses_s) < whole_s / 3
