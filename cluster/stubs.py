"""Stand-ins for shared libraries that only a GPU needs, so that torch loads without 3 GB of them.

libtorch_cuda.so names cuBLAS, cuDNN, NCCL and others as needed, and Python binds every symbol when
it loads a library: each must exist, none is ever called on a CPU. A stub has the symbols that are
asked of it, in the right version nodes, and a trap behind all of them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster.commands import run

_VERSION_FILE = re.compile(r"\bFile: (\S+)")
_VERSION_NAME = re.compile(r"\bName: (\S+)\s+Flags:")
_NEEDED = re.compile(r"\(NEEDED\)\s+Shared library: \[(.+?)\]")
_SYMBOL = re.compile(
    r"^\s*\d+:\s+[0-9a-f]+\s+\S+\s+(?P<type>\S+)\s+(?P<bind>\S+)\s+\S+\s+(?P<index>\S+)\s+"
    r"(?P<name>[^@\s]+)(?:@@?(?P<version>\S+))?(?:\s+\(\d+\))?$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Library:
    """What one shared library needs and offers."""

    needed: frozenset[str]
    """Names of other libraries."""
    wanted: frozenset[tuple[str, str]]
    """(symbol, version node or "") that somebody else must define; weak ones left out."""
    defined: frozenset[str]
    nodes: Mapping[str, frozenset[str]]
    """Library → its version nodes that this one asks for."""


def parse(dynamic: str, symbols: str, versions: str) -> Library:
    """Read the output of `readelf -d`, `readelf --dyn-syms` and `readelf -V`, all with -W."""
    wanted, defined = set(), set()
    for found in _SYMBOL.finditer(symbols):
        if found["index"] != "UND":
            defined.add(found["name"])
        elif found["bind"] == "GLOBAL":
            wanted.add((found["name"], found["version"] or ""))
    needed = frozenset(_NEEDED.findall(dynamic))
    return Library(needed, frozenset(wanted), frozenset(defined), _nodes(versions))


def _nodes(versions: str) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    file = ""
    for line in versions.splitlines():
        if named := _VERSION_FILE.search(line):
            file = named[1]
        elif file and (node := _VERSION_NAME.search(line)):
            found[file].add(node[1])
    return {name: frozenset(nodes) for name, nodes in found.items()}


def plan(libraries: Mapping[str, Library], absent: Iterable[str]) -> dict[str, dict[str, set[str]]]:
    """For each absent library: version node → symbols. A symbol with a version goes to the library
    that has this node; those without go to the first."""
    stubs: dict[str, dict[str, set[str]]] = {name: defaultdict(set) for name in sorted(absent)}
    if not stubs:
        return {}
    defined = frozenset().union(*(library.defined for library in libraries.values()))
    for library in libraries.values():
        for symbol, version in library.wanted:
            home = next((n for n in stubs if version in library.nodes.get(n, ())), "")
            if home:
                stubs[home][version].add(symbol)
            elif not version and symbol not in defined:
                stubs[next(iter(stubs))][""].add(symbol)
    return stubs


def assembly(symbols: Iterable[str]) -> str:
    """Every symbol at one address, where there is a trap."""
    lines = [f".globl {symbol}\n.type {symbol}, @function\n{symbol}:" for symbol in sorted(symbols)]
    return "\n".join([".text", *lines, "ud2", '.section .note.GNU-stack,"",@progbits', ""])


def version_script(nodes: Mapping[str, Iterable[str]]) -> str:
    """A linker script that puts the symbols into their version nodes."""
    return "".join(
        f"{node} {{ global: {' '.join(f'{s};' for s in sorted(symbols))} }};\n"
        for node, symbols in sorted(nodes.items())
        if node
    )


def write(site_packages: Path) -> list[str]:
    """Put a stub into torch/lib, which torch searches first, for each library that is absent from
    `site_packages` and the system. Returns their names."""
    folder = site_packages / "torch" / "lib"
    present = {p.name for p in site_packages.glob("nvidia/**/*.so*")}
    present |= {p.name for p in folder.glob("*.so*")}
    present |= set(re.findall(r"^\s*(\S+\.so\S*) ", run(["ldconfig", "-p"]), re.MULTILINE))
    libraries = {p.name: read(p) for p in folder.glob("*.so*")}
    needed = frozenset().union(*(library.needed for library in libraries.values()))
    absent = {name for name in needed - present if not name.startswith("ld-linux")}
    # What the system defines is no stub's business.
    for name in ("libc.so.6", "libm.so.6", "libstdc++.so.6", "libgcc_s.so.1", "libgomp.so.1"):
        libraries[name] = read(_system(name))
    for name in present:
        for path in site_packages.glob(f"nvidia/**/{name}"):
            libraries[name] = read(path)
    for name, nodes in plan(libraries, absent).items():
        _link(folder / name, nodes)
    return sorted(absent)


def read(path: Path) -> Library:
    """Look into a shared library with readelf."""
    dynamic = run(["readelf", "-dW", str(path)])
    symbols = run(["readelf", "--dyn-syms", "-W", str(path)])
    return parse(dynamic, symbols, run(["readelf", "-VW", str(path)]))


def _system(name: str) -> Path:
    found = re.search(rf"^\s*{re.escape(name)} .*x86-64.* => (\S+)$", run(["ldconfig", "-p"]), re.M)
    if found is None:
        raise FileNotFoundError(name)
    return Path(found[1])


def _link(target: Path, nodes: Mapping[str, set[str]]) -> None:
    source, script = target.with_name("stub.S"), target.with_name("stub.map")
    source.write_text(assembly(set().union(*nodes.values())))
    script.write_text(version_script(nodes))
    options = [f"-Wl,-soname,{target.name}"]
    if script.stat().st_size:
        options.append(f"-Wl,--version-script={script}")
    run(["gcc", "-shared", "-nostdlib", *options, "-o", str(target), str(source)])
    source.unlink()
    script.unlink()
