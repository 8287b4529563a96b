"""What each key of a training configuration means to Tunery: kept, renamed, ignored or refused.

Data only, by section as KAITO spells it; tuning/settings/read.py applies it. A key that is in none
of these tables and in tuning/settings/options.json is handed to the library under its own name.
"""

from __future__ import annotations

from collections.abc import Mapping

from tuning.settings.options import Option

SECTIONS: Mapping[str, str] = {
    "ModelConfig": "model",
    "QuantizationConfig": "quantization",
    "LoraConfig": "lora",
    "TrainingArguments": "training",
    "DatasetConfig": "dataset",
    "DataCollator": "collator",
}
"""KAITO's name of a section → ours, as in `sources`."""

DTYPES = ("bfloat16", "float16", "float32")
DTYPE_WORDS: Mapping[str, str] = {
    "bf16": "bfloat16",
    "fp16": "float16",
    "half": "float16",
    "fp32": "float32",
    "float": "float32",
}
_TEXT = Option(("str", "null"))
_FLAG = Option(("bool",))
_DTYPE = Option(("str", "null"), choices=(*DTYPES, "auto"))

MODEL: Mapping[str, Option] = {
    "dtype": _DTYPE,
    "chat_template": _TEXT,
    "attn_implementation": Option(("str", "null"), choices=("sdpa", "eager")),
    "revision": _TEXT,
}
QUANTIZATION: Mapping[str, Option] = {
    "load_in_4bit": _FLAG,
    "load_in_8bit": _FLAG,
    "bnb_4bit_quant_type": Option(("str",), choices=("nf4", "fp4")),
    "bnb_4bit_compute_dtype": _DTYPE,
    "bnb_4bit_use_double_quant": _FLAG,
}
DATASET: Mapping[str, Option] = {
    "dataset_path": _TEXT,
    "dataset_extension": Option(
        ("str", "null"), choices=("parquet", "jsonl", "json", "csv", "arrow")
    ),
    "shuffle_dataset": _FLAG,
    "shuffle_seed": Option(("int",)),
    "context_column": _TEXT,
    "response_column": _TEXT,
    "messages_column": _TEXT,
    "train_test_split": Option(("float",)),
    "max_bad_rows": Option(("float",)),
}

RENAMED: Mapping[str, Mapping[str, str]] = {
    "ModelConfig": {"torch_dtype": "dtype"},
    "TrainingArguments": {
        "evaluation_strategy": "eval_strategy",
        "gradient_checkpointing": "activation_checkpointing",
        "gradient_checkpointing_kwargs": "activation_checkpointing_kwargs",
        "group_by_length": "train_sampling_strategy",
        "max_seq_length": "max_length",
        "per_gpu_eval_batch_size": "per_device_eval_batch_size",
        "per_gpu_train_batch_size": "per_device_train_batch_size",
        "warmup_ratio": "warmup_steps",
    },
}
"""Section → old name → the name that the installed libraries use."""

OLD_OPTIONS: Mapping[str, Option] = {
    "group_by_length": _FLAG,
    "warmup_ratio": Option(("float",)),
}
"""Old names whose values have another type than the new name's."""

_DECIDED = "Tunery decides this itself"
_LOADING = "Tunery loads the model itself"
_STEPS_AHEAD = "Tunery saves and resumes by itself"
_PROGRESS = "Tunery reports progress itself"
_LOSS = "the loss is always on the answers"
_ROWS = "Tunery reads the rows itself"
_HUB = "nothing is sent to a hub; the adapter goes to tuning.output"
_LIGER = "the trainer's own fused head does this"
_HARDWARE = "the hardware of the run says this"
_GONE = "the installed trainer no longer has it"
_NO_CAUSAL = "a causal model has no masked words to guess"

IGNORED: Mapping[str, Mapping[str, str]] = {
    "ModelConfig": {
        "allow_remote_files": _LOADING,
        "cache_dir": _LOADING,
        "device_map": "the model is placed on the card that the run was made for",
        "force_download": _LOADING,
        "from_tf": _LOADING,
        "load_in_4bit": "tuning.method and QuantizationConfig say this",
        "load_in_8bit": "tuning.method and QuantizationConfig say this",
        "local_files_only": "training never downloads",
        "low_cpu_mem_usage": _LOADING,
        "output_loading_info": _LOADING,
        "pretrained_model_name_or_path": "the model is the one of tuning.preset",
        "proxies": "set HTTPS_PROXY for the pod",
        "resume_download": _LOADING,
        "state_dict": _LOADING,
        "use_cache": "the cache has no use in training",
        "use_safetensors": "Tunery loads safetensors only",
    },
    "QuantizationConfig": {
        "bnb_4bit_quant_storage": _DECIDED,
        "llm_int8_enable_fp32_cpu_offload": _DECIDED,
        "llm_int8_has_fp16_weight": _DECIDED,
        "llm_int8_skip_modules": _DECIDED,
        "llm_int8_threshold": _DECIDED,
    },
    "LoraConfig": {
        "auto_mapping": _DECIDED,
        "base_model_name_or_path": "the model is the one of tuning.preset",
        "inference_mode": "an adapter that is trained is not in inference mode",
        "megatron_core": "Tunery trains with PEFT alone",
        "peft_version": _DECIDED,
        "qalora_group_size": "only use_qalora reads it",
        "revision": "set ModelConfig.revision",
        "runtime_config": _DECIDED,
    },
    "TrainingArguments": {
        "assistant_only_loss": _LOSS,
        "auto_find_batch_size": "Tunery fits the batch to the card before it starts",
        "bf16_full_eval": "it has no effect while training",
        "completion_only_loss": _LOSS,
        "dataloader_pin_memory": _DECIDED,
        "dataset_batch_size": _GONE,
        "dataset_kwargs": _ROWS,
        "dataset_text_field": "name your columns in DatasetConfig",
        "ddp_backend": _HARDWARE,
        "debug": _DECIDED,
        "disable_tqdm": _PROGRESS,
        "dispatch_batches": _GONE,
        "do_eval": "eval_strategy says this",
        "do_predict": _DECIDED,
        "do_train": _DECIDED,
        "enable_jit_checkpoint": _STEPS_AHEAD,
        "fp16_full_eval": "it has no effect while training",
        "hub_always_push": _HUB,
        "hub_model_id": _HUB,
        "hub_private_repo": _HUB,
        "hub_revision": _HUB,
        "hub_strategy": _HUB,
        "hub_token": _HUB,
        "ignore_data_skip": _STEPS_AHEAD,
        "include_inputs_for_metrics": _GONE,
        "include_num_input_tokens_seen": _PROGRESS,
        "include_tokens_per_second": _PROGRESS,
        "jit_mode_eval": _GONE,
        "label_names": _LOSS,
        "liger_kernel_config": _LIGER,
        "local_rank": _DECIDED,
        "log_on_each_node": _DECIDED,
        "logging_dir": _PROGRESS,
        "logging_first_step": _PROGRESS,
        "logging_nan_inf_filter": "a loss that is no number ends the run",
        "mp_parameters": _GONE,
        "no_cuda": _HARDWARE,
        "optim_target_modules": "no optimizer that reads it is installed",
        "overwrite_output_dir": _STEPS_AHEAD,
        "pad_token": "padding never counts in the loss",
        "past_index": _GONE,
        "prediction_loss_only": "an evaluation is its loss",
        "project": _PROGRESS,
        "push_to_hub_model_id": _HUB,
        "push_to_hub_organization": _HUB,
        "push_to_hub_token": _HUB,
        "ray_scope": _GONE,
        "remove_unused_columns": _ROWS,
        "restore_callback_states_from_checkpoint": _STEPS_AHEAD,
        "resume_from_checkpoint": _STEPS_AHEAD,
        "save_on_each_node": _DECIDED,
        "save_total_limit": _STEPS_AHEAD,
        "save_only_model": "a checkpoint without the optimizer could not be resumed",
        "save_safetensors": "it is always so",
        "split_batches": _GONE,
        "tf32": "the heavy arithmetic is in 16 bits already",
        "trackio_bucket_id": _PROGRESS,
        "trackio_space_id": _PROGRESS,
        "trackio_static_space_id": _PROGRESS,
        "use_cache": "the cache would let packed rows see each other",
        "use_cpu": _HARDWARE,
        "use_ipex": _GONE,
        "use_liger": _LIGER,
        "use_liger_kernel": _LIGER,
        "use_legacy_prediction_loop": _GONE,
        "use_mps_device": _GONE,
    },
    "DatasetConfig": {},
    "DataCollator": {
        "mask_replace_prob": _NO_CAUSAL,
        "mlm": _NO_CAUSAL,
        "mlm_probability": _NO_CAUSAL,
        "pad_to_multiple_of": "set it in TrainingArguments",
        "random_replace_prob": _NO_CAUSAL,
        "return_tensors": _DECIDED,
        "seed": "set it in TrainingArguments",
        "tokenizer": "the tokenizer is the model's own",
        "whole_word_mask": _NO_CAUSAL,
    },
}
"""Accepted without effect, with the reason that the warning gives."""

SILENT: Mapping[str, Mapping[str, tuple[object, ...]]] = {
    "ModelConfig": {
        "device_map": ("auto",),
        "local_files_only": (True,),
        "low_cpu_mem_usage": (True,),
        "pretrained_model_name_or_path": ("/workspace/tfs/weights", "/workspace/weights"),
        "resume_download": (True,),
        "use_safetensors": (True,),
    },
    "LoraConfig": {"peft_type": ("LORA",), "task_type": ("CAUSAL_LM",)},
    "QuantizationConfig": {"quant_method": ("bitsandbytes",)},
    "TrainingArguments": {
        "assistant_only_loss": (True,),
        "completion_only_loss": (True,),
        "ddp_backend": ("gloo", "nccl"),
        "do_eval": (True,),
        "do_train": (True,),
        "overwrite_output_dir": (True,),
        "save_safetensors": (True,),
    },
}
"""Values that say what is so anyway: no warning, beside null, false, "" and the library's own."""

SECRET = frozenset({"hub_token", "push_to_hub_token"})
"""Keys whose value is never shown."""

_IN_IMAGE = "put the template's text in ModelConfig.chat_template"
_ONE_CARD = "remove it: Tunery trains with plain data parallelism"
_EXACT = "remove it: Tunery sets it so that a resumed run is exact"
_VARIANT = "remove it: Tunery makes plain LoRA, rsLoRA and DoRA adapters"
_METHOD = "remove it: Tunery says this itself"

REFUSED: Mapping[str, Mapping[str, str]] = {
    "ModelConfig": {
        "quantization_config": "write it in the section QuantizationConfig",
        "trust_remote_code": "remove it: Tunery never runs code from a model's repository",
    },
    "QuantizationConfig": {"quant_method": "write bitsandbytes, or leave it out"},
    "LoraConfig": {
        "alora_invocation_tokens": _VARIANT,
        "arrow_config": _VARIANT,
        "corda_config": _VARIANT,
        "eva_config": _VARIANT,
        "kasa_config": _VARIANT,
        "layer_replication": "remove it: the adapter would not fit the base model as published",
        "loftq_config": _VARIANT,
        "lora_ga_config": _VARIANT,
        "megatron_config": _ONE_CARD,
        "monteclora_config": _VARIANT,
        "peft_type": "write LORA, or leave it out",
        "task_type": "write CAUSAL_LM, or leave it out",
        "use_bdlora": _VARIANT,
        "use_qalora": _VARIANT,
        "velora_config": _VARIANT,
    },
    "TrainingArguments": {
        "accelerator_config": _EXACT,
        "adafactor": "write optim: adafactor",
        "chat_template_path": _IN_IMAGE,
        "deepspeed": _ONE_CARD,
        "fsdp": _ONE_CARD,
        "fsdp_config": _ONE_CARD,
        "fsdp_min_num_params": _ONE_CARD,
        "fsdp_transformer_layer_cls_to_wrap": _ONE_CARD,
        "model_init_kwargs": "write what Tunery supports in ModelConfig",
        "parallelism_config": _ONE_CARD,
        "push_to_hub": "remove it: say where the adapter goes in tuning.output",
        "trust_remote_code": "remove it: Tunery never runs code from a model's repository",
    },
}
"""Refused unless the value says "off", with what to do instead."""

VALUES: Mapping[str, Mapping[str, str]] = {
    "optim": {"adamw_hf": "adamw_torch"},
    "loss_type": {"chunked_nll": "nll"},
    "packing_strategy": {"bfd-requeue": "bfd_split"},
}
"""TrainingArguments: deprecated values → today's."""

MEANT: Mapping[str, str] = {
    "alpha": "lora_alpha",
    "batch_size": "per_device_train_batch_size",
    "dropout": "lora_dropout",
    "epochs": "num_train_epochs",
    "lora_r": "r",
    "lora_rank": "r",
    "lr": "learning_rate",
    "micro_batch_size": "per_device_train_batch_size",
    "num_epochs": "num_train_epochs",
    "rank": "r",
    "sequence_len": "max_length",
    "val_set_size": "train_test_split",
}
"""What other trainers call it, where letters alone would suggest something else."""
