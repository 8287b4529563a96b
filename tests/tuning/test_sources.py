import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from rig.webserver import Reply, WebServer, running_webserver

from tuning.config import DatasetSection
from tuning.dataset import hub_data, sources
from tuning.dataset.fetch import Fetched
from tuning.dataset.hops import Guard
from tuning.failure import Failure, Kind
from tuning.retry import Patience
from tuning.run import DataSource

ROW = b'{"text": "hello"}\n'
GUARD = Guard(("127.0.0.1",), silence_timeout_s=1)


@pytest.fixture
def web() -> Iterator[WebServer]:
    with running_webserver() as server:
        yield server


def nobody(reference: str, folder: Path) -> None:
    raise AssertionError(f"no image was asked for: {reference}")


def gather(source: DataSource, work: Path, **dataset: str) -> tuple[Fetched, ...]:
    section = DatasetSection.model_validate(dataset)
    return sources.gather(source, section, work, pull_image=nobody, guard=GUARD)


def of_folder(folder: Path, **dataset: str) -> list[str]:
    source = DataSource(kind="path", path=str(folder))
    return [file.url for file in gather(source, folder / "unused", **dataset)]


def refused(folder: Path, **dataset: str) -> str:
    with pytest.raises(Failure) as caught:
        of_folder(folder, **dataset)
    assert caught.value.kind is Kind.BAD_CONFIG
    return caught.value.sentence


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(ROW)


def test_an_adapter_on_the_same_volume_is_no_data(tmp_path: Path) -> None:
    put(tmp_path, "rows.jsonl", "training.json", "adapter_config.json", "tokenizer.json")
    put(tmp_path, "other/training.json")
    assert of_folder(tmp_path) == ["other/training.json", "rows.jsonl"]
    (tmp_path / "adapter_config.json").rename(tmp_path / "adapter_model.safetensors")
    assert of_folder(tmp_path) == ["other/training.json", "rows.jsonl"]


def test_every_data_file_of_a_folder_is_taken_in_one_order(tmp_path: Path) -> None:
    put(tmp_path, "b.jsonl", "a/2.parquet", "a/10.csv", "z.json.gz", "c.arrow")
    put(
        tmp_path, "README_parquet_info.md", "notes_csv_readme.md", ".hidden.jsonl", ".cache/x.jsonl"
    )
    assert of_folder(tmp_path) == ["a/10.csv", "a/2.parquet", "b.jsonl", "c.arrow", "z.json.gz"]


def test_a_file_is_taken_as_it_is_with_its_digest(tmp_path: Path) -> None:
    put(tmp_path, "rows.jsonl")
    source = DataSource(kind="path", path=str(tmp_path / "rows.jsonl"))
    (file,) = gather(source, tmp_path)
    assert file.sha256 == hashlib.sha256(ROW).hexdigest()
    assert (file.url, file.size_bytes) == ("rows.jsonl", len(ROW))


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("", ["data/c.jsonl", "train/a.jsonl", "train/b.jsonl"]),
        ("train", ["train/a.jsonl", "train/b.jsonl"]),
        ("/mnt/data/train", ["train/a.jsonl", "train/b.jsonl"]),
        ("data/train/b.jsonl", ["train/b.jsonl"]),
        ("/mnt/data", ["data/c.jsonl", "train/a.jsonl", "train/b.jsonl"]),
        ("./train/", ["train/a.jsonl", "train/b.jsonl"]),
        ("data/data/c.jsonl", ["data/c.jsonl"]),
        ("data/c.jsonl", ["data/c.jsonl"]),
    ],
)
def test_dataset_path_chooses_below_the_data_folder(
    tmp_path: Path, wanted: str, expected: list[str]
) -> None:
    put(tmp_path, "train/a.jsonl", "train/b.jsonl", "data/c.jsonl")
    assert of_folder(tmp_path, dataset_path=wanted) == expected


@pytest.mark.parametrize("wanted", ["..", "train/../..", "/mnt/../etc", "a\0b"])
def test_dataset_path_does_not_lead_out(tmp_path: Path, wanted: str) -> None:
    put(tmp_path, "a.jsonl")
    assert "leads out" in refused(tmp_path, dataset_path=wanted)


def test_a_dataset_path_that_is_not_there_names_what_is(tmp_path: Path) -> None:
    put(tmp_path, "a.jsonl")
    assert '"a.jsonl"' in refused(tmp_path, dataset_path="b")


def test_an_empty_folder_and_none_are_told(tmp_path: Path) -> None:
    put(tmp_path, "README.md")
    assert "there is no data file" in refused(tmp_path)
    assert "does not exist" in refused(tmp_path / "missing")


def test_an_extension_is_for_files_without_one(tmp_path: Path) -> None:
    put(tmp_path, "rows", "a.jsonl", "notes.md")
    assert of_folder(tmp_path, dataset_extension="jsonl") == ["a.jsonl", "rows"]


def test_links_that_leave_the_folder_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "outside.jsonl", "in/a.jsonl", "dir/b.jsonl")
    (tmp_path / "in" / "b.jsonl").symlink_to(tmp_path / "outside.jsonl")
    assert "leads out" in refused(tmp_path / "in")
    (tmp_path / "in" / "b.jsonl").unlink()
    (tmp_path / "in" / "more").symlink_to(tmp_path / "dir")
    assert "link to a folder" in refused(tmp_path / "in")
    (tmp_path / "in" / "more").unlink()
    (tmp_path / "in" / "dead.jsonl").symlink_to("nowhere")
    assert "no plain file" in refused(tmp_path / "in")
    (tmp_path / "in" / "dead.jsonl").unlink()
    os.mkfifo(tmp_path / "in" / "pipe.jsonl")
    assert "no plain file" in refused(tmp_path / "in")


def test_a_mounted_config_map_is_read_through_its_own_links(tmp_path: Path) -> None:
    put(tmp_path, "..2026_01_01/rows.jsonl")
    (tmp_path / "..data").symlink_to("..2026_01_01")
    (tmp_path / "rows.jsonl").symlink_to("..data/rows.jsonl")
    assert of_folder(tmp_path) == ["rows.jsonl"]


def test_all_urls_are_fetched_even_with_one_name_and_a_readme_is_not(
    web: WebServer, tmp_path: Path
) -> None:
    for path in ("/a/rows.jsonl", "/b/rows.jsonl", "/README.md"):
        web.put(path, Reply(body=ROW + path.encode()))
    source = DataSource(
        kind="urls",
        urls=(
            web.url("/a/rows.jsonl?download=true"),
            web.url("/b/rows.jsonl"),
            web.url("/README.md"),
        ),
    )
    files = gather(source, tmp_path)
    assert [file.path.name for file in files] == ["rows.jsonl", "1-rows.jsonl"]
    assert files[0].path.read_bytes() != files[1].path.read_bytes()
    assert [file.url for file in files] == [web.url("/a/rows.jsonl"), web.url("/b/rows.jsonl")]


def test_a_dataset_path_chooses_among_urls(web: WebServer, tmp_path: Path) -> None:
    web.put("/a.jsonl", Reply(body=ROW))
    source = DataSource(kind="urls", urls=(web.url("/a.jsonl"), web.url("/b.jsonl")))
    (file,) = gather(source, tmp_path, dataset_path="/mnt/data/a.jsonl")
    assert file.path.name == "a.jsonl"
    with pytest.raises(Failure, match="none of the URLs"):
        gather(source, tmp_path, dataset_path="c.jsonl")


def test_hosts_of_the_source_may_be_private_and_no_others(web: WebServer, tmp_path: Path) -> None:
    web.put("/a.jsonl", Reply(body=ROW))
    for hosts in ((), ("127.0.0.1",)):
        source = DataSource(kind="urls", urls=(web.url("/a.jsonl"),), allow_hosts=hosts)
        if hosts:
            sources.gather(source, DatasetSection(), tmp_path, pull_image=nobody)
        else:
            with pytest.raises(Failure, match="loopback, private, or link-local"):
                sources.gather(source, DatasetSection(), tmp_path, pull_image=nobody)


@pytest.mark.parametrize("inner", ["", "data"])
def test_an_image_is_pulled_and_its_data_taken(tmp_path: Path, inner: str) -> None:
    def pull(reference: str, folder: Path) -> None:
        assert reference == "registry.example/rows:v1"
        put(folder / inner, "rows.jsonl")

    source = DataSource(kind="image", image="registry.example/rows:v1")
    (file,) = sources.gather(source, DatasetSection(), tmp_path, pull_image=pull)
    assert file.url == "rows.jsonl"
    put(tmp_path / "mounted", "rows.jsonl")
    mounted = source.model_copy(update={"path": str(tmp_path / "mounted")})
    assert gather(mounted, tmp_path)[0].path == tmp_path / "mounted" / "rows.jsonl"


SHA = "0123456789012345678901234567890123456789"


class Hub:
    """As much of a hub as a data set needs."""

    def __init__(self, web: WebServer) -> None:
        self.web = web

    def put(self, files: dict[str, bytes], lfs_sha256: str = "", configs: object = None) -> None:
        siblings = [
            {
                "rfilename": name,
                "size": len(body),
                "blobId": "0" * 40,
                **(
                    {"lfs": {"sha256": lfs_sha256, "size": 1, "pointerSize": 1}}
                    if lfs_sha256
                    else {}
                ),
            }
            for name, body in files.items()
        ]
        info = {"id": "acme/rows", "sha": SHA, "siblings": siblings, "tags": [], "downloads": 0}
        info |= {"cardData": {"configs": configs}} if configs else {}
        for revision in ("", "/revision/main", "/revision/v1", f"/revision/{SHA}"):
            self.web.put(
                f"/api/datasets/acme/rows{revision}", Reply(body=json.dumps(info).encode())
            )
        for name, body in files.items():
            headers = {"X-Repo-Commit": SHA}
            etag = f'"{hashlib.sha256(body).hexdigest()}"'
            path = f"/datasets/acme/rows/resolve/{SHA}/{name}"
            self.web.put(path, Reply(body=body, headers=headers, etag=etag))

    def get(self, folder: Path, name: str = "acme/rows", **dataset: str) -> tuple[Fetched, ...]:
        section = DatasetSection.model_validate(dataset)
        hasty = Patience(deadline_s=0.3, first_wait_s=0.01)
        endpoint = self.web.url("")
        return hub_data.download(name, section, folder, patience=hasty, endpoint=endpoint)


@pytest.fixture
def hub(web: WebServer) -> Hub:
    return Hub(web)


@pytest.mark.parametrize("name", ["acme/rows", "acme/rows@v1"])
def test_a_data_set_comes_at_one_commit_without_its_test_split(
    hub: Hub, tmp_path: Path, name: str
) -> None:
    hub.put({n: ROW for n in ("README.md", "data/train-0.jsonl", "data/test-0.jsonl", "x.py")})
    (file,) = hub.get(tmp_path, name)
    assert file.path.read_bytes() == ROW
    assert file.url == f"hf://datasets/acme/rows@{SHA}/data/train-0.jsonl"
    assert file.sha256 == hashlib.sha256(ROW).hexdigest()
    assert not any("test-0" in seen.path or "x.py" in seen.path for seen in hub.web.log)


def test_wrong_bytes_from_a_hub_are_not_taken(hub: Hub, tmp_path: Path) -> None:
    hub.put({"a.jsonl": ROW}, lfs_sha256="f" * 64)
    with pytest.raises(Failure, match="wrong bytes") as caught:
        hub.get(tmp_path)
    assert caught.value.kind is Kind.UNAVAILABLE
    assert not (tmp_path / "a.jsonl").exists()


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (Reply(401, headers={"X-Error-Code": "GatedRepo"}), Kind.NO_ACCESS, "gated"),
        (Reply(403, headers={"X-Error-Code": "GatedRepo"}), Kind.NO_ACCESS, "gated"),
        (Reply(404, headers={"X-Error-Code": "RepoNotFound"}), Kind.NO_ACCESS, "not on the hub"),
        (
            Reply(404, headers={"X-Error-Code": "RevisionNotFound"}),
            Kind.BAD_CONFIG,
            "no such revision",
        ),
        (Reply(401), Kind.NO_ACCESS, "not on the hub"),
        (Reply(503), Kind.UNAVAILABLE, "tried"),
    ],
)
def test_what_a_hub_refuses_is_told_by_its_kind(
    hub: Hub, tmp_path: Path, reply: Reply, kind: Kind, words: str
) -> None:
    hub.web.put("/api/datasets/acme/rows", reply)
    with pytest.raises(Failure, match=words) as caught:
        hub.get(tmp_path)
    assert caught.value.kind is kind


def test_a_name_that_is_none_is_a_bad_config(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(Failure, match="is not a name on the hub"):
        hub.get(tmp_path, "not a name!")


TWO = [
    {"config_name": "main", "data_files": [{"split": "train", "path": "main/train-*"}]},
    {"config_name": "alt", "data_files": [{"split": "train", "path": "alt/train-*"}]},
]


@pytest.mark.parametrize(
    ("names", "configs", "path", "expected"),
    [
        (["a.jsonl"], [], None, ["a.jsonl"]),
        (["a.jsonl", "b.parquet"], [], None, ["b.parquet"]),
        (["train.csv", "validation.csv"], [], None, ["train.csv"]),
        (["rows.csv", "latest.csv", "val.csv"], [], None, ["latest.csv", "rows.csv"]),
        (["main/train-0.csv", "alt/train-0.csv"], TWO, "alt", ["alt/train-0.csv"]),
        (["a/test.csv"], [], "a/test.csv", ["a/test.csv"]),
        (
            ["main/train-0.csv", "alt/train-0.csv"],
            [{**TWO[0], "default": True}, TWO[1]],
            None,
            ["main/train-0.csv"],
        ),
        (["x/a.csv", "y.csv"], [{"config_name": "c", "data_files": "x/*"}], None, ["x/a.csv"]),
    ],
)
def test_one_configuration_one_format_and_the_train_split_are_picked(
    names: list[str], configs: list[dict[str, object]], path: str | None, expected: list[str]
) -> None:
    assert hub_data.pick("acme/rows", names, configs, DatasetSection(dataset_path=path)) == expected


@pytest.mark.parametrize(
    ("names", "configs", "words"),
    [
        (["README.md", "load.py"], [], "no training file"),
        (["test.csv"], [], "no training file"),
        (
            ["main/train-0.csv", "alt/train-0.csv"],
            TWO,
            'several configurations \\("main", "alt"\\)',
        ),
    ],
)
def test_what_cannot_be_picked_is_told(
    names: list[str], configs: list[dict[str, object]], words: str
) -> None:
    with pytest.raises(Failure, match=words):
        hub_data.pick("acme/rows", names, configs, DatasetSection())
