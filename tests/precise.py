"""What a formula is to 50 digits, and how far roundings may carry an answer from that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import mpmath
import numpy as np

from graphc.ops.scalar import PRIMITIVES, Apply, Argument, Number, Tree

DIGITS = 50
_BEYOND = 10_000  # powers of ten that no float nears; exact ones would take their time
Change = Callable[[int, Any], Any]  # (number of a step, its exact result) -> another result


def truth(tree: Tree, numbers: Sequence[float], digits: int = DIGITS) -> Any | None:
    """Return a tree's exact value at ordinary numbers; None where it has no finite real one."""
    return _guarded(tree, numbers, lambda step, value: value, digits)


def tolerance(tree: Tree, numbers: Sequence[float], dtype: str) -> float:
    """Return how far from the truth a tree may end that is computed in a float type.

    Each primitive may miss by its ULP bound (half a ULP where it is exact), and by that many of
    the smallest floats where it underflows. To first order the misses add up; what each does to
    the result is found by making it. The factor 2 is for what they do together.
    """
    info = np.finfo(dtype)
    middle = truth(tree, numbers)
    if middle is None:
        return float("inf")
    bounds = [_ulp(name) for name in _steps(tree)]
    with mpmath.workdps(DIGITS):
        missed = mpmath.mpf(0)
        for step, bound in enumerate(bounds):
            relative = bound * float(info.eps)
            least = bound * float(info.smallest_subnormal)
            ways = (_miss(tree, numbers, step, s * relative, s * least) for s in (1, -1))
            missed += max((abs(w - middle) for w in ways if w is not None), default=mpmath.mpf(0))
        return float(2 * missed + 2 * float(info.smallest_subnormal))


def composed(tree: Tree, inner: Tree, index: int) -> Tree:
    """Return a tree with another in the place of its argument ``index``."""
    if isinstance(tree, Argument):
        return inner if tree.index == index else tree
    if isinstance(tree, Number):
        return tree
    return Apply(tree.name, tuple(composed(a, inner, index) for a in tree.args))


def _miss(
    tree: Tree, numbers: Sequence[float], step: int, relative: float, least: float
) -> Any | None:
    def change(at: int, value: Any) -> Any:
        plain = isinstance(value, bool) or at != step
        return value if plain else value * (1 + mpmath.mpf(relative)) + least

    return _guarded(tree, numbers, change)


def _ulp(name: str) -> float:
    return max(PRIMITIVES[name].ulp, 0.5)


def _steps(tree: Tree) -> Iterator[str]:
    """Return the names of a tree's primitives in the order in which `_value` computes them."""
    if isinstance(tree, Apply):
        for arg in tree.args:
            yield from _steps(arg)
        yield tree.name


def _guarded(
    tree: Tree, numbers: Sequence[float], change: Change, digits: int = DIGITS
) -> Any | None:
    with mpmath.workdps(digits):
        try:
            value = _value(tree, [_number(n) for n in numbers], change, [0])
        except (ZeroDivisionError, ValueError, OverflowError):
            return None
        if isinstance(value, bool | np.bool_):
            return bool(value)
        return value if isinstance(value, mpmath.mpf) and mpmath.isfinite(value) else None


def _number(value: Any) -> Any:
    return bool(value) if isinstance(value, bool | np.bool_) else mpmath.mpf(float(value))


def _value(tree: Tree, numbers: Sequence[Any], change: Change, step: list[int]) -> Any:
    if isinstance(tree, Argument):
        return numbers[tree.index]
    if isinstance(tree, Number):
        return mpmath.mpf(tree.value)
    parts = [_attempt(a, numbers, change, step) for a in tree.args]
    step[0] += 1
    if tree.name == "where":
        parts = [parts[0], parts[1] if parts[0] else parts[2]]
    broken = next((p for p in parts if isinstance(p, Exception)), None)
    if broken is not None:
        raise broken
    value = parts[-1] if tree.name == "where" else MEANING[tree.name](*parts)
    return change(step[0] - 1, value)


def _attempt(tree: Tree, numbers: Sequence[Any], change: Change, step: list[int]) -> Any:
    """Return a value, or the error that it ends in: a branch not taken may have none."""
    begun = step[0]
    try:
        return _value(tree, numbers, change, step)
    except (ZeroDivisionError, ValueError, OverflowError) as error:
        step[0] = begun + sum(1 for _ in _steps(tree))
        return error


def _floor_divide(a: Any, b: Any) -> Any:
    with mpmath.workprec(2300):  # a quotient of float64s has up to 2,098 bits before its point
        return mpmath.floor(a / b)


def _remainder(a: Any, b: Any) -> Any:
    with mpmath.workprec(2300):
        return a - b * mpmath.floor(a / b)


def _power(a: Any, b: Any) -> Any:
    if a == 0 and b < 0:
        raise ZeroDivisionError
    digits = float(b) * float(mpmath.log10(abs(a))) if a else 0.0
    if abs(digits) > _BEYOND and a > 0:
        if digits > 0:
            raise OverflowError
        return mpmath.mpf(10) ** -_BEYOND
    return mpmath.power(a, b)


def _log(x: Any) -> Any:
    if x <= 0:
        raise ValueError
    return mpmath.log(x)


def _log1p(x: Any) -> Any:
    if x <= -1:
        raise ValueError
    return mpmath.log1p(x)


def _softplus(x: Any) -> Any:
    return max(x, mpmath.mpf(0)) + mpmath.log1p(mpmath.exp(-abs(x)))


MEANING: Mapping[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "negative": lambda a: -a,
    "floor_divide": _floor_divide,
    "remainder": _remainder,
    "pow": _power,
    "equal": lambda a, b: bool(a == b),
    "not_equal": lambda a, b: bool(a != b),
    "less": lambda a, b: bool(a < b),
    "less_equal": lambda a, b: bool(a <= b),
    "logical_and": lambda a, b: a and b,
    "logical_or": lambda a, b: a or b,
    "logical_not": lambda a: not a,
    "maximum": max,
    "minimum": min,
    "abs": abs,
    "sign": lambda a: mpmath.mpf(mpmath.sign(a)),
    "floor": mpmath.floor,
    "sqrt": mpmath.sqrt,
    "exp": mpmath.exp,
    "expm1": mpmath.expm1,
    "log": _log,
    "log1p": _log1p,
    "tanh": mpmath.tanh,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "softplus": _softplus,
    "erf": mpmath.erf,
    "sin": mpmath.sin,
    "cos": mpmath.cos,
    "atan": mpmath.atan,
}
