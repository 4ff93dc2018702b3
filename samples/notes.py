"""Tables of lecture notes' numbers beside the true ones, for the samples that recompute them.

Holds the words and the printing; it knows no network. Run it to see which notes are meant:
`python samples/notes.py`. Expect one line for each of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

NOTES = {
    "S0": "KAIST AI602, lecture 1: Introduction to Neural Networks, DNN / CNN / RNN",
    "S1": "IFT6758 Data Science: Deep Learning",
    "S4": "SJTU CS420 Machine Learning 2019, lecture 4: Neural Networks",
}
Row = tuple[Any, ...]  # what, the notes' value, the computed value, and a remark if there is one


def table(title: str, rows: Sequence[Row]) -> None:
    """Print rows of (what, notes, computed[, remark]) under a title."""
    cells: list[tuple[str, ...]] = [("", "notes", "computed", "")]
    cells += [(*map(_shown, row), *[""] * (4 - len(row))) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    print(f"\n{title}")
    for row in cells:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(f"  {line.rstrip()}")


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    numbers = np.asarray(value)
    if numbers.ndim:
        return "(" + ", ".join(map(_shown, numbers.ravel())) + ")"
    number = float(numbers)
    if abs(number) >= 1:
        return f"{number:.13g}"
    return f"{number:.12f}".rstrip("0").rstrip(".")


def main() -> None:
    """Print the name of each of the notes."""
    for short, full in NOTES.items():
        print(f"{short}  {full}")


if __name__ == "__main__":
    main()
