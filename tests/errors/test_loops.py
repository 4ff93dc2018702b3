"""What is said of loops that cannot be: which entry, both types, the user's line."""

from __future__ import annotations

from typing import Any

import pytest

import graphc as gx
from graphc.errors import GraphcError


def expect(error: str, call: Any) -> None:
    """Raise unless a call fails with this text; ``{line}`` is this file's name."""
    with pytest.raises(GraphcError) as caught:
        call()
    lines = [line.split("test_loops.py:")[0] for line in str(caught.value).splitlines()]
    found = "\n".join(line.removesuffix("tests/errors/").rstrip() for line in lines)
    assert found == error


def sequences() -> gx.Tensor:
    """Return a sequence of three features."""
    return gx.input("xs", ("T", "N", 3))


def test_a_carry_that_grows() -> None:
    xs = sequences()
    expect(
        'scan: carry["h"] changes its type in the cell\n'
        "  at\n"
        "  at first       float32[N, 3]\n"
        "  after a step   float32[N, 6]\n"
        "  try: begin with the type that a step gives",
        lambda: gx.scan(
            lambda c, x: ({"c": c["c"], "h": gx.concatenate([c["h"], x], axis=1)}, None),
            {"c": xs[0], "h": xs[0]},
            xs,
        ),
    )


def test_a_carry_that_changes_its_dtype() -> None:
    xs = sequences()
    expect(
        "scan: carry[1] changes its type in the cell\n"
        "  at\n"
        "  at first       int64[]\n"
        "  after a step   float32[]\n"
        "  try: begin with the type that a step gives",
        lambda: gx.scan(
            lambda c, x: ((c[0], c[1] * 0.5), None), (xs[0], gx.zeros((), "int64")), xs
        ),
    )


def test_a_carry_that_changes_its_structure() -> None:
    xs = sequences()
    expect(
        "scan: the new carry has another structure than the first\n"
        "  at\n"
        '  at first       carry["h"], carry["c"]\n'
        "  after a step   carry[0], carry[1]",
        lambda: gx.scan(lambda c, x: ((c["h"], c["c"]), None), {"h": xs[0], "c": xs[0]}, xs),
    )


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        (lambda c, x: c, "a tensor"),
        (lambda c, x: None, "None"),
        (lambda c, x: (c, c, c), "a tuple of 3"),
        (lambda c, x: [c, c], "[<tensor"),
    ],
)
def test_a_cell_that_returns_no_pair(returned: Any, told: str) -> None:
    xs = sequences()
    with pytest.raises(GraphcError) as caught:
        gx.scan(returned, xs[0], xs)
    start = "scan: a cell returns a pair: the new carry, and y or None; this one returned "
    assert caught.value.message.startswith(start)
    assert caught.value.message.removeprefix(start)[: len(told)].lower() == told.lower()


def test_sequences_of_unequal_length() -> None:
    a, b = gx.input("a", (3, 2)), gx.input("b", (4, 2))
    expect(
        "scan: sequences of 3 and 4 steps\n"
        "  at\n"
        "  a   float32[3, 2]\n"
        "  b   float32[4, 2]\n"
        "  try: slices make them equally long; lengths= is for samples that end early",
        lambda: gx.scan(lambda c, x: (c, x[0]), gx.zeros(()), (a, b)),
    )


def test_a_length_that_is_not_the_sequences() -> None:
    a = gx.input("a", (3, 2))
    expect(
        "scan: sequences of 5 and 3 steps\n"
        "  at\n"
        "  length=   5\n"
        "  a         float32[3, 2]\n"
        "  try: slices make them equally long; lengths= is for samples that end early",
        lambda: gx.scan(lambda c, x: (c, x), gx.zeros(()), a, length=5),
    )


def test_lengths_that_are_no_integers() -> None:
    xs, n = sequences(), gx.input("n", ("N",))
    expect(
        "scan: lengths are (N,) integers\n  at\n  n   float32[N]",
        lambda: gx.scan(lambda h, x: (h + x, None), xs[0], xs, lengths=n),
    )


def test_a_scalar_sequence_has_no_time() -> None:
    expect(
        "scan: the first axis of a sequence is time, and a scalar has none\n  at",
        lambda: gx.scan(lambda h, x: (h + x, None), gx.zeros(()), gx.input("x", ())),
    )


def test_a_loop_without_sequences_or_length() -> None:
    expect(
        "scan: without sequences it needs length=\n  at",
        lambda: gx.scan(lambda h, x: (h, None), gx.zeros(())),
    )


@pytest.mark.parametrize("truncate", [0, -2])
def test_a_border_before_the_first_step(truncate: int) -> None:
    xs = sequences()
    expect(
        f"scan: truncate is a number of steps from 1 on, not {truncate}\n  at",
        lambda: gx.scan(lambda h, x: (h + x, None), xs[0], xs, truncate=truncate),
    )


def test_unrolling_an_open_loop() -> None:
    xs = sequences()
    last, _ = gx.scan(lambda h, x: (h + x, None), xs[0], xs)
    expect(
        "unroll: a loop of T steps has no number of copies\n"
        "  at\n"
        "  try: give a size: unroll(…, T=5)",
        lambda: gx.unroll(last),
    )


@pytest.mark.parametrize(
    ("sizes", "error"),
    [
        ({"T": 0}, "unroll: T is a whole number from 1 on, not 0"),
        ({"T": 2.5}, "unroll: T is a whole number from 1 on, not 2.5"),
        ({"T": True}, "unroll: T is a whole number from 1 on, not True"),
        ({"T": 3, "Q": 3}, "unroll: nothing has the dimension 'Q'"),
    ],
    ids=str,
)
def test_unrolling_to_a_size_that_is_none(sizes: dict[str, Any], error: str) -> None:
    xs = sequences()
    last, _ = gx.scan(lambda h, x: (h + x, None), xs[0], xs)
    with pytest.raises(GraphcError) as caught:
        gx.unroll(last, **sizes)
    assert caught.value.message == error


def test_options_that_are_none() -> None:
    xs = sequences()
    expect(
        "scan: reverse is True or False, not 'no'\n  at",
        lambda: gx.scan(lambda h, x: (h, x), xs[0], xs, reverse="no"),  # type: ignore[arg-type]
    )
    expect(
        "scan: length is a number of steps or a name, not True\n  at",
        lambda: gx.scan(lambda h, x: (h, None), xs[0], length=True),
    )
    expect(
        "scan: a cell is a function of (carry, x), not 3\n  at",
        lambda: gx.scan(3, xs[0], xs),  # type: ignore[arg-type]
    )


def test_a_size_that_only_a_length_has_can_be_given_everywhere() -> None:
    b = gx.input("b", ())
    last, _ = gx.scan(lambda h, _: (h * 2.0, None), b, length="S")
    program = gx.Program("p", f=gx.function([b], last))
    assert gx.compile(program, "numpy", dims={"S": 3}).f(1.0) == 8
    assert gx.evaluate(last, {"b": 1.0, "S": 4}) == 16
    expect(
        'evaluate: nothing fixes the size S\n  at\n  try: at={"S": 8}',
        lambda: gx.evaluate(last, {"b": 1.0}),
    )


def test_a_value_that_leaks_out_of_a_cell() -> None:
    xs, leaked = sequences(), []

    def cell(h: gx.Tensor, x: gx.Tensor) -> tuple[gx.Tensor, None]:
        leaked.append(x * 2.0)
        return h + x, None

    gx.scan(cell, xs[0], xs)
    with pytest.raises(GraphcError) as caught:
        gx.Program("p", f=gx.function([xs], leaked[0]))
    assert caught.value.hint == "what a loop's cell computes leaves it as its carry or as y"


def test_differences_of_a_truncated_loop_say_why_they_differ() -> None:
    w = gx.parameter("w", (), 0.9)
    _, hs = gx.scan(lambda h, x: (gx.tanh(h * w + x),) * 2, gx.zeros(()), gx.ones((5,)), truncate=1)
    with pytest.raises(GraphcError) as caught:
        gx.check_grads(hs.sum())
    assert caught.value.hint == (
        "a loop is truncated, and what its borders cut the differences still see"
    )


def test_a_loop_that_fits_no_memory_is_told_with_its_results() -> None:
    _, ys = gx.scan(lambda h, _: (h + 1.0, h), gx.zeros((2,)), length="S")
    module = gx.compile(gx.Program("p", f=gx.function([], ys)), "numpy")
    with pytest.raises(GraphcError) as caught:
        module.f(S=10**12)
    assert caught.value.rows[0] == ("scan", "float32[2], float32[S, 2]")
