"""Moves across loops: products leave them, one-hot rows become look-ups; ``exact`` forbids both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import ir, printer, verify
from graphc.ops import indexing, matmul, scan
from graphc.passes import hoist, lookups, pipeline

V, D, H = 5, 3, 4


def program(*outputs: gx.Tensor, **more: Any) -> gx.Program:
    """Return a program of one function, in float64."""
    leaves = {n for n in ir.topological([t.node for t in outputs]) if n.op.name == "input"}
    inputs = [gx.Tensor(n) for n in sorted(leaves, key=lambda n: n.attrs["name"])]
    return gx.Program("net", run=gx.function(inputs, list(outputs), training=True), **more)


def net(xs: gx.Tensor) -> list[gx.Tensor]:
    """Return the loss of a recurrence over xs, and all its gradients."""
    hs = gx.nn.GRU(H, name="l1")(xs)[1]
    loss = gx.square(hs).sum()
    return [loss, *gx.grad(loss).values()]


def features() -> gx.Tensor:
    """Return a sequence of features."""
    return gx.input("xs", ("T", "N", D))


def letters() -> gx.Tensor:
    """Return a sequence of one-hot rows."""
    return gx.one_hot(gx.input("ids", ("T", "N"), dtype="int64"), V)


def inside(made: ir.Program) -> list[ir.Node]:
    """Return the nodes of all loops' bodies."""
    outside = set(ir.topological(made.roots))
    return [n for n in ir.with_bodies(ir.topological(made.roots)) if n not in outside]


def count(nodes: list[ir.Node], op: ir.Op) -> int:
    """Return how many nodes have an op."""
    return sum(n.op is op for n in nodes)


def test_only_products_that_wait_for_the_carry_stay_in_a_loop() -> None:
    """Forward h @ weight_h; backward one product with its transpose."""
    declared = program(*net(features())).ir
    kept = pipeline.canonical(declared, exact=True)
    moved = pipeline.canonical(declared)
    assert count(inside(kept), matmul.MATMUL) == 5
    assert count(inside(moved), matmul.MATMUL) == 2
    assert count(ir.topological(moved.roots), matmul.MATMUL) == 3


def test_one_hot_letters_are_read_and_added_as_rows() -> None:
    made = pipeline.canonical(program(*net(letters())).ir)
    order = [*ir.topological(made.roots), *inside(made)]
    assert count(order, indexing.ONE_HOT) == 0
    assert count(order, indexing.TAKE) == 1
    assert count(order, indexing.SCATTER_ADD) == 1


def test_exact_leaves_one_hot_products_alone() -> None:
    made = pipeline.canonical(program(*net(letters())).ir, exact=True)
    order = [*ir.topological(made.roots), *inside(made)]
    assert count(order, indexing.TAKE) == 0
    assert count(order, indexing.ONE_HOT) == 1


@pytest.mark.parametrize("walk", [{}, {"reverse": True}, {"truncate": 2}], ids=str)
@pytest.mark.parametrize("kind", ["features", "letters"])
def test_moves_keep_every_value(kind: str, walk: dict[str, Any], backend: str) -> None:
    with gx.default_dtype("float64"):
        xs = features() if kind == "features" else letters()
        hs = gx.nn.LSTM(H, name="l1")(xs, **walk)[1]
        loss = gx.square(hs).sum()
        declared = program(loss, *gx.grad(loss).values())
    draw = np.random.default_rng(0)
    at = draw.normal(size=(5, 2, D)) if kind == "features" else draw.integers(0, V, (5, 2))
    results = [gx.compile(declared, backend, exact=e).run(at) for e in (False, True)]
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_an_inner_loop_gives_its_products_to_the_loop_around_it(backend: str) -> None:
    with gx.default_dtype("float64"):
        xs, w = gx.input("xs", ("S", "T", 2, D)), gx.parameter("w", (D, D), np.eye(D) * 0.5)

        def outer(h: Any, x: Any) -> Any:
            h, _ = gx.scan(lambda c, y: (gx.tanh(c + y @ w), None), h, x)
            return h, None

        loss = gx.square(gx.scan(outer, gx.zeros((2, D)), xs)[0]).sum()
        declared = program(loss, gx.grad(loss, w))
    at = np.random.default_rng(0).normal(size=(3, 4, 2, D))
    moved, kept = (gx.compile(declared, backend, exact=e).run(at) for e in (False, True))
    np.testing.assert_allclose(moved[1], kept[1], rtol=1e-12)
    assert count(inside(pipeline.canonical(declared.ir)), matmul.MATMUL) == 0


def test_programs_stay_well_formed() -> None:
    declared = pipeline.canonical(program(*net(letters())).ir, exact=True)
    for change in (lookups.lookups, hoist.hoist):
        declared = change(declared)
        verify.verify(declared, after=change.__name__)
    assert printer.text(hoist.hoist(declared)) == printer.text(declared)


def test_rows_that_nobody_reads_may_be_infinite(backend: str) -> None:
    """The product would be NaN there: 0 · inf."""
    w = gx.parameter("w", (2, 1), np.array([[1.0], [np.inf]]))
    ids = gx.input("ids", ("N",), dtype="int64")
    got = gx.evaluate(gx.one_hot(ids, 2) @ w, {"ids": [0]}, backend=backend)
    assert got.tolist() == [[1.0]]


def test_an_index_out_of_range_is_still_an_error(backend: str) -> None:
    module = gx.compile(program(gx.nn.RNN(H)(letters())[0]), backend)
    with pytest.raises(gx.errors.GraphcError, match="5"):
        module.run([[0], [V]])


@pytest.mark.parametrize("inside", [False, True], ids=["before the loop", "in the cell"])
def test_an_embedding_by_take_is_the_product_with_one_hot_rows(inside: bool, backend: str) -> None:
    with gx.default_dtype("float64"):
        ids = gx.input("ids", ("T", "N"), dtype="int64")
        table = gx.parameter("table", (V, D), gx.init.normal(0.5))
        layer = gx.nn.RNN(H, name="l1")

        def cell(h: gx.Tensor, i: gx.Tensor) -> tuple[gx.Tensor, gx.Tensor]:
            return layer.cell(h, table[i])

        _, hs = gx.scan(cell, layer.zeros("N"), ids) if inside else layer(table[ids])
        _, expected = layer(gx.one_hot(ids, V) @ table)
        losses = [gx.square(h).sum() for h in (hs, expected)]
        declared = program(*losses, *(gx.grad(loss, table) for loss in losses))
    at = np.random.default_rng(0).integers(0, V, (6, 2))
    a, b, da, db = gx.compile(declared, backend, exact=True).run(at)
    np.testing.assert_allclose(a, b, rtol=1e-12)
    np.testing.assert_allclose(da, db, rtol=1e-12, atol=1e-14)


def test_a_function_without_gradients_keeps_nothing_for_them() -> None:
    xs = features()
    _, hs = gx.nn.LSTM(H, name="l1")(xs)
    loss = gx.square(hs).sum()
    made = pipeline.canonical(
        gx.Program(
            "net",
            read=gx.function([xs], hs),
            train=gx.function([xs], loss, updates=gx.sgd(loss, lr=0.1)),
        ).ir
    )
    read, train = (
        [n for n in ir.topological(f.roots) if n.op is scan.SCAN] for f in made.functions
    )
    assert [scan.walk_of(n.attrs).stacked for n in read] == [1]
    assert scan.walk_of(train[0].attrs).stacked > 1
