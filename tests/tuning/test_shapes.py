import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuning.dataset.rows import Bad, Chat, Pair, Row, Text, from_json, to_json
from tuning.dataset.shapes import Columns, convert

GUESS = Columns()
QUESTION = {"role": "user", "content": "Who?"}
ANSWER = {"role": "assistant", "content": "Me."}
CHAT = Chat((QUESTION, ANSWER), trained=(1,))


def chat_of(row: dict[str, Any], columns: Columns = GUESS) -> Chat:
    found = convert(row, columns)
    assert isinstance(found, Chat), found
    return found


def bad_of(row: dict[str, Any], columns: Columns = GUESS) -> Bad:
    found = convert(row, columns)
    assert isinstance(found, Bad), found
    return found


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [QUESTION, ANSWER]},
        {"messages": json.dumps([QUESTION, ANSWER])},
        {"messages": {"messages": [QUESTION, ANSWER]}},
        {"messages": [QUESTION, ANSWER], "text": None, "id": 7},
        {"conversations": [QUESTION, ANSWER]},
        {"conversations": [{"from": "human", "value": "Who?"}, {"from": "gpt", "value": "Me."}]},
        {"conversation": [{"from": "User", "value": "Who?"}, {"from": "bot", "value": "Me."}]},
        {"prompt": [QUESTION], "completion": [ANSWER]},
        {"prompt": json.dumps([QUESTION]), "completion": json.dumps([ANSWER])},
        {"question": "Who?", "answer": "Me."},
        {"query": "Who?", "response": "Me."},
        {"prompt": "Who?", "response": "Me."},
        {"instruction": "Who?", "output": "Me."},
        {"instruction": "Who?", "input": "", "output": "Me."},
        {"instruction": "Who?", "input": None, "output": "Me.", "text": "### Instruction…"},
        {"instruction": "Who?", "context": "", "response": "Me.", "category": "open_qa"},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Who?"}]}, ANSWER]},
        {"messages": [QUESTION, {**ANSWER, "tool_calls": None, "name": None}]},
        {"messages": [QUESTION, ANSWER, {"role": "user", "content": "cut off: no answer"}]},
    ],
)
def test_one_question_in_every_spelling_becomes_the_same_chat(row: dict[str, Any]) -> None:
    assert chat_of(row) == Chat((QUESTION, ANSWER), trained=(1,))


def test_prompt_and_completion_texts_stay_as_they_are() -> None:
    assert convert({"prompt": "Who? ", "completion": "Me."}) == Pair("Who? ", "Me.")


def test_text_is_text() -> None:
    assert convert({"text": "Once upon a time", "meta": 3}) == Text("Once upon a time")


def test_alpaca_input_stands_under_the_instruction() -> None:
    row = {"instruction": "Add.", "input": "1 2", "output": "3"}
    assert chat_of(row).messages[0]["content"] == "Add.\n\n1 2"


def test_numbers_are_answers_too() -> None:
    assert chat_of({"question": "6*7?", "answer": 42}).messages[1]["content"] == "42"


def test_system_column_and_history_come_first() -> None:
    row = {"system": "Be brief.", "instruction": "c", "output": "d", "history": [["a", "b"]]}
    found = chat_of(row)
    assert [m["content"] for m in found.messages] == ["Be brief.", "a", "b", "c", "d"]
    assert found.trained == (2, 4)


def test_every_answer_is_trained_but_not_a_greeting_or_one_of_weight_zero() -> None:
    greeting = {"role": "assistant", "content": "Hello!"}
    ignored = {"role": "assistant", "content": "No.", "weight": 0}
    found = chat_of({"messages": [greeting, QUESTION, ignored, QUESTION, ANSWER, QUESTION, ANSWER]})
    assert found.trained == (4, 6)
    assert all("weight" not in m for m in found.messages)


def test_answers_in_a_prompt_are_not_trained() -> None:
    found = chat_of({"prompt": [QUESTION, ANSWER, QUESTION], "completion": [ANSWER]})
    assert found.trained == (3,)


def test_tool_calls_lose_the_nulls_of_a_columnar_file_and_arguments_become_objects() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    messages = [
        QUESTION,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "2", "tool_call_id": "1"},
        ANSWER,
    ]
    tool = {"type": "function", "function": {"name": "f", "parameters": {"x": None, "y": 1}}}
    found = chat_of({"messages": messages, "tools": json.dumps([tool])})
    assert found.messages[1]["tool_calls"][0]["function"]["arguments"] == {"x": 1}
    assert found.messages[1]["content"] == ""
    assert found.tools[0]["function"]["parameters"] == {"y": 1}
    assert found.trained == (1, 3)


def test_sharegpt_function_calls_are_tool_calls() -> None:
    turns = [
        {"from": "human", "value": "Who?"},
        {"from": "function_call", "value": '{"name": "f", "arguments": {"x": 1}}'},
        {"from": "observation", "value": "2"},
        {"from": "gpt", "value": "Me."},
    ]
    found = chat_of({"conversations": turns, "tools": "[]"})
    assert found.messages[1]["tool_calls"][0]["function"]["name"] == "f"
    assert [m["role"] for m in found.messages] == ["user", "assistant", "tool", "assistant"]


@pytest.mark.parametrize(
    ("columns", "row", "expected"),
    [
        (
            Columns(context="frage", response="antwort"),
            {"frage": "Who?", "antwort": "Me.", "text": "x"},
            Chat((QUESTION, ANSWER), (1,)),
        ),
        (
            Columns(messages="dialog"),
            {"dialog": [QUESTION, ANSWER], "messages": None},
            Chat((QUESTION, ANSWER), (1,)),
        ),
        (
            Columns(context="c", response="r"),
            {"c": [QUESTION], "r": [ANSWER]},
            Chat((QUESTION, ANSWER), (1,)),
        ),
        (Columns(response="story"), {"story": "Once"}, Text("Once")),
        (Columns(text="story"), {"story": "Once", "text": "other"}, Text("Once")),
        (
            Columns(response="text"),
            {"question": "Who?", "answer": "Me."},
            Chat((QUESTION, ANSWER), (1,)),
        ),
        (Columns(response="text"), {"text": "Once"}, Text("Once")),
    ],
)
def test_columns_that_the_user_named_win(
    columns: Columns, row: dict[str, Any], expected: Row
) -> None:
    assert convert(row, columns) == expected


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({}, "the row has no columns"),
        ({"a": 1, "b": 2}, 'no known shape in the columns "a", "b"'),
        ({"prompt": "x", "chosen": "y", "rejected": "z"}, "no known shape"),
        ({"messages": None}, "messages: is null, not a list of messages"),
        ({"messages": []}, "messages: has no messages"),
        ({"messages": "hello"}, "messages: is text, not a list of messages"),
        ({"messages": [QUESTION]}, "messages: no answer to learn from"),
        ({"messages": [ANSWER]}, "messages: no answer to learn from"),
        ({"messages": ["x"]}, "messages[0]: is text, not a message"),
        ({"messages": [{"content": "x"}]}, "messages[0].role: has no role"),
        (
            {"messages": [{"role": "wizard", "content": "x"}]},
            "messages[0].role: has a role that is not known",
        ),
        (
            {"messages": [{"role": "user", "content": None}, ANSWER]},
            "messages[0].content: is null, not text",
        ),
        (
            {"messages": [QUESTION, {"role": "assistant", "content": " "}]},
            "messages[1].content: the answer is empty",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "image": "x"}]}, ANSWER]},
            "messages[0].content: has a part that is not text",
        ),
        (
            {"messages": [QUESTION, {"role": "assistant", "tool_calls": [{"function": {}}]}]},
            "messages[1].tool_calls[0]: names no function",
        ),
        ({"messages": [QUESTION, ANSWER], "tools": 5}, "tools: is a number, not a list"),
        ({"prompt": "x", "completion": None}, "completion: is null, not text"),
        ({"prompt": None, "completion": "x"}, "prompt: is null, not text"),
        ({"prompt": "x", "completion": ""}, "completion: the answer is empty"),
        ({"question": "", "answer": "x"}, "question: the question is empty"),
        ({"question": "x", "answer": " "}, "answer: the answer is empty"),
        ({"question": "x", "answer": ["y"]}, "answer: is a list, not text"),
        ({"question": "x", "answer": float("nan")}, "answer: holds a number that is not finite"),
        ({"text": None}, "text: is null, not text"),
        ({"text": "  "}, "text: the text is empty"),
        ({"text": b"x"}, "text: is bytes, not text"),
        ({"text": "\ud800"}, "text: holds half a character (an unpaired surrogate)"),
        ({"text": "x" * (17 * 2**20)}, "text: is longer than 16 MiB"),
    ],
)
def test_bad_rows_say_why(row: dict[str, Any], sentence: str) -> None:
    assert bad_of(row).sentence().startswith(sentence)


def test_a_column_that_is_not_there_is_named_with_the_nearest() -> None:
    bad = bad_of({"question": "x", "answer": "y"}, Columns(context="questions", response="answer"))
    assert bad.reason == 'there is no column "questions": did you mean "question"?'


def test_a_context_column_alone_is_half_a_wish() -> None:
    assert "name both" in bad_of({"c": "x"}, Columns(context="c")).reason


def test_deep_nesting_and_huge_numbers_are_bad_rows() -> None:
    deep: Any = {}
    for _ in range(3000):
        deep = {"x": deep}
    call = {"role": "assistant", "tool_calls": [{"name": "f", "arguments": deep}]}
    assert bad_of({"messages": [QUESTION, call]}).reason == "is nested too deeply"
    assert bad_of({"text": 10**5000}).reason == "holds a number that is too large"
    assert isinstance(convert({"messages": "[" * 100_000}), Bad)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)
MESSAGE = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["user", "assistant", "system", "tool", "x"]) | JSON,
        "from": st.sampled_from(["human", "gpt", "function_call"]) | JSON,
        "content": st.text(max_size=6) | JSON,
        "value": st.text(max_size=6) | JSON,
        "tool_calls": JSON | st.lists(st.fixed_dictionaries({"name": JSON, "arguments": JSON})),
        "weight": JSON,
        "name": JSON,
    },
)
NAMES = st.sampled_from(
    [
        *("messages", "conversations", "prompt", "completion", "text", "instruction", "output"),
        *("input", "question", "answer", "tools", "system", "history", "x"),
    ]
)
ROWS = st.dictionaries(
    NAMES, JSON | st.lists(MESSAGE, max_size=4) | st.text(max_size=6), max_size=5
)


@settings(max_examples=400)
@given(
    ROWS, st.sampled_from([Columns(), Columns(messages="x"), Columns(context="x", response="text")])
)
def test_any_json_row_is_a_row_or_bad_and_a_row_survives_its_file(
    row: dict[str, Any], columns: Columns
) -> None:
    found = convert(row, columns)
    if isinstance(found, Bad):
        assert found.reason
    else:
        assert to_json(from_json(to_json(found))) == to_json(found)
