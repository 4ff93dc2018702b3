"""Dimensions: when they are equal, how many windows fit, how they are written and solved."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import sympy

from graphc import dims
from graphc.dims import Condition, Dim
from graphc.errors import ShapeError

N, T = dims.symbol("N"), dims.symbol("T")
SIZES = [{"N": n, "T": t} for n, t in itertools.product((1, 2, 3, 7, 64), (1, 2, 5))]
EXPRESSIONS: list[Dim] = [
    *(0, 1, 7, N, N + 1, N - 1, 2 * N + 3, N * T, N**2, (N + T) * (N - 1) + 2, N**3 * T),
    *(dims.floor_divide(N, 2), dims.floor_divide(3 * N + 1, 4), dims.ceil_divide(N * T, 3)),
    *(dims.floor_divide(dims.floor_divide(N + 1, 2) + 1, 2), 5 * dims.floor_divide(T, 2) + N),
    *(dims.window_count(N + 4, 3, 2), dims.multiply(dims.window_count(N + 4, 3, 2), T)),
    *(dims.floor_divide(N * N + T, 5), dims.add(N, -3), dims.multiply(N, -1, T)),
]


# ---------------------------------------------------------------- equality and order


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (3, 3, True),
        (3, 4, False),
        (N, N, True),
        ((N + 1) * (N - 1), N**2 - 1, True),
        (N, N + 1, False),
        (2 * N, 2 * N + 3, False),
        (N, 0, False),
        (N * T, 0, False),
        (N + T, T, False),
        (N, T, None),
        (N, 3, None),
        (2 * N, N + 3, None),
        (dims.floor_divide(N, 2), N, None),
        (dims.floor_divide(2 * N, 2), N, True),
    ],
)
def test_equality_is_yes_no_or_unknown(a: Dim, b: Dim, expected: bool | None) -> None:
    assert dims.equal(a, b) is expected and dims.equal(b, a) is expected


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (3, 3, True),
        (2, 3, False),
        (N, 1, True),
        (N, 0, True),
        (N, N, True),
        (N + 2, 3, True),
        (2 * N, N, True),
        (N * T, N, True),
        (N**2, N, True),
        (0, N, False),
        (-N, 0, False),
        (N, N + 1, False),
        (N, N + T, False),
        (N, 2, None),
        (N, T, None),
        (2 * N, N + T, None),
    ],
)
def test_order_is_yes_no_or_unknown(a: Dim, b: Dim, expected: bool | None) -> None:
    assert dims.at_least(a, b) is expected


@pytest.mark.parametrize("a", EXPRESSIONS, ids=dims.text)
def test_verdicts_hold_for_all_sizes(a: Dim) -> None:
    for b in EXPRESSIONS:
        values = [(dims.evaluate(a, s), dims.evaluate(b, s)) for s in SIZES]
        equal, at_least = dims.equal(a, b), dims.at_least(a, b)
        assert equal is None or all((x == y) is equal for x, y in values), b
        assert at_least is None or all((x >= y) is at_least for x, y in values), b


def test_unknown_claim_becomes_a_condition() -> None:
    with dims.collecting() as found:
        assert dims.require_equal(N, T, "they meet", "model.py:3")
        assert dims.require_at_least(N, 3, "it fits")
    assert found == [
        Condition(N, "==", T, "they meet", "model.py:3"),
        Condition(N, ">=", 3, "it fits"),
    ]


def test_decided_claim_leaves_no_condition() -> None:
    with dims.collecting() as found:
        assert dims.require_equal(N, N, "same") and not dims.require_equal(2, 3, "same")
        assert dims.require_at_least(N, 1, "one") and not dims.require_at_least(0, N, "one")
    assert found == []


@pytest.mark.parametrize(
    ("relation", "sizes", "holds"),
    [
        ("==", {"N": 3, "T": 3}, True),
        ("==", {"N": 3, "T": 2}, False),
        (">=", {"N": 3, "T": 2}, True),
        (">=", {"N": 2, "T": 3}, False),
    ],
)
def test_condition_is_decided_by_sizes(
    relation: str, sizes: Mapping[str, int], holds: bool
) -> None:
    assert Condition(N, relation, T, "").holds(sizes) is holds


# ---------------------------------------------------------------- arithmetic


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("window", [1, 2, 3, 4])
def test_windows_are_as_many_as_fit(window: int, stride: int) -> None:
    symbolic = dims.window_count(N, window, stride)
    for extent in range(window, 12):
        starts = [i for i in range(0, extent, stride) if i + window <= extent]
        assert dims.window_count(extent, window, stride) == len(starts)
        assert dims.evaluate(symbolic, {"N": extent}) == len(starts)


def test_division_rounds_down_and_up() -> None:
    for n, d in itertools.product(range(9), range(1, 5)):
        assert dims.floor_divide(n, d) == n // d
        assert dims.ceil_divide(n, d) == -(-n // d)


def test_numbers_stay_plain_integers() -> None:
    made = [dims.add(2, 3), dims.multiply(2, 3), dims.multiply(), dims.size((2, 3)), dims.size(())]
    assert made == [5, 6, 1, 6, 1] and all(type(m) is int for m in made)


def test_expression_without_names_left_is_a_plain_integer() -> None:
    assert type(dims.add(N, dims.multiply(-1, N), 3)) is int


@pytest.mark.parametrize(
    ("a", "b", "quotient"),
    [
        (6, 3, 2),
        (6, 4, None),
        (6, 0, None),
        (0, 4, 0),
        (N * 6, 3, 2 * N),
        (N * 6, 4, None),
        (N * T, N, T),
        (N**2 - 1, N + 1, N - 1),
        (N, T, None),
        (N + 1, N, None),
        (12 * N, 4 * N, 3),
    ],
)
def test_exact_division_is_whole_for_all_sizes(a: Dim, b: Dim, quotient: Dim | None) -> None:
    assert dims.exact_divide(a, b) == quotient


def test_numpy_integers_are_dimensions() -> None:
    assert dims.parse(np.int32(4)) == 4 and type(dims.parse(np.int32(4))) is int


# ---------------------------------------------------------------- text, values, solutions


@pytest.mark.parametrize("dim", EXPRESSIONS, ids=dims.text)
def test_written_dimension_has_the_value(dim: Dim) -> None:
    python = dims.render(dim, lambda name: name, lambda top, bottom: f"(({top}) // {bottom})")
    for sizes in SIZES:
        assert _run(python, sizes) == dims.evaluate(dim, sizes)


def _run(text: str, sizes: Mapping[str, int]) -> Any:
    assert set(text) <= set("NT0123456789+-*/() ")
    return eval(text, {"__builtins__": {}}, dict(sizes))


@pytest.mark.parametrize("dim", EXPRESSIONS, ids=dims.text)
def test_value_is_that_of_sympy(dim: Dim) -> None:
    for sizes in SIZES:
        known = {dims.symbol(n): v for n, v in sizes.items()}
        assert dims.evaluate(dim, sizes) == sympy.sympify(dim).subs(known)


def test_value_of_an_unknown_name_is_an_error() -> None:
    with pytest.raises(KeyError):
        dims.evaluate(N + 1, {"T": 2})


def test_substitution_is_simultaneous() -> None:
    assert dims.equal(dims.substitute(N + 2 * T, {"N": T, "T": N}), T + 2 * N)


def test_substitution_leaves_other_names() -> None:
    assert dims.substitute(N * T, {"N": 3}) == 3 * T


@pytest.mark.parametrize(
    ("dim", "value", "known", "found"),
    [
        (N, 5, {}, ("N", 5)),
        (2 * N, 6, {}, ("N", 3)),
        (2 * N, 7, {}, None),
        (N + 3, 3, {}, None),
        (N + 3, 5, {}, ("N", 2)),
        (N * T, 6, {"T": 2}, ("N", 3)),
        (N * T, 6, {}, None),
        (N**2, 9, {}, ("N", 3)),
        (7, 7, {}, None),
        (N, 5, {"N": 5}, None),
        (dims.floor_divide(N, 2), 3, {}, None),
    ],
)
def test_one_unknown_name_is_solved_for(
    dim: Dim, value: int, known: Mapping[str, int], found: tuple[str, int] | None
) -> None:
    assert dims.solve(dim, value, known) == found


def test_names_are_sorted_and_unique() -> None:
    assert dims.names((T, N + 1), (2, N * T)) == ("N", "T")


def test_text_of_shapes() -> None:
    assert dims.shape_text((N, 2 * N + 1, 3)) == "[N, 2*N + 1, 3]"


@pytest.mark.parametrize(
    "name", ["", "a b", "N+1", "2N", "N\n", "__import__('os')", "é", "N;", "x" * 5000 + " "]
)
def test_hostile_name_is_refused(name: str) -> None:
    with pytest.raises(ShapeError, match="is not an identifier"):
        dims.parse(name)


@pytest.mark.parametrize("value", [1.0, None, True, [3], -1, 2**63])
def test_what_is_no_dimension_is_refused(value: Any) -> None:
    with pytest.raises(ShapeError, match="a dimension"):
        dims.parse(value)


@pytest.mark.parametrize("name", ["lambda", "E", "I", "S", "Q", "pi", "oo", "floor", "None"])
def test_names_that_sympy_knows_are_only_names(name: str) -> None:
    assert dims.evaluate(dims.multiply(dims.parse(name), 2), {name: 3}) == 6
    assert dims.text(dims.parse(name)) == name
