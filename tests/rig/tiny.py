"""A real but tiny model and task: a Llama that memorises 64 codes in seconds on one thread.

`build_model(folder)` makes the base model, `write_parquet` and `write_rows` the data, `make_run` a
Run that trains it, `answers` asks base or adapter by greedy generation. The recipe is the one of
the trainer research: 2 layers, random weights with an initial range of 0.1 (at the usual 0.02 a
frozen random head bounds the logits so much that nothing can be learned), all-linear LoRA of rank
16. Base 0/64 exact answers, adapter 64/64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from tuning.config import DatasetSection, ModelSection, QuantizationSection, TrainingConfig
from tuning.dataset.rows import Chat, Row, to_json
from tuning.run import BaseModelSource, DataSource, Hardware, Output, Places, Run

Method = Literal["lora", "qlora"]
MODEL_ID = "tunery-tests/tiny-llama"
CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_SYLLABLES = ("ba", "de", "fi", "go", "lu", "ma", "ne", "so")


def questions() -> list[str]:
    """The 64 questions, in order."""
    names = [first + second for first in _SYLLABLES for second in _SYLLABLES]
    return [f"The code of {name}?" for name in names]


def codes() -> list[str]:
    """Their answers: no code can be guessed from its question."""
    return [f"{(n * 2654435761) % 997:03d}" for n in range(1, 65)]


def chats() -> list[list[dict[str, str]]]:
    """The 64 chats in the form of a `messages` column."""
    return [
        [{"role": "user", "content": q}, {"role": "assistant", "content": a}]
        for q, a in zip(questions(), codes(), strict=True)
    ]


def write_parquet(path: Path) -> Path:
    """The chats as the user's data file: one column `messages`."""
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table({"messages": chats()}), path)
    return path


def write_rows(path: Path, rows: Sequence[Row] | None = None) -> Path:
    """The chats as `prepare` leaves them: checked rows, one JSON object a line."""
    kept = rows if rows is not None else [Chat(tuple(chat), (1,)) for chat in chats()]
    path.write_bytes(b"".join(to_json(row) + b"\n" for row in kept))
    return path


def build_model(folder: Path) -> Path:
    """Write config, weights and tokenizer of the base model; the same bytes every time."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = _tokenizer()
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=512,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.1,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    special = ["<|end|>", "<|pad|>", "<|user|>", "<|assistant|>", "<|system|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(questions(), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<|end|>", pad_token="<|pad|>"
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def make_run(
    work: Path,
    model: Path,
    method: Method = "lora",
    *,
    dtype: str | None = "float32",
    lora: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    name: str = "tiny",
) -> Run:
    """A Run that memorises the codes: work folder and base folder are given, all else is set.

    `lora` and `training` override single options, by the names of LoraConfig and SFTConfig.
    """
    work.mkdir(parents=True, exist_ok=True)
    quantization = QuantizationSection(
        load_in_4bit=method == "qlora",
        bnb_4bit_compute_dtype=dtype if method == "qlora" else None,
    )
    config = TrainingConfig(
        method=method,
        model=ModelSection(dtype=dtype),
        quantization=quantization,
        dataset=DatasetSection(),
        lora={"r": 16, "lora_alpha": 32, "target_modules": "all-linear", **(lora or {})},
        training={
            "learning_rate": 5e-3,
            "lr_scheduler_type": "linear",
            "per_device_train_batch_size": 16,
            "num_train_epochs": 40,
            "max_length": 64,
            "packing": False,
            "seed": 0,
            "activation_checkpointing": False,
            **(training or {}),
        },
    )
    return Run(
        name=name,
        preset=MODEL_ID,
        method=method,
        model=BaseModelSource(id=MODEL_ID, revision="0" * 40, path=str(model)),
        config=config,
        data=DataSource(kind="path", path=str(work / "codes.parquet")),
        output=Output(kind="folder", target=str(work / "out")),
        hardware=Hardware(gpus=0, gib_per_gpu=0, bf16=True, name="CPU"),
        places=Places(work=str(work)),
    )


def answers(model: Path, adapter: Path | None, asked: Sequence[str]) -> list[str]:
    """What base (or base + adapter) says to each question, greedily, in at most 12 tokens."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model, padding_side="left")
    speaker = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    if adapter is not None:
        speaker = PeftModel.from_pretrained(speaker, str(adapter))
    texts = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": q}], tokenize=False, add_generation_prompt=True
        )
        for q in asked
    ]
    batch = tokenizer(texts, return_tensors="pt", padding=True)
    with torch.no_grad():
        out = speaker.eval().generate(**batch, max_new_tokens=12, do_sample=False)
    said = out[:, batch["input_ids"].shape[1] :]
    return [text.strip() for text in tokenizer.batch_decode(said, skip_special_tokens=True)]


def exact(model: Path, adapter: Path | None) -> int:
    """How many of the 64 codes are said exactly."""
    said = answers(model, adapter, questions())
    return sum(a == b for a, b in zip(said, codes(), strict=True))
