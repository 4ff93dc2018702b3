"""The character network: equal training through both back ends, and what it learns.

The slow tests train 256 units; `GRAPHC_TEXT` names a long text, such as "tinyshakespeare", for
the longest of them.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import graphc as gx

SAMPLES = Path(__file__).parents[2] / "samples"
TEXT = os.environ.get("GRAPHC_TEXT")


def _imported(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[spec.name]
    return module


char_rnn = _imported("char_rnn")


def losses(backend: str, dtype: str, *, cell: str, units: int, rows: int) -> list[float]:
    """Return the losses of 100 steps on the bundled text."""
    text = char_rnn.load(char_rnn.BUNDLED)
    program = char_rnn.network(cell, len(text.alphabet), units)
    module = gx.compile(program, backend, dtype=dtype)
    start = char_rnn.zeros(cell, units, rows)
    trained = char_rnn.train(module, text.train, start, steps=100, length=2 * rows)
    return [loss for _, loss in trained]


@pytest.mark.cc
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_a_hundred_steps_of_a_small_net_are_equal_in_float64(cell: str) -> None:
    c, numpy = (losses(b, "float64", cell=cell, units=24, rows=4) for b in ("c", "numpy"))
    assert max(np.abs(np.subtract(c, numpy))) < 1e-9
    assert numpy[-1] < numpy[0] - 0.5


@pytest.mark.cc
@pytest.mark.slow
def test_a_hundred_steps_of_256_units_agree_in_float32() -> None:
    c, numpy = (losses(b, "float32", cell="lstm", units=256, rows=32) for b in ("c", "numpy"))
    print(f"step 100: {c[-1]:.7f} through C, {numpy[-1]:.7f} through NumPy")
    assert abs(c[-1] - numpy[-1]) < 1e-3


@pytest.mark.slow
@pytest.mark.skipif(TEXT is None, reason="GRAPHC_TEXT names no text")
@pytest.mark.parametrize("backend", [pytest.param("c", marks=pytest.mark.cc), "numpy"])
def test_256_units_learn_a_long_text(backend: str) -> None:
    assert TEXT is not None
    text = char_rnn.load(Path(TEXT))
    program = char_rnn.network("lstm", len(text.alphabet), 256)
    module = gx.compile(program, backend)
    start = char_rnn.zeros("lstm", 256, 32)
    for _step, _loss in char_rnn.train(module, text.train, start, steps=2000, length=64):
        pass
    held = char_rnn.mean_loss(module, text.held_out, start, 64)
    print(f"held out: {held:.4f} nats a letter through {backend}")
    assert held < 2.0


def test_pieces_follow_each_other_along_streams() -> None:
    places = np.arange(25)
    found = list(char_rnn.pieces(places, 2, 5))
    assert [read[:, 0].tolist() for read, _ in found] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    assert [read[0].tolist() for read, _ in found] == [[0, 12], [5, 17]]
    for read, following in found:
        np.testing.assert_array_equal(following, read + 1)


def test_a_text_is_cut_into_training_and_held_out_letters() -> None:
    text = char_rnn.load(char_rnn.BUNDLED)
    assert (len(text.train), len(text.held_out), len(text.alphabet)) == (89860, 9984, 61)
