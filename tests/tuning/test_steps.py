from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuning.steps import packed


@given(st.lists(st.integers(1, 64), min_size=1, max_size=60))
@settings(max_examples=60, deadline=None)
def test_packing_counts_what_trl_packs(lengths: list[int]) -> None:
    from trl.data_utils import _pack_bfd

    table = pa.table({"input_ids": [[0] * n for n in lengths]})
    assert packed(lengths, 64) == len(_pack_bfd(table, 64))


@pytest.mark.parametrize(
    ("lengths", "sequences"),
    [([], 0), ([0, 0], 0), ([10], 1), ([6, 4], 1), ([6, 5], 2), ([7, 3, 3, 7], 2)],
)
def test_packing_of_a_few_rows(lengths: list[int], sequences: int) -> None:
    assert packed(lengths, 10) == sequences
