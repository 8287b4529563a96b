"""Running other programs: output captured, failure told with its last lines."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from cluster.trouble import CommandFailed, Trouble


def run(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    timeout_s: float = 600,
) -> str:
    """Run `argv` and return its standard output. `env` is added to ours.

    Raises:
        CommandFailed: it ended with an exit status other than 0.
        Trouble: it is not installed, or took longer than `timeout_s`.
    """
    try:
        done = subprocess.run(
            list(argv),
            cwd=cwd,
            env={**os.environ, **(env or {})},
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
        )
    except FileNotFoundError as error:
        raise Trouble(f"{argv[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise Trouble(f"{' '.join(argv)[:300]} took longer than {timeout_s:.0f} s") from error
    if done.returncode != 0:
        raise CommandFailed(argv, done.returncode, done.stdout + done.stderr)
    return done.stdout
