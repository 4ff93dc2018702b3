"""An LSTM unrolled to 3,000 steps is built, derived, and written as DOT, at linear cost."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import graphc as gx
from graphc import ir, verify

DEEPEST = 250  # calls above those that are open, so that recursion over a graph fails


@contextmanager
def shallow() -> Iterator[None]:
    """Allow a few calls more than are open now."""
    depth, frame = 0, sys._getframe()
    while frame is not None:
        depth, frame = depth + 1, frame.f_back  # type: ignore[assignment]
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(depth + DEEPEST)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def unrolled(steps: int) -> gx.Tensor:
    """Return the loss of an LSTM unrolled."""
    xs = gx.input("xs", ("T", "N", 3))
    loss = gx.square(gx.nn.LSTM(4, name="l1")(xs)[1]).mean().named("loss")
    flat: gx.Tensor = gx.unroll(loss, T=steps)
    return flat


def written(steps: int, folder: Path) -> dict[str, float]:
    """Build, derive and draw; return the seconds of each."""
    seconds: dict[str, float] = {}
    start = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal start
        now = time.perf_counter()
        seconds[name], start = now - start, now

    with shallow():
        loss = unrolled(steps)
        lap("unroll")
        gradients = gx.grad(loss)
        lap("derive")
        program = gx.Program("p", f=gx.function([gx.find(loss, "xs")], [*gradients.values()]))
        verify.verify(program.ir)
        lap("verify")
        for view in ("graph", "gradient"):
            gx.draw(loss, view=view).save(folder / f"{view}.dot")
            lap(view)
    return seconds


def test_three_hundred_steps_are_built_derived_and_drawn(tmp_path: Path) -> None:
    written(300, tmp_path)
    for view in ("graph", "gradient"):
        text = (tmp_path / f"{view}.dot").read_text("utf-8")
        assert text.startswith("digraph") and text.rstrip().endswith("}")


@pytest.mark.slow
def test_three_thousand_steps_cost_twice_what_half_of_them_do(tmp_path: Path) -> None:
    half, whole = written(1500, tmp_path), written(3000, tmp_path)
    for name, seconds in whole.items():
        print(f"{name:>8}: {half[name]:6.2f} s for 1,500 steps, {seconds:6.2f} s for 3,000")
    assert sum(whole.values()) < 3 * sum(half.values())


@pytest.mark.slow
def test_three_thousand_steps_are_one_picture_with_the_middle_left_out(tmp_path: Path) -> None:
    loss = gx.square(gx.nn.LSTM(4, name="l1")(gx.input("xs", ("T", "N", 3)))[1]).mean()
    gx.draw(loss, view="unrolled", T=3000).save(tmp_path / "steps.dot")
    assert "2,994 steps" in (tmp_path / "steps.dot").read_text("utf-8")


def test_copies_of_a_cell_cost_what_its_nodes_cost() -> None:
    few, more = (len(ir.topological([unrolled(steps).node])) for steps in (10, 20))
    assert more - few == 10 * ((more - few) // 10)
    assert more < 2.1 * few
