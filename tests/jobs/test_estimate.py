"""The arithmetic of memory: published peaks, known parts, and what must grow with what."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.estimate import GIB, Work, adapter_bytes, estimate, targeted, weight_bytes
from presets import Architecture, load

_CATALOG = load()
_KNOWN = [p.architecture for p in _CATALOG.presets if p.architecture]


def _architecture(name: str) -> Architecture:
    preset = _CATALOG.preset(name)
    assert preset and preset.architecture
    return preset.architecture


# torchtune's README: peak of allocated memory, one A100 or 4090, checkpointing, adapters and all
# in bfloat16. The tolerance is what an estimate without context and slack was found to reach.
PUBLISHED = [
    ("llama-3.1-8b", 4, 2, 2048, 7.4),
    ("llama-3.1-8b", 16, 2, 2048, 16.2),
    ("llama-3.2-3b", 4, 2, 4096, 4.6),
    ("llama-3.2-3b", 16, 2, 4096, 8.5),
]


@pytest.mark.parametrize(("name", "bits", "batch", "length", "peak_gib"), PUBLISHED)
def test_published_peaks_are_met(
    name: str, bits: int, batch: int, length: int, peak_gib: float
) -> None:
    work = Work(
        weight_bits=4 if bits == 4 else 16,
        rank=8,
        targets=(),
        batch=batch,
        length=length,
        checkpointing=True,
        packed=False,
        float32_adapters=False,
    )
    error = estimate(_architecture(name), work).tensors_gib / peak_gib - 1
    assert -0.05 <= error <= 0.08


_WORK = Work(
    weight_bits=16, rank=16, targets=(), batch=1, length=1024, checkpointing=False, packed=True
)


def test_double_quantisation_saves_three_eighths_of_a_bit() -> None:
    a = _architecture("llama-3.1-8b")
    plain = weight_bytes(a, replace(_WORK, weight_bits=4, double_quant=False))
    double = weight_bytes(a, replace(_WORK, weight_bits=4, double_quant=True))
    assert (plain - double) * 8 / a.linear_parameters == pytest.approx(0.373, abs=0.001)


def test_embeddings_and_experts_are_never_quantised() -> None:
    experts = Architecture("mixtral", 2, 64, 4, 2, 16, 128, 256, False, 512, experts=8)
    four, sixteen = (weight_bytes(experts, replace(_WORK, weight_bits=b)) for b in (4, 16))
    others = 2 * (experts.expert_parameters + experts.embedding_parameters)
    assert others < four < sixteen == others + 2 * experts.linear_parameters


def test_adapters_are_counted_layer_by_layer() -> None:
    a = _architecture("phi-3-mini-4k-instruct")
    only = replace(_WORK, targets=("o_proj",), dtype="float32")
    assert adapter_bytes(a, only) == 32 * 16 * (3072 + 3072) * 16
    assert targeted(a, _WORK) == a.linears()


def test_embeddings_trained_whole_cost_what_adam_costs() -> None:
    a = _architecture("llama-3.2-1b")
    more = adapter_bytes(a, replace(_WORK, trained_embeddings=1)) - adapter_bytes(a, _WORK)
    assert more == a.vocab * a.hidden * 18


def test_a_card_must_hold_context_and_slack_as_well() -> None:
    needed = estimate(_architecture("phi-4"), _WORK)
    assert needed.total_gib == pytest.approx(1.1 * needed.tensors_gib + 0.6)


def test_capped_scores_grow_with_the_square_of_a_packed_batch() -> None:
    gemma = _architecture("gemma-2-2b-instruct")
    one, two = (estimate(gemma, replace(_WORK, batch=b)).activations_gib for b in (1, 2))
    scores = 8 * gemma.heads * 1024 * gemma.layers / GIB
    assert two - 2 * one == pytest.approx(2 * 1024 * scores)


_WORKS = st.builds(
    Work,
    weight_bits=st.sampled_from([4, 8, 16, 32]),
    rank=st.integers(1, 256),
    targets=st.sampled_from([(), ("q_proj", "v_proj"), ("o_proj",), ("nothing",)]),
    batch=st.integers(1, 64),
    length=st.integers(1, 8192),
    checkpointing=st.booleans(),
    dtype=st.sampled_from(["bfloat16", "float16", "float32"]),
    double_quant=st.booleans(),
    packed=st.booleans(),
    float32_adapters=st.booleans(),
    plain_head=st.booleans(),
    trained_embeddings=st.integers(0, 2),
)
_MODELS = st.sampled_from(_KNOWN)


@settings(deadline=None)
@given(_MODELS, _WORKS)
def test_every_part_is_there_and_none_is_negative(a: Architecture, work: Work) -> None:
    e = estimate(a, work)
    parts = (e.weights_gib, e.adapters_gib, e.activations_gib, e.head_gib, e.buffers_gib)
    assert min(parts) >= 0 and min(parts[:3]) > 0
    assert e.total_gib > e.tensors_gib


@settings(deadline=None)
@given(_MODELS, _WORKS, st.integers(1, 8))
def test_more_work_never_needs_less(a: Architecture, work: Work, more: int) -> None:
    least = estimate(a, work).total_gib
    for larger in (
        replace(work, batch=work.batch + more),
        replace(work, length=work.length + more),
        replace(work, rank=work.rank + more),
        replace(work, trained_embeddings=work.trained_embeddings + more),
        replace(work, targets=()),
    ):
        assert estimate(a, larger).total_gib >= least


@settings(deadline=None)
@given(_MODELS, _WORKS)
def test_checkpointing_never_needs_more(a: Architecture, work: Work) -> None:
    off, on = (estimate(a, replace(work, checkpointing=c)) for c in (False, True))
    assert on.total_gib <= off.total_gib


@settings(deadline=None)
@given(_MODELS, _WORKS)
def test_fewer_bits_never_need_more_weights(a: Architecture, work: Work) -> None:
    sizes = [weight_bytes(a, replace(work, weight_bits=b)) for b in (4, 8, 16, 32)]
    sixteen = work.dtype != "float32"
    assert sizes[0] < sizes[1]
    assert not sixteen or sizes == sorted(sizes)
