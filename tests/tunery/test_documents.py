from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunery.documents import read

WORKSPACE = "apiVersion: kaito.sh/v1beta1\nkind: Workspace\nmetadata: {name: a}\n"
CONFIG_MAP = "kind: ConfigMap\nmetadata: {name: c, namespace: n}\ndata: {training_config.yaml: x}\n"


def write(folder: Path, text: str | bytes, name: str = "f.yaml") -> str:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def lines(*files: str) -> list[str]:
    return [f.line().split(": ", 1)[1] for f in read(files).problems]


def test_several_documents_in_one_file(tmp_path: Path) -> None:
    found = read([write(tmp_path, f"{WORKSPACE}---\n{CONFIG_MAP}---\n")])
    assert [body["metadata"]["name"] for _, body in found.workspaces] == ["a"]
    assert found.config_maps == {("n", "c"): {"training_config.yaml": "x"}}
    assert found.problems == ()


def test_a_list_is_its_items(tmp_path: Path) -> None:
    text = "kind: List\nitems:\n- kind: Workspace\n  metadata: {name: a}\n- kind: Secret\n"
    assert len(read([write(tmp_path, text)]).workspaces) == 1


def test_the_same_file_twice_is_read_once(tmp_path: Path) -> None:
    file = write(tmp_path, WORKSPACE)
    assert read([file, file]).problems == ()


def test_two_workspaces_of_one_name_are_refused(tmp_path: Path) -> None:
    one, two = write(tmp_path, WORKSPACE), write(tmp_path, WORKSPACE, "g.yaml")
    assert lines(one, two) == [
        f'metadata.name: Workspace "a" is also in {one}; give each its own name'
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no Workspace in it"),
        (CONFIG_MAP, "no Workspace in it"),
        ("- 1", "document 1 is [1], not a Kubernetes object"),
        ("metadata: {}", "kind: document 1 has no kind"),
        ("kind: Workspce", '"Workspce" is not a kind of Tunery; write kind: Workspace'),
        ("kind: Workspace\nkind: Workspace", 'the key "kind" is given twice'),
        ("a: [", "not valid YAML"),
        (b"kind: \xff", "not UTF-8 text (byte 6)"),
        ("kind: ConfigMap", "metadata.name: a ConfigMap needs a name"),
        ("kind: ConfigMap\nmetadata: {name: c}\ndata: [x]", "data: must map file names to texts"),
        (
            "kind: ConfigMap\nmetadata: {name: c}\ndata: {training_config.yaml: {a: 1}}",
            "data.training_config.yaml: must be text, not a nested map; write "
            "`training_config.yaml: |`",
        ),
        ("x" * 3_000_000, "are too many for a manifest"),
        ("[" * 5000, "nested deeper than 60 levels"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(
    tmp_path: Path, text: str | bytes, problem: str
) -> None:
    found = lines(write(tmp_path, text))
    assert len(found) == 1
    assert problem in found[0]


def test_an_alias_bomb_is_refused(tmp_path: Path) -> None:
    layers = ["a0: &a0 [x]"] + [
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)
    ]
    assert "YAML aliases" in lines(write(tmp_path, "\n".join(layers)))[0]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert lines(str(tmp_path / "no.yaml")) == [
        "cannot be read: No such file or directory; check the path"
    ]


@given(st.text() | st.binary())
def test_anything_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, text: str | bytes
) -> None:
    folder = tmp_path_factory.mktemp("any")
    read([write(folder, text if isinstance(text, bytes) else text.encode("utf-8", "replace"))])
