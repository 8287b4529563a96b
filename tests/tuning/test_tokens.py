import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trl
from rig import tokenizers_tiny as tiny

from tuning.dataset.rows import Bad, Chat, Pair, Row, Text, to_json
from tuning.dataset.tokenizer import is_plain, load_tokenizer
from tuning.dataset.tokens import (
    Encoded,
    Limits,
    encode_all,
    encode_within,
    encoded_rows,
    render,
)
from tuning.failure import Failure, Kind


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


ONE = Chat((user("Who?"), assistant("I am tiny.")), (1,))
TWO = Chat((user("Who?"), assistant("Me."), user("Why?"), assistant("So.")), (1, 3))


def only(row: Row, tokenizer: Any, limits: Limits | None = None) -> Encoded:
    found = encode_within(row, tokenizer, limits or Limits())
    assert isinstance(found, list), found
    assert len(found) == 1
    return found[0]


def learned(encoded: Encoded, tokenizer: Any) -> list[str]:
    """The texts of the runs of tokens that carry loss."""
    runs: list[list[int]] = []
    before = 0
    for token, kept in zip(encoded.input_ids, encoded.loss_mask, strict=True):
        if kept and not before:
            runs.append([])
        if kept:
            runs[-1].append(token)
        before = kept
    return [tokenizer.decode(run) for run in runs]


@pytest.mark.parametrize(
    ("template", "bos", "answers"),
    [
        (tiny.CHATML, False, ["Me.<|im_end|>\n", "So.<|im_end|>\n"]),
        (tiny.LLAMA, True, ["Me.<|im_end|>", "So.<|im_end|>"]),
    ],
)
def test_every_answer_is_learned_with_its_end_and_nothing_else(
    template: str, bos: bool, answers: list[str]
) -> None:
    tokenizer = tiny.build(template, bos=bos)
    encoded = only(TWO, tokenizer)
    assert learned(encoded, tokenizer) == answers
    assert encoded.input_ids.count(tokenizer.convert_tokens_to_ids("<|begin|>")) == int(bos)
    assert tokenizer.decode(encoded.input_ids) == render(TWO.messages, tokenizer)


def test_an_answer_that_is_not_to_be_learned_is_context_only() -> None:
    tokenizer = tiny.build(tiny.CHATML)
    encoded = only(Chat(TWO.messages, (3,)), tokenizer)
    assert learned(encoded, tokenizer) == ["So.<|im_end|>\n"]
    assert "Me." in tokenizer.decode(encoded.input_ids)


def test_an_end_token_that_only_the_last_turn_has_is_no_hindrance() -> None:
    tokenizer = tiny.build(tiny.PHI3, eos="<|end|>")
    encoded = only(TWO, tokenizer)
    assert learned(encoded, tokenizer) == ["Me.<|im_end|>\n", "So.<|im_end|>\n<|end|>"]


def test_a_template_that_rewrites_earlier_turns_gives_one_example_an_answer() -> None:
    tokenizer = tiny.build(tiny.THINKING)
    messages = (user("Who?"), assistant("<think>hm</think>Me."), user("Why?"), assistant("So."))
    first, second = encode_all(Chat(messages, (1, 3)), tokenizer, None)
    assert learned(first, tokenizer) == ["<think>hm</think>Me.<|im_end|>\n"]
    assert learned(second, tokenizer) == ["So.<|im_end|>\n"]
    assert "hm" not in tokenizer.decode(second.input_ids)


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        (({"role": "system", "content": "x"}, *ONE.messages), "System role not supported"),
        ((user("a"), user("b"), assistant("c")), "must alternate"),
    ],
)
def test_what_the_template_refuses_is_a_bad_row(messages: tuple[Any, ...], words: str) -> None:
    tokenizer = tiny.build(tiny.GEMMA, bos=True)
    found = encode_within(Chat(messages, (len(messages) - 1,)), tokenizer, Limits())
    assert isinstance(found, Bad)
    assert words in found.reason
    with pytest.raises(Failure) as failure:
        encode_all(Chat(messages, (len(messages) - 1,)), tokenizer, 100)
    assert failure.value.kind is Kind.BAD_DATA


@pytest.mark.parametrize(
    "template",
    ["{{ messages[7].content }}", "{{ messages + 1 }}", "{{ 1 / 0 }}", "{{ nothing.at.all }}"],
)
def test_a_broken_template_is_a_bad_row_not_a_traceback(template: str) -> None:
    assert isinstance(encode_within(ONE, tiny.build(template), Limits()), Bad)


def test_an_answer_without_an_end_token_gets_the_tokenizers() -> None:
    tokenizer = tiny.build(
        "{% for m in messages %}{{ m.content + '\\n' }}{% endfor %}", eos="<|end|>"
    )
    encoded = only(ONE, tokenizer)
    assert learned(encoded, tokenizer) == ["I am tiny.\n<|end|>"]


def test_a_template_that_leaves_answers_out_is_noticed() -> None:
    template = "{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}"
    found = encode_within(ONE, tiny.build(template), Limits())
    assert found == Bad("the chat template refuses it: it leaves the answer out")


TEMPLATES = sorted((Path(trl.__file__).parent / "chat_templates").glob("*.jinja"))
FOR_IMAGES = ("idefics3", "smolvlm", "llava")


@pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: str(file.stem))
def test_the_templates_that_people_use_give_loss_on_answers_alone(file: Path) -> None:
    """Llama, Qwen, Gemma, Phi, GLM, DeepSeek, gpt-oss …, as TRL ships them."""
    row = Chat(
        (user("Quest a"), assistant("Reply b"), user("Quest c"), assistant("Reply d")), (1, 3)
    )
    tokenizer = tiny.build(file.read_text(), bos=True)
    found = encode_within(row, tokenizer, Limits(None))
    if file.stem.startswith(FOR_IMAGES):
        assert isinstance(found, Bad)
        return
    assert isinstance(found, list)
    runs = "".join(text for example in found for text in learned(example, tokenizer))
    assert runs.count("Reply b") == runs.count("Reply d") == 1 and "Quest" not in runs
    assert all(example.input_ids.count(2) <= 1 for example in found), "one <|begin|>"


def test_a_pair_ends_with_one_end_token_whoever_wrote_it() -> None:
    tokenizer = tiny.build(tiny.CHATML, eos="<|end|>", bos=True)
    plain = only(Pair("Who? ", "Me."), tokenizer)
    assert only(Pair("Who? ", "Me.<|end|>"), tokenizer) == plain
    assert only(Pair("<|begin|>Who? ", "Me."), tokenizer) == plain
    assert learned(plain, tokenizer) == ["Me.<|end|>"]
    assert tokenizer.decode(plain.input_ids) == "<|begin|>Who? Me.<|end|>"


def test_text_is_learned_from_its_first_token_to_one_end_token() -> None:
    tokenizer = tiny.build(tiny.CHATML, eos="<|end|>")
    encoded = only(Text("Once upon"), tokenizer)
    assert learned(encoded, tokenizer) == ["Once upon<|end|>"]


def test_what_is_too_long_is_cut_and_counted() -> None:
    tokenizer = tiny.build(tiny.CHATML, eos="<|end|>")
    whole = only(Text("Once upon a time"), tokenizer, Limits(None))
    cut = only(Text("Once upon a time"), tokenizer, Limits(4))
    assert cut.input_ids == whole.input_ids[:4]
    assert cut.truncated_tokens == len(whole.input_ids) - 4
    end = only(Text("Once upon a time"), tokenizer, Limits(4, keep_end=True))
    assert end.input_ids == whole.input_ids[-4:]


def test_a_prompt_that_fills_max_length_leaves_nothing_to_learn() -> None:
    tokenizer = tiny.build(tiny.CHATML)
    found = encode_within(ONE, tokenizer, Limits(3))
    assert found == Bad("no answer is left within max_length 3")


def test_loss_on_all_only_when_asked_for() -> None:
    tokenizer = tiny.build(tiny.CHATML)
    limits = Limits.of({"completion_only_loss": False, "max_length": None})
    assert set(only(ONE, tokenizer, limits).loss_mask) == {1}
    assert Limits.of({}) == Limits(1024, False, False)


def test_the_date_in_a_template_is_the_same_on_every_day() -> None:
    tokenizer = tiny.build(tiny.LLAMA, bos=True)
    assert "Today Date: 26 Jul 2024<|im_end|>" in render(ONE.messages, tokenizer)


def test_tools_reach_the_template() -> None:
    template = "{{ tools | tojson }}" + tiny.CHATML
    tokenizer = tiny.build(template)
    row = Chat(ONE.messages, (1,), ({"type": "function", "function": {"name": "look_up"}},))
    assert "look_up" in tokenizer.decode(only(row, tokenizer).input_ids)


@pytest.mark.parametrize("bos", [False, True])
def test_a_base_model_without_template_gets_the_plain_one(tmp_path: Path, bos: bool) -> None:
    tokenizer = load_tokenizer(tiny.saved(tmp_path / "m", None, eos="<|end|>", bos=bos))
    encoded = only(TWO, tokenizer)
    text = "User: Who?\nAssistant: Me.<|end|>\nUser: Why?\nAssistant: So.<|end|>\n"
    assert tokenizer.decode(encoded.input_ids) == ("<|begin|>" if bos else "") + text
    assert learned(encoded, tokenizer) == [" Me.<|end|>\n", " So.<|end|>\n"]
    assert is_plain(tokenizer)
    assert tokenizer.pad_token == "<|end|>"


def test_the_users_template_wins_as_text_and_as_file(tmp_path: Path) -> None:
    folder = tiny.saved(tmp_path / "m", None)
    file = tmp_path / "chat.jinja"
    file.write_text(tiny.CHATML)
    by_text = load_tokenizer(folder, tiny.CHATML)
    assert load_tokenizer(folder, str(file)).chat_template == by_text.chat_template
    assert not is_plain(by_text)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("{% for %}", "line 1"),
        ("no-such-file.jinja", "neither a Jinja template nor a file"),
        ("x" * 5000, "neither a Jinja template nor a file"),
        ("a\0b", "neither a Jinja template nor a file"),
    ],
)
def test_a_template_that_is_none_is_a_bad_config(tmp_path: Path, given: str, words: str) -> None:
    folder = tiny.saved(tmp_path / "m", None)
    with pytest.raises(Failure, match=words) as failure:
        load_tokenizer(folder, given)
    assert failure.value.kind is Kind.BAD_CONFIG


def test_generation_marks_are_known_and_harmless(tmp_path: Path) -> None:
    marked = tiny.CHATML.replace("m['content']", "'' }}{% generation %}{{ m['content']")
    marked = marked.replace("'<|im_end|>\n' }}", "'<|im_end|>\n' }}{% endgeneration %}")
    tokenizer = load_tokenizer(tiny.saved(tmp_path / "m", None), marked)
    assert learned(only(ONE, tokenizer), tokenizer) == ["I am tiny.<|im_end|>\n"]


def test_a_folder_without_tokenizer_is_a_bad_config(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(Failure) as failure:
        load_tokenizer(tmp_path)
    assert failure.value.kind is Kind.BAD_CONFIG


def test_the_rows_file_gives_the_same_examples_in_order(tmp_path: Path) -> None:
    tokenizer = tiny.build(tiny.CHATML)
    rows: list[Row] = [ONE, TWO, Pair("a", "b"), Text("c")]
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b"".join(to_json(row) + b"\n" for row in rows))
    expected = [e for row in rows for e in encode_all(row, tokenizer, 1024)]
    assert list(encoded_rows(file, tokenizer, {})) == expected


TRL = """
import sys
from datasets import Dataset
from rig import tokenizers_tiny as tiny
from transformers import LlamaConfig, LlamaForCausalLM
from trl import SFTConfig, SFTTrainer
from tuning.dataset.rows import from_json, to_json, Chat, Pair
from tuning.dataset.tokens import encode_all

TURNS = [("Who are you?", "I am tiny."), (" a\\n", "x y"), ("ü", "日本 words  ")]
for template, bos in ((tiny.CHATML, False), (tiny.LLAMA.replace("strftime_now", "no"), True)):
    tokenizer = tiny.build(template, bos=bos)
    tokenizer.pad_token = "<|pad|>"
    config = LlamaConfig(vocab_size=512, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
                         num_attention_heads=2, eos_token_id=tokenizer.eos_token_id)
    for chats in (True, False):
        def side(role, text):
            return [{"role": role, "content": text}] if chats else text
        data = [{"prompt": side("user", q), "completion": side("assistant", a)} for q, a in TURNS]
        arguments = SFTConfig(sys.argv[1], use_cpu=True, bf16=False, report_to="none")
        trainer = SFTTrainer(LlamaForCausalLM(config), arguments, processing_class=tokenizer,
                             train_dataset=Dataset.from_list(data))
        for theirs, row in zip(trainer.train_dataset, data, strict=True):
            mine = Chat((*row["prompt"], *row["completion"]), (1,)) if chats else Pair(**row)
            (ours,) = encode_all(mine, tokenizer, 1024)
            labels = [t if m else -100 for t, m in zip(ours.input_ids, ours.loss_mask, strict=True)]
            assert ours.input_ids == list(theirs["input_ids"]), (template, row)
            assert labels == list(theirs["labels"]), (template, row)
print("equal")
"""


def test_ids_and_loss_are_those_of_trl(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", TRL, str(tmp_path)],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ".:tests", "HF_HUB_OFFLINE": "1", "HOME": str(tmp_path)},
    )
    assert done.stdout.endswith("equal\n"), done.stderr
