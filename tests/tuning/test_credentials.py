import base64
import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning.failure import Failure, Kind
from tuning.images.credentials import Credentials, Login
from tuning.reference import parse


def auth(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def written(folder: Path, content: Any, name: str = "config.json") -> Path:
    file = folder / name
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


# key in the file, image, does it match
KEYS = [
    ("ghcr.io", "ghcr.io/a/b", True),
    ("ghcr.io", "other.io/a/b", False),
    ("https://ghcr.io", "ghcr.io/a/b", True),
    ("https://ghcr.io/", "ghcr.io/a/b", True),
    ("https://ghcr.io/v1/", "ghcr.io/a/b", True),
    ("ghcr.io/v2/", "ghcr.io/a/b", True),
    ("GHCR.io", "ghcr.io/a/b", True),
    ("https://index.docker.io/v1/", "me/x", True),
    ("index.docker.io", "docker.io/me/x", True),
    ("docker.io", "me/x", True),
    ("registry-1.docker.io", "me/x", True),
    ("ghcr.io/a", "ghcr.io/a/b", True),
    ("ghcr.io/a/b", "ghcr.io/a/b", True),
    ("ghcr.io/a/b/c", "ghcr.io/a/b", False),
    ("ghcr.io/ab", "ghcr.io/abc/d", False),
    ("*.azurecr.io", "me.azurecr.io/x", True),
    ("*.azurecr.io", "a.b.azurecr.io/x", False),
    ("*.azurecr.io", "azurecr.io/x", False),
    ("re*.acme.io", "registry.acme.io/x", True),
    ("*.acme.io:5000", "r.acme.io:5000/x", True),
    ("*.acme.io", "r.acme.io:5000/x", False),
    ("localhost:5000", "localhost:5000/x", True),
    ("localhost:5000", "localhost:5001/x", False),
    ("", "ghcr.io/x", False),
]


@pytest.mark.parametrize(("key", "image", "matches"), KEYS)
def test_keys_match_as_the_kubelet_matches_them(
    tmp_path: Path, key: str, image: str, matches: bool
) -> None:
    file = written(tmp_path, {"auths": {key: auth("u", "p")}})
    found = Credentials.load([file]).for_(parse(image))
    assert found == (Login("u", "p") if matches else None)


ENTRIES = {
    "auth": auth("u", "p:with:colons"),
    "wrapped base64": {"auth": "\n".join(auth("u", "p:with:colons")["auth"]) + "\n"},
    "in clear": {"username": "u", "password": "p:with:colons"},
    "padded": {"auth": base64.b64encode(b"u:p:with:colons\0\0").decode()},
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_spelling_of_a_login_is_read(tmp_path: Path, entry: str) -> None:
    file = written(tmp_path, {"auths": {"ghcr.io": ENTRIES[entry]}})
    assert Credentials.load([file]).for_(parse("ghcr.io/x")) == Login("u", "p:with:colons")


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"auth": ""},
        {"auth": "!!"},
        {"auth": "bm9jb2xvbg=="},
        {"auth": 7},
        {"username": "u"},
        7,
    ],
)
def test_an_entry_without_a_login_is_none(tmp_path: Path, entry: object) -> None:
    file = written(tmp_path, {"auths": {"ghcr.io": entry}})
    assert Credentials.load([file]).for_(parse("ghcr.io/x")) is None


def test_an_identity_token_is_kept_apart(tmp_path: Path) -> None:
    entry = {**auth("00000000-0000-0000-0000-000000000000", ""), "identitytoken": "t"}
    file = written(tmp_path, {"auths": {"me.azurecr.io": entry}})
    found = Credentials.load([file]).for_(parse("me.azurecr.io/x"))
    assert found is not None
    assert (found.password, found.identity_token) == ("", "t")


def test_the_longest_path_wins_then_the_exact_host(tmp_path: Path) -> None:
    auths = {
        "*.acme.io": auth("star", "p"),
        "r.acme.io": auth("host", "p"),
        "r.acme.io/team": auth("team", "p"),
        "r.acme.io/team/x": auth("x", "p"),
    }
    found = Credentials.load([written(tmp_path, {"auths": auths})])
    users = [found.for_(parse(f"r.acme.io/{path}")) for path in ("z", "team/y", "team/x")]
    assert [login.user for login in users if login] == ["host", "team", "x"]


def test_the_file_named_first_wins(tmp_path: Path) -> None:
    first = written(tmp_path, {"auths": {"ghcr.io": auth("first", "p")}}, "a.json")
    second = written(tmp_path, {"auths": {"ghcr.io": auth("second", "p")}}, "b.json")
    for order, user in (((first, second), "first"), ((second, first), "second")):
        login = Credentials.load(order).for_(parse("ghcr.io/x"))
        assert login is not None
        assert login.user == user


@pytest.mark.parametrize("name", [".dockerconfigjson", "config.json"])
def test_a_mounted_secret_is_a_folder(tmp_path: Path, name: str) -> None:
    written(tmp_path, {"auths": {"ghcr.io": auth("u", "p")}}, name)
    assert Credentials.load([tmp_path]).for_(parse("ghcr.io/x")) == Login("u", "p")


def test_the_older_secret_type_is_read(tmp_path: Path) -> None:
    written(tmp_path, {"ghcr.io": auth("u", "p")}, ".dockercfg")
    assert Credentials.load([tmp_path]).for_(parse("ghcr.io/x")) == Login("u", "p")


def test_a_rotated_secret_is_read_anew(tmp_path: Path) -> None:
    file = written(tmp_path, {"auths": {"ghcr.io": auth("u", "old")}})
    credentials = Credentials.load([file])
    written(tmp_path, {"auths": {"ghcr.io": auth("u", "new")}})
    assert credentials.for_(parse("ghcr.io/x")) == Login("u", "new")


BROKEN = {
    "": "not a docker config.json",
    "{": "not a docker config.json",
    "[]": "not a docker config.json",
    '{"auths": [1]}': "not a docker config.json",
    "\xff": "not a docker config.json",
    "[" * 100_000: "not a docker config.json",
}


@pytest.mark.parametrize("content", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_file_is_one_sentence(tmp_path: Path, content: str) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(content.encode("latin-1"))
    with pytest.raises(Failure) as failed:
        Credentials.load([file])
    assert failed.value.kind is Kind.NO_ACCESS
    assert BROKEN[content] in failed.value.sentence


@pytest.mark.parametrize(
    "content", ["{}", '{"auths": null}', '{"auths": {}}', '{"credsStore": "x"}']
)
def test_a_file_without_logins_has_none(tmp_path: Path, content: str) -> None:
    credentials = Credentials.load([written(tmp_path, content)])
    assert credentials.for_(parse("ghcr.io/x")) is None
    assert credentials.hosts() == ()


def test_a_missing_file_or_an_empty_folder_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "no.json", tmp_path):
        with pytest.raises(Failure, match="cannot be read") as failed:
            Credentials.load([path])
        assert str(path) in failed.value.sentence


def test_hosts_can_be_told_and_secrets_cannot(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token = {"identitytoken": "s3cret"}
    auths = {"https://index.docker.io/v1/": auth("u", "s3cret"), "ghcr.io/a": token}
    credentials = Credentials.load([written(tmp_path, {"auths": auths})])
    assert credentials.hosts() == ("docker.io", "ghcr.io/a")
    shown = [repr(credentials), repr(credentials.for_(parse("ghcr.io/a"))), caplog.text]
    shown.append(repr(credentials.for_(parse("x"))))
    assert "s3cret" not in "".join(shown)


def test_a_broken_file_keeps_its_secret(tmp_path: Path) -> None:
    file = written(tmp_path, '{"auths": {"ghcr.io": {"auth": "s3cret"')
    with pytest.raises(Failure) as failed:
        Credentials.load([file])
    assert "s3cret" not in f"{failed.value} {failed.value.__cause__} {failed.value.__context__}"


def test_the_person_at_the_command_line_is_logged_in_as_usual(tmp_path: Path) -> None:
    written(tmp_path, {"auths": {"ghcr.io": auth("docker", "p")}})
    other = written(tmp_path, {"auths": {"ghcr.io": auth("podman", "p")}}, "auth.json")
    docker = Credentials.of_user({"DOCKER_CONFIG": str(tmp_path)})
    podman = Credentials.of_user({"DOCKER_CONFIG": str(tmp_path), "REGISTRY_AUTH_FILE": str(other)})
    assert docker.for_(parse("ghcr.io/x")) == Login("docker", "p")
    assert podman.for_(parse("ghcr.io/x")) == Login("podman", "p")
    assert Credentials.of_user({"HOME": str(tmp_path / "nobody")}).for_(parse("ghcr.io/x")) is None


HELPER = """#!/bin/sh
read -r server
echo "$@" >> "$(dirname "$0")/argv"
case $server in
  ghcr.io) echo '{"ServerURL": "ghcr.io", "Username": "h", "Secret": "s3cret"}' ;;
  me.azurecr.io) echo '{"Username": "<token>", "Secret": "s3cret"}' ;;
  bad.io) echo 's3cret' ;;
  *) echo "credentials not found in native keychain"; exit 1 ;;
esac
"""


def test_a_users_credential_helper_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = written(tmp_path, HELPER, "docker-credential-fake")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    written(tmp_path, {"auths": {"ghcr.io": {}}, "credsStore": "fake"})
    user = Credentials.of_user({"DOCKER_CONFIG": str(tmp_path)})
    assert user.for_(parse("ghcr.io/x")) == Login("h", "s3cret")
    assert user.for_(parse("me.azurecr.io/x")) == Login("", identity_token="s3cret")
    assert user.for_(parse("unknown.io/x")) is None
    with pytest.raises(Failure) as failed:
        user.for_(parse("bad.io/x"))
    assert "s3cret" not in f"{failed.value} {failed.value.__cause__}"
    assert (tmp_path / "argv").read_text().split() == ["get"] * 4


def test_a_mounted_secret_runs_no_program(tmp_path: Path) -> None:
    file = written(tmp_path, {"credsStore": "fake", "credHelpers": {"ghcr.io": "fake"}})
    assert Credentials.load([file]).for_(parse("ghcr.io/x")) is None


@pytest.mark.parametrize("name", ["../evil", "a b", "missing-one"])
def test_a_helper_that_cannot_be_is_a_sentence(tmp_path: Path, name: str) -> None:
    written(tmp_path, {"credsStore": name})
    with pytest.raises(Failure) as failed:
        Credentials.of_user({"DOCKER_CONFIG": str(tmp_path)}).for_(parse("ghcr.io/x"))
    assert failed.value.kind is Kind.NO_ACCESS


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(JSON, JSON)
def test_any_json_is_a_login_none_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, auths: object, entry: object
) -> None:
    folder = tmp_path_factory.mktemp("any")
    for content in (auths, {"auths": auths}, {"auths": {"ghcr.io": entry}}):
        try:
            credentials = Credentials.load([written(folder, content)])
            credentials.for_(parse("ghcr.io/x"))
            credentials.hosts()
        except Failure as failure:
            assert failure.kind is Kind.NO_ACCESS
