"""Nodes carry the line of the user's code that wrote them."""

from __future__ import annotations

import inspect
from typing import Any

import graphc as gx
from graphc import ir


def _lines(function: Any) -> tuple[list[str], int]:
    return inspect.getsourcelines(function)


def _line_of(function: Any, words: str) -> str:
    """Return ``file:line`` of the line of a function that holds some words."""
    lines, first = _lines(function)
    place = next(i for i, line in enumerate(lines) if words in line)
    return f"test_location.py:{first + place}"


def _cell(h: gx.Tensor, x: gx.Tensor) -> tuple[gx.Tensor, gx.Tensor]:
    total = h + x
    h = total.tanh()
    return h, gx.exp(h)


def test_what_a_cell_writes_has_the_lines_of_the_cell() -> None:
    _, ys = gx.scan(_cell, gx.zeros((3,)), gx.input("xs", ("T", 3)))
    found = {n.label: n.note.where or "" for n in ir.with_bodies(ir.topological([ys.node]))}
    for label, words in (("add", "total ="), ("tanh", "tanh()"), ("exp", "gx.exp")):
        assert found[label].endswith(_line_of(_cell, words))


def _rate(step: Any) -> gx.Tensor:
    return 0.1 / (step + 1)


def test_what_a_schedule_writes_has_its_lines() -> None:
    w = gx.parameter("w", (2,))
    updates = gx.sgd(gx.square(w).sum(), lr=_rate)
    order = ir.topological([t.node for t in updates.values()])
    lines = {n.note.where or "" for n in order if n.label == "divide"}
    assert len(lines) == 1
    assert lines.pop().endswith(_line_of(_rate, "0.1 /"))


def test_a_layer_stands_on_the_line_that_calls_it() -> None:
    hs = gx.nn.LSTM(2)(gx.input("xs", ("T", "N", 3)))[1]
    inner = {n.note.where for n in ir.with_bodies(ir.topological([hs.node])) if n.inputs}
    assert len(inner) == 1
