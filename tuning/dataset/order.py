"""Which rows are trained on, which are held back, and in what order. Pure, and the same everywhere.

The seed alone decides (KAITO's shuffle ignores it), so that a resumed or repeated run sees the same
rows in the same order.
"""

from __future__ import annotations

import random


def split(count: int, share: float, shuffle: bool, seed: int) -> tuple[list[int], list[int]]:
    """Row numbers to train on, and to evaluate on.

    `share` (0 to 1) is trained on. Held-back rows are drawn by the seed, also when the rest keeps
    the file's order. With a share below 1 and two rows or more, both lists have at least one.
    """
    numbers = list(range(count))
    random.Random(seed).shuffle(numbers)
    held = round(count * (1.0 - share))
    if share < 1.0 and count > 1:
        held = min(max(held, 1), count - 1)
    evaluated, trained = numbers[:held], numbers[held:]
    return (trained if shuffle else sorted(trained)), evaluated
