"""Pins agree with each other, and no place on the network is written down. Needs no cluster."""

from __future__ import annotations

import re
from collections import defaultdict

import pytest

from cluster import preflight
from cluster.__main__ import main
from cluster.parts import CORE, GO, PARTS, Part, replaced, required, tools

EVERY = pytest.mark.parametrize("part", PARTS.values(), ids=lambda part: part.name)


@EVERY
def test_the_version_is_pinned_exactly_and_stands_in_the_checksums(part: Part) -> None:
    assert re.fullmatch(r"v\d+\.\d+\.\d+", part.version)
    assert f"{part.module} {part.version} h1:" in (part.folder / "go.sum").read_text()


@EVERY
def test_what_is_built_is_what_the_module_declares(part: Part) -> None:
    declared = tools(part.folder / "go.mod")
    packages = frozenset(part.programs.values()) - {"."}
    assert declared == packages
    assert "." not in part.programs.values() or (part.folder / "main.go").is_file()


@EVERY
def test_programs_built_together_are_named_like_their_packages(part: Part) -> None:
    if len(part.programs) > 1:
        assert all(name == package.rpartition("/")[2] for name, package in part.programs.items())


@EVERY
def test_the_binarys_version_is_told_by_the_linker(part: Part) -> None:
    assert "{" not in part.linker_flags
    assert part.version in part.key


def test_every_folder_is_a_part_and_the_default_is_what_up_needs() -> None:
    assert {folder.name for folder in GO.iterdir()} == set(PARTS)
    assert set(PARTS) - set(CORE) == {"gpus", "helm", "karpenter", "kwok"}


def test_staging_modules_have_the_version_of_kubernetes() -> None:
    kubernetes = PARTS["kubernetes"]
    published = kubernetes.version.replace("v1.", "v0.", 1)
    versions = replaced(kubernetes.folder / "go.mod")
    assert len(versions) >= 30
    assert set(versions.values()) == {published}
    needed = required(kubernetes.folder / "go.mod")
    assert {m for m, v in needed.items() if v == "v0.0.0"} <= set(versions)


def test_what_several_parts_need_has_one_version_and_is_compiled_once() -> None:
    versions: dict[str, set[str]] = defaultdict(set)
    for part in PARTS.values():
        go_mod = part.folder / "go.mod"
        for module, version in {**required(go_mod), **replaced(go_mod)}.items():
            # containerd is ahead of our Kubernetes; it uses little of these.
            if not (part.name == "containerd" and module.startswith("k8s.io/")):
                versions[module].add(version)
    assert {module: found for module, found in versions.items() if len(found) > 1} == {}


def test_clients_of_the_api_are_at_most_one_version_newer_than_the_server() -> None:
    minor = int(PARTS["kubernetes"].version.split(".")[1])
    for name in ("coredns", "helm", "karpenter", "kwok"):
        client = required(PARTS[name].folder / "go.mod")["k8s.io/client-go"]
        assert int(client.split(".")[1]) <= minor + 1, name


@EVERY
def test_no_module_names_a_place_on_the_network(part: Part) -> None:
    for path in part.folder.iterdir():
        assert not re.search(r"https?://|proxy\.|sum\.golang", path.read_text()), path


def test_every_package_that_preflight_asks_for_is_in_the_list() -> None:
    listed = set((GO.parent / "debian-packages.txt").read_text().split())
    assert set(preflight.TO_BUILD.values()) | set(preflight.TO_RUN.values()) <= listed


def test_unknown_parts_are_named_each_in_one_line_with_those_that_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["build", "helm", "X", "y"]) == 1
    there = f"there are: {' '.join(PARTS)}"
    assert capsys.readouterr().err.splitlines() == [
        f"cluster: no part is called 'X'; {there}",
        f"cluster: no part is called 'y'; {there}",
    ]
