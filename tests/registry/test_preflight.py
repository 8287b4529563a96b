"""Every cause of a push that will not work has its own sentence, before training."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rig.fault_proxy import FaultProxy, Rule, Silence, Status, running_proxy
from rig.registry import (
    PASSWORD,
    READER,
    USER,
    RunningRegistry,
    running_registry,
    write_docker_config,
)

from tuning.failure import Failure, Kind
from tuning.images.connection import Options
from tuning.images.credentials import Credentials
from tuning.images.oci import Image
from tuning.images.preflight import check_push
from tuning.images.registry import Registry
from tuning.reference import Reference, parse
from tuning.retry import Patience

Fresh = Callable[[str], Reference]
Client = Callable[..., Registry]


def options(registry: RunningRegistry) -> Options:
    return Options(ca_file=registry.ca)


def credentials(registry: RunningRegistry) -> Credentials:
    return Credentials.load([registry.credentials] if registry.credentials else [])


def refusal(reference: Reference, found: Credentials, **changes: object) -> Failure:
    with pytest.raises(Failure) as failed:
        check_push(reference, found, **changes)  # type: ignore[arg-type]  # keywords of check_push
    assert "\n" not in failed.value.sentence
    return failed.value


def test_a_new_repository_may_be_pushed_to(any_registry: RunningRegistry, fresh: Fresh) -> None:
    reference = fresh(any_registry.host)
    access = check_push(reference, credentials(any_registry), options(any_registry))
    assert access.existing_digest is None
    assert access.user == (USER if any_registry.credentials else "")


def test_nothing_is_left_behind(
    plain_registry: RunningRegistry, proxy: FaultProxy, fresh: Fresh, client: Client
) -> None:
    reference = fresh(proxy.host)
    check_push(reference, Credentials())
    assert [seen.status for seen in proxy.log_of("DELETE")] == [204]
    # docker-registry 2.8 forgets an empty folder of its own when it cancels.
    repository = plain_registry.storage / "docker/registry/v2/repositories" / reference.repository
    assert not list(repository.rglob("data")) + list(repository.rglob("startedat"))
    assert client().find(reference) is None


def test_a_tag_that_exists_is_told_by_policy(
    any_registry: RunningRegistry, fresh: Fresh, client: Client, image: Image
) -> None:
    reference = fresh(any_registry.host)
    client(any_registry).push(image, reference)
    found, settings = credentials(any_registry), options(any_registry)
    assert check_push(reference, found, settings).existing_digest == image.digest
    failure = refusal(reference, found, options=settings, overwrite=False)
    assert failure.kind is Kind.BAD_CONFIG
    assert image.digest in failure.sentence
    access = check_push(reference, found, settings, False, expected_digest=image.digest)
    assert access.existing_digest == image.digest


def test_missing_credentials_name_what_the_secret_has(
    htpasswd_registry: RunningRegistry,
    token_registry: RunningRegistry,
    fresh: Fresh,
    tmp_path: Path,
) -> None:
    other = write_docker_config(tmp_path / "other.json", {"ghcr.io": ("u", "p")})
    for registry in (htpasswd_registry, token_registry):
        reference = fresh(registry.host)
        failure = refusal(reference, Credentials.load([other]))
        assert failure.kind is Kind.NO_ACCESS
        assert f"{registry.host} needs a login" in failure.sentence
        assert "have only ghcr.io" in failure.sentence
        assert "empty or not given" in refusal(reference, Credentials()).sentence


@pytest.mark.parametrize("user", [USER, "nobody"])
def test_a_wrong_password_is_told_in_two_seconds(
    htpasswd_registry: RunningRegistry, token_registry: RunningRegistry, fresh: Fresh, user: str
) -> None:
    for registry in (htpasswd_registry, token_registry):
        file = registry.login(user, "wrong-" + PASSWORD)
        start = time.monotonic()
        failure = refusal(fresh(registry.host), Credentials.load([file]))
        assert time.monotonic() - start < 2
        assert failure.kind is Kind.NO_ACCESS
        assert f"{registry.host} refused user {user}" in failure.sentence
        assert PASSWORD not in failure.sentence


def test_a_read_only_user_is_told_apart(token_registry: RunningRegistry, fresh: Fresh) -> None:
    reference = fresh(token_registry.host)
    file = token_registry.login(READER, PASSWORD)
    failure = refusal(reference, Credentials.load([file]))
    assert failure.kind is Kind.NO_ACCESS
    assert f"{READER} may not push to {reference.name}" in failure.sentence


def test_a_read_only_proxy_is_told_apart(htpasswd_registry: RunningRegistry, fresh: Fresh) -> None:
    body = b'{"errors":[{"code":"DENIED","message":"permission_denied: write_package"}]}'
    with running_proxy(htpasswd_registry.host) as proxy:
        proxy.rules.append(Rule("POST", "", Status(403, body=body), times=9))
        file = htpasswd_registry.login(USER, PASSWORD, host=proxy.host)
        failure = refusal(fresh(proxy.host), Credentials.load([file]))
    assert failure.kind is Kind.NO_ACCESS
    assert "may not push" in failure.sentence
    assert "DENIED: permission_denied: write_package" in failure.sentence


def test_a_repository_that_is_not_created_on_push_is_told(proxy: FaultProxy, fresh: Fresh) -> None:
    body = b'{"errors":[{"code":"NAME_UNKNOWN","message":"not in the registry"}]}'
    proxy.rules.append(Rule("POST", "", Status(404, body=body), times=9))
    failure = refusal(fresh(proxy.host), Credentials())
    assert failure.kind is Kind.BAD_CONFIG
    assert "create the repository first" in failure.sentence


def test_a_cancel_that_is_refused_does_not_matter(proxy: FaultProxy, fresh: Fresh) -> None:
    proxy.rules.append(Rule("DELETE", "", Status(401)))
    check_push(fresh(proxy.host), Credentials())
    assert [seen.status for seen in proxy.log_of("DELETE")] == [401]


def test_http_where_https_is_spoken_is_told(fresh: Fresh) -> None:
    with running_registry("tls") as registry:
        settings = Options(insecure_hosts=frozenset({registry.host}))
        failure = refusal(fresh(registry.host), Credentials(), options=settings)
        assert failure.kind is Kind.BAD_CONFIG
        assert "speaks https" in failure.sentence
        unknown = refusal(fresh(registry.host), Credentials())
        assert unknown.kind is Kind.BAD_CONFIG
        assert "is not trusted" in unknown.sentence
        assert "CA file" in unknown.sentence


def test_a_registry_that_is_down_or_silent_is_told_soon(
    proxy: FaultProxy, fresh: Fresh, client: Client
) -> None:
    proxy.rules.append(Rule("POST", "", Silence(), times=99))
    patience = dataclasses.replace(client().transport.options.patience, deadline_s=1)
    registry = client(patience=patience, read_s=0.3)
    start = time.monotonic()
    with pytest.raises(Failure, match="no answer in time") as failed:
        check_push(fresh(proxy.host), Credentials(), registry.transport.options)
    assert failed.value.kind is Kind.UNAVAILABLE
    assert time.monotonic() - start < 4


def test_a_reference_to_no_registry_is_told() -> None:
    quick = Options(patience=Patience(deadline_s=0))
    failure = refusal(parse("127.0.0.1:1/x:v1"), Credentials(), options=quick)
    assert failure.kind is Kind.UNAVAILABLE
    assert "connection refused" in failure.sentence
