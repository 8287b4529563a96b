"""The chain with what a Workspace itself names: a hub's model and data set, an image of data."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

from rig.chain import Chain
from rig.hub import hub
from rig.registry import RunningRegistry
from rig.tiny import MODEL_ID

URLS = "https://data.example.org/codes.parquet"


def test_model_and_data_come_from_a_hub_by_their_ids(chain: Chain, tmp_path: Path) -> None:
    data = tmp_path / "dataset"
    (data / "data").mkdir(parents=True)
    shutil.copy(chain.data, data / "data" / "train-00000-of-00001.parquet")
    repos = {f"models/{MODEL_ID}": chain.model, "datasets/tunery-tests/codes": data}
    chain.file.write_text(chain.file.read_text().replace(URLS, "hf://datasets/tunery-tests/codes"))
    with hub(repos) as server:
        here = replace(chain, environment={"HF_ENDPOINT": server.url, "HF_HUB_OFFLINE": "0"})
        checked = here("check", str(chain.file), "--no-push", "--json")
        assert checked.returncode == 0, checked.stderr
        assert json.loads(checked.stdout)["memory_gib"] > 0
        assert not [path for _, path in server.log if path.endswith("model.safetensors")]
        words = ("run", str(chain.file), "--work", str(tmp_path / "work"))
        done = here(*words, "--output", f"oci:{tmp_path / 'layout'}")
        assert done.returncode == 0, done.stderr
        shown = json.loads(here("inspect", f"oci:{tmp_path / 'layout'}", "--json").stdout)
        commit = server.commit(f"models/{MODEL_ID}")
    assert "rows: 64, kept 64" in done.stderr
    assert f"fetching {MODEL_ID} at {commit}" in done.stderr
    assert shown["base_revision"] == commit
    assert shown["dataset"].startswith("tunery-tests/codes")


def test_a_model_nobody_has_is_one_sentence(chain: Chain, tmp_path: Path) -> None:
    with hub({}) as server:
        here = replace(chain, environment={"HF_ENDPOINT": server.url, "HF_HUB_OFFLINE": "0"})
        done = here("check", str(chain.file), "--no-push")
    assert done.returncode == 77
    assert f"{MODEL_ID} is not on the hub or is private" in done.stderr


def test_without_the_models_numbers_the_smallest_batch_is_taken(chain: Chain) -> None:
    text = chain.file.read_text()
    chain.file.write_text(text.replace("per_device_train_batch_size: 16", ""))
    done = chain("check", str(chain.file), "--no-push", "--no-data")
    assert done.returncode == 0
    assert "memory is not estimated" in done.stderr
    batch = next(line for line in done.stdout.splitlines() if "train_batch_size" in line)
    assert batch.split()[1:] == ["1", "(default)"]


def test_data_comes_from_an_image(chain: Chain, registry: RunningRegistry, tmp_path: Path) -> None:
    image = f"{registry.host}/data/codes:1"
    push_files(tmp_path / "data-layout", {"data/codes.parquet": chain.data.read_bytes()}, image)
    text = chain.file.read_text()
    urls = text[text.index("    urls:") : text.index(URLS) + len(URLS)]
    chain.file.write_text(text.replace(urls, f"    image: {image}"))
    words = ("run", str(chain.file), "--model", str(chain.model), "--work", str(tmp_path / "work"))
    done = chain(*words, "--output", str(tmp_path / "adapter"))
    assert done.returncode == 0, done.stderr
    assert "rows: 64, kept 64" in done.stderr


def push_files(layout: Path, files: dict[str, bytes], image: str) -> None:
    """An image as `FROM scratch` and `COPY` make it (one gzip layer), pushed by skopeo."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    layer = packed.getvalue()
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]}
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).encode()
    kinds = "application/vnd.oci.image"
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": f"{kinds}.manifest.v1+json",
            "config": blob(layout, config, f"{kinds}.config.v1+json"),
            "layers": [blob(layout, layer, f"{kinds}.layer.v1.tar")],
        }
    ).encode()
    index = {"schemaVersion": 2, "manifests": [blob(layout, manifest, f"{kinds}.manifest.v1+json")]}
    (layout / "index.json").write_text(json.dumps(index))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    subprocess.run(
        ["skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{layout}", f"docker://{image}"],
        check=True,
    )


def blob(layout: Path, content: bytes, media_type: str) -> dict[str, object]:
    digest = hashlib.sha256(content).hexdigest()
    path = layout / "blobs" / "sha256" / digest
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}
