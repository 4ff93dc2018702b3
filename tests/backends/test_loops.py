"""Loops through both back ends: rolled equals unrolled, forwards and backwards."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gx
import loop_samples
import op_samples
import reference
from graphc import backend as backends
from graphc import ir
from graphc.errors import GraphError
from graphc.ops import scan as loops
from graphc.passes import pipeline
from op_samples import Sample

Array = np.ndarray


# ---------------------------------------------------------------- the op


@pytest.mark.parametrize("sample", op_samples.LOOPS, ids=op_samples.label)
def test_a_loop_agrees_with_the_reference(backend: str, sample: Sample) -> None:
    for dtype in sample.dtypes:
        node = sample.build(dtype)
        leaves = sample.leaves(node)
        program = ir.Program("p", (ir.Function("f", tuple(leaves), (node,), training=True),))
        made = backends.find(backend).build(pipeline.canonical(program), backends.Options())
        for sizes in sample.sizes:
            at = sample.inputs(node, sizes)
            (expected,) = reference.evaluate([node], at, sizes)
            (got,) = made.call("f", [at[n] for n in leaves], dict(sizes))
            tolerance = 1e-5 if dtype == "float32" else 1e-13
            np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


# ---------------------------------------------------------------- cells


def elman(h: Any, x: Any, u: Any, w: Any) -> Any:
    h = gx.tanh(x @ u + h @ w)
    return h, h


def swapping(carry: Any, x: Any, u: Any, w: Any) -> Any:
    """Per-step Jacobians that do not commute, and two carries that change places."""
    h, c = carry["h"], carry["c"]
    new = gx.sigmoid(h @ w + x @ u)
    return {"h": c * new + x @ u, "c": h - new}, (h * c, new)


def gated(carry: Any, x: Any, u: Any, w: Any) -> Any:
    h, (c,) = carry
    gate = gx.sigmoid(x @ u)
    c = gate * c + (1 - gate) * gx.tanh(h @ w)
    return (c * h + gate, (c,)), c


CELLS: dict[str, tuple[Callable[..., Any], Callable[[Any], Any]]] = {
    "elman": (elman, lambda h: h),
    "swapping": (swapping, lambda h: {"h": h, "c": h + 1}),
    "gated": (gated, lambda h: (h, (h * 2,))),
}


def total(nest: Any) -> Any:
    """Return a scalar that every tensor of a nest moves in a way of its own."""
    leaves = gx.dsl.structure.flatten(nest)[0]
    parts = [gx.sin(t * (i + 1)).sum() for i, t in enumerate(leaves)]
    result = parts[0]
    for part in parts[1:]:
        result = result + part
    return result


def net(cell: str, **options: Any) -> tuple[Any, dict[str, Any]]:
    """Return a loss over a loop, and its leaves by name."""
    step, begin = CELLS[cell]
    with gx.default_dtype("float64"):
        xs = gx.input("xs", ("T", 2, 3))
        h0 = gx.input("h0", (2, 4))
        u, w = gx.input("u", (3, 4)), gx.input("w", (4, 4))
        made = gx.scan(lambda c, x: step(c, x, u, w), begin(h0), xs, **options)
        return total(made), {"xs": xs, "h0": h0, "u": u, "w": w}


def values(steps: int) -> dict[str, Array]:
    generator = np.random.default_rng(steps)
    shapes = {"xs": (steps, 2, 3), "h0": (2, 4), "u": (3, 4), "w": (4, 4)}
    return {k: generator.standard_normal(s) * 0.7 for k, s in shapes.items()}


@pytest.mark.parametrize("options", [{}, {"reverse": True}, {"truncate": 2}, {"truncate": 1}])
@pytest.mark.parametrize("cell", CELLS)
def test_the_loops_gradient_is_the_unrolled_gradient(
    backend: str, cell: str, options: dict[str, Any]
) -> None:
    loss, leaves = net(cell, **options)
    gradients = gx.grad(loss, leaves)
    for steps in (1, 2, 5):
        at = values(steps)
        rolled = gx.evaluate({"loss": loss, **gradients}, at=at, dtype="float64", backend=backend)
        flat = gx.unroll(loss, T=steps)
        wrt = {n: gx.find(flat, n) for n in leaves}
        parts = {"loss": flat, **gx.grad(flat, wrt)}
        unrolled = gx.evaluate(parts, at=at, dtype="float64", backend="numpy")
        for name, expected in unrolled.items():
            np.testing.assert_allclose(rolled[name], expected, rtol=1e-10, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("cell", CELLS)
def test_the_loops_gradient_agrees_with_central_differences(cell: str) -> None:
    loss, leaves = net(cell)
    assert gx.check_grads(loss, list(leaves.values()), at=values(4)).error < 1e-6


def test_truncation_at_the_length_is_full_and_changes_no_value(backend: str) -> None:
    at = values(5)
    full, leaves = net("elman")
    for k, same in ((5, True), (9, True), (2, False)):
        loss, cut = net("elman", truncate=k)
        got = gx.evaluate([loss, gx.grad(loss, cut["w"])], at=at, dtype="float64", backend=backend)
        expected = gx.evaluate([full, gx.grad(full, leaves["w"])], at=at, dtype="float64")
        assert got[0] == pytest.approx(float(expected[0]), rel=1e-13)
        assert np.allclose(got[1], expected[1], rtol=1e-12) == same


def test_one_compile_serves_every_length(backend: str) -> None:
    loss, _ = net("gated")
    inputs = [gx.find(loss, n) for n in ("xs", "h0", "u", "w")]
    gradient = gx.grad(loss, inputs[3])
    program = gx.Program("p", f=gx.function(inputs, [loss, gradient], training=True))
    module = gx.compile(program, backend=backend, dtype="float64")
    source = module.report["source"]
    assert sum(len(text) for text in source.values()) < 40_000
    for steps in (1, 3, 17, 40, 2):
        at = values(steps)
        got = module.f(**at)
        expected = gx.evaluate([loss, gradient], at=at, dtype="float64", training=True)
        np.testing.assert_allclose(got[0], expected[0], rtol=1e-12)
        np.testing.assert_allclose(got[1], expected[1], rtol=1e-10, atol=1e-12)


def test_the_forward_pass_runs_once_with_its_derivative() -> None:
    loss, leaves = net("swapping")
    outputs = (loss.node, gx.grad(loss, leaves["w"]).node)
    inputs = tuple(t.node for t in leaves.values())
    program = ir.Program("p", (ir.Function("f", inputs, outputs, training=True),))
    order = ir.topological(pipeline.canonical(program).roots)
    assert sum(n.op is loops.SCAN for n in order) == 2


def test_padded_steps_change_neither_state_nor_gradient(backend: str) -> None:
    with gx.default_dtype("float64"):
        xs, n = gx.input("xs", ("T", "N", 3)), gx.input("n", ("N",), dtype="int64")
        u, w = gx.parameter("u", (3, 4)), gx.parameter("w", (4, 4))
        zeros = gx.zeros((xs.shape[1], 4))
        last, hs = gx.scan(lambda h, x: elman(h, x, u, w), zeros, xs, lengths=n)
    parts = {"last": last, "hs": hs, "g": gx.grad(gx.sin(last).sum() + hs.sum(), w)}
    x = np.random.default_rng(0).standard_normal((4, 3, 3))
    lengths = np.array([4, 1, 2])
    got = gx.evaluate(parts, at={"xs": x, "n": lengths}, dtype="float64", backend=backend)
    total_gradient = np.zeros((4, 4))
    for i, length in enumerate(lengths):
        alone = gx.evaluate(
            parts,
            at={"xs": x[:length, i : i + 1], "n": [length]},
            dtype="float64",
        )
        np.testing.assert_allclose(got["last"][i], alone["last"][0], rtol=1e-12)
        assert (got["hs"][length:, i] == 0).all()
        total_gradient += alone["g"]
    np.testing.assert_allclose(got["g"], total_gradient, rtol=1e-10)


def test_a_loop_without_sequences_has_a_length(backend: str) -> None:
    x = gx.input("x", ())
    last, powers = gx.scan(lambda c, _: (c * 2, c), x, length="T")
    program = gx.Program("p", f=gx.function([x], (last, powers)))
    module = gx.compile(program, backend=backend)
    end, stacked = module.f(3.0, T=4)
    assert end == 48 and stacked.tolist() == [3, 6, 12, 24]


def test_every_step_draws_anew_and_unrolled_draws_are_the_same(backend: str) -> None:
    xs = gx.input("xs", ("T", 50))
    _, ys = gx.scan(lambda c, x: (c, gx.dropout(x, 0.5)), gx.zeros(()), xs)
    at = {"xs": np.ones((3, 50))}
    rolled = gx.evaluate(ys, at=at, training=True, backend=backend)
    assert (rolled[0] != rolled[1]).any() and (rolled[1] != rolled[2]).any()
    flat = gx.evaluate(gx.unroll(ys, T=3), at=at, training=True, backend=backend)
    np.testing.assert_array_equal(rolled, flat)


def test_a_draw_from_outside_is_a_value_as_any_other(backend: str) -> None:
    mask, xs = gx.uniform((50,)), gx.input("xs", ("T", 50))
    _, ys = gx.scan(lambda c, x: (c, (x + mask, gx.uniform((50,)))), gx.zeros(()), xs)
    once, (held, drawn) = gx.evaluate((mask, ys), {"xs": np.zeros((3, 50))}, backend=backend)
    np.testing.assert_array_equal(held, np.broadcast_to(once, (3, 50)))
    assert len(np.unique(drawn, axis=0)) == 3


def test_a_loop_in_a_loop_draws_anew_at_every_step_of_both(backend: str) -> None:
    def outer(c: Any, x: Any) -> Any:
        inner = gx.scan(lambda k, _: (k, gx.uniform((20,))), c, length=2)[1]
        return c, (inner, gx.uniform((20,)))

    _, ys = gx.scan(outer, gx.zeros(()), gx.input("xs", ("T",)))
    at = {"xs": np.zeros(3)}
    rolled, own = gx.evaluate(ys, at, backend=backend)
    assert len(np.unique(np.concatenate([rolled.reshape(6, 20), own]), axis=0)) == 9
    flat = gx.evaluate(gx.unroll(ys, T=3), at, backend=backend)
    np.testing.assert_array_equal(rolled, flat[0])
    np.testing.assert_array_equal(own, flat[1])


def test_a_value_with_an_update_can_be_captured(backend: str) -> None:
    xs, s = gx.input("xs", ("T", 2)), gx.state("s", (2,), 1.0)
    mean = xs.mean(axis=0)
    held = mean.with_update({s: s * 0.5 + mean})
    last, _ = gx.scan(lambda h, x: (h + x - held, None), gx.zeros((2,)), xs)
    module = gx.compile(gx.Program("p", f=gx.function([xs], last, training=True)), backend)
    np.testing.assert_allclose(module.f([[1, 2], [3, 6]]), [0, 0], atol=1e-6)
    np.testing.assert_allclose(module.state["s"], [2.5, 4.5])


def test_only_a_loops_last_sum_is_read(backend: str) -> None:
    """The inner loop's derivative has two sums, of which one is asked for."""
    with gx.default_dtype("float64"):
        xs, e = gx.input("xs", ("T", 2, 2)), gx.parameter("e", (2, 2), 0.3)

        def outer(h: Any, x: Any) -> Any:
            inner = lambda c, _: (gx.tanh(x @ gx.tanh(c)) + e, None)  # noqa: E731
            return gx.scan(inner, h, length=2)[0], None

        loss = gx.scan(outer, gx.ones((2, 2)), xs)[0].sum()
    at = {"xs": np.arange(8.0).reshape(2, 2, 2) / 10}
    got = gx.evaluate(gx.grad(loss, e), at, backend=backend)
    expected = gx.evaluate(gx.grad(gx.unroll(loss, T=2), e), at)
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_two_cells_over_one_sequence_run_once_each_with_their_derivatives() -> None:
    xs, w = gx.input("xs", ("T", 2, 3)), gx.parameter("w", (3, 3))
    cells = (gx.tanh, gx.sigmoid)
    ends = [gx.scan(lambda h, x, f=f: (f(h @ w + x), None), gx.zeros((2, 3)), xs)[0] for f in cells]
    loss = (ends[0] * ends[1]).sum()
    made = gx.Program("p", f=gx.function([xs], [loss, gx.grad(loss, w)], training=True))
    order = ir.topological(pipeline.canonical(made.ir).roots)
    assert sum(n.op is loops.SCAN for n in order) == 4


def test_what_nobody_reads_of_a_loop_is_not_computed() -> None:
    xs = gx.input("xs", ("T", 3))
    (kept, _), (ys, _) = gx.scan(
        lambda c, x: ((c[0] + x, gx.exp(c[1])), (x * 2, gx.sin(x))), (xs[0], xs[0]), xs
    )
    program = gx.Program("p", f=gx.function([xs], [kept, ys]))
    (loop,) = [
        n for n in ir.topological(pipeline.canonical(program.ir).roots) if n.op is loops.SCAN
    ]
    assert (loop.attrs["carries"], loop.attrs["stacked"]) == (1, 1)
    names = {
        n.attrs["formula"].name
        for n in ir.topological(loop.attrs["body"].outputs)
        if "formula" in n.attrs
    }
    assert names == {"add", "multiply"}


def test_unrolled_copies_know_their_step_and_share_parameters() -> None:
    loss, _ = net("elman")
    flat = gx.unroll(loss, T=3)
    steps = {n.note.step for n in ir.topological([flat.node])}
    assert {0, 1, 2} <= steps
    assert not loop_samples.is_loop(flat.node)
    assert sum(n.attrs.get("name") == "w" for n in ir.topological([flat.node])) == 1


# ---------------------------------------------------------------- state from call to call


def stepped(**options: Any) -> gx.Program:
    """Return a program over an LSTM whose carry comes in and goes out."""
    with gx.default_dtype("float64"):
        xs = gx.input("xs", ("T", "N", 3))
        h, c = gx.input("h", ("N", 4)), gx.input("c", ("N", 4))
        carry, hs = gx.nn.LSTM(4, name="l1")(xs, (h, c), **options)
        loss = gx.sin(hs).sum()
        outputs = {"carry": carry, "hs": hs, "grads": list(gx.grad(loss).values())}
        return gx.Program("p", f=gx.function([xs, h, c], outputs, training=True))


def in_pieces(module: gx.Module, xs: Array, size: int) -> dict[str, Any]:
    """Return the outputs of calls on pieces of a sequence: stacks joined, gradients summed."""
    carry: Any = (np.zeros((2, 4)), np.zeros((2, 4)))
    parts = []
    for start in range(0, len(xs), size):
        found = module.f(xs[start : start + size], *carry)
        carry = found["carry"]
        parts.append(found)
    sums = [sum(p["grads"][i] for p in parts) for i in range(len(parts[0]["grads"]))]
    return {"carry": carry, "hs": np.concatenate([p["hs"] for p in parts]), "grads": sums}


def expect_close(got: dict[str, Any], expected: dict[str, Any]) -> None:
    """Raise unless outputs agree."""
    np.testing.assert_allclose(got["carry"], expected["carry"], rtol=1e-12)
    np.testing.assert_allclose(got["hs"], expected["hs"], rtol=1e-12)
    for a, b in zip(got["grads"], expected["grads"], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_no_gradient_crosses_a_call_and_everything_else_does(backend: str, size: int) -> None:
    """Pieces of k steps are the whole sequence with borders every k steps; k = 1 is a stream."""
    xs = np.random.default_rng(0).standard_normal((7, 2, 3))
    whole = gx.compile(stepped(truncate=size), backend).f(xs, np.zeros((2, 4)), np.zeros((2, 4)))
    expect_close(in_pieces(gx.compile(stepped(), backend), xs, size), whole)


def test_a_border_beyond_the_end_is_none_and_each_step_alone_is_another_gradient(
    backend: str,
) -> None:
    xs = np.random.default_rng(0).standard_normal((5, 2, 3))
    zeros = (np.zeros((2, 4)), np.zeros((2, 4)))
    full, far, one = (
        gx.compile(stepped(**options), backend).f(xs, *zeros)
        for options in ({}, {"truncate": 5}, {"truncate": 1})
    )
    expect_close(far, full)
    assert not np.allclose(one["grads"][0], full["grads"][0], rtol=1e-3)


# ---------------------------------------------------------------- mistakes


def told(error: Exception) -> str:
    """Return an error's whole text without the number of the user's line."""
    return re.sub(r"(test_loops\.py):\d+", r"\1", str(error))


def test_open_lengths_that_differ_at_the_call(backend: str) -> None:
    a, b = gx.input("a", ("T", 2)), gx.input("b", ("S", 2))
    _, ys = gx.scan(lambda c, x: (c, x[0] + x[1]), gx.zeros(()), (a, b))
    module = gx.compile(gx.Program("p", f=gx.function([a, b], ys)), backend)
    with pytest.raises(gx.errors.GraphcError) as caught:
        module.f(np.zeros((3, 2)), np.zeros((4, 2)))
    assert told(caught.value) == (
        "f: scan: sequences are as long as the loop: S == T does not hold: 4 and 3\n"
        "  at tests/backends/test_loops.py\n"
        "  sizes   {'T': 3, 'S': 4}"
    )


def test_lengths_of_another_number_of_samples(backend: str) -> None:
    xs = gx.input("xs", ("T", "N", 3))
    n = gx.input("n", ("M",), dtype="int64")
    last, _ = gx.scan(lambda h, x: (h + x, None), gx.zeros(("N", 3)), xs, lengths=n)
    module = gx.compile(gx.Program("p", f=gx.function([xs, n], last)), backend)
    with pytest.raises(gx.errors.GraphcError) as caught:
        module.f(np.zeros((4, 2, 3)), [1, 2, 3])
    assert told(caught.value) == (
        "f: broadcast_to fits: M == N does not hold: 3 and 2\n"
        "  at tests/backends/test_loops.py\n"
        "  sizes   {'T': 4, 'N': 2, 'M': 3}"
    )


def test_lengths_above_the_loops_leave_all_steps_live(backend: str) -> None:
    xs = gx.input("xs", ("T", "N", 3))
    n = gx.input("n", ("N",), dtype="int64")
    last, _ = gx.scan(lambda h, x: (h + x, None), gx.zeros(("N", 3)), xs, lengths=n)
    got = gx.evaluate(last, {"xs": np.ones((4, 2, 3)), "n": [9, 0]}, backend=backend)
    assert got.tolist() == [[4, 4, 4], [0, 0, 0]]


def test_a_state_is_not_updated_inside_a_cell() -> None:
    s = gx.state("s", ())
    xs = gx.input("xs", ("T",))
    with pytest.raises(GraphError, match="a cell cannot update a state"):
        gx.scan(lambda c, x: ((c + x).with_update({s: x}), None), gx.zeros(()), xs)
