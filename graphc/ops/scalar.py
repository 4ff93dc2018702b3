"""The scalar primitives: a closed list that each back end implements, and expressions of them.

Each primitive is a sympy function whose derivative is written in primitives. Formulas over them
stand in `elementwise`; nothing here knows tensors or shapes.

Every primitive has its value at kinks, its NaN rule and its error in units in the last place (ULP)
in the table at the end. Subgradients: abs'(0) = sign(0) = 0; a maximum of equals gives half to
each.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import sympy

from graphc.errors import DtypeError, FormulaError
from graphc.ir import FLOATS, INTEGERS, Floats


@dataclass(frozen=True, slots=True)
class Argument:
    """The i-th argument of a formula."""

    index: int


@dataclass(frozen=True, slots=True)
class Number:
    """A number, which takes the dtype of what it stands beside."""

    value: float | int


@dataclass(frozen=True, slots=True)
class Apply:
    """A primitive applied to trees."""

    name: str
    args: tuple[Tree, ...]


Tree = Argument | Number | Apply


@dataclass(frozen=True, slots=True)
class Primitive:
    """What is known of one primitive.

    Attributes:
        name: its word everywhere.
        arity: the number of arguments.
        domain: dtypes of the (last) argument that it takes.
        gives: ``"same"`` (the argument's dtype) or ``"bool"``.
        floats: exact, or rounded within ``ulp``.
        ulp: the largest error in units in the last place, for float32 and float64 alike.
        nan: its NaN rule.
        value: its meaning on arrays, for the probe of formulas and for constant folding; the back
            ends have tables of their own.
    """

    name: str
    arity: int
    domain: tuple[str, ...]
    gives: str
    floats: Floats
    ulp: int
    nan: str
    value: Callable[..., Any]


class Scalar(sympy.Function):  # type: ignore[misc]
    """A primitive as a sympy function: it stays as written, and is real."""

    is_real = True
    is_commutative = True


def _function(name: str, *partials: Callable[..., sympy.Expr]) -> Any:
    def fdiff(self: sympy.Function, argindex: int = 1) -> sympy.Expr:
        return partials[argindex - 1](self, *self.args)

    return type(name, (Scalar,), {"fdiff": fdiff, "nargs": len(partials), "__doc__": name})


def _zero(y: sympy.Expr, *args: sympy.Expr) -> sympy.Expr:
    return sympy.Integer(0)


class where(Scalar):  # noqa: N801  (a function of the formula language)
    """Choose by a condition; the derivative chooses too, so that no 0 * infinity arises."""

    nargs = 3

    def _eval_derivative(self, symbol: sympy.Symbol) -> sympy.Expr:
        condition, then, other = self.args
        parts = (then.diff(symbol), other.diff(symbol))
        return where(condition, *parts) if any(p != 0 for p in parts) else sympy.Integer(0)


def _choice(greater: bool) -> tuple[Callable[..., sympy.Expr], ...]:
    def first(y: sympy.Expr, a: sympy.Expr, b: sympy.Expr) -> sympy.Expr:
        return _share(less(b, a) if greater else less(a, b), a, b)

    def second(y: sympy.Expr, a: sympy.Expr, b: sympy.Expr) -> sympy.Expr:
        return _share(less(a, b) if greater else less(b, a), a, b)

    return first, second


def _share(wins: sympy.Expr, a: sympy.Expr, b: sympy.Expr) -> sympy.Expr:
    half = where(equal(a, b), sympy.Rational(1, 2), sympy.Integer(0))
    return where(wins, sympy.Integer(1), half)


equal = _function("equal", _zero, _zero)
not_equal = _function("not_equal", _zero, _zero)
less = _function("less", _zero, _zero)
less_equal = _function("less_equal", _zero, _zero)
logical_and = _function("logical_and", _zero, _zero)
logical_or = _function("logical_or", _zero, _zero)
logical_not = _function("logical_not", _zero)
sign = _function("sign", _zero)
floor = _function("floor", _zero)
abs = _function("abs", lambda y, x: sign(x))
maximum = _function("maximum", *_choice(greater=True))
minimum = _function("minimum", *_choice(greater=False))
floor_divide = _function("floor_divide", _zero, _zero)
remainder = _function(
    "remainder", lambda y, a, b: sympy.Integer(1), lambda y, a, b: -floor_divide(a, b)
)
sqrt = _function("sqrt", lambda y, x: 1 / (2 * y))
exp = _function("exp", lambda y, x: y)
expm1 = _function("expm1", lambda y, x: exp(x))
log = _function("log", lambda y, x: 1 / x)
log1p = _function("log1p", lambda y, x: 1 / (1 + x))
# Where an exponent or the power itself is 0, so is the derivative, and not 0 * infinity.
pow: Any = _function(
    "pow",
    lambda y, a, b: where(equal(b, 0), 0, b * pow(a, b - 1)),
    lambda y, a, b: where(equal(y, 0), 0, y * log(a)),
)
tanh = _function("tanh", lambda y, x: 1 - y**2)
sigmoid = _function("sigmoid", lambda y, x: y * (1 - y))
softplus = _function("softplus", lambda y, x: sigmoid(x))
erf = _function("erf", lambda y, x: sympy.Float(2 / math.sqrt(math.pi)) * exp(-(x**2)))
sin = _function("sin", lambda y, x: cos(x))
cos: Any = _function("cos", lambda y, x: -sin(x))
atan = _function("atan", lambda y, x: 1 / (1 + x**2))

_NUMBERS = (*INTEGERS, *FLOATS)
_ALL = ("bool", *_NUMBERS)


def _erf(x: Any) -> Any:
    return np.asarray(np.vectorize(math.erf, otypes=[float])(x), dtype=np.asarray(x).dtype)


def _sigmoid(x: Any) -> Any:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e / (1 + e), 1 / (1 + e)).astype(np.asarray(x).dtype)


def _softplus(x: Any) -> Any:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _primitives() -> dict[str, Primitive]:
    exact, rounded, spreads = Floats.EXACT, Floats.ROUNDED, "NaN in, NaN out"
    rows: list[tuple[str, int, tuple[str, ...], str, Floats, int, str, Callable[..., Any]]] = [
        ("add", 2, _NUMBERS, "same", exact, 0, spreads, np.add),
        ("subtract", 2, _NUMBERS, "same", exact, 0, spreads, np.subtract),
        ("multiply", 2, _NUMBERS, "same", exact, 0, spreads, np.multiply),
        ("divide", 2, FLOATS, "same", exact, 0, spreads, np.divide),
        ("negative", 1, _NUMBERS, "same", exact, 0, spreads, np.negative),
        ("floor_divide", 2, _NUMBERS, "same", exact, 0, spreads, np.floor_divide),
        ("remainder", 2, _NUMBERS, "same", exact, 0, spreads, np.remainder),
        ("pow", 2, FLOATS, "same", rounded, 4, "pow(1, NaN) = pow(NaN, 0) = 1", np.power),
        ("equal", 2, _ALL, "bool", exact, 0, "false", np.equal),
        ("not_equal", 2, _ALL, "bool", exact, 0, "true", np.not_equal),
        ("less", 2, _ALL, "bool", exact, 0, "false", np.less),
        ("less_equal", 2, _ALL, "bool", exact, 0, "false", np.less_equal),
        ("logical_and", 2, ("bool",), "bool", exact, 0, "none", np.logical_and),
        ("logical_or", 2, ("bool",), "bool", exact, 0, "none", np.logical_or),
        ("logical_not", 1, ("bool",), "bool", exact, 0, "none", np.logical_not),
        ("where", 3, _ALL, "same", exact, 0, "of the chosen one", np.where),
        ("maximum", 2, _NUMBERS, "same", exact, 0, spreads, np.maximum),
        ("minimum", 2, _NUMBERS, "same", exact, 0, spreads, np.minimum),
        ("abs", 1, _NUMBERS, "same", exact, 0, spreads, np.abs),
        ("sign", 1, _NUMBERS, "same", exact, 0, spreads, np.sign),
        ("floor", 1, FLOATS, "same", exact, 0, spreads, np.floor),
        ("sqrt", 1, FLOATS, "same", exact, 0, spreads, np.sqrt),
        ("exp", 1, FLOATS, "same", rounded, 4, spreads, np.exp),
        ("expm1", 1, FLOATS, "same", rounded, 4, spreads, np.expm1),
        ("log", 1, FLOATS, "same", rounded, 4, spreads, np.log),
        ("log1p", 1, FLOATS, "same", rounded, 4, spreads, np.log1p),
        ("tanh", 1, FLOATS, "same", rounded, 4, spreads, np.tanh),
        ("sigmoid", 1, FLOATS, "same", rounded, 4, spreads, _sigmoid),
        ("softplus", 1, FLOATS, "same", rounded, 4, spreads, _softplus),
        ("erf", 1, FLOATS, "same", rounded, 4, spreads, _erf),
        ("sin", 1, FLOATS, "same", rounded, 4, spreads, np.sin),
        ("cos", 1, FLOATS, "same", rounded, 4, spreads, np.cos),
        ("atan", 1, FLOATS, "same", rounded, 4, spreads, np.arctan),
    ]
    return {row[0]: Primitive(*row) for row in rows}


PRIMITIVES = _primitives()
# What the formula language offers beside + - * / and whole powers.
FUNCTIONS: dict[str, Any] = {
    f.__name__: f
    for f in (
        *(equal, not_equal, less, less_equal, logical_and, logical_or, logical_not, where),
        *(sign, floor, abs, maximum, minimum, floor_divide, remainder, sqrt, exp, expm1, log),
        *(log1p, pow, tanh, sigmoid, softplus, erf, sin, cos, atan),
    )
}


def result_dtype(tree: Tree, dtypes: tuple[str, ...]) -> str:
    """Return the dtype that a formula gives for arguments of these dtypes.

    Errors: DtypeError if a primitive does not take its arguments.
    """
    found = _dtype(tree, dtypes) or next((d for d in dtypes if d != "bool"), None)
    if found is None:
        raise FormulaError("a formula that gives plain numbers has no dtype")
    return found


def number_dtype(result: str, dtypes: tuple[str, ...]) -> str:
    """Return the dtype of what a formula computes from plain numbers alone, as ``where(c, 1, 0)``.

    It is that of the formula's result, or for a comparison that of its first argument that is no
    bool.
    """
    return result if result != "bool" else next((d for d in dtypes if d != "bool"), "bool")


def _dtype(tree: Tree, dtypes: tuple[str, ...]) -> str | None:
    if isinstance(tree, Argument):
        return dtypes[tree.index]
    if isinstance(tree, Number):
        return None
    primitive = PRIMITIVES[tree.name]
    parts = [_dtype(a, dtypes) for a in tree.args]
    if tree.name == "where" and parts.pop(0) not in ("bool", None):
        raise DtypeError("where: the condition is not bool")
    known = [p for p in parts if p is not None]
    if len(set(known)) > 1:
        raise DtypeError(f"{tree.name}: {' and '.join(known)} do not mix", hint="cast one")
    if known and known[0] not in primitive.domain:
        raise DtypeError(
            f"{tree.name} does not take {known[0]}",
            hint="cast to " + " or ".join(_brief(primitive.domain)),
        )
    if known and known[0] in INTEGERS:
        _check_numbers(tree, known[0])
    return "bool" if primitive.gives == "bool" else next(iter(known), None)


def _check_numbers(tree: Apply, dtype: str) -> None:
    for part in tree.args:
        if isinstance(part, Number) and part.value != int(part.value):
            raise DtypeError(
                f"{tree.name}: {part.value} does not stand beside {dtype}",
                hint="cast the tensor to a float first",
            )


def _brief(domain: tuple[str, ...]) -> tuple[str, ...]:
    return domain if len(domain) < 4 else ("an integer", "a float")


WRITE_WITH = "write it with + - * / ** and gx.scalar: exp, log, tanh, sigmoid, where, maximum, …"


@cache
def tree_of(expr: sympy.Expr, arguments: tuple[sympy.Symbol, ...]) -> Tree:
    """Return a sympy expression as a tree of primitives.

    Errors: FormulaError for what no primitive expresses.
    """
    if expr.is_Symbol:
        if expr not in arguments:
            raise FormulaError(f"the formula holds the unknown symbol {expr}")
        return Argument(arguments.index(expr))
    if expr.is_Number or expr.is_NumberSymbol:
        return Number(_number(expr))
    if expr.is_Add:
        return _sum_tree(expr, arguments)
    if expr.is_Mul:
        return _product_tree(expr, arguments)
    if expr.is_Pow:
        return _power_tree(expr, arguments)
    name = type(expr).__name__
    if isinstance(expr, Scalar):
        return Apply(name, tuple(tree_of(a, arguments) for a in expr.args))
    if expr in (sympy.true, sympy.false):
        return Number(int(bool(expr)))
    raise FormulaError(
        f"the formula uses {name}, which is no scalar primitive",
        hint=WRITE_WITH,
    )


def _number(expr: sympy.Expr) -> float | int:
    return int(expr) if expr.is_Integer and builtins.abs(int(expr)) < 2**63 else float(expr)


def _sum_tree(expr: sympy.Expr, arguments: tuple[sympy.Symbol, ...]) -> Tree:
    # What is added stands before what is subtracted, a number last: x + 1, 1 - y, x - y - 1.
    terms = sorted(expr.args, key=sympy.default_sort_key)
    minus = [t for t in terms if t.as_coeff_Mul()[0].is_negative]
    plus = sorted((t for t in terms if t not in minus), key=lambda t: bool(t.is_Number))
    tree = tree_of(plus[0] if plus else minus.pop(0), arguments)
    for name, parts in (("add", plus[1:]), ("subtract", [-t for t in minus])):
        for part in parts:
            tree = Apply(name, (tree, tree_of(part, arguments)))
    return tree


def _product_tree(expr: sympy.Expr, arguments: tuple[sympy.Symbol, ...]) -> Tree:
    coefficient, rest = expr.as_coeff_Mul()
    if coefficient == -1:
        return Apply("negative", (tree_of(rest, arguments),))
    top, bottom = sympy.fraction(expr, exact=True)
    if bottom != 1:
        return Apply("divide", (tree_of(top, arguments), tree_of(bottom, arguments)))
    factors = sorted(expr.args, key=sympy.default_sort_key)
    tree = tree_of(factors[0], arguments)
    for factor in factors[1:]:
        tree = Apply("multiply", (tree, tree_of(factor, arguments)))
    return tree


def _power_tree(expr: sympy.Expr, arguments: tuple[sympy.Symbol, ...]) -> Tree:
    base, exponent = expr.args
    tree = tree_of(base, arguments)
    if exponent == sympy.Rational(1, 2):
        return Apply("sqrt", (tree,))
    if exponent.is_Integer and 1 < int(exponent) <= 4:
        square = Apply("multiply", (tree, tree))
        if exponent == 2:
            return square
        return Apply("multiply", (square, tree if exponent == 3 else square))
    if exponent.is_negative:
        return Apply("divide", (Number(1), tree_of(base**-exponent, arguments)))
    return Apply("pow", (tree, tree_of(exponent, arguments)))


def tree_text(tree: Tree, names: tuple[str, ...]) -> str:
    """Return a tree as canonical text; floats are written exactly."""
    if isinstance(tree, Argument):
        return names[tree.index]
    if isinstance(tree, Number):
        return tree.value.hex() if isinstance(tree.value, float) else str(tree.value)
    return f"{tree.name}({', '.join(tree_text(a, names) for a in tree.args)})"


def evaluate(tree: Tree, arguments: list[Any]) -> Any:
    """Return a tree's value on NumPy arrays or scalars of equal shape, in their dtype."""
    if isinstance(tree, Argument):
        return arguments[tree.index]
    if isinstance(tree, Number):
        return tree.value
    parts = [evaluate(a, arguments) for a in tree.args]
    return PRIMITIVES[tree.name].value(*parts)
