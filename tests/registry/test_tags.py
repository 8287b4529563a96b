"""Tags that may not move, or that somebody else moved."""

from collections.abc import Callable
from pathlib import Path

import pytest
from rig.adapters import adapter_image
from rig.fault_proxy import (
    FaultProxy,
    Replace,
    Rule,
    Status,
)

from tuning.failure import Failure, Kind
from tuning.images.oci import Image
from tuning.images.registry import Registry
from tuning.reference import Reference

Fresh = Callable[[str], Reference]
Client = Callable[..., Registry]


@pytest.mark.parametrize("status", [400, 403, 405, 409, 412])
def test_a_tag_that_may_not_move_is_told_with_where_the_adapter_is(
    proxy: FaultProxy, fresh: Fresh, client: Client, image: Image, tmp_path: Path, status: int
) -> None:
    reference = fresh(proxy.host)
    first = adapter_image(tmp_path / "first", seed=9)
    client().push(first, reference)
    proxy.rules.append(Rule("PUT", "/manifests/v1", Status(status)))
    with pytest.raises(Failure, match="does not move") as failed:
        client().push(image, reference)
    assert failed.value.kind is Kind.BAD_CONFIG
    assert image.digest in failed.value.sentence
    assert client().resolve(reference.at(image.digest)) == image.digest


@pytest.mark.parametrize("status", [400, 403, 405, 409, 412])
def test_a_fixed_tag_with_our_digest_is_fine(
    proxy: FaultProxy, fresh: Fresh, client: Client, image: Image, status: int
) -> None:
    """Somebody, perhaps this run's other pod, was faster: the tag is what we wanted."""
    reference = fresh(proxy.host)
    client().push(image, reference)
    proxy.rules.append(Rule("HEAD", "/manifests/v1", Status(404)))
    proxy.rules.append(Rule("PUT", "/manifests/v1", Status(status)))
    assert client().push(image, reference).digest == image.digest


def test_a_tag_that_somebody_else_moved_meanwhile_is_told(
    proxy: FaultProxy, fresh: Fresh, client: Client, image: Image
) -> None:
    reference = fresh(proxy.host)
    other = "sha256:" + "e" * 64
    moved = Replace({"Docker-Content-Digest": other})
    proxy.rules.append(Rule("HEAD", "/manifests/v1", moved, after=1))
    with pytest.raises(Failure, match="moved by somebody else") as failed:
        client().push(image, reference)
    assert image.digest in failed.value.sentence
