"""The texts that the node's programs read: each closes a trap that once cost hours."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from rig import kube

from cluster import config, front, pki, stubs
from cluster.daemons import all_daemons
from cluster.layout import Layout
from cluster.recipes import ROOT
from cluster.venvs import without_gpu

LAYOUT = Layout(Path("/c"), Path("/s"))


def test_the_kubelet_neither_collects_images_nor_hides_them() -> None:
    kubelet = json.loads(config.kubelet(LAYOUT))
    assert kubelet["imageGCHighThresholdPercent"] == 100
    assert kubelet["cgroupRoot"] == f"/{LAYOUT.cgroup}"
    assert kubelet["oomScoreAdj"] == 0
    assert kubelet["failCgroupV1"] is False


def test_containerd_does_not_lower_oom_scores_and_trusts_the_registry() -> None:
    text = tomllib.loads(config.containerd(LAYOUT, "/runc"))
    runtime = text["plugins"]["io.containerd.cri.v1.runtime"]
    assert runtime["restrict_oom_score_adj"] is True
    images = text["plugins"]["io.containerd.cri.v1.images"]
    assert images["pinned_images"] == {"sandbox": config.PAUSE_IMAGE}
    hosts = tomllib.loads(config.registry_hosts(LAYOUT))
    assert hosts["ca"] == "/s/pki/registry-ca.crt"


def test_kube_proxy_leaves_the_hosts_conntrack_alone() -> None:
    argv = all_daemons(LAYOUT, lambda name: name)["kube-proxy"].argv
    settings = [a for a in argv if a.startswith("--conntrack")]
    assert len(settings) == 4
    assert all(a.endswith("=0") for a in settings)


def test_logs_and_exec_find_the_kubelet_by_address_and_trust_it(tmp_path: Path) -> None:
    argv = all_daemons(LAYOUT, lambda name: name)["kube-apiserver"].argv
    assert "--kubelet-preferred-address-types=InternalIP" in argv
    pki.write_all(tmp_path / "pki")
    pem = (tmp_path / "pki" / "kubelet-server.crt").read_bytes()
    names = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert [str(ip) for ip in names.value.get_values_for_type(x509.IPAddress)] == ["10.88.0.1"]
    assert {oct(p.stat().st_mode)[-3:] for p in (tmp_path / "pki").glob("*.key")} == {"600"}


def test_nothing_names_a_folder_outside_the_layout_or_the_node() -> None:
    for path, text in config.files(LAYOUT, "/c/runc").items():
        assert path.is_relative_to(LAYOUT.etc)
        assert not re.search(r"/(root|home|tmp|work)/", text)


def test_passwords_are_salted_and_never_plain() -> None:
    first, second = front.htpasswd({"a": "secret"}), front.htpasswd({"a": "secret"})
    assert first != second
    assert "secret" not in first
    config_json = json.loads(front.docker_config("a", "b"))
    assert config_json["auths"]["registry.tunery.test"] == {"auth": "YTpi"}


def test_another_cluster_must_be_named_with_its_context(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump({"contexts": [{"name": "kind"}]}))
    assert kube.outside(f"{file}@kind").context == "kind"
    for setting in (str(file), f"{file}@prod", f"{tmp_path / 'none'}@kind"):
        with pytest.raises(pytest.UsageError):
            kube.outside(setting)


def test_another_cluster_leaves_out_what_needs_our_own_machine(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump({"contexts": [{"name": "kind"}]}))
    files = [f"tests/cluster/test_{name}.py" for name in ("node", "faults")]
    argv = [sys.executable, "-m", "pytest", "--collect-only", "-v", *files]
    env = {**os.environ, kube.SETTING: f"{file}@kind"}
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "deselected" in done.stdout
    assert "test_a_restricted_pod_runs" in done.stdout
    assert "test_a_killed_process" not in done.stdout


def test_stubs_define_what_is_wanted_in_its_version_node() -> None:
    torch = stubs.parse(
        " 0x1 (NEEDED)  Shared library: [libcublas.so.13]\n"
        " 0x1 (NEEDED)  Shared library: [libnccl.so.2]\n",
        "   1: 0000000000000000     0 FUNC    GLOBAL DEFAULT  UND gemm@libcublas.so.13 (5)\n"
        "   2: 0000000000000000     0 NOTYPE  GLOBAL DEFAULT  UND ncclSend\n"
        "   3: 0000000000000000     0 NOTYPE  WEAK   DEFAULT  UND __gmon_start__\n"
        "   4: 0000000000001000     9 FUNC    GLOBAL DEFAULT   12 ours@@V1\n"
        "   5: 0000000000000000     0 FUNC    GLOBAL DEFAULT  UND barrier@SHMEM (6)\n",
        "  0x0000: Version: 1  File: libshmem_host.so.3  Cnt: 1\n"
        "  0x0010:   Name: SHMEM  Flags: none  Version: 6\n"
        "  0x0020: Version: 1  File: libcublas.so.13  Cnt: 1\n"
        "  0x0030:   Name: libcublas.so.13  Flags: none  Version: 5\n",
    )
    assert torch.needed == {"libcublas.so.13", "libnccl.so.2"}
    planned = stubs.plan({"torch": torch}, [*torch.needed, "libshmem_host.so.3"])
    assert planned["libshmem_host.so.3"]["SHMEM"] == {"barrier"}
    assert planned["libcublas.so.13"]["libcublas.so.13"] == {"gemm"}
    assert {s for nodes in planned.values() for s in nodes.get("", ())} == {"ncclSend"}
    assert stubs.version_script({"v": ["b", "a"], "": ["c"]}) == "v { global: a; b; };\n"
    assert "ud2" in stubs.assembly(["a"])


def test_only_what_a_gpu_needs_is_left_out() -> None:
    pins = (
        "torch==2.15.0\nnvidia-nccl-cu13==2\nnvidia-cuda-runtime==13\ntriton==3\ncuda-bindings==1\n"
    )
    lines = without_gpu(pins).splitlines()
    assert [line.split(";")[0] for line in lines] == ["cuda-bindings", "nvidia-nccl-cu13", "triton"]
