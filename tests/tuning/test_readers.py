import gzip
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuning.config import DatasetSection
from tuning.dataset.fetch import Fetched
from tuning.dataset.readers import read_rows
from tuning.dataset.rows import BadRaw, Raw
from tuning.failure import Failure, Kind

ROWS: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": f"ü {n}"}, {"role": "assistant", "content": "b"}]}
    for n in range(2500)
]


def read(*paths: Path, extension: str | None = None) -> list[Raw | BadRaw]:
    files = [Fetched(path, "", path.stat().st_size, path.name) for path in paths]
    return list(read_rows(files, DatasetSection(dataset_extension=extension)))


def rows_of(*paths: Path) -> list[Any]:
    return [raw.row if isinstance(raw, Raw) else raw for raw in read(*paths)]


def failure(path: Path) -> str:
    with pytest.raises(Failure) as caught:
        read(path)
    assert caught.value.kind is Kind.BAD_DATA
    assert path.name in caught.value.sentence
    return caught.value.sentence


def bad(path: Path) -> list[tuple[int, str]]:
    return [(raw.number, raw.bad.sentence()) for raw in read(path) if isinstance(raw, BadRaw)]


def write(path: Path, data: str | bytes) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def test_the_same_rows_come_from_every_format(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(ROWS)
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=700)
    with (
        pa.OSFile(str(tmp_path / "a.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, table.schema) as out,
    ):
        out.write_table(table)
    with (
        pa.OSFile(str(tmp_path / "b.arrow"), "wb") as sink,
        pa.ipc.new_stream(sink, table.schema) as out,
    ):
        out.write_table(table)
    paths = [
        tmp_path / "a.parquet",
        tmp_path / "a.arrow",
        tmp_path / "b.arrow",
        write(tmp_path / "a.jsonl", lines),
        write(tmp_path / "b.jsonl", "\ufeff" + lines + "\n\n"),
        write(tmp_path / "c.jsonl.gz", gzip.compress(lines.encode())),
        write(tmp_path / "a.json", json.dumps(ROWS, indent=1, ensure_ascii=False)),
        write(tmp_path / "b.json", json.dumps({"version": 1, "data": ROWS})),
        write(tmp_path / "c.json", lines),
        write(tmp_path / "d.json.gz", gzip.compress(json.dumps(ROWS).encode())),
        write(tmp_path / "e.json", "\ufeff [" + ",\n\n".join(map(json.dumps, ROWS)) + "\n]\n"),
    ]
    for path in paths:
        assert rows_of(path) == ROWS, path.name


def test_rows_are_numbered_in_their_file(tmp_path: Path) -> None:
    first = write(tmp_path / "1.jsonl", '{"text": "a"}\n\n{"text": "b"}\n')
    second = write(tmp_path / "2.csv", 'text\n"c\nd"\ne\n')
    found = [(raw.file, raw.number) for raw in read(first, second)]
    assert found == [("1.jsonl", 1), ("1.jsonl", 3), ("2.csv", 2), ("2.csv", 4)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_with_quotes_and_line_breaks(tmp_path: Path, delimiter: str) -> None:
    text = (
        f'question{delimiter}answer\r\n"a{delimiter} ""b"""{delimiter}"c\nd"\r\n\r\ne{delimiter}f'
    )
    expected = [
        {"question": f'a{delimiter} "b"', "answer": "c\nd"},
        {"question": "e", "answer": "f"},
    ]
    assert rows_of(write(tmp_path / "a.csv", text)) == expected


def test_broken_lines_are_told_with_their_number_and_the_rest_is_read(tmp_path: Path) -> None:
    text = b'{"a": 1}\n{oops}\n[1]\n{"a": "\xff"}\n' + b'{"a": 2}\n'
    path = write(tmp_path / "a.jsonl", text)
    assert bad(path) == [
        (2, "is not valid JSON"),
        (3, "is a list, not an object with named values"),
        (4, "byte 27: is not UTF-8 text"),
    ]
    assert [raw.row for raw in read(path) if isinstance(raw, Raw)] == [{"a": 1}, {"a": 2}]


def test_broken_csv_rows_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", b'a,b\n1\n2,"x"y\n3,\xff\n4,5\n')
    assert [number for number, _ in bad(path)] == [2, 3, 4]
    assert bad(path)[0][1] == "1 of 2: has not as many values as the header"
    assert rows_of(path)[-1] == {"a": "4", "b": "5"}


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.jsonl", '{"a": 1}\n{"a": "unfini', "ends in the middle of row 2"),
        ("a.json", '[{"a": 1}, {"a": "unfini', "in row 2"),
        ("a.json", '[{"a": 1},\n', "in row 2"),
        ("a.json", '[{"a": 1} oops', "in row 2"),
        ("a.json", '[{"a": 1}', "in row 1"),
        ("a.json", b'[{"a": "\xfc"}]', "not UTF-8 text at byte 8"),
        ("a.csv", 'a,b\n1,2\n3,"never closed\n5,6\n', "a quote opened in line 3 is not closed"),
        ("a.csv", "a,a\n1,2\n", "names a column twice"),
        ("a.csv", "\n\n", "no header"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 9999)[:-20], "cut short or damaged"),
        ("a.jsonl.gz", b"\x1f\x8b" + b"x" * 50, "cut short or damaged"),
        ("a.parquet", b"PAR1 and then nothing", "cut short or damaged"),
        ("a.parquet", b"<html>not found</html>", "web page"),
        ("a.parquet", b"", "empty"),
        ("a.arrow", b"ARROW1 and then nothing", "cut short or damaged"),
        ("a.arrow", b"\xff\xff\xff\xff\x10\x00\x00\x00", "cut short or damaged"),
        ("a.txt", "hello", "what kind of file"),
    ],
)
def test_a_file_that_is_no_whole_file_is_refused(
    tmp_path: Path, name: str, data: str | bytes, words: str
) -> None:
    assert words in failure(write(tmp_path / name, data))


def test_a_parquet_file_cut_or_corrupted_anywhere_is_refused_or_read(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "whole.parquet")
    whole = (tmp_path / "whole.parquet").read_bytes()
    for length in (8, len(whole) // 2, len(whole) - 1):
        assert "cut short" in failure(write(tmp_path / "a.parquet", whole[:length]))
    damaged = whole[:100] + bytes(200) + whole[300:]
    assert "damaged" in failure(write(tmp_path / "a.parquet", damaged))


def test_a_nested_column_that_is_half_dictionary_half_plain_is_read(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "same"}, {"role": "assistant", "content": "x"}]
    rows = [{"messages": [turns[0], {**turns[1], "content": str(n) * 50}]} for n in range(5000)]
    table = pa.Table.from_pylist(rows)
    path = tmp_path / "a.parquet"
    pq.write_table(table, path, dictionary_pagesize_limit=20_000, data_page_size=9_000)
    encodings = pq.ParquetFile(path).metadata.row_group(0).column(1).encodings
    assert {"PLAIN", "RLE_DICTIONARY"} <= set(encodings)
    assert rows_of(path) == rows


def test_a_suffix_may_be_told_in_the_configuration(tmp_path: Path) -> None:
    path = write(tmp_path / "rows", "text\nhello\n")
    (row,) = read(path, extension="csv")
    assert isinstance(row, Raw) and row.row == {"text": "hello"}


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    pq.write_table(table, tmp_path / "a.parquet")
    assert "two columns" in failure(tmp_path / "a.parquet")


def test_bytes_that_are_no_utf8_in_a_parquet_text_are_a_bad_row(tmp_path: Path) -> None:
    good, wrong = pa.array(["a", "b"]), pa.array([b"\xff\xfe"]).view(pa.string())
    table = pa.table({"text": pa.concat_arrays([good, wrong])})
    pq.write_table(table, tmp_path / "a.parquet")
    assert bad(tmp_path / "a.parquet") == [(3, "text: is not UTF-8 text")]
    assert len(read(tmp_path / "a.parquet")) == 3


def test_an_empty_parquet_file_has_no_rows(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == []


LONG = "x" * (100 * 2**20)


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl", "a.csv", "a.json", "a.arrow"])
def test_a_cell_of_100_mb_is_a_bad_row_or_a_refused_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    table = pa.table({"text": ["short", LONG, "last"]})
    if name == "a.parquet":
        pq.write_table(table, path, compression="none")
    elif name == "a.arrow":
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as out:
            out.write_table(table)
    elif name == "a.csv":
        write(path, f"text\nshort\n{LONG}\nlast\n")
    elif name == "a.jsonl":
        write(path, "".join(json.dumps(r) + "\n" for r in table.to_pylist()))
    else:
        write(path, json.dumps(table.to_pylist()))
    if name == "a.json":
        assert "larger than 32 MiB" in failure(path)
        return
    found = read(path)
    assert [type(raw) for raw in found] == [Raw, BadRaw, Raw]
    assert "larger than 32 MiB" in bad(path)[0][1]


PEAK = """
import resource, sys
from pathlib import Path
import pyarrow.parquet
from tuning.config import DatasetSection
from tuning.failure import Failure
from tuning.dataset.fetch import Fetched
from tuning.dataset.readers import read_rows
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
count = bad = 0
try:
    for raw in read_rows([Fetched(Path(sys.argv[1]), "", 0, "")], DatasetSection()):
        count += 1
        bad += hasattr(raw, "bad")
    said = "read"
except Failure as failure:
    said = failure.sentence
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, count, bad, said)
"""


def peak(path: Path) -> tuple[int, int, int, str]:
    """MiB that reading takes, rows, bad rows, and what was said; in a process of its own."""
    done = subprocess.run([sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    mib, count, bad_rows, said = done.stdout.split(maxsplit=3)
    return int(mib), int(count), int(bad_rows), said


def write_in_child(path: Path, table: str, **options: object) -> Path:
    """Bombs are made elsewhere, so that this process stays small."""
    code = (
        "import sys, pyarrow as pa, pyarrow.parquet as pq\n"
        f"pq.write_table({table}, sys.argv[1], **{options!r})"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    return path


def test_a_small_parquet_that_unpacks_enormously_is_refused_unread(tmp_path: Path) -> None:
    table = "pa.table({'text': pa.array(['a' * 2**20] * 300)})"
    path = write_in_child(tmp_path / "a.parquet", table, compression="zstd", use_dictionary=False)
    assert path.stat().st_size < 2**20
    mib, count, _, said = peak(path)
    assert "that is no training data" in said and "a.parquet: row group 0" in said
    assert mib < 50 and count == 0


def test_a_long_value_repeated_through_a_dictionary_does_not_fill_memory(tmp_path: Path) -> None:
    table = (
        "pa.table({'messages': pa.array([[{'role': 'user', 'content': 'a'}] * 2 +"
        " [{'role': 'assistant', 'content': 'b' * 2**20}] * 40] * 10)})"
    )
    path = write_in_child(tmp_path / "a.parquet", table, dictionary_pagesize_limit=2**26)
    assert path.stat().st_size < 2**20
    mib, count, bad_rows, said = peak(path)
    assert (count, bad_rows, said.strip()) == (10, 10, "read")
    assert mib < 150


def test_millions_of_nulls_in_a_few_bytes_are_refused_unread(tmp_path: Path) -> None:
    table = "pa.table({'text': pa.nulls(100_000_000, pa.string())})"
    path = write_in_child(tmp_path / "a.parquet", table, row_group_size=100_000_000)
    mib, count, _, said = peak(path)
    assert "claims 67108864 values" in said
    assert mib < 50 and count == 0


def test_a_million_empty_rows_are_read_in_little_memory(tmp_path: Path) -> None:
    path = write_in_child(tmp_path / "a.parquet", "pa.table({'text': pa.nulls(1_000_000)})")
    mib, count, _, _ = peak(path)
    assert count == 1_000_000 and mib < 50


def test_a_gzip_bomb_stops_early(tmp_path: Path) -> None:
    block = gzip.compress(bytes(2**20) + b"\n")
    path = write(tmp_path / "a.jsonl.gz", block * 300)
    mib, _, _, said = peak(path)
    assert "unpacks to more than 200 times its size" in said and mib < 150


def test_a_large_json_list_is_read_as_a_stream(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    row = json.dumps({"text": "x" * 10_000})
    with path.open("w") as file:
        file.write("[" + row)
        for _ in range(9_999):
            file.write(",\n" + row)
        file.write("]")
    mib, count, _, _ = peak(path)
    assert count == 10_000 and mib < 60


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["a.jsonl", "a.json", "a.csv", "a.parquet", "a.arrow", "a.jsonl.gz", "a"]),
    st.binary(max_size=200) | st.text(max_size=100).map(str.encode),
    st.sampled_from([b"", b"PAR1", b"ARROW1", b"[", b"{", b"\xff\xff\xff\xff", b"\x1f\x8b\x08"]),
)
def test_any_bytes_are_rows_or_a_failure(
    tmp_path: Path, name: str, data: bytes, head: bytes
) -> None:
    path = write(tmp_path / name, head + data)
    try:
        assert all(isinstance(raw, Raw | BadRaw) for raw in read(path))
    except Failure as refused:
        assert refused.kind is Kind.BAD_DATA
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 0
