"""A whole training configuration: KAITO's own files, defaults, sources, the way into JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from presets.problem import errors
from tuning.config import Method, TrainingConfig, parse
from tuning.run import canonical

# What KAITO's chart installs as lora-params-template and qlora-params-template (v0.12).
KAITO = """
training_config:
  ModelConfig:
    torch_dtype: "bfloat16"
    local_files_only: true
    device_map: "auto"

  QuantizationConfig:
{quantization}

  LoraConfig:
    r: 8
    lora_alpha: 8
    lora_dropout: 0.0

  TrainingArguments:
    output_dir: "/mnt/results"
    # num_train_epochs: 3
    ddp_find_unused_parameters: false
    save_strategy: {save}
    per_device_train_batch_size: 1

  DataCollator:
    mlm: true

  DatasetConfig:
    shuffle_dataset: true
    train_test_split: 1
"""
FOUR_BITS = """\
    load_in_4bit: true
    bnb_4bit_quant_type: "nf4"
    bnb_4bit_compute_dtype: "bfloat16"
    bnb_4bit_use_double_quant: true"""
TEMPLATES: dict[Method, str] = {"lora": "    load_in_4bit: false", "qlora": FOUR_BITS}


def good(text: str | None, method: Method = "lora") -> TrainingConfig:
    config, problems = parse(text, method)
    assert config is not None, problems
    return config


@pytest.mark.parametrize("save", ['"no"', "no", '"epoch"'])
@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_kaitos_own_templates_are_taken_as_they_are(method: Method, save: str) -> None:
    text = KAITO.format(quantization=TEMPLATES[method], save=save)
    config, problems = parse(text, method)
    assert config is not None
    assert [p.path for p in problems] == [
        "training_config.ModelConfig.torch_dtype",
        "training_config.DataCollator.mlm",
    ]
    assert config.model.dtype == "bfloat16"
    assert config.quantization.load_in_4bit is (method == "qlora")
    assert {"r": 8, "lora_alpha": 8, "lora_dropout": 0.0}.items() <= dict(config.lora).items()
    assert config.training["save_strategy"] == save.strip('"')
    assert config.training["learning_rate"] == 2e-4
    assert config.output_dir == "/mnt/results"


@pytest.mark.parametrize("text", [None, "training_config: {}", "training_config:\n  LoraConfig:\n"])
@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_nothing_said_is_our_defaults(method: Method, text: str | None) -> None:
    config, problems = parse(text, method)
    assert config is not None and problems == ()
    assert config == good(None, method)
    assert config.quantization.load_in_4bit is (method == "qlora")
    assert config.lora["target_modules"] == "all-linear"
    assert config.sources["lora.r"] == "method"
    assert config.sources["dataset.max_bad_rows"] == "default"


def test_every_value_says_where_it_came_from() -> None:
    config = good("training_config: {TrainingArguments: {max_seq_length: 512, output_dir: x}}")
    for section in ("model", "quantization", "dataset", "lora", "training"):
        values = getattr(config, section)
        for key in values if isinstance(values, dict) else type(values).model_fields:
            assert f"{section}.{key}" in config.sources
    assert config.sources["training.max_length"] == "user"
    assert config.sources["output_dir"] == "user"
    assert config.sources["training.learning_rate"] == "method"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "Expected 'training_config' key to contain a map"),
        ("training_config:", "Expected 'training_config' key to contain a map"),
        ("training_config: []", "Expected 'training_config' key to contain a map"),
        ("ModelConfig: {}", "Expected 'training_config' key to contain a map"),
        ("a: 1\n---\nb: 2", "Expected 'training_config' key to contain a map"),
        ("training_config: {Loraconfig: {}}", "Unrecognized section: Loraconfig"),
        ("training_config: {1: {}}", "Section key must be a string"),
        ("training_config: {LoraConfig: []}", "[] is not a map"),
        ("training_config: {LoraConfig: {1: 2}}", "the key 1 is not text"),
    ],
)
def test_a_wrong_shape_is_told_in_kaitos_words(text: str, what: str) -> None:
    config, problems = parse(text, "lora")
    assert config is None and [p.what for p in problems] == [what]
    assert all(p.path.startswith("training_config") and p.do for p in problems)


def test_null_is_the_default() -> None:
    text = """
training_config:
  ModelConfig: {torch_dtype: null, chat_template: ~}
  QuantizationConfig: {load_in_4bit: null}
  LoraConfig: {target_modules: null, r: null}
  TrainingArguments: {output_dir: null, learning_rate: null, max_length: null, report_to: null}
"""
    config = good(text)
    assert config.model_copy(update={"sources": {}}) == good(None).model_copy(
        update={"sources": {}}
    )


def test_old_names_become_todays() -> None:
    text = """
training_config:
  TrainingArguments:
    evaluation_strategy: steps
    gradient_checkpointing: true
    gradient_checkpointing_kwargs: {use_reentrant: false}
    group_by_length: true
    packing: false
    per_gpu_train_batch_size: 4
    warmup_ratio: 0.1
    logging_steps: 50
    optim: adamw_hf
    loss_type: chunked_nll
  DatasetConfig: {train_test_split: 0.9, dataset_extension: .jsonl}
  ModelConfig: {torch_dtype: torch.float16}
"""
    config = good(text)
    wanted = {
        "eval_strategy": "steps",
        "eval_steps": 50.0,
        "activation_checkpointing": True,
        "activation_checkpointing_kwargs": {"use_reentrant": False},
        "train_sampling_strategy": "group_by_length",
        "per_device_train_batch_size": 4,
        "warmup_steps": 0.1,
        "optim": "adamw_torch",
        "loss_type": "nll",
    }
    assert wanted.items() <= dict(config.training).items()
    assert config.model.dtype == "float16" and config.dataset.dataset_extension == "jsonl"


def test_names_of_modules_may_be_written_as_text() -> None:
    config = good('training_config: {LoraConfig: {target_modules: "q_proj, v_proj"}}')
    assert config.lora["target_modules"] == ["q_proj", "v_proj"]
    config = good("training_config: {LoraConfig: {target_modules: '.*(q|v)_proj'}}")
    assert config.lora["target_modules"] == ".*(q|v)_proj"


def test_a_choice_of_the_users_replaces_the_default_that_it_fights() -> None:
    eight = good("training_config: {QuantizationConfig: {load_in_8bit: true}}", "qlora")
    assert eight.quantization.load_in_8bit and not eight.quantization.load_in_4bit
    steps = good("training_config: {TrainingArguments: {max_steps: 2}}")
    assert steps.training["max_steps"] == 2 and "num_train_epochs" not in steps.training


def test_a_chat_template_is_its_text() -> None:
    text = "training_config:\n  ModelConfig:\n    chat_template: |\n      {{ messages }}\n"
    assert good(text).model.chat_template == "{{ messages }}\n"


def test_values_can_be_set_with_their_source() -> None:
    before = good(None, "qlora")
    after = before.with_values("training", {"per_device_train_batch_size": 4}, "memory")
    after = after.with_values("model", {"dtype": "float16"}, "hardware")
    assert after.training["per_device_train_batch_size"] == 4
    assert after.model.dtype == "float16"
    assert after.sources["training.per_device_train_batch_size"] == "memory"
    assert after.sources["model.dtype"] == "hardware"
    assert "per_device_train_batch_size" not in before.training and before.model.dtype is None
    with pytest.raises(ValidationError):
        before.with_values("model", {"dtypes": "float16"}, "hardware")


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_json_gives_back_the_very_same(method: Method) -> None:
    text = KAITO.format(quantization=TEMPLATES[method], save="no") + (
        "    max_bad_rows: 0.1\n    context_column: 'ключ \\u2028'\n"
    )
    config = good(text, method).with_values(
        "training",
        {"learning_rate": 0.1 + 0.2, "x": {"a": [1, None, 2.0, 1e-300, {"b": True}]}},
        "user",
    )
    again = TrainingConfig.model_validate_json(canonical(config.model_dump(mode="json")))
    assert again == config
    assert canonical(again.model_dump(mode="json")) == canonical(config.model_dump(mode="json"))
    assert json.loads(config.model_dump_json()) == config.model_dump(mode="json")


def test_a_configuration_does_not_share_the_defaults() -> None:
    first = good("training_config: {LoraConfig: {target_modules: [q_proj]}}")
    first.lora["target_modules"].append("v_proj")
    assert good(None).lora["target_modules"] == "all-linear"


def test_defaults_are_of_the_kind_a_user_could_write() -> None:
    for method in ("lora", "qlora"):
        text = (Path(__file__).parents[2] / "presets" / f"{method}.yaml").read_text("utf-8")
        config, problems = parse(text, method)
        assert config is not None and not errors(problems) and not problems


def test_reading_a_configuration_loads_no_trainer() -> None:
    heavy = "('torch', 'transformers', 'trl', 'peft', 'numpy', 'datasets', 'accelerate')"
    code = (
        "import sys, tuning.config as c; c.parse('training_config: {LoraConfig: {rr: 1}}', 'lora');"
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
