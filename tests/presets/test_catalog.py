"""Names → presets and instance types."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from presets import Catalog, load

CATALOG = load()

# Total parameters as the models' publishers state them (safetensors metadata on the hub).
PUBLISHED = {
    "falcon-7b": 6_921_720_704,
    "falcon-40b": 41_303_293_952,
    "gemma-2-2b-it": 2_614_341_888,
    "gemma-2-9b-it": 9_241_705_984,
    "gemma-2-27b-it": 27_227_128_320,
    "gemma-3-270m-it": 268_098_176,
    "gemma-3-1b-it": 999_885_952,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-3b": 3_212_749_824,
    "llama-3.3-70b-instruct": 70_553_706_496,
    "mistral-7b": 7_248_023_552,
    "mistral-nemo-instruct": 12_247_782_400,
    "mistral-small-24b-instruct": 23_572_403_200,
    "phi-2": 2_779_683_840,
    "phi-3-mini-4k-instruct": 3_821_079_552,
    "phi-3-medium-4k-instruct": 13_960_238_080,
    "phi-4": 14_659_507_200,
    "phi-4-mini-instruct": 3_836_021_760,
    "qwen2.5-0.5b-instruct": 494_032_768,
    "qwen2.5-1.5b-instruct": 1_543_714_304,
    "qwen2.5-3b-instruct": 3_085_938_688,
    "qwen2.5-7b-instruct": 7_615_616_512,
    "qwen2.5-14b-instruct": 14_770_033_664,
    "qwen2.5-32b-instruct": 32_763_876_352,
    "qwen2.5-72b-instruct": 72_706_203_648,
    "qwen3-0.6b": 596_049_920,
    "qwen3-1.7b": 1_720_574_976,
    "qwen3-4b": 4_022_468_096,
    "qwen3-8b": 8_190_735_360,
    "qwen3-14b": 14_768_307_200,
    "qwen3-32b": 32_762_123_264,
    "smollm2-135m-instruct": 134_515_008,
    "smollm2-360m-instruct": 361_821_120,
    "smollm2-1.7b-instruct": 1_711_376_384,
    "smollm3-3b": 3_075_098_624,
}

# KAITO's legacy names (pkg/utils/plugin/plugin.go) → hub ids: every one must go on working.
KAITO_NAMES = {
    "phi-4": "microsoft/phi-4",
    "phi-4-mini-instruct": "microsoft/Phi-4-mini-instruct",
    "llama-3.1-8b-instruct": "meta-llama/Llama-3.1-8B-Instruct",
    "llama-3.3-70b-instruct": "meta-llama/Llama-3.3-70B-Instruct",
    "deepseek-r1-distill-llama-8b": "deepseek-ai/DeepSeek-R1-Distill-Llama-8B",
    "deepseek-r1-distill-qwen-14b": "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B",
    "deepseek-r1-0528": "deepseek-ai/DeepSeek-R1-0528",
    "deepseek-v3-0324": "deepseek-ai/DeepSeek-V3-0324",
    "phi-3-mini-4k-instruct": "microsoft/Phi-3-mini-4k-instruct",
    "phi-3-mini-128k-instruct": "microsoft/Phi-3-mini-128k-instruct",
    "phi-3-medium-4k-instruct": "microsoft/Phi-3-medium-4k-instruct",
    "phi-3-medium-128k-instruct": "microsoft/Phi-3-medium-128k-instruct",
    "phi-3.5-mini-instruct": "microsoft/Phi-3.5-mini-instruct",
    "qwen2.5-coder-7b-instruct": "Qwen/Qwen2.5-Coder-7B-Instruct",
    "qwen2.5-coder-32b-instruct": "Qwen/Qwen2.5-Coder-32B-Instruct",
    "gpt-oss-20b": "openai/gpt-oss-20b",
    "gpt-oss-120b": "openai/gpt-oss-120b",
    "gemma-3-4b-instruct": "google/gemma-3-4b-it",
    "gemma-3-27b-instruct": "google/gemma-3-27b-it",
    "mistral-7b": "mistralai/Mistral-7B-v0.3",
    "mistral-7b-instruct": "mistralai/Mistral-7B-Instruct-v0.3",
    "ministral-3-3b-instruct": "mistralai/Ministral-3-3B-Instruct-2512",
    "ministral-3-8b-instruct": "mistralai/Ministral-3-8B-Instruct-2512",
    "ministral-3-14b-instruct": "mistralai/Ministral-3-14B-Instruct-2512",
    "mistral-large-3-675b-instruct": "mistralai/Mistral-Large-3-675B-Instruct-2512",
    "falcon-7b": "tiiuae/falcon-7b",
    "falcon-7b-instruct": "tiiuae/falcon-7b-instruct",
    "falcon-40b": "tiiuae/falcon-40b",
    "falcon-40b-instruct": "tiiuae/falcon-40b-instruct",
    "phi-2": "microsoft/phi-2",
}

# (cards, GiB of all cards) as KAITO's pkg/sku tables have them.
KAITO_SKUS = {
    "Standard_NV36ads_A10_v5": (1, 24),
    "Standard_NC24ads_A100_v4": (1, 80),
    "Standard_NC96ads_A100_v4": (4, 320),
    "Standard_ND96asr_A100_v4": (8, 320),
    "Standard_NC80adis_H100_v5": (2, 188),
    "Standard_ND96isr_H200_v5": (8, 1128),
    "Standard_NC6s_v3": (1, 16),
    "Standard_NC12s_v3": (2, 32),
    "Standard_NC64as_T4_v3": (4, 64),
    "g5.48xlarge": (8, 192),
    "g6.12xlarge": (4, 96),
    "p5en.48xlarge": (8, 1128),
    "Standard_NC32_A16": (2, 32),
}


@pytest.mark.parametrize(("name", "parameters"), PUBLISHED.items())
def test_the_numbers_give_the_published_size(name: str, parameters: int) -> None:
    preset = CATALOG.preset(name)
    assert preset and preset.architecture
    assert preset.architecture.parameters == pytest.approx(parameters, rel=0.0005)


@pytest.mark.parametrize(("name", "hub_id"), KAITO_NAMES.items())
def test_every_name_of_kaito_works(name: str, hub_id: str) -> None:
    by_name, by_id = CATALOG.preset(name), CATALOG.preset(hub_id.upper())
    assert by_name and by_name.id == hub_id
    assert by_id == by_name


@pytest.mark.parametrize(("sku", "expected"), KAITO_SKUS.items())
def test_every_instance_type_has_kaitos_cards(sku: str, expected: tuple[int, int]) -> None:
    gpu = CATALOG.gpu(sku)
    assert gpu and gpu.count == expected[0]
    assert 0.9 * expected[1] <= gpu.count * gpu.gib_per_gpu <= expected[1]


def test_an_organisation_of_ones_own_is_not_microsoft() -> None:
    preset = CATALOG.preset("anyorg/phi-4")
    assert preset and preset.id == "anyorg/phi-4"
    assert preset.architecture is None and preset.revision is None


@pytest.mark.parametrize("name", ["PHI-4", "Phi-4", "microsoft/PHI-4"])
def test_letter_case_does_not_count(name: str) -> None:
    preset = CATALOG.preset(name)
    assert preset and preset.id == "microsoft/phi-4"


@pytest.mark.parametrize(
    "name",
    [
        *("", "phi-5", "a/b/c", "/b", "a/", "../b", "a/..", "a b/c", "a/b\n", "a/b c"),
        *("http://x/y", "a/" + "b" * 200, "a--b/c", ".a/b"),
    ],
)
def test_what_is_no_name_and_no_hub_id_is_unknown(name: str) -> None:
    assert CATALOG.preset(name) is None


def test_a_gpu_is_found_in_any_letter_case() -> None:
    gpu = CATALOG.gpu("standard_nc24ads_a100_V4")
    assert gpu and gpu.sku == "Standard_NC24ads_A100_v4" and gpu.bf16
    assert CATALOG.gpu("Standard_NC24") is None


def test_cards_before_ampere_have_no_bfloat16() -> None:
    assert {g.architecture for g in CATALOG.gpus if g.cuda and not g.bf16} == {"turing", "volta"}
    assert {g.architecture for g in CATALOG.gpus if g.cuda and g.bf16} == {
        "ampere",
        "ada",
        "hopper",
    }


def test_what_cannot_be_tuned_says_why_and_what_can_has_numbers() -> None:
    for preset in CATALOG.presets:
        assert preset.tuning == (preset.why is None), preset.name
        assert preset.tuning == (preset.architecture is not None), preset.name
        assert preset.licence, preset.name


def test_revisions_are_whole_commits() -> None:
    pinned = [p.revision for p in CATALOG.presets if p.revision]
    assert len(pinned) >= 30
    assert all(len(r) == 40 and int(r, 16) for r in pinned)


def test_no_name_means_two_models() -> None:
    names = [n.lower() for p in CATALOG.presets for n in {p.name, p.id, *p.aliases}]
    assert len(names) == len(set(names))
    skus = [g.sku.lower() for g in CATALOG.gpus]
    assert len(skus) == len(set(skus))


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_a_preset_or_nothing(name: str) -> None:
    preset = CATALOG.preset(name)
    assert preset is None or preset.answers_to(name)
    assert CATALOG.gpu(name) is None


def test_importing_presets_imports_neither_torch_nor_pydantic() -> None:
    code = (
        "import presets, sys; presets.load();"
        "sys.exit(bool({'torch', 'transformers', 'pydantic'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_catalog_is_a_value() -> None:
    assert load() == CATALOG
    assert isinstance(CATALOG, Catalog)
