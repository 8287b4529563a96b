"""Where data comes from and where the adapter goes: URLs, images, volumes.

The tables named `test_data_…` are those of KAITO's workspace_validation_test.go.
"""

from __future__ import annotations

import pytest
from rig.manifests import Changes, Judge, tuning

PVC = {"persistentVolumeClaim": {"claimName": "claim"}}
URL = ["https://data.invalid/a.parquet"]
IMAGE = "registry.invalid/data:1"


@pytest.mark.parametrize(
    ("source", "path", "text"),
    [
        ({}, "", "Exactly one of URLs, Volume, or Image must be specified"),
        ({"urls": []}, "", "Exactly one of URLs, Volume, or Image must be specified"),
        ({"urls": URL, "volumeSource": PVC}, "", "Exactly one of URLs, Volume, or Image"),
        ({"urls": URL, "image": IMAGE}, "", "Exactly one of URLs, Volume, or Image"),
        ({"urls": URL, "image": IMAGE, "volumeSource": PVC}, "", "Exactly one of URLs"),
        ({"image": "!ValidImage"}, ".image", "Unable to parse input image reference: "),
        ({"image": "kaito.azurecr.io/INPUT:0.0.0"}, ".image", "Unable to parse input image"),
    ],
)
def test_data_source_validate_create(create: Judge, source: Changes, path: str, text: str) -> None:
    [problem] = create(tuning({"tuning.input": source}))
    assert problem.path == f"tuning.input{path}"
    assert problem.what.startswith(text)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("ftp://example.com/data", "data source URL must use HTTP or HTTPS"),
        ("s3://bucket/data", "data source URL must use HTTP or HTTPS"),
        ("example.com/data", "invalid data source URL"),
        ("http://127.0.0.1/data", "loopback, private, or link-local"),
        ("http://10.0.0.1/data", "loopback, private, or link-local"),
        ("http://[::1]/data", "loopback, private, or link-local"),
        ("http://2130706433/data", "loopback, private, or link-local"),
        ("http://0177.0.0.1/data", "loopback, private, or link-local"),
        ("http://0.0.0.0/data", "loopback, private, or link-local"),
        ("http://100.64.1.1/data", "loopback, private, or link-local"),
        ("http://localhost/data", "local or metadata endpoint"),
        ("http://LOCALHOST./data", "local or metadata endpoint"),
        ("http://metadata.google.internal/v1", "local or metadata endpoint"),
        ("https://me:secret@example.com/data", "must not contain a user name or password"),
    ],
)
def test_urls_that_lead_inside_are_refused(create: Judge, url: str, text: str) -> None:
    [problem] = create(tuning({"tuning.input.urls": ["https://good.invalid/x", url]}))
    assert problem.path == "tuning.input.urls[1]"
    assert text in problem.what


def test_hosts_of_the_allow_list_may_be_private(create: Judge) -> None:
    body = tuning({"tuning.input.urls": ["http://10.1.2.3/a", "http://minio.localhost/b"]})
    assert len(create(body)) == 2
    assert create(body, allow_hosts=("10.0.0.0/8", "minio.localhost")) == ()


def test_files_that_would_overwrite_each_other_are_refused(create: Judge) -> None:
    urls = ["https://a.invalid/1/train.parquet?x=1", "https://b.invalid/2/train.parquet"]
    [problem] = create(tuning({"tuning.input.urls": urls}))
    assert problem.line() == (
        'tuning.input.urls[1]: ends with the file name "train.parquet", as tuning.input.urls[0] '
        "does; rename one: the second would overwrite the first"
    )


@pytest.mark.parametrize(
    ("output", "path", "text"),
    [
        ({}, "", "Exactly one of Volume or Image must be specified"),
        (
            {"image": IMAGE, "imagePushSecret": "s", "volumeSource": PVC},
            "",
            "Exactly one of Volume or Image must be specified",
        ),
        ({"image": IMAGE}, "", "Must specify imagePushSecret with destination image"),
        (
            {"image": "!ValidImage", "imagePushSecret": "s"},
            ".image",
            "Unable to parse output image reference: ",
        ),
        (
            {"image": "kaito.azurecr.io/OUTPUT:0.0.0", "imagePushSecret": "s"},
            ".image",
            "Unable to parse output image reference: ",
        ),
        (
            {"image": f"{IMAGE}@sha256:{'a' * 64}", "imagePushSecret": "s"},
            ".image",
            "an image is pushed to a tag",
        ),
    ],
)
def test_data_destination_validate_create(
    create: Judge, output: Changes, path: str, text: str
) -> None:
    [problem] = create(tuning({"tuning.output": output}))
    assert problem.path == f"tuning.output{path}"
    assert problem.what.startswith(text)


def test_the_adapter_does_not_replace_its_own_data(create: Judge) -> None:
    body = tuning(
        {
            "tuning.input": {"image": "team/data"},
            "tuning.output.image": "docker.io/team/data:latest",
        }
    )
    [problem] = create(body)
    assert problem.path == "tuning.output.image"
    assert "is also the input" in problem.what


@pytest.mark.parametrize(
    ("volume", "where", "text"),
    [
        ({}, "", "names no source"),
        ({"persistentVolumeClaim": None}, "", "names no source"),
        ({"persistentVolumeClaim": {"claimName": "a"}, "nfs": {}}, "", "names more than one"),
        ({"hostPath": {"path": "/"}}, ".hostPath", "folders of the node are not allowed"),
        ({"persistentVolumeClaim": {}}, ".persistentVolumeClaim.claimName", "is missing"),
        ({"persistentVolumeClaim": "a"}, ".persistentVolumeClaim", "must be a map"),
        (
            {"persistentVolumeClaim": {"claimName": 1}},
            ".persistentVolumeClaim.claimName",
            "must be text, not 1",
        ),
        (
            {"persistentVolumeClaim": {"claimName": "a", "readOnly": "yes"}},
            ".persistentVolumeClaim.readOnly",
            "must be true or false",
        ),
        (
            {"persistentVolumeClaim": {"claimName": "a", "claimname": "a"}},
            ".persistentVolumeClaim.claimname",
            "unknown field",
        ),
        ({"name": "x", **PVC}, ".name", "a volume has no name here"),
    ],
)
@pytest.mark.parametrize("field", ["input", "output"])
def test_a_volume_that_cannot_be_mounted_is_refused(
    create: Judge, field: str, volume: Changes, where: str, text: str
) -> None:
    [problem] = create(tuning({f"tuning.{field}": {"volumeSource": volume}}))
    assert problem.path == f"tuning.{field}.volumeSource{where}"
    assert problem.what.startswith(text)


def test_a_misspelled_volume_kind_gets_its_name(create: Judge) -> None:
    problems = create(tuning({"tuning.input": {"volumeSource": {"persistentVolumeclaim": {}}}}))
    assert problems[0].do == 'did you mean "persistentVolumeClaim"?'


@pytest.mark.parametrize(
    ("volume", "on_input", "on_output"),
    [
        ({"emptyDir": {}}, "starts empty", "is deleted with the pod"),
        ({"configMap": {"name": "a"}}, None, "cannot be written to"),
        ({"secret": {"secretName": "a"}}, None, "cannot be written to"),
        (
            {"persistentVolumeClaim": {"claimName": "a", "readOnly": True}},
            None,
            '"a" is mounted read-only',
        ),
    ],
)
def test_a_volume_that_would_lose_the_adapter_is_refused(
    create: Judge, volume: Changes, on_input: str | None, on_output: str
) -> None:
    inputs = [p.what for p in create(tuning({"tuning.input": {"volumeSource": volume}}))]
    outputs = [p.what for p in create(tuning({"tuning.output": {"volumeSource": volume}}))]
    assert [w[: len(on_input or "")] for w in inputs] == ([on_input] if on_input else [])
    assert [w[: len(on_output)] for w in outputs] == [on_output]


def test_folders_of_the_node_can_be_allowed(create: Judge) -> None:
    body = tuning({"tuning.input": {"volumeSource": {"hostPath": {"path": "/data"}}}})
    assert create(body, allow_host_path=True) == ()


@pytest.mark.parametrize(
    ("urls", "told"),
    [
        (["hf://datasets/org/name"], None),
        (["hf://datasets/org/name@v1.0"], None),
        (["hf://org/name"], "names no data set of the hub"),
        (["hf://datasets/name"], "names no data set of the hub"),
        (["hf://datasets/../../etc"], "names no data set of the hub"),
        (["hf://datasets/org/name", "https://x.example/a.jsonl"], "stands beside other URLs"),
    ],
)
def test_a_data_set_of_the_hub_is_named_by_its_id(
    create: Judge, urls: list[str], told: str | None
) -> None:
    found = create(tuning({"tuning.input": {"urls": urls}}))
    assert [p.path for p in found] == ([] if told is None else ["tuning.input.urls[0]"])
    assert told is None or told in found[0].what
