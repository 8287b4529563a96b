"""Peak memory of one card in one training step: pure arithmetic on an architecture's numbers.

Called by jobs/memory.py. Each card holds everything (data parallel). The parts: the frozen weights,
the adapters with their gradients and Adam state, what autograd keeps for the backward pass
(Korthikanti et al. 2022, arXiv 2205.05198, counted for these layers), the output head's tile, and
buffers. benchmarks/memory.py holds the whole against measured peaks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from presets import Architecture, Linear

GIB = 2**30
Dtype = Literal["bfloat16", "float16", "float32"]

CONTEXT_GIB = 0.6
"""CUDA context and cuBLAS workspaces, outside torch's allocator."""
SLACK = 1.10
"""Blocks the caching allocator holds but cannot use."""

# TRL's output head never builds all logits: it works in tiles (trl/kernels/chunked_logprob.py).
_HEAD_TOKENS = 4096
_HEAD_VOCAB = 32768
# Seven float32 tensors of a tile's size in its plain form; measured with two vocabularies.
_PLAIN_BYTES_PER_LOGIT = 28
# One float32 weight, its gradient and two Adam moments; and autocast's 16-bit copy.
_BYTES_PER_ADAPTER_WEIGHT = 16
_BYTES_PER_CAST = 2


@dataclass(frozen=True, slots=True)
class Work:
    """What one card does in one step."""

    weight_bits: Literal[4, 8, 16, 32]
    rank: int
    targets: tuple[str, ...]
    """Names of the linear layers with an adapter; empty means all of them."""
    batch: int
    length: int
    """Tokens per sequence."""
    checkpointing: bool
    dtype: Dtype = "bfloat16"
    double_quant: bool = True
    packed: bool = True
    """The batch is laid out as one long sequence with a block-diagonal mask."""
    float32_adapters: bool = True
    """What Tunery does. False: all in 16 bits, as published peers do, to compare with them."""
    plain_head: bool = False
    """Without Triton (a CPU) TRL's output head works on whole tiles in float32."""
    trained_embeddings: int = 0
    """Embedding matrices trained whole (LoraConfig.modules_to_save)."""

    @property
    def tokens(self) -> int:
        return self.batch * self.length

    @property
    def width(self) -> int:
        """Bytes of one computed number."""
        return 4 if self.dtype == "float32" else 2


@dataclass(frozen=True, slots=True)
class Estimate:
    """Peak memory of one card, in GiB, by what holds it."""

    weights_gib: float
    adapters_gib: float
    activations_gib: float
    head_gib: float
    buffers_gib: float

    @property
    def tensors_gib(self) -> float:
        """All tensors together: what torch says is allocated."""
        parts = (self.weights_gib, self.adapters_gib, self.activations_gib)
        return sum(parts) + self.head_gib + self.buffers_gib

    @property
    def total_gib(self) -> float:
        """What the card must have."""
        return SLACK * self.tensors_gib + CONTEXT_GIB


@dataclass(frozen=True, slots=True)
class _Kept:
    """Bytes per token that one block keeps for its backward pass, adapters aside, in 16 bits.

    Per unit of hidden size, query width, key width and MLP width. Keys and values count at query
    width: under the mask of a packed or padded batch transformers repeats them for every head.
    Counted with saved-tensor hooks on real blocks (transformers 5.24, autocast);
    tests/jobs/test_saved_tensors.py counts again.
    """

    hidden: float = 8
    queries: float = 8
    keys: float = 0
    ffn: float = 6
    ungrouped: float = 0
    """More per query width where every head has keys of its own."""
    scores: float = 0
    """Per head and token attended to, where no fused attention kernel is used."""


# Differences: norms on queries and keys (qwen3, gemma3, olmo), norms after each half (gemma),
# capped scores that rule out fused attention (gemma2), a fused projection that is kept whole
# (phi3), no gate in the MLP (phi, falcon), one shared key head (falcon).
_KEPT = {
    "qwen3": _Kept(queries=12, keys=4),
    "qwen3_moe": _Kept(queries=12, keys=4),
    "olmo2": _Kept(queries=12, keys=4),
    "olmo3": _Kept(queries=13, keys=4),
    "gemma3_text": _Kept(hidden=16, queries=12, keys=4),
    "gemma2": _Kept(hidden=16, queries=6, scores=8),
    "phi3": _Kept(queries=10, ungrouped=4),
    "phi": _Kept(hidden=3, queries=9, ffn=8),
    "falcon": _Kept(hidden=3, queries=3, keys=4, ffn=2.25),
}


def estimate(architecture: Architecture, work: Work) -> Estimate:
    """Peak memory of one card, by part."""
    return Estimate(
        weights_gib=weight_bytes(architecture, work) / GIB,
        adapters_gib=adapter_bytes(architecture, work) / GIB,
        activations_gib=activation_bytes(architecture, work) / GIB,
        head_gib=head_bytes(architecture, work) / GIB,
        buffers_gib=buffer_bytes(architecture, work) / GIB,
    )


def weight_bytes(a: Architecture, work: Work) -> float:
    """The frozen base. Only Linear layers are quantised: embeddings and fused experts never."""
    others = a.embedding_parameters + a.expert_parameters
    if work.weight_bits in (4, 8):
        scales = 0.0
        if work.weight_bits == 4:
            # A scale per 64 weights: a float32, or a byte and a float32 per 256 of those.
            scales = 1 / 64 + 4 / (64 * 256) if work.double_quant else 4 / 64
        return a.linear_parameters * (work.weight_bits / 8 + scales) + others * work.width
    return (a.linear_parameters + others) * work.weight_bits / 8


def targeted(a: Architecture, work: Work) -> tuple[Linear, ...]:
    """The layers of one block that get an adapter."""
    chosen = tuple(layer for layer in a.linears() if layer.name in work.targets)
    return chosen or a.linears()


def adapter_bytes(a: Architecture, work: Work) -> float:
    """LoRA matrices with gradients and Adam state, and embeddings that are trained whole."""
    per_block = sum(work.rank * (layer.inputs + layer.outputs) for layer in targeted(a, work))
    weights = a.layers * per_block
    embeddings = work.trained_embeddings * a.vocab * a.hidden
    if not work.float32_adapters:
        return (weights + embeddings) * _BYTES_PER_ADAPTER_WEIGHT / 2
    cast = 0 if work.dtype == "float32" else _BYTES_PER_CAST
    return (weights + embeddings) * (_BYTES_PER_ADAPTER_WEIGHT + cast)


def activation_bytes(a: Architecture, work: Work) -> float:
    """What autograd keeps: every block, or with checkpointing one block and every block's input."""
    block = _block_bytes_per_token(a, work)
    if work.checkpointing:
        return work.tokens * (work.width * a.hidden * a.layers + block)
    return work.tokens * block * a.layers


def _block_bytes_per_token(a: Architecture, work: Work) -> float:
    kept = _KEPT.get(a.model_type, _Kept())
    queries, experts = a.heads * a.head_dim, a.experts if a.experts > 1 else 1
    seen = work.tokens if work.packed else work.length
    base = (
        kept.hidden * a.hidden
        + kept.queries * queries
        + (kept.ungrouped * queries if a.heads == a.kv_heads else 0)
        + kept.keys * a.kv_width
        # Which experts a token visits is not in these numbers; four is the most among known models.
        + kept.ffn * a.ffn * min(experts, 4)
        + kept.scores * a.heads * seen
    )
    scale = work.width / 2
    return scale * base + _adapter_inputs(a, work)


def _adapter_inputs(a: Architecture, work: Work) -> float:
    """Bytes per token of the inputs that LoRA keeps.

    Layers that read the same tensor share it, and attention's output is kept already: PEFT's own
    cast to float32, which gave each target a copy, is off (tuning/training/model.py).
    """
    layers = targeted(a, work)
    shared = {_reads(layer.name): layer.inputs for layer in layers}
    shared.pop("attention", None)
    if work.dtype == "float32":
        # In float32 a norm's output is the tensor already kept: only the MLP's inside is new.
        shared = {"inside": shared.get("inside", 0)}
    return work.width * sum(shared.values()) + work.width * work.rank * len(layers)


def _reads(name: str) -> str:
    """Which of a block's tensors a layer reads."""
    if name in ("o_proj", "dense"):
        return "attention"
    if name in ("down_proj", "fc2", "dense_4h_to_h"):
        return "inside"
    return "mlp" if name in ("gate_proj", "up_proj", "gate_up_proj") else "block"


def head_bytes(a: Architecture, work: Work) -> float:
    """What the output head adds at the peak: its tile of logits, the last hidden state's gradient.

    It is done before the backward pass unpacks a layer or, with checkpointing, computes a block
    again. So only what it needs beyond those counts.
    """
    tile = min(work.tokens, _HEAD_TOKENS) * _HEAD_VOCAB * work.width
    if work.plain_head:
        logits = min(work.tokens, _HEAD_TOKENS) * min(a.vocab, _HEAD_VOCAB)
        tile += logits * _PLAIN_BYTES_PER_LOGIT
    head = tile + work.tokens * a.hidden * (4 + work.width)
    later = _unpacked_bytes(a, work)
    if work.checkpointing:
        later += work.tokens * _block_bytes_per_token(a, work)
    return max(0.0, head - later)


def buffer_bytes(a: Architecture, work: Work) -> float:
    """The largest layer unpacked to 16 bits, and the mask of a packed batch."""
    return _unpacked_bytes(a, work) + (work.tokens**2 if work.packed else 0)


def _unpacked_bytes(a: Architecture, work: Work) -> float:
    largest = max((layer.parameters for layer in a.linears()), default=0)
    return largest * work.width if work.weight_bits in (4, 8) else 0
