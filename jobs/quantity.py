"""A Kubernetes quantity as a number. Used by jobs/slim.py for what nodes offer."""

from __future__ import annotations

_UNITS = {
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60,
    "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18, "m": 1e-3,
}  # fmt: skip


def quantity(value: object) -> int:
    """A Kubernetes quantity (`16Gi`, `500m`, `2e9`) in whole units, rounded down; 0 of none."""
    text = str(value if value is not None else "").strip()
    unit = next((u for u in _UNITS if text.endswith(u)), "")
    try:
        # Whole numbers stay exact; a float has only 53 bits.
        number = text.removesuffix(unit)
        return int(int(number) * _UNITS[unit] if unit else int(number))
    except ValueError:
        return _fraction(number, _UNITS.get(unit, 1))


def _fraction(number: str, factor: float) -> int:
    try:
        return int(float(number) * factor)
    except (ValueError, OverflowError):
        return 0
