"""The contract with KAITO: its puller takes our images, and we take those of its pusher."""

import gzip
import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

from rig.registry import RunningRegistry

from tuning.images import oci
from tuning.images.blob import of_bytes
from tuning.images.oci import Image, Layer
from tuning.images.registry import Registry
from tuning.reference import Reference

Fresh = Callable[[str], Reference]
Client = Callable[..., Registry]

SKOPEO = ["skopeo", "--insecure-policy"]


def test_kaitos_puller_takes_our_image(
    plain_registry: RunningRegistry, fresh: Fresh, client: Client, image: Image, tmp_path: Path
) -> None:
    """Its puller.sh: skopeo copy --dest-decompress to a folder, then every layer through tar."""
    reference = fresh(plain_registry.host)
    client().push(image, reference)
    folder, out = tmp_path / "dir", tmp_path / "out"
    out.mkdir()
    copy = ["copy", "--src-tls-verify=false", "--dest-decompress", f"docker://{reference}"]
    subprocess.run([*SKOPEO, *copy, f"dir:{folder}"], check=True, capture_output=True)
    for layer in json.loads((folder / "manifest.json").read_bytes())["layers"]:
        file = folder / layer["digest"].removeprefix("sha256:")
        subprocess.run(["tar", "-xf", file, "-C", out], check=True, capture_output=True)
    weights = out / "data" / oci.WEIGHTS_FILE
    assert weights.read_bytes() == (tmp_path / "adapter" / oci.WEIGHTS_FILE).read_bytes()
    assert weights.stat().st_mode & 0o777 == 0o644
    assert (out / "data" / oci.CONFIG_FILE).is_file()


def test_an_image_of_kaitos_pusher_is_pulled(
    plain_registry: RunningRegistry, fresh: Fresh, client: Client, image: Image, tmp_path: Path
) -> None:
    """One gzip layer, a config of diff_ids only, files as cp and tar left them (0600)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name in (oci.CONFIG_FILE, oci.WEIGHTS_FILE):
            info = tar.gettarinfo(tmp_path / "adapter" / name, f"data/{name}")
            info.mode = 0o600
            with (tmp_path / "adapter" / name).open("rb") as file:
                tar.addfile(info, file)
    layer = of_bytes(gzip.compress(buffer.getvalue(), 9))
    diff_id = f"sha256:{hashlib.sha256(buffer.getvalue()).hexdigest()}"
    config = of_bytes(json.dumps({"rootfs": {"diff_ids": [diff_id]}}).encode())
    manifest = {
        "schemaVersion": 2,
        "mediaType": oci.MANIFEST_TYPE,
        "config": {"mediaType": oci.CONFIG_TYPE, "digest": config.digest, "size": config.size},
        "layers": [
            {
                "mediaType": f"{oci.LAYER_TYPE}+gzip",
                "digest": layer.digest,
                "size": layer.size,
            }
        ],
        "annotations": {"sh.kaito.model.name": "phi-4"},
    }
    theirs = Image(json.dumps(manifest).encode(), config, (Layer("", layer),))
    reference = fresh(plain_registry.host)
    client().push(theirs, reference)
    client().pull(reference, tmp_path / "out")
    weights = tmp_path / "out" / oci.WEIGHTS_FILE
    assert weights.read_bytes() == (tmp_path / "adapter" / oci.WEIGHTS_FILE).read_bytes()
    assert weights.stat().st_mode & 0o777 == 0o644
    assert client().inspect(reference).provenance.preset == "phi-4"


def test_the_digest_is_that_of_the_bytes_anyone_can_fetch(
    plain_registry: RunningRegistry, fresh: Fresh, client: Client, image: Image
) -> None:
    reference = fresh(plain_registry.host)
    pushed = client().push(image, reference)
    raw = [*SKOPEO, "inspect", "--raw", "--tls-verify=false", f"docker://{pushed.reference}"]
    content = subprocess.run(raw, check=True, capture_output=True).stdout
    assert f"sha256:{hashlib.sha256(content).hexdigest()}" == pushed.digest
