import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rig import tiny, tokenizers_tiny

from tuning.config import DatasetSection
from tuning.data import prepare_rows
from tuning.dataset import order, report
from tuning.dataset.fetch import Fetched
from tuning.dataset.notes import file_sha256
from tuning.dataset.report import DataReport
from tuning.dataset.rows import Chat, from_json
from tuning.dataset.tokens import encoded_rows
from tuning.failure import Failure, Kind
from tuning.run import Run

QA = [{"question": f"Who is {n}?", "answer": f"I am {n}."} for n in range(200)]


def run_of(work: Path, training: dict[str, Any] | None = None, **dataset: Any) -> Run:
    run = tiny.make_run(work, work / "model", training={"max_length": 128, **(training or {})})
    section = DatasetSection.model_validate(dataset)
    return run.model_copy(update={"config": run.config.model_copy(update={"dataset": section})})


def file_of(path: Path) -> Fetched:
    return Fetched(path, file_sha256(path), path.stat().st_size, path.name)


def jsonl(path: Path, rows: list[dict[str, Any]]) -> Fetched:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file_of(path)


def prepared(
    run: Run, *files: Fetched, template: str | None = tokenizers_tiny.CHATML
) -> DataReport:
    return prepare_rows(run, files, tokenizers_tiny.build(template))


def kept(path: Path) -> list[str]:
    rows = [from_json(line) for line in path.read_bytes().splitlines()]
    return [row.messages[-1]["content"] for row in rows if isinstance(row, Chat)]


def test_parquet_shards_become_rows_and_a_report(tmp_path: Path) -> None:
    for shard in range(4):
        rows = QA[shard * 50 : shard * 50 + 50]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"train-{shard}.parquet")
    files = [file_of(path) for path in sorted(tmp_path.glob("*.parquet"))]
    run = run_of(tmp_path)
    found = prepared(run, *files)
    assert (found.rows, found.kept, found.dropped, found.train_rows) == (200, 200, 0, 200)
    assert found.kinds == (("chats", 200),)
    assert sorted(kept(run.places.rows_file)) == sorted(row["answer"] for row in QA)
    assert found.rows_digest == file_sha256(run.places.rows_file)
    assert not run.places.eval_rows_file.exists()
    assert [file.name for file in found.files] == [f"train-{n}.parquet" for n in range(4)]


def test_the_report_counts_the_very_tokens_that_training_gets(tmp_path: Path) -> None:
    run = run_of(tmp_path, train_test_split=0.9)
    found = prepared(run, jsonl(tmp_path / "a.jsonl", QA))
    tokenizer = tokenizers_tiny.build(tokenizers_tiny.CHATML)
    files = (run.places.rows_file, run.places.eval_rows_file)
    examples = [e for f in files for e in encoded_rows(f, tokenizer, run.config.training)]
    assert found.examples == len(examples) == 200
    assert found.tokens == sum(len(e.input_ids) for e in examples)
    assert found.tokens_with_loss == sum(sum(e.loss_mask) for e in examples)
    lengths = sorted(len(e.input_ids) for e in examples)
    assert (found.lengths.min, found.lengths.max) == (lengths[0], lengths[-1])
    assert found.lengths.median == lengths[99] and found.lengths.p95 == lengths[190]


def test_the_example_shows_what_is_learned(tmp_path: Path) -> None:
    found = prepared(run_of(tmp_path), jsonl(tmp_path / "a.jsonl", QA))
    start = "<|im_start|>user\nWho is 0?<|im_end|>\n<|im_start|>assistant\n"
    assert found.example == f"{start}⟦I am 0.<|im_end|>\n⟧"
    shown = "\n".join(report.lines(found))
    assert "⟦I am 0.<|im_end|>" in shown and "rows: 200, kept 200, dropped 0" in shown


def test_the_split_is_by_the_seed_and_whole(tmp_path: Path) -> None:
    run = run_of(tmp_path, train_test_split=0.75, shuffle_seed=1)
    found = prepared(run, jsonl(tmp_path / "a.jsonl", QA))
    trained, held = kept(run.places.rows_file), kept(run.places.eval_rows_file)
    assert (found.train_rows, found.eval_rows) == (len(trained), len(held)) == (150, 50)
    assert sorted(trained + held) == sorted(row["answer"] for row in QA)
    assert found.eval_rows_digest == file_sha256(run.places.eval_rows_file)


def test_a_second_run_without_a_split_leaves_no_old_one(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "a.jsonl", QA)
    prepared(run_of(tmp_path, train_test_split=0.5), file)
    run = run_of(tmp_path)
    prepared(run, file)
    assert not run.places.eval_rows_file.exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jsonl", "rows.jsonl"]


@pytest.mark.parametrize(
    ("count", "share", "held"), [(10, 0.8, 2), (2, 0.99, 1), (1, 0.5, 0), (3, 0.01, 2)]
)
def test_order_keeps_every_row_once(count: int, share: float, held: int) -> None:
    for shuffle in (True, False):
        trained, evaluated = order.split(count, share, shuffle, 42)
        assert sorted(trained + evaluated) == list(range(count))
        assert len(evaluated) == held
        assert shuffle or trained == sorted(trained)


def test_order_depends_on_the_seed_alone() -> None:
    assert order.split(100, 1.0, True, 1) == order.split(100, 1.0, True, 1)
    assert order.split(100, 1.0, True, 1) != order.split(100, 1.0, True, 2)
    assert order.split(100, 1.0, False, 1) == (list(range(100)), [])


def test_a_few_bad_rows_are_dropped_and_told(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [*QA, {"question": "x", "answer": None}]
    found = prepared(run_of(tmp_path), jsonl(tmp_path / "a.jsonl", rows))
    assert (found.rows, found.kept, found.dropped) == (201, 200, 1)
    (reason,) = found.reasons
    assert (reason.reason, reason.count) == ("is null, not text", 1)
    assert reason.first == ("a.jsonl row 201 (answer)",)
    assert reason.excerpt == "{'question': 'x', 'answer': None}"


def failure(run: Run, *files: Fetched) -> str:
    with pytest.raises(Failure) as caught:
        prepared(run, *files)
    assert caught.value.kind is Kind.BAD_DATA
    assert not run.places.rows_file.exists() and not list(run.places.work_dir.glob(".*"))
    return caught.value.sentence


def test_too_many_bad_rows_are_refused_with_the_first_of_them(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        *QA,
        *({"question": "x", "answer": None} for _ in range(5)),
        {"nothing": 1},
    ]
    sentence = failure(run_of(tmp_path), jsonl(tmp_path / "a.jsonl", rows))
    assert "6 of 206 rows cannot be used" in sentence
    assert "a.jsonl row 201 (answer), a.jsonl row 202 (answer)" in sentence
    assert 'no known shape in the columns "nothing"' in sentence
    found = prepared(run_of(tmp_path, max_bad_rows=0.03), file_of(tmp_path / "a.jsonl"))
    assert found.dropped == 6


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "is empty"),
        ([{"a": 1}], 'no known shape in the columns "a"'),
        ([{"messages": [{"role": "user", "content": "x"}]}], "no answer to learn from"),
    ],
)
def test_data_with_nothing_to_learn_is_refused(
    tmp_path: Path, rows: list[dict[str, Any]], words: str
) -> None:
    assert words in failure(run_of(tmp_path), jsonl(tmp_path / "a.jsonl", rows))


def test_a_parquet_file_without_rows_or_known_columns_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "a.parquet")
    assert "no rows" in failure(run_of(tmp_path), file_of(tmp_path / "a.parquet"))
    pq.write_table(pa.table({"a": [1], "b": [2]}), tmp_path / "b.parquet")
    sentence = failure(run_of(tmp_path), file_of(tmp_path / "b.parquet"))
    assert sentence.startswith('b.parquet: no known shape in the columns "a", "b"')
    assert "DatasetConfig" in sentence


def test_rows_that_no_template_takes_are_refused_with_its_words(tmp_path: Path) -> None:
    system = {"role": "system", "content": "x"}
    messages = [system, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    file = jsonl(tmp_path / "a.jsonl", [{"messages": messages}])
    with pytest.raises(Failure, match="System role not supported"):
        prepared(run_of(tmp_path), file, template=tokenizers_tiny.GEMMA)


def test_hopeless_data_is_not_read_to_its_end(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": pa.nulls(1_000_000, pa.string())}), tmp_path / "a.parquet")
    sentence = failure(run_of(tmp_path), file_of(tmp_path / "a.parquet"))
    assert "10,001 of 10,001 rows cannot be used" in sentence


def test_rows_that_are_only_too_long_are_dropped_with_a_warning(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        *QA,
        *({"question": "why " * 200, "answer": "so"} for _ in range(20)),
    ]
    found = prepared(run_of(tmp_path), jsonl(tmp_path / "a.jsonl", rows))
    assert found.dropped == 20 and not found.reasons[0].bad
    assert any("20 rows are left out" in w and "max_length (128)" in w for w in found.warnings)


def test_only_rows_that_are_too_long_are_refused_with_the_setting(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "a.jsonl", [{"question": "why " * 200, "answer": "so"}])
    assert "raise TrainingArguments.max_length" in failure(run_of(tmp_path), file)


def test_cut_examples_are_counted_and_told(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"question": "why", "answer": "so " * 200}, *QA[:9]]
    found = prepared(run_of(tmp_path), jsonl(tmp_path / "a.jsonl", rows))
    assert found.truncated_examples == 1 and found.lengths.max == 128 + found.truncated_tokens
    assert any("1 of 10 examples are longer" in w for w in found.warnings)


def test_copies_and_leaks_into_the_evaluation_are_told(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "a.jsonl", QA * 2)
    found = prepared(run_of(tmp_path, train_test_split=0.5), file)
    assert found.duplicates == 200
    assert any("200 of 400 rows are exact copies" in w for w in found.warnings)
    assert any("evaluation rows are also trained on" in w for w in found.warnings)


@pytest.mark.parametrize(
    ("rows", "template", "training", "words"),
    [
        (QA, tokenizers_tiny.CHATML, {"completion_only_loss": False}, "the questions too"),
        (QA, "{% for m in messages %}{{ m.content }}{% endfor %}", {}, "no end token behind"),
        ([{"prompt": "a", "completion": "b"}], tokenizers_tiny.CHATML, {}, "letter by letter"),
    ],
)
def test_what_looks_wrong_is_warned_of(
    tmp_path: Path,
    rows: list[dict[str, Any]],
    template: str,
    training: dict[str, Any],
    words: str,
) -> None:
    found = prepared(
        run_of(tmp_path, training), jsonl(tmp_path / "a.jsonl", rows), template=template
    )
    assert any(words in w for w in found.warnings), found.warnings


def test_good_data_gives_no_warning(tmp_path: Path) -> None:
    assert prepared(run_of(tmp_path), jsonl(tmp_path / "a.jsonl", QA)).warnings == ()


def test_the_digest_is_of_the_bytes_not_of_names_or_order(tmp_path: Path) -> None:
    one, two = jsonl(tmp_path / "1.jsonl", QA[:5]), jsonl(tmp_path / "2.jsonl", QA[5:])
    moved = jsonl(tmp_path / "moved.jsonl", QA[:5])
    assert prepared(run_of(tmp_path), one, two).dataset_digest == (
        prepared(run_of(tmp_path), two, moved).dataset_digest
    )
    assert prepared(run_of(tmp_path), one).dataset_digest != (
        prepared(run_of(tmp_path), two).dataset_digest
    )


def test_the_report_survives_its_file(tmp_path: Path) -> None:
    found = prepared(run_of(tmp_path), jsonl(tmp_path / "a.jsonl", [*QA, {"answer": 1}]))
    assert DataReport.model_validate_json(found.model_dump_json()) == found


def test_progress_is_told_and_may_end_the_check(tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    def told(name: str, done: int, total: int | None) -> None:
        assert (name, done, total) == ("rows", 1000, None)
        raise Enough

    file = jsonl(tmp_path / "a.jsonl", QA * 6)
    tokenizer = tokenizers_tiny.build(tokenizers_tiny.CHATML)
    with pytest.raises(Enough):
        prepare_rows(run_of(tmp_path), [file], tokenizer, told)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jsonl"]


CODE = """
import sys
from pathlib import Path
from rig import tiny, tokenizers_tiny
from tuning.data import prepare_rows
from tuning.dataset.fetch import Fetched
from tuning.dataset.notes import file_sha256
work, path = Path(sys.argv[1]), Path(sys.argv[2])
file = Fetched(path, file_sha256(path), path.stat().st_size, path.name)
run = tiny.make_run(work, work)
report = prepare_rows(run, [file], tokenizers_tiny.build(tokenizers_tiny.CHATML))
print(report.model_dump_json(), run.places.rows_file.read_text())
"""


def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [*QA, {"tools": [{"b": 1, "a": {"y": 1, "x": 2}}], "messages": [
        {"role": "user", "content": "a"}, {"content": "b", "role": "assistant"}]}]  # fmt: skip
    jsonl(tmp_path / "a.jsonl", rows)
    said = [
        subprocess.run(
            [sys.executable, "-c", CODE, str(tmp_path / seed), str(tmp_path / "a.jsonl")],
            capture_output=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": ".:tests"},
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1] and said[0]
