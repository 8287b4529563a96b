import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from rig import certs
from rig.webserver import Reply, WebServer, running_webserver

from tuning.dataset.fetch import Fetched, fetch
from tuning.dataset.hops import Guard
from tuning.dataset.notes import file_sha256
from tuning.failure import Failure, Kind
from tuning.retry import Patience

DATA = b"".join(json.dumps({"text": f"row {n}"}).encode() + b"\n" for n in range(20_000))
HASTY = Patience(deadline_s=0.5, first_wait_s=0.01, longest_wait_s=0.02)
LOOPBACK = Guard(("127.0.0.0/8",), silence_timeout_s=0.5)


@pytest.fixture
def web() -> Iterator[WebServer]:
    with running_webserver() as server:
        yield server


def get(url: str, target: Path, guard: Guard = LOOPBACK, patience: Patience = HASTY) -> Fetched:
    return fetch(url, target, guard=guard, patience=patience)


def failure(url: str, target: Path, guard: Guard = LOOPBACK) -> Failure:
    with pytest.raises(Failure) as caught:
        get(url, target, guard)
    assert not target.exists()
    return caught.value


def test_a_file_comes_whole_with_its_digest(web: WebServer, tmp_path: Path) -> None:
    web.put("/rows.jsonl", Reply(body=DATA))
    told: list[tuple[str, int, int | None]] = []
    got = fetch(
        web.url("/rows.jsonl?sig=secret"),
        tmp_path / "new" / "rows.jsonl",
        guard=LOOPBACK,
        progress=lambda *news: told.append(news),
    )
    assert got.path.read_bytes() == DATA
    assert (got.sha256, got.size_bytes) == (hashlib.sha256(DATA).hexdigest(), len(DATA))
    assert got.url == web.url("/rows.jsonl")
    assert told[-1] == ("rows.jsonl", len(DATA), len(DATA))
    assert "Authorization" not in web.log[0].headers


def test_a_finished_file_is_kept_and_a_changed_one_is_fetched_again(
    web: WebServer, tmp_path: Path
) -> None:
    web.put("/rows.jsonl", Reply(body=DATA))
    target = tmp_path / "rows.jsonl"
    first = get(web.url("/rows.jsonl"), target)
    assert get(web.url("/rows.jsonl"), target) == first
    assert len(web.log) == 1
    target.write_bytes(DATA.replace(b"row 7", b"row 8", 1))
    assert get(web.url("/rows.jsonl"), target) == first
    assert len(web.log) == 2
    get(web.url("/rows.jsonl?version=2"), target)
    assert len(web.log) == 3


def test_a_cut_download_goes_on_where_it_stopped(web: WebServer, tmp_path: Path) -> None:
    cut = Reply(body=DATA, etag='"v1"', cut_after=100_000)
    web.put("/rows.jsonl", cut, Reply(body=DATA, etag='"v1"', cut_after=100_000), Reply(503), cut)
    got = get(web.url("/rows.jsonl"), tmp_path / "rows.jsonl")
    assert got.path.read_bytes() == DATA
    starts = [int(r.headers.get("Range", "bytes=0-")[6:-1]) for r in web.log]
    assert starts == sorted(starts) and starts[1] > 50_000
    assert all(r.headers.get("If-Range") == '"v1"' for r in web.log[1:])


def test_a_file_that_changed_meanwhile_is_fetched_from_its_start(
    web: WebServer, tmp_path: Path
) -> None:
    new = DATA.upper()
    web.put(
        "/x.jsonl", Reply(body=DATA, etag='"v1"', cut_after=90_000), Reply(body=new, etag='"v2"')
    )
    assert get(web.url("/x.jsonl"), tmp_path / "x.jsonl").path.read_bytes() == new


@pytest.mark.parametrize(
    "second",
    [
        Reply(206, DATA[:10], {"Content-Range": f"bytes 0-9/{len(DATA)}"}, etag='"v1"'),
        Reply(206, DATA[9:], {"Content-Range": "nonsense"}, etag='"v1"'),
        Reply(416, b""),
        Reply(
            206, b"x", {"Content-Range": f"bytes 65536-{len(DATA) - 1}/{len(DATA)}"}, etag='"v2"'
        ),
    ],
)
def test_a_wrong_range_is_never_appended(web: WebServer, tmp_path: Path, second: Reply) -> None:
    web.put("/x.jsonl", Reply(body=DATA, etag='"v1"', cut_after=70_000), second, Reply(body=DATA))
    assert get(web.url("/x.jsonl"), tmp_path / "x.jsonl").path.read_bytes() == DATA


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
def test_without_a_strong_validator_nothing_is_resumed(
    web: WebServer, tmp_path: Path, etag: str
) -> None:
    web.put("/x.jsonl", Reply(body=DATA, etag=etag, cut_after=90_000), Reply(body=DATA, etag=etag))
    assert get(web.url("/x.jsonl"), tmp_path / "x.jsonl").path.read_bytes() == DATA
    assert all("Range" not in r.headers for r in web.log)


def test_a_killed_download_goes_on_in_a_new_process(web: WebServer, tmp_path: Path) -> None:
    web.put(
        "/x.jsonl", Reply(body=DATA, etag='"v1"', cut_after=150_000), Reply(body=DATA, etag='"v1"')
    )
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom tuning.dataset.fetch import fetch\n"
        "stop = lambda name, done, total: os._exit(9) if done > 100_000 else None\n"
        "fetch(sys.argv[1], Path(sys.argv[2]), allow_hosts=('127.0.0.1',), progress=stop)"
    )
    target = tmp_path / "x.jsonl"
    arguments = [sys.executable, "-c", code, web.url("/x.jsonl"), str(target)]
    assert subprocess.run(arguments).returncode == 9
    assert not target.exists()
    assert get(web.url("/x.jsonl"), target).path.read_bytes() == DATA
    assert web.log[1].headers["Range"] == "bytes=131072-"


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(web: WebServer, tmp_path: Path, status: int) -> None:
    web.put("/x.jsonl", Reply(status), Reply(status), Reply(body=DATA))
    get(web.url("/x.jsonl"), tmp_path / "x.jsonl")
    assert [r.status for r in web.log] == [status, status, 200]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, Kind.NO_ACCESS),
        (403, Kind.NO_ACCESS),
        (404, Kind.BAD_CONFIG),
        (410, Kind.BAD_CONFIG),
        (400, Kind.BAD_CONFIG),
        (304, Kind.BAD_CONFIG),
    ],
)
def test_what_cannot_pass_is_told_at_once_without_the_secret_of_the_link(
    web: WebServer, tmp_path: Path, status: int, kind: Kind
) -> None:
    web.put("/x.jsonl", Reply(status, b"no"))
    refused = failure(web.url("/x.jsonl?sig=secret"), tmp_path / "x.jsonl")
    assert refused.kind is kind
    assert str(status) in refused.sentence and "secret" not in refused.sentence
    assert len(web.log) == 1


def test_patience_ends_with_the_last_reason(web: WebServer, tmp_path: Path) -> None:
    web.put("/x.jsonl", Reply(503))
    refused = failure(web.url("/x.jsonl"), tmp_path / "x.jsonl")
    assert refused.kind is Kind.UNAVAILABLE
    assert "503" in refused.sentence and "tried" in refused.sentence


def test_a_wait_that_is_longer_than_patience_is_not_begun(web: WebServer, tmp_path: Path) -> None:
    web.put("/x.jsonl", Reply(429, headers={"Retry-After": "3600"}))
    assert failure(web.url("/x.jsonl"), tmp_path / "x.jsonl").kind is Kind.UNAVAILABLE
    assert len(web.log) == 1


@pytest.mark.parametrize("wait", ["1", "soon", "-1", "Fri, 01 Jan 1999 00:00:00 GMT", "9" * 5000])
def test_retry_after_in_any_form_is_no_trap(web: WebServer, tmp_path: Path, wait: str) -> None:
    web.put("/x.jsonl", Reply(429, headers={"Retry-After": wait}), Reply(body=DATA))
    patience = Patience(deadline_s=2, first_wait_s=0.01)
    if wait[0] == "9":
        with pytest.raises(Failure):
            get(web.url("/x.jsonl"), tmp_path / "x.jsonl", patience=patience)
    else:
        get(web.url("/x.jsonl"), tmp_path / "x.jsonl", patience=patience)


def test_silence_ends_in_another_try(web: WebServer, tmp_path: Path) -> None:
    web.put("/x.jsonl", Reply(body=DATA, silent_s=1.0), Reply(body=DATA))
    guard = Guard(("127.0.0.1",), silence_timeout_s=0.2)
    patience = Patience(deadline_s=5, first_wait_s=0.01)
    get(web.url("/x.jsonl"), tmp_path / "x.jsonl", guard, patience)
    assert len(web.log) == 2


def test_nobody_there_is_unavailable(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/x.jsonl"
        assert failure(url, tmp_path / "x.jsonl").kind is Kind.UNAVAILABLE


def test_chunks_are_fine_and_a_cut_chunk_is_noticed(web: WebServer, tmp_path: Path) -> None:
    cut = Reply(body=DATA, chunked=True, cut_after=5_000)
    web.put("/x.jsonl", cut, Reply(body=DATA, chunked=True))
    assert get(web.url("/x.jsonl"), tmp_path / "x.jsonl").path.read_bytes() == DATA


def test_a_body_of_unknown_length_is_refused(web: WebServer, tmp_path: Path) -> None:
    web.put("/x.jsonl", Reply(body=DATA, length=False))
    refused = failure(web.url("/x.jsonl"), tmp_path / "x.jsonl")
    assert refused.kind is Kind.BAD_CONFIG and "Content-Length" in refused.sentence


def test_a_compressed_answer_is_refused_but_for_a_gz_file(web: WebServer, tmp_path: Path) -> None:
    headers = {"Content-Encoding": "gzip"}
    web.put("/x.jsonl", Reply(body=b"\x1f\x8b1234", headers=headers))
    web.put("/x.jsonl.gz", Reply(body=b"\x1f\x8b1234", headers=headers))
    assert "compressed" in failure(web.url("/x.jsonl"), tmp_path / "x.jsonl").sentence
    get(web.url("/x.jsonl.gz"), tmp_path / "x.jsonl.gz")


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("x.parquet", b"<!DOCTYPE html><html><body>404 Not Found</body></html>"),
        ("x.jsonl", b"\n<html>404</html>"),
        ("x.csv", b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"),
        ("x.parquet", b'{"error": "no"}'),
        ("x.jsonl", b""),
        ("x.jsonl", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n"),
    ],
)
def test_a_page_with_status_200_is_no_data(
    web: WebServer, tmp_path: Path, name: str, body: bytes
) -> None:
    web.put(f"/{name}", Reply(body=body))
    refused = failure(web.url(f"/{name}"), tmp_path / name)
    assert refused.kind is Kind.BAD_CONFIG and "what came is" in refused.sentence
    assert len(web.log) == 1


def test_redirects_are_followed(web: WebServer, tmp_path: Path) -> None:
    web.put("/a.jsonl", Reply(302, headers={"Location": "/b?x=1"}))
    web.put("/b", Reply(307, headers={"Location": web.url("/c.jsonl")}))
    web.put("/c.jsonl", Reply(body=DATA))
    assert get(web.url("/a.jsonl"), tmp_path / "a.jsonl").url == web.url("/a.jsonl")


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("http://10.0.0.7/x.jsonl", "loopback, private, or link-local"),
        ("http://169.254.169.254/latest/meta-data", "metadata"),
        ("http://167772167/x", "loopback, private, or link-local"),
        ("http://[::ffff:10.0.0.7]/x", "loopback, private, or link-local"),
        ("file:///etc/passwd", "invalid data source URL"),
        ("ftp://example.com/x", "HTTP or HTTPS"),
        ("http://[", "no URL"),
        ("/a.jsonl", "redirects more than 5 times"),
        ("http://me:secret@example.com/x", "user name"),
    ],
)
def test_a_redirect_may_not_lead_where_the_url_may_not(
    web: WebServer, tmp_path: Path, location: str, words: str
) -> None:
    web.put("/a.jsonl", Reply(302, headers={"Location": location}))
    refused = failure(web.url("/a.jsonl"), tmp_path / "a.jsonl", Guard(("127.0.0.1",)))
    assert refused.kind is Kind.BAD_CONFIG
    assert words in refused.sentence and "secret" not in refused.sentence


class Names:
    """A resolver with its own answers, one after the other."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.mark.parametrize("addresses", [["10.0.0.7"], ["93.184.216.34", "127.0.0.1"], ["fd00::7"]])
def test_a_name_that_is_private_is_refused_before_any_connection(
    tmp_path: Path, addresses: list[str]
) -> None:
    guard = Guard(resolve=Names(addresses))
    refused = failure("http://data.example/x.jsonl", tmp_path / "x.jsonl", guard)
    assert refused.kind is Kind.BAD_CONFIG
    assert "data source URL must not target a loopback, private" in refused.sentence
    assert "allowed hosts" in refused.sentence


def test_the_connection_goes_to_the_address_that_was_judged(web: WebServer, tmp_path: Path) -> None:
    web.put("/x.jsonl", Reply(body=DATA))
    names = Names(["127.0.0.1"], ["10.9.9.9"])
    guard = Guard(("inside.example",), resolve=names)
    get(web.url("/x.jsonl", host="inside.example"), tmp_path / "x.jsonl", guard)
    assert names.asked == 1
    assert web.log[0].headers["Host"] == f"inside.example:{web.port}"


def test_a_second_address_is_tried_when_the_first_does_not_answer(
    web: WebServer, tmp_path: Path
) -> None:
    web.put("/x.jsonl", Reply(body=DATA))
    guard = Guard(("127.0.0.0/8",), resolve=Names(["127.0.0.9", "127.0.0.1"]))
    get(web.url("/x.jsonl", host="inside.example"), tmp_path / "x.jsonl", guard)


def test_a_name_that_does_not_exist_is_told(tmp_path: Path) -> None:
    def nobody(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    refused = failure(
        "http://no.example/x.jsonl",
        tmp_path / "x.jsonl",
        Guard(resolve=nobody, name_patience=HASTY),
    )
    assert refused.kind is Kind.UNAVAILABLE and "cannot be resolved" in refused.sentence


def test_proxies_and_netrc_are_not_used(
    web: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    web.put("/x.jsonl", Reply(body=DATA))
    get(web.url("/x.jsonl"), tmp_path / "x.jsonl")
    assert "Authorization" not in web.log[0].headers


def test_tls_is_checked_for_the_name(tmp_path: Path) -> None:
    ca = certs.authority(tmp_path / "ca")
    with running_webserver(certs.server(ca, tmp_path)) as web:
        web.put("/x.jsonl", Reply(body=DATA))
        names = Names(["127.0.0.1"])
        trusting = Guard(("127.0.0.1", "localhost"), names, ca_file=str(ca.file))
        get(web.url("/x.jsonl", host="localhost"), tmp_path / "x.jsonl", trusting)
        other = Guard(("other.example",), names, ca_file=str(ca.file))
        refused = failure(web.url("/x.jsonl", host="other.example"), tmp_path / "y.jsonl", other)
        assert refused.kind is Kind.BAD_CONFIG and "certificate" in refused.sentence
        refused = failure(web.url("/x.jsonl"), tmp_path / "z.jsonl")
        assert refused.kind is Kind.BAD_CONFIG and "certificate" in refused.sentence


def test_https_does_not_fall_back_to_http(tmp_path: Path) -> None:
    ca = certs.authority(tmp_path / "ca")
    with running_webserver(certs.server(ca, tmp_path)) as web:
        web.put("/x.jsonl", Reply(302, headers={"Location": "http://127.0.0.1/x"}))
        guard = Guard(("127.0.0.1",), ca_file=str(ca.file))
        assert "plain http" in failure(web.url("/x.jsonl"), tmp_path / "x.jsonl", guard).sentence


def test_a_disk_that_is_too_small_is_told_with_both_numbers(web: WebServer, tmp_path: Path) -> None:
    web.put("/x.jsonl", Reply(body=b"{}", length=False, headers={"Content-Length": str(2**59)}))
    refused = failure(web.url("/x.jsonl"), tmp_path / "x.jsonl")
    assert refused.kind is Kind.BAD_CONFIG
    assert "needs 536870912.0 GiB" in refused.sentence and "are free in" in refused.sentence


def test_a_folder_that_cannot_be_written_is_told(web: WebServer, tmp_path: Path) -> None:
    web.put("/x.jsonl", Reply(body=DATA))
    (tmp_path / "file").write_text("in the way")
    refused = failure(web.url("/x.jsonl"), tmp_path / "file" / "x.jsonl")
    assert refused.kind is Kind.BAD_CONFIG and "cannot be written" in refused.sentence


def test_nothing_but_the_file_and_its_note_is_left(web: WebServer, tmp_path: Path) -> None:
    web.put(
        "/x.jsonl", Reply(body=DATA, etag='"v1"', cut_after=90_000), Reply(body=DATA, etag='"v1"')
    )
    get(web.url("/x.jsonl"), tmp_path / "x.jsonl")
    assert sorted(os.listdir(tmp_path)) == [".x.jsonl.fetched.json", "x.jsonl"]
    assert file_sha256(tmp_path / "x.jsonl") == hashlib.sha256(DATA).hexdigest()
