"""The chain as a user runs it: `tunery` in processes of its own, on a tiny model."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from rig.tiny import MODEL_ID

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Chain:
    """A Workspace file and everything that stands in for what it names."""

    file: Path
    model: Path
    data: Path
    home: Path
    extra: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "tunery", *words]

    def run_words(self, work: Path, output: str) -> list[str]:
        stand_in = ("--data", str(self.data), "--model", str(self.model))
        where = ("--work", str(work), "--output", output)
        return self.command("run", str(self.file), *stand_in, *where, *self.extra)

    def env(self) -> dict[str, str]:
        """The shell's, without anybody's logins, one thread, no hub."""
        own = {
            "HOME": str(self.home),
            "HF_HOME": str(self.home / "hf"),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "DOCKER_CONFIG": str(self.home),
        }
        return {**os.environ, **own, **self.environment}

    def start(self, command: list[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=self.env(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`tunery WORDS…` to its end."""
        return self.finish(self.command(*words))

    def finish(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(command, cwd=ROOT, env=self.env(), capture_output=True, text=True)
        assert "Traceback" not in done.stderr, done.stderr
        return done


def write_workspace(path: Path, method: str = "lora", **training: object) -> Path:
    """A Workspace that tunes the tiny model, and its ConfigMap."""
    settings = {
        "learning_rate": 5.0e-3,
        "lr_scheduler_type": "linear",
        "per_device_train_batch_size": 16,
        "gradient_accumulation_steps": 1,
        "max_length": 64,
        "packing": False,
        "seed": 0,
        **training,
    }
    config = {"ModelConfig": {"dtype": "float32"}, "TrainingArguments": settings}
    if method == "qlora":
        config["QuantizationConfig"] = {"load_in_4bit": True, "bnb_4bit_compute_dtype": "float32"}
    workspace = {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": "tiny"},
        "resource": {
            "instanceType": "Standard_NC24ads_A100_v4",
            "labelSelector": {"matchLabels": {"apps": "tiny"}},
        },
        "tuning": {
            "preset": {"name": MODEL_ID},
            "method": method,
            "config": "tiny-config",
            "input": {"urls": ["https://data.example.org/codes.parquet"]},
            "output": {"image": "registry.example.org/a/tiny:1", "imagePushSecret": "push"},
        },
    }
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "tiny-config"},
        "data": {"training_config.yaml": yaml.safe_dump({"training_config": config})},
    }
    path.write_text(yaml.safe_dump_all([workspace, config_map]))
    return path
