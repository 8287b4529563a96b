"""A machine that will not do is refused with every cause at once. Needs no cluster."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cluster.layout import Layout, default
from cluster.preflight import Facts, go_wanted, problems

LAYOUT = Layout(Path("/home/me/.cache/tunery"), Path("/home/me/.local/state/tunery"))
GOOD = Facts(
    root=True, go=(99, 0), free_bytes=2**40, memory_bytes=2**40, cgroups=True, absent=frozenset()
)


def test_a_good_machine_has_no_problems() -> None:
    assert problems(GOOD, LAYOUT, building=True) == []


def test_a_bare_machine_is_told_everything_at_once() -> None:
    bare = Facts(
        root=False,
        go=None,
        free_bytes=2**30,
        memory_bytes=2**30,
        cgroups=False,
        absent=frozenset({"buildah", "ip", "/usr/include/seccomp.h"}),
    )
    told = problems(bare, LAYOUT, building=True)
    assert len(told) == 6
    assert told[0].startswith("not root")
    assert "Go is not installed" in told[1]
    assert told[2].endswith("apt-get install buildah iproute2 libseccomp-dev")
    assert "1.0 GiB free" in told[3]
    assert "1.0 GiB of memory" in told[4]
    assert "no cgroups" in told[5]


def test_what_only_a_build_needs_is_not_asked_for_when_all_is_built() -> None:
    built = replace(GOOD, go=None, absent=frozenset({"gcc", "/usr/include/seccomp.h"}))
    assert problems(built, LAYOUT, building=False) == []


def test_an_old_go_is_told_with_both_versions() -> None:
    told = problems(replace(GOOD, go=(1, 19)), LAYOUT, building=True)
    assert told == [f"Go is too old (1.19); install Go {'.'.join(map(str, go_wanted()))} or newer"]


def test_folders_that_the_machine_hides_are_refused() -> None:
    hidden = Layout(Path("/var/cache/x"), Path("/run/x"))
    assert len(problems(GOOD, hidden, building=False)) == 2


def test_folders_follow_the_xdg_settings() -> None:
    layout = default({"HOME": "/h", "XDG_CACHE_HOME": "/c", "XDG_STATE_HOME": ""})
    assert layout.cache == Path("/c/tunery/cluster")
    assert layout.state == Path("/h/.local/state/tunery/cluster")
    assert layout.cgroup != replace(layout, state=Path("/other")).cgroup
