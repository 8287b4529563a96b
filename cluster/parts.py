"""What the cluster is made of. Versions stand in go/<name>/go.mod and nowhere else."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

GO = Path(__file__).parent / "go"


@dataclass(frozen=True)
class Part:
    """One upstream: a folder under go/ with its own go.mod, so that requirements do not mix."""

    name: str
    module: str
    """The module whose version is the part's version."""
    programs: Mapping[str, str]
    """Name of the binary → Go package: a `tool` of the go.mod, or `.` for a main of our own."""
    variables: tuple[str, ...] = ()
    """Linker variables that carry the version: `{version}`, `{major}`, `{minor}` are filled in."""
    tags: str = ""
    cgo: bool = False
    files: tuple[str, ...] = ()
    """Patterns of files in the module that are kept beside the binaries, in share/."""
    optional: bool = field(default=False)
    """Built only when asked for."""

    @property
    def folder(self) -> Path:
        return GO / self.name

    @property
    def version(self) -> str:
        """`vX.Y.Z` as pinned in the go.mod."""
        return required(self.folder / "go.mod")[self.module]

    @property
    def key(self) -> str:
        """Name of its folder in the cache: changes with whatever changes the binaries."""
        kept = f"{self.files}" if self.files else ""
        programs = sorted(self.programs.items())
        recipe = f"{programs}{self.variables}{self.tags}{self.cgo}{kept}".encode()
        files = [path.read_bytes() for path in sorted(self.folder.iterdir())]
        digest = hashlib.sha256(b"".join([recipe, *files])).hexdigest()
        return f"{self.name}-{self.version}-{digest[:8]}"

    @property
    def linker_flags(self) -> str:
        major, minor, *_ = self.version.removeprefix("v").split(".")
        filled = (v.format(version=self.version, major=major, minor=minor) for v in self.variables)
        return " ".join(["-s", "-w", *(f"-X {variable}" for variable in filled)])


def required(go_mod: Path) -> Mapping[str, str]:
    """Module → version of the `require` directives."""
    pattern = re.compile(r"^(?:require\s+|\t)(\S+) (v\S+)(?: // indirect)?$", re.MULTILINE)
    return dict(pattern.findall(go_mod.read_text()))


def tools(go_mod: Path) -> frozenset[str]:
    """Packages of the `tool` directives."""
    text = go_mod.read_text()
    block = re.search(r"^tool \(\n(.*?)^\)", text, re.MULTILINE | re.DOTALL)
    single = re.findall(r"^tool (\S+)$", text, re.MULTILINE)
    return frozenset([*single, *(block[1].split() if block else [])]) - {"("}


def replaced(go_mod: Path) -> Mapping[str, str]:
    """Module → version of the `replace` directives that name one."""
    return dict(re.findall(r"^\t(\S+) => \S+ (v\S+)$", go_mod.read_text(), re.MULTILINE))


def _kubernetes(*names: str) -> dict[str, str]:
    return {name: f"k8s.io/kubernetes/cmd/{name}" for name in names}


_CONTAINERD = "github.com/containerd/containerd/v2"


def _containerd(*names: str) -> dict[str, str]:
    return {name: f"{_CONTAINERD}/cmd/{name}" for name in names}


PARTS: Mapping[str, Part] = {
    part.name: part
    for part in (
        Part(
            "runc",
            "github.com/opencontainers/runc",
            {"runc": "github.com/opencontainers/runc"},
            tags="seccomp",
            cgo=True,
        ),
        Part("etcd", "go.etcd.io/etcd/server/v3", {"etcd": "go.etcd.io/etcd/server/v3"}),
        Part(
            "containerd",
            _CONTAINERD,
            _containerd("containerd", "containerd-shim-runc-v2", "ctr"),
            variables=(f"{_CONTAINERD}/version.Version={{version}}",),
        ),
        Part("coredns", "github.com/coredns/coredns", {"coredns": "."}),
        Part(
            "kubernetes",
            "k8s.io/kubernetes",
            _kubernetes(
                "kube-apiserver",
                "kube-controller-manager",
                "kube-proxy",
                "kube-scheduler",
                "kubectl",
                "kubelet",
            ),
            variables=(
                "k8s.io/component-base/version.gitVersion={version}",
                "k8s.io/component-base/version.gitMajor={major}",
                "k8s.io/component-base/version.gitMinor={minor}",
                "k8s.io/client-go/pkg/version.gitVersion={version}",
            ),
        ),
        Part("gpus", "k8s.io/kubelet", {"gpus": "."}, optional=True),
        Part(
            "helm",
            "helm.sh/helm/v4",
            {"helm": "helm.sh/helm/v4/cmd/helm"},
            optional=True,
            variables=("helm.sh/helm/v4/internal/version.version={version}",),
        ),
        Part(
            "karpenter",
            "sigs.k8s.io/karpenter",
            {"karpenter": "sigs.k8s.io/karpenter/kwok"},
            files=("pkg/apis/crds/*.yaml", "kwok/apis/crds/*.yaml"),
            optional=True,
        ),
        Part(
            "kwok",
            "sigs.k8s.io/kwok",
            {"kwok": "sigs.k8s.io/kwok/cmd/kwok"},
            files=(
                "kustomize/stage/node/fast/node-*.yaml",
                "kustomize/stage/node/heartbeat/node-*.yaml",
                "kustomize/stage/pod/fast/pod-*.yaml",
            ),
            optional=True,
        ),
    )
}
CORE: tuple[str, ...] = tuple(name for name, part in PARTS.items() if not part.optional)
