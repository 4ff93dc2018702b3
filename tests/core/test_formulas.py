"""Every formula and its derivatives, in float32 and float64, against mpmath at 50 digits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest
import sympy

import precise
from graphc.errors import DtypeError, FormulaError
from graphc.ir import Floats
from graphc.ops import elementwise, scalar
from graphc.ops.elementwise import FORMULAS, Formula
from reference.elementwise import tree_value

FLOATS = ("float32", "float64")
SINGLE = [(name, dtype) for name in FORMULAS for dtype in FLOATS if "logical" not in name]
EVALUATORS = {"core": scalar.evaluate, "reference": tree_value}
Evaluate = Callable[[scalar.Tree, list[Any]], Any]


def _points(dtype: str, arity: int) -> list[float]:
    """Return the probe points; for two arguments fewer, since each meets each."""
    info = np.finfo(dtype)
    sizes = [float(info.tiny), 1.0, 20.0, 90.0, 110.0, 1e4, float(info.max)]
    few = [float(info.tiny), 1.0, 20.0, float(info.max)]
    signed = [s * v for v in (sizes if arity == 1 else few) for s in (1, -1)]
    return [0.0, *(float(np.dtype(dtype).type(v)) for v in signed)]


def _places(made: Formula, dtype: str) -> list[tuple[Any, ...]]:
    arity = len(made.arguments)
    points: list[list[Any]] = [_points(dtype, arity)] * arity
    if made.name == "where":
        points = [[True, False], [0.0, -1.0, 1e4], [0.0, 20.0]]
    return [p for p in product(*points) if made.name != "pow" or not _parity_is_lost(p)]


def _parity_is_lost(place: tuple[Any, ...]) -> bool:
    """Tell whether a negative base meets an exponent b so large that b - 1 is no other float."""
    return place[0] < 0 and abs(place[1]) > 2**53


def _columns(places: Sequence[tuple[Any, ...]], dtype: str) -> list[Any]:
    columns = zip(*places, strict=True)
    return [np.array(c, bool if isinstance(c[0], bool) else dtype) for c in columns]


def _wrong(tree: scalar.Tree, places: Sequence[Any], got: Any, dtype: str) -> list[str]:
    """Return where a tree's values in a float type are not the truth, roundings allowed for."""
    largest, found = float(np.finfo(dtype).max), []
    for place, value in zip(places, got.tolist(), strict=True):
        true = precise.truth(tree, place)
        if true is None or abs(true) > largest:
            continue
        if value == true or abs(value - true) <= precise.tolerance(tree, place, dtype):
            continue
        found.append(f"{place}: {value} is not {float(true)}")
    return found


def _evaluated(evaluate: Evaluate, tree: scalar.Tree, columns: list[Any]) -> Any:
    with np.errstate(all="ignore"):
        return np.broadcast_to(np.asarray(evaluate(tree, columns)), columns[0].shape)


@pytest.mark.parametrize("evaluator", EVALUATORS)
@pytest.mark.parametrize(("name", "dtype"), SINGLE)
def test_formula_is_near_its_exact_value(name: str, dtype: str, evaluator: str) -> None:
    made = FORMULAS[name]
    places = _places(made, dtype)
    got = _evaluated(EVALUATORS[evaluator], made.tree, _columns(places, dtype))
    assert _wrong(made.tree, places, got, dtype) == []


@pytest.mark.parametrize(("name", "dtype"), SINGLE)
def test_partial_derivatives_are_near_their_exact_values(name: str, dtype: str) -> None:
    made = FORMULAS[name]
    places = _places(made, dtype)
    columns = _columns(places, dtype)
    value = _evaluated(scalar.evaluate, made.tree, columns).astype(dtype)
    for i in range(len(made.arguments)):
        partial = scalar.tree_of(made.partial(i), (*made.arguments, elementwise.RESULT))
        got = _evaluated(scalar.evaluate, partial, [*columns, value])
        whole = precise.composed(partial, made.tree, len(made.arguments))
        assert _wrong(whole, places, got, dtype) == [], f"by argument {i}"


def _derivative(name: str, *numbers: float) -> list[float]:
    made = FORMULAS[name]
    columns = [np.array([n], "float64") for n in numbers]
    value = _evaluated(scalar.evaluate, made.tree, columns)
    symbols = (*made.arguments, elementwise.RESULT)
    trees = [scalar.tree_of(made.partial(i), symbols) for i in range(len(numbers))]
    return [float(_evaluated(scalar.evaluate, t, [*columns, value])[0]) for t in trees]


@pytest.mark.parametrize("name", ["relu", "abs", "sign", "floor"])
def test_derivative_at_the_kink_is_zero(name: str) -> None:
    assert _derivative(name, 0.0) == [0.0]


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_equal_arguments_share_the_derivative(name: str) -> None:
    assert _derivative(name, 1.5, 1.5) == [0.5, 0.5]


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_the_chosen_argument_has_the_derivative(name: str) -> None:
    first, second = _derivative(name, 2.0, 1.0)
    assert (first, second) == ((1.0, 0.0) if name == "maximum" else (0.0, 1.0))


def test_sign_of_zero_is_zero() -> None:
    signs = scalar.evaluate(FORMULAS["sign"].tree, [np.array([0.0, -0.0, 3.0, -2.0])])
    assert signs.tolist() == [0.0, 0.0, 1.0, -1.0]


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_maximum_and_minimum_give_nan_for_nan(name: str) -> None:
    a, b = np.array([np.nan, 1.0]), np.array([1.0, np.nan])
    assert np.isnan(scalar.evaluate(FORMULAS[name].tree, [a, b])).all()


def test_relu_keeps_nan() -> None:
    assert np.isnan(scalar.evaluate(FORMULAS["relu"].tree, [np.array([np.nan])])).all()


@pytest.mark.parametrize(
    ("base", "power", "derivative"),
    [(0.0, 0.0, 0.0), (0.0, 1.0, 1.0), (0.0, 2.0, 0.0), (-2.0, 2.0, -4.0), (-2.0, 3.0, 12.0)],
)
def test_derivative_of_a_power_by_its_base(base: float, power: float, derivative: float) -> None:
    assert _derivative("pow", base, power)[0] == derivative


def test_derivative_of_a_power_of_zero_by_its_exponent_is_zero() -> None:
    assert _derivative("pow", 0.0, 2.0)[1] == 0.0


def test_arithmetic_is_exact_and_functions_are_rounded() -> None:
    assert elementwise.floats_of(elementwise.ADD) == (Floats.EXACT, 0)
    assert elementwise.floats_of(elementwise.GELU) == (Floats.ROUNDED, 4)


def test_every_rounded_primitive_states_its_ulp() -> None:
    for primitive in scalar.PRIMITIVES.values():
        assert (primitive.ulp > 0) == (primitive.floats is Floats.ROUNDED)


@pytest.mark.parametrize("function", [sympy.gamma, sympy.sinh, sympy.asin])
def test_foreign_function_is_refused(function: Any) -> None:
    with pytest.raises(FormulaError, match="no scalar primitive"):
        elementwise.formula("foreign", function, 1)


def test_sympy_functions_become_primitives() -> None:
    made = elementwise.formula("mixed", lambda x: sympy.exp(x) + sympy.Max(x, 0) + sympy.E, 1)
    x = np.array([-1.0, 2.0])
    expected = np.exp(x) + np.maximum(x, 0) + np.e
    np.testing.assert_allclose(scalar.evaluate(made.tree, [x]), expected, rtol=1e-15)


def test_formula_of_bool_arithmetic_is_refused() -> None:
    with pytest.raises(DtypeError, match="add does not take bool"):
        scalar.result_dtype(elementwise.ADD.tree, ("bool", "bool"))


def test_claims_are_bool_whatever_they_compare() -> None:
    assert scalar.result_dtype(elementwise.LESS.tree, ("uint8", "uint8")) == "bool"


@pytest.mark.parametrize("name", list(FORMULAS))
def test_formula_text_names_all_of_its_arguments(name: str) -> None:
    made = FORMULAS[name]
    assert all(str(symbol) in made.text for symbol in made.arguments)
