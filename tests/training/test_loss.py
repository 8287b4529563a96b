"""The loss that skips what is not learned equals the model's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from rig import tiny

from tuning.training import device, loss, model
from tuning.training.loss import IGNORED

IDS = torch.arange(40).reshape(2, 20) % 500


def adapted(base: Path, work: Path) -> Any:
    run = tiny.make_run(work, base)
    lora = model.add_adapter(model.load_base(run, device.choose(run, device.here())), run, 0)
    for parameter in model.trainable(lora).values():
        torch.nn.init.normal_(parameter, std=0.05)
    return lora.train()


def labels(*learned: tuple[int, int]) -> torch.Tensor:
    """All ignored but, in each of the two rows, from start to end."""
    found = torch.full_like(IDS, IGNORED)
    for row, (start, end) in enumerate(learned):
        found[row, start:end] = IDS[row, start:end]
    return found


LABELS = {
    "answers at the end": labels((15, 20), (12, 20)),
    "answers in the middle": labels((3, 7), (9, 10)),
    "everything": IDS,
    "only one row": labels((4, 8), (0, 0)),
    "the first token, which nothing predicts": labels((0, 2), (0, 1)),
}


def _gradients(lora: Any) -> torch.Tensor:
    found = torch.cat([p.grad.flatten() for p in model.trainable(lora).values()])
    lora.zero_grad()
    return found


@pytest.mark.parametrize("case", LABELS)
def test_loss_and_gradients_are_the_models_own(base: Path, tmp_path: Path, case: str) -> None:
    lora = adapted(base, tmp_path)
    inputs = {"input_ids": IDS, "attention_mask": torch.ones_like(IDS), "labels": LABELS[case]}
    theirs = lora(**inputs).loss
    theirs.backward()
    expected = _gradients(lora)
    assert loss.fits(lora, LABELS[case])
    ours = loss.loss(lora, inputs, None)
    ours.backward()
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(_gradients(lora), expected)


def test_the_number_of_items_scales_it(base: Path, tmp_path: Path) -> None:
    lora = adapted(base, tmp_path)
    inputs = {"input_ids": IDS, "labels": IDS}
    whole = loss.loss(lora, inputs, None)
    torch.testing.assert_close(loss.loss(lora, inputs, 38 * 4), whole / 4)


def test_nothing_learned_or_too_much_is_left_to_trl(base: Path, tmp_path: Path) -> None:
    lora = adapted(base, tmp_path)
    assert not loss.fits(lora, torch.full_like(IDS, IGNORED))
    long = torch.zeros(1, loss.MAX_LOGITS // 512 + 2, dtype=torch.long)
    assert not loss.fits(lora, long)


def test_a_model_that_cannot_skip_positions_is_left_to_trl(base: Path, tmp_path: Path) -> None:
    class Bare(torch.nn.Module):
        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            return input_ids

        def get_base_model(self) -> torch.nn.Module:
            return self

    assert not loss.fits(Bare(), IDS)
