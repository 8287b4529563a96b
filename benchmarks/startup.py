"""What it costs to start each word, as a multiple of importing yaml and pydantic.

`python -m benchmarks.startup`. CPU time of whole processes, in turns. `validate` really validates
the example: it must stay under three times, because people call it on every save and admission
imports the same modules. The others show their help, which imports what they import at start.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Mapping, Sequence

from benchmarks import measure
from benchmarks.measure import Finished

_REFERENCE = 'python -c "import yaml, pydantic"'
_VALIDATE = "tunery validate examples/tuning/local.yaml"
_WORDS = ("check", "run", "push", "pull", "inspect", "ask")
_LIMIT = 3.0


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    asked = parser.parse_args(words)
    found = measure.in_turns(_contestants(), asked.rounds)
    reference = [f.cpu_s for f in found[_REFERENCE]]
    rows = [_row(name, [f.cpu_s for f in finished], reference) for name, finished in found.items()]
    print(measure.table(("command", "CPU-s", "× reference"), rows) + "\n")
    most = measure.ratio([f.cpu_s for f in found[_VALIDATE]], reference).median
    print(f"validate: {most:.2f}, at most {_LIMIT:.0f}: {'held' if most <= _LIMIT else 'MISSED'}")


def _contestants() -> Mapping[str, Callable[[int], Finished]]:
    commands = {
        _REFERENCE: ["-c", "import yaml, pydantic"],
        "tunery --help": ["-m", "tunery", "--help"],
        _VALIDATE: ["-m", *_VALIDATE.split()],
        **{f"tunery {word} --help": ["-m", "tunery", word, "--help"] for word in _WORDS},
        "python -m tuning --help": ["-m", "tuning", "--help"],
    }
    return {name: functools.partial(_start, words) for name, words in commands.items()}


def _start(words: Sequence[str], _: int) -> Finished:
    return measure.run([sys.executable, *words])


def _row(name: str, seconds: Sequence[float], reference: Sequence[float]) -> list[str]:
    return [
        f"`{name}`",
        f"{measure.median(seconds):.3f}",
        str(measure.ratio(seconds, reference)),
    ]


if __name__ == "__main__":
    main()
