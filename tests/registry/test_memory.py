"""Memory stays flat, however large the weights are."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rig.adapters import adapter_folder
from rig.registry import RunningRegistry

from tuning.reference import Reference

WORK = """
import resource, sys
from pathlib import Path
from tuning.images import layout, oci
from tuning.images.connection import Options
from tuning.images.provenance import Provenance
from tuning.reference import parse
from tuning.images.registry import Registry

def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

small, large, name, out = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
registry = Registry(options=Options(monolithic_max_bytes=int(sys.argv[5])))

def there_and_back(folder, tag):
    image = oci.build(folder, Provenance())
    layout.write(image, out / f"layout-{tag}")
    registry.push(image, parse(f"{name}:{tag}"))
    registry.pull(parse(f"{name}:{tag}"), out / tag)

there_and_back(small, "small")
before = peak_bytes()
there_and_back(large, "large")
print(peak_bytes() - before)
"""


@pytest.mark.parametrize("monolithic_max_bytes", [1 << 30, 1 << 20])
def test_64_mib_go_there_and_back_in_flat_memory(
    plain_registry: RunningRegistry,
    fresh: Callable[[str], Reference],
    tmp_path: Path,
    monolithic_max_bytes: int,
) -> None:
    small = adapter_folder(tmp_path / "small", 2 << 20)
    large = adapter_folder(tmp_path / "large", 64 << 20, seed=2)
    name = fresh(plain_registry.host).name
    arguments = [str(small), str(large), name, str(tmp_path / "out"), str(monolithic_max_bytes)]
    done = subprocess.run(
        [sys.executable, "-c", WORK, *arguments],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env={"PATH": os.environ["PATH"]},
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 8 << 20
