"""How this Tunery was installed: what the chart's values say. Read by everything that decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Installation:
    """Settings of the operator (operator/settings.py makes it from environment variables)."""

    tuner_image: str
    namespace: str = "tunery-system"
    """Where the operator and the default ConfigMaps live."""
    image_pull_policy: Literal["", "Always", "IfNotPresent", "Never"] = ""
    """Empty: Kubernetes' own rule."""
    image_pull_secrets: tuple[str, ...] = ()
    """Names that exist in the Workspaces' namespaces, for the tuner image."""
    auto_provisioning: bool = True
    """True: instanceType is required and names the nodes. False: bring your own, it is empty."""
    device: Literal["gpu", "cpu"] = "gpu"
    """cpu: training computes on the CPU although the pod holds the GPU (pretended GPUs)."""
    allow_hosts: tuple[str, ...] = ()
    allow_host_path: bool = False
    registry_ca_config_map: str = ""
    """A ConfigMap with the key ca.crt in each Workspace's namespace: of in-house servers."""
    hub_endpoint: str = ""
    """HF_ENDPOINT of a mirror."""
    weights_registry: str = ""
    """Prefix of images that hold presets' weights; "" downloads from the hub."""
    insecure_registries: tuple[str, ...] = ()
    vllm_image: str = "docker.io/vllm/vllm-openai:v0.32.0"
    """Serves with vLLM; name it by digest."""
    prepare_image: str = ""
    """Prepares serving pods: a small one with the extra `serving`; "" is the tuner image, which
    serves with transformers in any case."""
    image_volumes: Literal["auto", "always", "never"] = "auto"
    """Whether adapters are mounted as image volumes; auto: where every node can."""
    serving_memory_gib: int = 0
    """Of the serving pod instead of the estimate; 0 estimates."""
    backoff_limit: int = 3
    """Attempts after the first for failures that a retry can cure."""
    keep_checkpoints: bool = True
    """Of runs whose output is an image: as an image beside it, since the pod's disk goes."""
    lost_node_s: int = 300
    """So long a pod that should be gone is waited for while its node does not answer."""
    cpu_limit: str = ""
    """Of the tuning pod; "" is no limit."""
    memory_gib: int = 0
    """Of the tuning pod instead of the estimate; 0 estimates."""
