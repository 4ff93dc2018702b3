"""The example of an exported project learns from IDX files as the module does in process.

The slow test trains on the full MNIST; `GRAPHC_MNIST` names the folder of its four IDX files.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import exported
import graphc as gx

pytestmark = pytest.mark.cc
MNIST = os.environ.get("GRAPHC_MNIST")
BATCH = 16


def write_idx(path: Path, items: np.ndarray) -> str:
    """Write bytes as an IDX file, and return its path."""
    head = struct.pack(f">BBBB{items.ndim}I", 0, 0, 8, items.ndim, *items.shape)
    path.write_bytes(head + items.astype("uint8").tobytes())
    return str(path)


def drawn() -> Iterator[int]:
    """Yield the outputs of splitmix64 from 0."""
    mask, state = 2**64 - 1, 0
    while True:
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = state
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & mask
        yield z ^ (z >> 31)


def shuffled(count: int, numbers: Iterator[int]) -> np.ndarray:
    """Return the order in which the example takes samples."""
    order = list(range(count))
    for i in range(count, 1, -1):
        other = next(numbers) % i
        order[i - 1], order[other] = order[other], order[i - 1]
    return np.array(order)


def told(folder: Path, *words: str) -> list[tuple[float, float]]:
    """Run the example, and return the loss and the accuracy that it prints for each epoch."""
    done = exported.run(folder, "./example", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    line = r"^epoch \d+: loss (\S+), right \d+ of \d+ \((\S+) %\)$"
    return [(float(a), float(b)) for a, b in re.findall(line, done.stdout, re.MULTILINE)]


def in_process(
    module: gx.Module, train: tuple[np.ndarray, np.ndarray], numbers: Iterator[int]
) -> float:
    """Train for an epoch in the example's order, and return the mean loss."""
    images, labels = train
    order, total = shuffled(len(labels), numbers), 0.0
    for start in range(0, len(order), BATCH):
        part = order[start : start + BATCH]
        total += float(module.train(images[part], labels[part])) * len(part)
    return total / len(order)


def accuracy(module: gx.Module, test: tuple[np.ndarray, np.ndarray]) -> float:
    """Return the percentage of test images whose digit is right."""
    return float((exported.sample().predict(module, test[0]) == test[1]).mean() * 100)


def test_the_example_learns_as_the_module_does_in_process(tmp_path: Path) -> None:
    folder, data = tmp_path / "a project", exported.sample().digits.load()
    module = exported.export(folder, exported.lenet5())
    exported.make(folder, "example", "CC=gcc", "EXTRA=-O1")
    train = (data.train_images[:1205], data.train_labels[:1205])
    test = (data.test_images[:500], data.test_labels[:500])
    files = [
        write_idx(tmp_path / f"{i}.idx", np.round(a * 255) if a.ndim > 1 else a)
        for i, a in enumerate((*train, *test))
    ]
    found = told(folder, *files[:2], "2", str(BATCH), *files[2:])
    numbers = drawn()
    for loss, right in found:
        assert loss == pytest.approx(in_process(module, train, numbers), abs=2e-3)
        assert right == pytest.approx(accuracy(module, test), abs=0.5)
    assert len(found) == 2 and found[1][0] < found[0][0] / 2
    module.load(folder / "lenet5.trained.safetensors")
    assert found[1][1] == pytest.approx(accuracy(module, test), abs=0.21)


@pytest.mark.slow
@pytest.mark.skipif(MNIST is None, reason="GRAPHC_MNIST names no folder with MNIST's IDX files")
def test_an_epoch_of_mnist_is_as_good_as_in_process(tmp_path: Path) -> None:
    folder, data = tmp_path / "a project", exported.sample().digits.load(MNIST)
    module = exported.export(folder, exported.lenet5())
    exported.make(folder, "example", "CC=gcc", "NATIVE=1")
    train = (data.train_images, data.train_labels)
    test = (data.test_images, data.test_labels)
    files = [
        write_idx(tmp_path / f"{i}.idx", np.round(a * 255) if a.ndim > 1 else a)
        for i, a in enumerate((*train, *test))
    ]
    ((_, right),) = told(folder, *files[:2], "1", str(BATCH), *files[2:])
    in_process(module, train, drawn())
    assert right == pytest.approx(accuracy(module, test), abs=0.3) and right > 96


def test_the_example_says_what_is_wrong_with_its_files(tmp_path: Path) -> None:
    x, y = gx.input("x", ("N", 4)), gx.input("y", ("N",), dtype="uint8")
    logits = gx.nn.Dense(3, name="out")(x)
    loss = gx.cross_entropy(logits, y)
    train = gx.function([y, x], [logits, loss], updates=gx.sgd(loss, lr=0.5))
    program = gx.Program("small", train=train, classes=gx.function([x], logits.argmax(axis=1)))
    exported.export(tmp_path / "small", program)
    exported.make(tmp_path / "small", "example", "CC=gcc", f"EXTRA={exported.STRICT} -O1")
    good = write_idx(tmp_path / "good", np.eye(4)[[0, 1, 2, 0, 1]] * 255)
    labels = write_idx(tmp_path / "labels", np.array([0, 1, 2, 0, 1]))
    short = write_idx(tmp_path / "short", np.array([0, 1]))
    far = write_idx(tmp_path / "far", np.array([0, 1, 2, 3, 0]))
    cut = tmp_path / "cut"
    cut.write_bytes(Path(good).read_bytes()[:-1])
    attempts = [
        (good, short),
        (str(cut), labels),
        (labels, labels),
        (good, far),
        (good, labels, "0"),
    ]
    said = [exported.run(tmp_path / "small", "./example", *words) for words in attempts]
    assert [done.returncode for done in said] == [1, 1, 1, 5, 1]
    lines = [done.stdout.splitlines()[1].replace(str(tmp_path), "…") for done in said]
    assert lines == [
        "5 samples, 2 labels",
        "…/cut: no IDX file of items of 4 bytes (unpacked?)",
        "…/labels: no IDX file of items of 4 bytes (unpacked?)",
        "",
        "SAMPLES LABELS [EPOCHS [BATCH [SAMPLES LABELS]]]",
    ]
    learned = told(tmp_path / "small", good, labels, "60", "2")
    assert learned[-1][0] < 0.2 and learned[-1][1] == 100


def test_a_program_that_takes_something_else_gets_no_training(tmp_path: Path) -> None:
    exported.export(tmp_path / "lstm", exported.lstm())
    assert "idx" not in (tmp_path / "lstm" / "example.c").read_text()
    assert "    ./example [WEIGHTS]\n       " in (tmp_path / "lstm" / "README.txt").read_text()
