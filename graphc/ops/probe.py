"""The trial of a user's formula: it and its derivative in float32 against mpmath.

sympy left alone gives NaN gradients where the truth is an ordinary float (x / (1 + e^-x) at -89);
such a formula is refused where it is defined, not where it spoils a training run.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import mpmath
import numpy as np
import sympy

from graphc.errors import FormulaError
from graphc.ops import scalar
from graphc.ops.elementwise import RESULT, Formula

_TINY = float(np.finfo(np.float32).tiny)
_MAX = float(np.finfo(np.float32).max)
POINTS = (0.0, _TINY, 1.0, 20.0, 90.0, 110.0, 1e4, _MAX)
_SIGNED = tuple(s * p for p in POINTS for s in (1, -1) if s > 0 or p)
_FEW = (0.0, 1.0, -1.0, 20.0, -20.0, 110.0, -110.0)
_DIGITS = 50


def probe(formula: Formula) -> None:
    """Try a formula and its derivatives on fixed points.

    Errors: FormulaError where float32 gives no ordinary number and the truth is one
    """
    arity = len(formula.arguments)
    places: list[tuple[float, ...]] = (
        [(p,) for p in _SIGNED] if arity == 1 else list(product(_FEW, repeat=arity))
    )
    parts = [("the formula", formula.expr)]
    for i in range(arity):
        label = "its derivative" if arity == 1 else f"its derivative by {formula.arguments[i]}"
        parts.append((label, formula.partial(i)))
    for label, expr in parts:
        _try(formula, label, expr, places)


def _try(formula: Formula, label: str, expr: sympy.Expr, places: list[tuple[float, ...]]) -> None:
    symbols = (*formula.arguments, RESULT)
    tree = scalar.tree_of(expr, symbols)
    arrays: list[Any] = [np.array(column, np.float32) for column in zip(*places, strict=True)]
    with np.errstate(all="ignore"):
        own = np.broadcast_to(scalar.evaluate(formula.tree, arrays), arrays[0].shape)
        got = np.broadcast_to(scalar.evaluate(tree, [*arrays, own]), arrays[0].shape)
    for place, value in zip(places, got, strict=True):
        if np.isfinite(value):
            continue
        truth = exact(expr.xreplace({RESULT: formula.expr}), formula.arguments, place)
        if truth is not None and abs(truth) < _MAX:
            at = ", ".join(f"{s} = {p:g}" for s, p in zip(formula.arguments, place, strict=True))
            raise FormulaError(
                f"{formula.name}: {label} is {value} in float32 at {at}, and the truth is "
                f"{mpmath.nstr(truth, 6)}",
                rows=[(label, str(expr))],
                hint="write it with gx.scalar.sigmoid, softplus, tanh, expm1 or where, which do "
                "not overflow, or give derivative=",
            )


def exact(
    expr: sympy.Expr, arguments: tuple[sympy.Symbol, ...], place: tuple[float, ...]
) -> Any | None:
    """Return an expression's value to 50 digits, or None where it has none."""
    with mpmath.workdps(_DIGITS):
        try:
            numbers = [mpmath.mpf(p) for p in place]
            value = _value(scalar.tree_of(expr, arguments), numbers)
        except (ZeroDivisionError, ValueError, OverflowError):
            return None
        real = mpmath.mpf(value) if not isinstance(value, mpmath.mpc) else None
        return real if real is not None and mpmath.isfinite(real) else None


def _value(tree: scalar.Tree, numbers: list[Any]) -> Any:
    if isinstance(tree, scalar.Argument):
        return numbers[tree.index]
    if isinstance(tree, scalar.Number):
        return mpmath.mpf(tree.value)
    if tree.name == "where":
        chosen = 1 if _value(tree.args[0], numbers) else 2
        return _value(tree.args[chosen], numbers)
    return _EXACT[tree.name](*(_value(a, numbers) for a in tree.args))


def _softplus(x: Any) -> Any:
    return x + mpmath.log1p(mpmath.exp(-x)) if x > 0 else mpmath.log1p(mpmath.exp(x))


_EXACT: dict[str, Any] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "negative": lambda a: -a,
    "floor_divide": lambda a, b: mpmath.floor(a / b),
    "remainder": lambda a, b: a - b * mpmath.floor(a / b),
    "pow": mpmath.power,
    "equal": lambda a, b: a == b,
    "not_equal": lambda a, b: a != b,
    "less": lambda a, b: a < b,
    "less_equal": lambda a, b: a <= b,
    "logical_and": lambda a, b: bool(a) and bool(b),
    "logical_or": lambda a, b: bool(a) or bool(b),
    "logical_not": lambda a: not a,
    "maximum": max,
    "minimum": min,
    "abs": abs,
    "sign": mpmath.sign,
    "floor": mpmath.floor,
    "sqrt": mpmath.sqrt,
    "exp": mpmath.exp,
    "expm1": mpmath.expm1,
    "log": mpmath.log,
    "log1p": mpmath.log1p,
    "tanh": mpmath.tanh,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "softplus": _softplus,
    "erf": mpmath.erf,
    "sin": mpmath.sin,
    "cos": mpmath.cos,
    "atan": mpmath.atan,
}
