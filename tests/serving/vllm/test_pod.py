"""vLLM itself in a restricted pod, as the operator would start it: what it lists and answers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import PeftModel
from rig.kube import Kube
from rig.loras import loaded
from rig.tiny import MODEL_ID, questions
from transformers import AutoTokenizer

from tests.serving.vllm.conftest import NAME, STRENGTHS, TOGETHER, Served

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

QUESTION = questions()[5]
TOLERANCE = 2e-5
"""Of a log-probability in 32 bits; adapters change them by 2 and more."""
TOP = 20


def ask(served: Served, model: str, **more: Any) -> str:
    chat = {"model": model, "messages": [{"role": "user", "content": QUESTION}]}
    limits = {"max_tokens": 12, "temperature": 0, **more}
    status, said = served("/v1/chat/completions", {**chat, **limits})
    assert status == 200, said
    text: str = said["choices"][0]["message"]["content"]
    return text


def test_the_pod_came_up_at_the_first_attempt(served: Served) -> None:
    kube: Kube = served.kube
    status = kube.get("pod", f"{NAME}-0")["status"]
    containers = [*status["initContainerStatuses"], *status["containerStatuses"]]
    assert [one["restartCount"] for one in containers] == [0, 0]


def test_base_and_adapters_are_listed(served: Served) -> None:
    status, listed = served("/v1/models")
    assert status == 200
    assert [one["id"] for one in listed["data"]] == [MODEL_ID, *STRENGTHS, TOGETHER]
    parents = {one["parent"] for one in listed["data"][1:]}
    assert parents == {MODEL_ID}
    assert listed["data"][0]["max_model_len"] == 256  # the model's own


def test_each_name_answers_for_itself(served: Served) -> None:
    said = {name: ask(served, name) for name in (MODEL_ID, *STRENGTHS, TOGETHER)}
    assert said["off"] == said[MODEL_ID]
    assert len(set(said.values())) == len(said) - 1
    assert served("/v1/chat/completions", {"model": "x", "messages": []})[0] in (400, 404)


def test_the_old_chat_is_answered_by_all_adapters_together(served: Served) -> None:
    options = {"max_new_tokens": 12, "do_sample": False}
    said = served("/chat", {"prompt": QUESTION, "generate_kwargs": options})
    assert said == (200, {"Result": ask(served, TOGETHER)})
    assert served("/") == (200, {"message": "Server is running"})
    assert served("/health") == (200, "")
    assert "vllm:num_requests_running" in served("/metrics")[1]


@pytest.mark.parametrize(
    "path",
    ["/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/scale_elastic_ep", "/invocations"],
)
def test_whoever_is_outside_the_pod_changes_nothing(served: Served, path: str) -> None:
    status, said = served(path, {})
    assert (status, said["error"]["message"]) == (404, f"there is no {path} here")


def test_strengths_and_sums_are_those_of_peft(served: Served) -> None:
    tokenizer = AutoTokenizer.from_pretrained(served.base)
    prompts = [tokenizer(question)["input_ids"] for question in questions()[:6]]
    model = PeftModel.from_pretrained(
        loaded(served.base), str(served.adapters["facts"]), adapter_name="facts"
    )
    model.load_adapter(str(served.adapters["style"]), adapter_name="style")
    cases = {name: [part] for name, part in STRENGTHS.items()}
    for name, parts in {**cases, TOGETHER: list(STRENGTHS.values())}.items():
        adapters, weights = zip(*((a, w) for a, w in parts if w or len(parts) == 1), strict=True)
        wanted = f"wanted-{name}"  # modules of their own: `half` is a method of theirs
        model.add_weighted_adapter(list(adapters), list(weights), wanted, combination_type="cat")
        model.set_adapter(wanted)
        apart = max(_apart(served, name, model, prompt) for prompt in prompts)
        assert apart < TOLERANCE, f"{name}: {apart}"


def _apart(served: Served, name: str, model: Any, prompt: list[int]) -> float:
    """The largest difference of a log-probability, over the tokens that vLLM tells."""
    with torch.no_grad():
        wanted = torch.log_softmax(model(torch.tensor([prompt])).logits[0], -1)
    asked = {"model": name, "prompt": prompt, "max_tokens": 1, "prompt_logprobs": TOP}
    status, said = served("/v1/completions", asked)
    assert status == 200, said
    told = said["choices"][0]["prompt_logprobs"]
    assert len(told) == len(prompt)
    return max(
        abs(one["logprob"] - wanted[position, int(token)].item())
        for position, tokens in enumerate(told[1:])
        for token, one in tokens.items()
    )
