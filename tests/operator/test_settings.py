"""Environment variables become settings, or every problem is told at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import settings

IMAGE = {"TUNERY_TUNER_IMAGE": "r/tuner:1"}


def test_what_is_not_set_is_the_default() -> None:
    installation, process = settings.read({**IMAGE, "HOME": "/"})
    assert installation.tuner_image == "r/tuner:1"
    assert installation.auto_provisioning
    assert process == settings.Process()


def test_every_kind_of_value_is_read() -> None:
    installation, process = settings.read(
        {
            **IMAGE,
            "TUNERY_AUTO_PROVISIONING": "false",
            "TUNERY_DEVICE": "cpu",
            "TUNERY_ALLOW_HOSTS": "a.example.com, 10.0.0.0/8,",
            "TUNERY_MEMORY_GIB": "7",
            "TUNERY_REPLICAS": "2",
            "TUNERY_LOG_LEVEL": "DEBUG",
        }
    )
    assert not installation.auto_provisioning
    assert installation.device == "cpu"
    assert installation.allow_hosts == ("a.example.com", "10.0.0.0/8")
    assert installation.memory_gib == 7
    assert (process.replicas, process.log_level) == (2, "DEBUG")


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(settings.SettingsError) as caught:
        settings.read(
            {
                "TUNERY_AUTO_PROVISIONING": "yes",
                "TUNERY_DEVICE": "tpu",
                "TUNERY_WORKERS": "many",
                "TUNERY_TUNERIMAGE": "x",
            }
        )
    assert str(caught.value).splitlines() == [
        "TUNERY_TUNER_IMAGE is missing",
        "TUNERY_AUTO_PROVISIONING is 'yes', not true or false",
        "TUNERY_DEVICE is 'tpu', not one of 'gpu', 'cpu'",
        "TUNERY_WORKERS is 'many', not a whole number",
        "TUNERY_TUNERIMAGE is no setting of Tunery",
    ]


def test_the_process_tells_every_problem_and_nothing_else() -> None:
    root = Path(settings.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root), "TUNERY_REPLICAS": "x"}
    environment.pop("TUNERY_TUNER_IMAGE", None)
    done = subprocess.run(
        [sys.executable, "operator/main.py"],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "settings: TUNERY_TUNER_IMAGE is missing",
        "TUNERY_REPLICAS is 'x', not a whole number",
    ]
