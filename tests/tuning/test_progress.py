from __future__ import annotations

import urllib.error
import urllib.request

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning.metrics import MetricsServer, exposition
from tuning.progress import Pace, Progress, Quarters, Rows, Several


class Kept:
    def __init__(self) -> None:
        self.seen: list[Progress] = []
        self.notes: list[str] = []

    def progress(self, now: Progress) -> None:
        self.seen.append(now)

    def note(self, text: str) -> None:
        self.notes.append(text)


@given(st.integers(0, 10**7), st.integers(1, 10**7))
def test_a_hundred_percent_means_that_the_last_step_ran(step: int, of: int) -> None:
    percent = Progress(min(step, of), of).percent
    assert 0 <= percent <= 100
    assert (percent == 100) == (step >= of)


def test_nothing_known_is_zero_percent() -> None:
    assert Progress(0, 0).percent == 0


def test_the_time_left_after_a_restart_is_of_this_process() -> None:
    pace = Pace(step=90, tokens=9000, now_s=1000.0)
    assert pace.after(90, 100, 9000, 1000.0) is None
    tokens_per_s, eta_s = pace.after(92, 100, 9200, 1020.0) or (0, 0)
    assert eta_s == pytest.approx(80.0)
    assert tokens_per_s == pytest.approx(10.0)


def test_the_last_step_leaves_no_time() -> None:
    assert Pace(0, 0, 0.0).after(10, 10, 100, 5.0) == (20.0, 0.0)


def test_every_sink_is_told() -> None:
    one, two = Kept(), Kept()
    both = Several(one, two)
    both.progress(Progress(1, 2))
    both.note("hello")
    assert one.seen == two.seen == [Progress(1, 2)]
    assert one.notes == two.notes == ["hello"]


def test_what_is_unknown_is_left_out_of_the_exposition() -> None:
    text = exposition(Progress(3, 10))
    assert "tunery_step 3" in text and "tunery_progress_percent 30" in text
    assert "tunery_loss" not in text and "None" not in text


def test_every_gauge_is_typed_and_helped() -> None:
    full = Progress(1, 2, 0.5, 0.6, 1e-4, 0.5, 10, 3.0, 4.0)
    lines = exposition(full).splitlines()
    values = [line.split()[0] for line in lines if not line.startswith("#")]
    assert len(values) == 10
    for name in values:
        assert any(line.startswith(f"# HELP {name} ") for line in lines)
        assert f"# TYPE {name} gauge" in lines


def test_the_server_says_the_newest_state_and_frees_its_port() -> None:
    with MetricsServer(port=0) as server:
        url = f"http://127.0.0.1:{server.port}/metrics"
        server.progress(Progress(7, 9, loss=1.5))
        with urllib.request.urlopen(url, timeout=5) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            assert "tunery_loss 1.5" in answer.read().decode()
        with pytest.raises(urllib.error.HTTPError) as missing:
            urllib.request.urlopen(url.replace("/metrics", "/etc/passwd"), timeout=5)
        missing.value.close()
        assert missing.value.code == 404
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=5)


def test_a_large_download_is_told_by_quarters_and_a_small_one_not_at_all() -> None:
    told: list[str] = []
    quarters = Quarters(told.append, "fetched", least_bytes=100)
    for done in range(0, 401, 10):
        quarters("big", done, 400)
        quarters("small", done, 99)
        quarters("unknown", done, None)
    assert len(told) == 4
    assert told[-1] == "fetched 0.0 of 0.0 MB of big"


def test_rows_are_told_now_and_then() -> None:
    told: list[str] = []
    rows = Rows(told.append, every=10)
    for done in range(35):
        rows("rows", done, None)
    assert told == ["checked 10 rows", "checked 20 rows", "checked 30 rows"]
