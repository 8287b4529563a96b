"""Runs inside a built image: does it hold what the pins say, and does all of it load?

Arguments: names of modules to import. Standard input: the constraints file. Standard output: a
line per distribution with version and licence. Exit status 1 with every difference on stderr.
"""

import importlib
import importlib.metadata
import re
import sys


def main(modules: list[str], constraints: str) -> int:
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", constraints, re.MULTILINE))
    wrong = []
    for found in sorted(importlib.metadata.distributions(), key=lambda d: d.name.lower()):
        about = found.metadata
        licence = about.get("License-Expression") or _first_line(about.get("License", ""))
        classified = [c for c in about.get_all("Classifier", []) if c.startswith("License ::")]
        told = licence or (classified[0].rpartition(":: ")[2] if classified else "unknown")
        sys.stdout.write(f"{found.name:32} {found.version:16} {told}\n")
        name = re.sub(r"[-_.]+", "-", found.name).lower()
        pinned = pins.get(name)
        if pinned is None:
            wrong.append(f"{name} {found.version} is not pinned")
        elif pinned != found.version:
            wrong.append(f"{name} is {found.version}, pinned is {pinned}")
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            wrong.append(f"{module} does not load: {error}")
    sys.stderr.write("".join(f"{line}\n" for line in wrong))
    return 1 if wrong else 0


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0][:60] if text.strip() else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], sys.stdin.read()))
