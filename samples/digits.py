"""Handwritten digits for the samples: the bundled 5,000, or the full MNIST from a folder.

Holds reading and the confusion matrix; it knows no graphc, so that any script can use it.

Run it to look at the data: `python samples/digits.py [FOLDER]`. Expect the sizes of both sets and
the number of digits in each class; for the bundled data 4,000 and 1,000, of each class 400 and 100.
"""

from __future__ import annotations

import gzip
import math
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Images = NDArray[np.float32]
Labels = NDArray[np.int64]

CLASSES = 10
BUNDLED = Path(__file__).parent / "data" / "mnist5k.npz"
BUNDLED_TRAIN = 4000  # the split that samples/data/README.md describes
IDX_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
CONFUSION_TITLE = "rows: actual, columns: predicted"
IDX_UINT8 = 0x0800  # an IDX file starts with 0x08 for "unsigned bytes", then its number of axes


@dataclass(frozen=True, slots=True)
class Digits:
    """A training and a test set of grey digits.

    Shapes:    images float32 (n, 1, 28, 28) in [0, 1]; labels int64 (n,) in 0..9
    """

    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels


def load(folder: str | Path | None = None) -> Digits:
    """Read the bundled 4,000 + 1,000 digits, or MNIST's four IDX files from a folder.

    Errors:    FileNotFoundError lists the files that the folder lacks; ValueError says with numbers
               what is wrong with a file
    """
    if folder is not None:
        return _load_idx(Path(folder))
    with np.load(BUNDLED, allow_pickle=False) as file:
        images, labels = _as_images(file["images"]), file["labels"].astype(np.int64)
    n = BUNDLED_TRAIN
    return Digits(images[:n], labels[:n], images[n:], labels[n:])


def confusion_matrix(
    actual: ArrayLike, predicted: ArrayLike, classes: int = CLASSES
) -> NDArray[np.int64]:
    """Count the pairs (actual, predicted): entry [a, p] is how often an a was taken for a p."""
    pair = [np.asarray(labels) for labels in (actual, predicted)]
    if pair[0].shape != pair[1].shape or pair[0].ndim != 1:
        raise ValueError(
            "confusion_matrix: needs two equally long vectors, "
            f"got shapes {pair[0].shape} and {pair[1].shape}"
        )
    for word, labels in zip(("actual", "predicted"), pair, strict=True):
        if labels.size and not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(f"confusion_matrix: {word} labels are {labels.dtype}, not integers")
        if labels.size and (labels.min() < 0 or labels.max() >= classes):
            raise ValueError(
                f"confusion_matrix: {word} labels run from {labels.min()} to {labels.max()}, "
                f"{classes} classes allow 0 to {classes - 1}"
            )
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, tuple(labels.astype(np.int64) for labels in pair), 1)
    return matrix


def print_confusion(matrix: ArrayLike) -> None:
    """Print a confusion matrix: rows are the actual digits, columns the predicted ones."""
    counts = np.asarray(matrix)
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        print(_plain_confusion(counts))
        return
    table = Table()
    table.add_column("", style="bold")
    for column in range(counts.shape[1]):
        table.add_column(str(column), justify="right")
    table.add_column("right", justify="right")
    for index, row in enumerate(counts):
        cells = [_cell(int(count), on_diagonal=index == p) for p, count in enumerate(row)]
        table.add_row(str(index), *cells, _recall(row, index))
    print(CONFUSION_TITLE)
    Console().print(table)


def _cell(count: int, *, on_diagonal: bool) -> str:
    if on_diagonal:
        return f"[green]{count}[/green]"
    return f"[red]{count}[/red]" if count else "[dim]·[/dim]"


def _plain_confusion(counts: NDArray[Any]) -> str:
    width = max(4, len(str(counts.max(initial=0))) + 1)
    head = "".join(f"{column:>{width}}" for column in range(counts.shape[1]))
    lines = [CONFUSION_TITLE, f"  {head}   right"]
    for index, row in enumerate(counts):
        cells = "".join(f"{count or '.':>{width}}" for count in row.tolist())
        lines.append(f"{index:>2}{cells}{_recall(row, index):>8}")
    return "\n".join(lines)


def _recall(row: NDArray[Any], index: int) -> str:
    total = int(row.sum())
    return f"{row[index] / total:.1%}" if total else "-"


def _load_idx(folder: Path) -> Digits:
    paths = [_idx_path(folder, name) for name in IDX_NAMES]
    missing = [name for name, path in zip(IDX_NAMES, paths, strict=True) if path is None]
    if missing:
        listed = "".join(f"\n  {name} or {name}.gz" for name in missing)
        state = "lacks" if folder.is_dir() else "is no folder; it should hold"
        raise FileNotFoundError(f"{folder} {state}{listed}")
    found = [path for path in paths if path is not None]
    train = _labelled(found[0], found[1])
    test = _labelled(found[2], found[3])
    return Digits(*train, *test)


def _idx_path(folder: Path, name: str) -> Path | None:
    return next((p for p in (folder / name, folder / f"{name}.gz") if p.is_file()), None)


def _labelled(images_path: Path, labels_path: Path) -> tuple[Images, Labels]:
    images, labels = _read_idx(images_path, axes=3), _read_idx(labels_path, axes=1)
    if images.shape[1:] != (28, 28):
        rows, columns = images.shape[1:]
        raise ValueError(f"{images_path}: its images are {rows} x {columns}, not 28 x 28")
    if len(images) != len(labels):
        raise ValueError(
            f"{images_path} holds {len(images)} images, {labels_path} {len(labels)} labels"
        )
    if labels.size and labels.max() >= CLASSES:
        raise ValueError(f"{labels_path}: holds the label {labels.max()}, the greatest digit is 9")
    return _as_images(images), labels.astype(np.int64)


def _read_idx(path: Path, *, axes: int) -> NDArray[np.uint8]:
    data = _read_bytes(path)
    head = 4 + 4 * axes
    if len(data) < head:
        raise ValueError(f"{path}: truncated, {len(data)} bytes are less than its header of {head}")
    magic = int.from_bytes(data[:4], "big")
    if magic != IDX_UINT8 + axes:
        raise ValueError(
            f"{path}: its magic number is 0x{magic:08x}, "
            f"an IDX file of bytes with {axes} axes has 0x{IDX_UINT8 + axes:08x}"
        )
    shape = [int.from_bytes(data[4 * i : 4 * i + 4], "big") for i in range(1, axes + 1)]
    size = math.prod(shape)
    if len(data) - head != size:
        problem = "truncated" if len(data) - head < size else "too long"
        announced = " x ".join(map(str, shape))
        raise ValueError(
            f"{path}: {problem}, its header announces {announced} = {size} bytes, "
            f"{len(data) - head} follow"
        )
    return np.frombuffer(data, np.uint8, offset=head).reshape(shape)


def _read_bytes(path: Path) -> bytes:
    if path.suffix != ".gz":
        return path.read_bytes()
    try:
        return gzip.decompress(path.read_bytes())
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"{path}: not a whole gzip file of {path.stat().st_size} bytes ({error})"
        ) from error


def _as_images(pixels: NDArray[np.uint8]) -> Images:
    return pixels[:, np.newaxis].astype(np.float32) / np.float32(255)


def main() -> None:
    """Print the sizes of both sets and the number of digits in each class."""
    digits = load(sys.argv[1] if len(sys.argv) > 1 else None)
    for word, labels in (("training", digits.train_labels), ("test", digits.test_labels)):
        counts = np.bincount(labels, minlength=CLASSES)
        print(f"{word:>8}: {len(labels):>6} digits, of each class {' '.join(map(str, counts))}")


if __name__ == "__main__":
    main()
