"""KAITO's workspace controller as a contestant of `benchmarks.operator`.

It is not part of this repository: whoever measures builds it. Take the sources of the repository
kaito-project/kaito at a release (v0.12.0 was used), run `go build -o workspace ./cmd/workspace` in
them (Go 1.26; 86 MB), and name the program and the folder config/crd/bases beside it:

    python -m benchmarks.operator --peer kaito/workspace --peer-crds kaito/config/crd/bases

It runs as its chart runs it, but for three things. Nodes are there already and nobody makes any
(`byo`), as for ours. It has no webhook, nor has ours here. And its client's limit of 30 requests a
second is raised (--peer-qps), because it would wait most of the time: a comparison of CPU is fair
when neither waits. It works on its own CRD, each contestant on the one it ships.

At each look it lists all nodes that the labels of the Workspace match, and it writes their names
into the status. So what it costs depends on --nodes, and ours hardly: tell both.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.contestants import Contestant
from benchmarks.lives import NAMESPACE

_METRICS, _PROBE = "127.0.0.1:18090", "127.0.0.1:18091"
_CONFIG = """
training_config:
  ModelConfig: {torch_dtype: bfloat16, local_files_only: true, device_map: auto}
  QuantizationConfig: {load_in_4bit: true, bnb_4bit_quant_type: nf4}
  LoraConfig: {r: 8, lora_alpha: 8, lora_dropout: 0.0}
  TrainingArguments: {output_dir: /mnt/results, save_strategy: "no"}
  DataCollator: {mlm: true}
  DatasetConfig: {shuffle_dataset: true, train_test_split: 1}
"""


def kaito(program: Path, crds: Path, qps: int) -> Contestant:
    """`qps`: requests a second of its client, and as many at once; 0: as it ships, 30 and 50."""
    raised = (f"--kube-client-qps={qps}", f"--kube-client-burst={qps}") if qps else ()
    return Contestant(
        name="kaito",
        command=(
            str(program.resolve()),
            "--node-provisioner=byo",
            "--webhook=false",
            f"--metrics-bind-address={_METRICS}",
            f"--health-probe-bind-address={_PROBE}",
            *raised,
        ),
        settings={
            "CLOUD_PROVIDER": "azure",
            "CLUSTER_NAME": "bench",
            "PRESET_REGISTRY_NAME": "registry.example.com",
            "RELEASE_NAMESPACE": NAMESPACE,
        },
        ready=f"http://{_PROBE}/readyz",
        metrics=f"http://{_METRICS}/metrics",
        requests="",  # controller-runtime's rest_client_requests_total is not among its metrics
        looks=r'^controller_runtime_reconcile_total\{controller="workspace",result="\w+"\} (\S+)$',
        crds=(crds.resolve(),),
        objects=(_default_config(),),
    )


def _default_config() -> dict[str, Any]:
    """What its chart installs, in short: the training options of a Workspace that names none."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "qlora-params-template", "namespace": NAMESPACE},
        "data": {"training_config.yaml": _CONFIG},
    }
