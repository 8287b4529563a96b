import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning.reference import Reference, parse

SHA = "sha256:" + "a" * 64

GOOD = {
    "foo": "docker.io/library/foo:latest",
    "foo:1": "docker.io/library/foo:1",
    "me/foo": "docker.io/me/foo:latest",
    "docker.io/foo": "docker.io/library/foo:latest",
    "index.docker.io/me/foo:x": "docker.io/me/foo:x",
    "localhost/x": "localhost/x:latest",
    "localhost:5000/x": "localhost:5000/x:latest",
    "127.0.0.1:5000/a/b/c:v1.2-3_4": "127.0.0.1:5000/a/b/c:v1.2-3_4",
    "[::1]:5000/x:y": "[::1]:5000/x:y",
    f"ghcr.io/org/adapter@{SHA}": f"ghcr.io/org/adapter@{SHA}",
    f"ghcr.io/org/adapter:v1@{SHA}": f"ghcr.io/org/adapter:v1@{SHA}",
    "reg:443/a__b/c---d/e.f": "reg:443/a__b/c---d/e.f:latest",
    "UPPER.example.com/x": "UPPER.example.com/x:latest",
    "a" * 200: "docker.io/library/" + "a" * 200 + ":latest",
    f"x:{'t' * 128}": f"docker.io/library/x:{'t' * 128}",
}

BAD = {
    "": "write registry/repository:tag",
    " ": "write registry/repository:tag",
    "https://ghcr.io/x": "leave out https://",
    "ghcr.io/Org/x": "write org/x",
    "Foo": "lower case",
    "ghcr.io/": "write registry/repository:tag",
    "ghcr.io//x": "write registry/repository:tag",
    "x:": "tag",
    "x:a b": "tag",
    "x:-a": "tag",
    f"x:{'t' * 129}": "tag",
    "x@": "sha256",
    "x@sha256:123": "sha256",
    f"x@{SHA.upper()}": "sha256",
    f"x@sha512:{'a' * 128}": "sha256",
    "x\n": "write registry/repository:tag",
    "x y": "write registry/repository:tag",
    "a.b:99999/x": "port",
    "a.b:0/x": "port",
    "-a.b/x": "host name",
    "user:pw@host/x": "sha256",
    "x___y": "write registry/repository:tag",
    "../x": "host name",
    "x/../y": "write registry/repository:tag",
    "a" * 256: "longer than",
    "ä/x": "write registry/repository:tag",
}


@pytest.mark.parametrize("text", GOOD)
def test_a_reference_is_normalised_as_docker_does(text: str) -> None:
    assert str(parse(text)) == GOOD[text]


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_reference_is_refused_with_one_sentence(text: str) -> None:
    with pytest.raises(ValueError) as refused:
        parse(text)
    assert BAD[text] in str(refused.value)
    assert "\n" not in str(refused.value)


def test_docker_hub_is_asked_where_its_registry_lives() -> None:
    assert parse("foo").host == "registry-1.docker.io"
    assert parse("ghcr.io/x").host == "ghcr.io"


def test_a_digest_wins_over_a_tag() -> None:
    both = parse(f"ghcr.io/x:v1@{SHA}")
    assert both.target == SHA
    assert parse("ghcr.io/x:v1").target == "v1"
    assert both.at(SHA) == Reference("ghcr.io", "x", None, SHA)


@given(st.text())
def test_any_text_is_a_reference_or_a_sentence(text: str) -> None:
    try:
        reference = parse(text)
    except ValueError as refused:
        assert str(refused).isprintable()
    else:
        assert parse(str(reference)) == reference


@given(st.from_regex(r"[a-zA-Z0-9.:/@_\-\[\]]{1,60}", fullmatch=True))
def test_a_parsed_reference_round_trips(text: str) -> None:
    try:
        reference = parse(text)
    except ValueError:
        return
    assert parse(str(reference)) == reference
