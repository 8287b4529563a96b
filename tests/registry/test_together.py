"""Pushes of one image at the same moment: a Job's pod and the one that replaces it, say."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from rig.registry import RunningRegistry

from tuning.images.oci import Image
from tuning.images.registry import Registry
from tuning.reference import Reference

_PUSHERS = 4
_ROUNDS = 25
"""docker-registry 2.8 doubts about every sixteenth such round; each is another repository."""


def test_pushes_at_once_make_one_image(
    plain_registry: RunningRegistry,
    fresh: Callable[[str], Reference],
    client: Callable[..., Registry],
    image: Image,
) -> None:
    together = Barrier(_PUSHERS, timeout=30)

    def push(reference: Reference) -> str:
        together.wait()
        return client(plain_registry).push(image, reference).digest

    with ThreadPoolExecutor(_PUSHERS) as pool:
        for _ in range(_ROUNDS):
            reference = fresh(plain_registry.host)
            found = list(pool.map(push, [reference] * _PUSHERS))
            assert found == [image.digest] * _PUSHERS
            assert client(plain_registry).resolve(reference) == image.digest
