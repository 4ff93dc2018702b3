"""Dimensions: numbers, or canonical sympy expressions in named integers of at least 1.

The one file that knows sympy for sizes. It knows no tensor and no op.

A dimension is an ``int`` or an expanded sympy expression over positive integer symbols, in which
``floor`` of a rational combination may occur (strided convolutions). Two dimensions are equal,
unequal, or it is *unknown*: then the claim becomes a `Condition` that is checked when a call
binds the names.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import sympy

from graphc.errors import ShapeError

Dim: TypeAlias = int | sympy.Expr
Shape: TypeAlias = tuple[Dim, ...]

LARGEST = 2**63 - 1
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


@dataclass(frozen=True, slots=True)
class Condition:
    """A claim on sizes that only a call can decide: ``left == right`` or ``left >= right``."""

    left: Dim
    relation: str
    right: Dim
    reason: str
    where: str | None = None

    def holds(self, sizes: Mapping[str, int]) -> bool:
        """Tell whether the claim is true for these sizes of the named dimensions."""
        left, right = evaluate(self.left, sizes), evaluate(self.right, sizes)
        return left == right if self.relation == "==" else left >= right


_open: ContextVar[list[Condition] | None] = ContextVar("graphc_conditions", default=None)


@contextmanager
def collecting() -> Iterator[list[Condition]]:
    """Gather the undecided conditions that shape rules meet inside the block."""
    found: list[Condition] = []
    token = _open.set(found)
    try:
        yield found
    finally:
        _open.reset(token)


@cache
def symbol(name: str) -> sympy.Symbol:
    """Return the named dimension, an integer of at least 1."""
    if not _IDENTIFIER.match(name):
        raise ShapeError(
            f"the dimension name {name!r} is not an identifier",
            hint="write arithmetic on dimensions, as in 2 * x.shape[0], not inside the string",
        )
    return sympy.Symbol(name, integer=True, positive=True)


def parse(dim: object) -> Dim:
    """Return the dimension that a user wrote: a number, a name, or an expression of names."""
    if isinstance(dim, str):
        return symbol(dim)
    if isinstance(dim, sympy.Expr):
        if not dim.is_integer:
            raise ShapeError(
                f"the dimension {dim} is not a whole number for all sizes",
                hint="// divides and rounds down",
            )
        return parse(canonical(dim)) if dim.is_number else canonical(dim)
    try:
        number = -1 if isinstance(dim, bool) else operator.index(dim)  # type: ignore[arg-type]
    except TypeError:
        raise ShapeError(f"a dimension is a number or a name, not {dim!r:.60}") from None
    if not 0 <= number <= LARGEST:
        raise ShapeError(f"a dimension lies between 0 and 2**63 - 1, not at {number}")
    return number


@cache
def canonical(expr: Dim) -> Dim:
    """Return the expanded form of a dimension; a number becomes an ``int``."""
    if isinstance(expr, int):
        return expr
    expanded = sympy.expand(expr)
    return int(expanded) if expanded.is_Integer else expanded


@cache
def equal(a: Dim, b: Dim) -> bool | None:
    """Tell whether two dimensions are equal for all sizes; None where it depends."""
    if isinstance(a, int) and isinstance(b, int):
        return a == b
    difference = canonical(sympy.sympify(a) - sympy.sympify(b))
    if isinstance(difference, int):
        return difference == 0
    return False if difference.is_nonzero else None


@cache
def at_least(a: Dim, b: Dim) -> bool | None:
    """Tell whether ``a >= b`` for all sizes; None where it depends."""
    if isinstance(a, int) and isinstance(b, int):
        return a >= b
    difference = sympy.sympify(a) - sympy.sympify(b)
    # Names are at least 1: written over (name - 1) >= 0, sympy's sign rules decide polynomials.
    names = sorted(difference.free_symbols, key=str)
    shifted = {n: sympy.Symbol(f"{n}_", integer=True, nonnegative=True) + 1 for n in names}
    moved = canonical(difference.subs(shifted))
    if isinstance(moved, int):
        return moved >= 0
    if moved.is_nonnegative:
        return True
    return False if moved.is_negative else None


def require_equal(a: Dim, b: Dim, reason: str, where: str | None = None) -> bool:
    """Return False if two dimensions differ; record a condition if that is undecided."""
    verdict = equal(a, b)
    if verdict is None:
        _record(Condition(a, "==", b, reason, where))
    return verdict is not False


def require_at_least(a: Dim, b: Dim, reason: str, where: str | None = None) -> bool:
    """Return False if surely ``a < b``; record a condition if that is undecided."""
    verdict = at_least(a, b)
    if verdict is None:
        _record(Condition(a, ">=", b, reason, where))
    return verdict is not False


def add(*dims: Dim) -> Dim:
    """Return the sum of dimensions."""
    return sum(dims) if _numbers(dims) else canonical(sympy.Add(*dims))


def multiply(*dims: Dim) -> Dim:
    """Return the product of dimensions (1 for none)."""
    if _numbers(dims):
        product = 1
        for dim in dims:
            product *= int(dim)
        return product
    return canonical(sympy.Mul(*dims))


def size(shape: Sequence[Dim]) -> Dim:
    """Return the number of elements of a shape."""
    return multiply(*shape)


def floor_divide(a: Dim, b: int) -> Dim:
    """Return ``floor(a / b)``."""
    if isinstance(a, int):
        return a // b
    return canonical(sympy.floor(canonical(a / sympy.Integer(b)))) if b != 1 else a


def ceil_divide(a: Dim, b: int) -> Dim:
    """Return ``ceil(a / b)``, as a floor."""
    return floor_divide(add(a, b - 1), b)


def exact_divide(a: Dim, b: Dim) -> Dim | None:
    """Return ``a / b`` where that is a dimension for all sizes, else None."""
    if isinstance(a, int) and isinstance(b, int):
        return a // b if b and a % b == 0 else None
    quotient = sympy.cancel(sympy.sympify(a) / sympy.sympify(b))
    if sympy.denom(quotient) != 1 or not quotient.is_integer:
        return None
    return canonical(quotient)


def window_count(extent: Dim, window: int, stride: int) -> Dim:
    """Return how many windows fit: ``floor((extent - window) / stride) + 1``.

    Units:  extent (padding included), window (dilation included) and stride in elements
    Source: Dumoulin & Visin 2016, relationship 6
    """
    return add(floor_divide(add(extent, -window), stride), 1)


def names(*shapes: Sequence[Dim]) -> tuple[str, ...]:
    """Return the names that occur in shapes, sorted."""
    found = {
        name.name
        for shape in shapes
        for dim in shape
        if not isinstance(dim, int)
        for name in dim.free_symbols
    }
    return tuple(sorted(found))


def evaluate(dim: Dim, sizes: Mapping[str, int]) -> int:
    """Return the number that a dimension is for these sizes of its names.

    Errors: KeyError if one is lacking
    """
    if isinstance(dim, int):
        return dim
    return _compiled(dim)(sizes)


def substitute(dim: Dim, sizes: Mapping[str, Dim]) -> Dim:
    """Return the dimension with some names replaced."""
    if isinstance(dim, int):
        return dim
    bound = {symbol(n): sizes[n] for n in names((dim,)) if n in sizes}
    return canonical(dim.subs(bound, simultaneous=True)) if bound else dim


def solve(dim: Dim, value: int, known: Mapping[str, int]) -> tuple[str, int] | None:
    """Return the one unknown name of a dimension and its size, given the dimension's value.

    None if there is no unknown name, or several, or no whole solution of at least 1.
    """
    if isinstance(dim, int):
        return None
    unknown = [n for n in names((dim,)) if n not in known]
    if len(unknown) != 1:
        return None
    name = unknown[0]
    if dim == symbol(name):
        return (name, value)
    rest = substitute(dim, known)
    if isinstance(rest, int) or rest.has(sympy.floor):
        return None
    fits = [int(r) for r in sympy.roots(rest - value, symbol(name)) if r.is_Integer and r >= 1]
    return (name, fits[0]) if len(fits) == 1 else None


@cache
def text(dim: Dim) -> str:
    """Return a dimension as text, the same in every process."""
    return str(dim) if isinstance(dim, int) else sympy.sstr(dim, order="lex")


def shape_text(shape: Sequence[Dim]) -> str:
    """Return a shape as text: ``[N, 3, 28]``."""
    return "[" + ", ".join(text(d) for d in shape) + "]"


def render(dim: Dim, name: Callable[[str], str], floor: Callable[[str, int], str]) -> str:
    """Return a dimension as an expression of integers in ``+ - *`` and a floor division.

    Back ends write sizes with it: ``name`` maps a name to an identifier, ``floor`` writes the
    floor of a numerator's text over a positive number.
    """
    if isinstance(dim, int):
        return str(dim)
    if dim.is_Symbol:
        return name(str(dim))
    if dim.is_Integer:
        return str(int(dim))
    if isinstance(dim, sympy.floor):
        numerator, denominator = sympy.fraction(sympy.together(dim.args[0]))
        return floor(render(canonical(numerator), name, floor), int(denominator))
    if dim.is_Pow:
        return " * ".join([render(dim.args[0], name, floor)] * int(dim.args[1]))
    parts = sorted(dim.args, key=sympy.default_sort_key)
    pieces = [render(canonical(p), name, floor) for p in parts]
    return "(" + (" * " if dim.is_Mul else " + ").join(pieces) + ")"


@cache
def _compiled(dim: sympy.Expr) -> Callable[[Mapping[str, int]], int]:
    """Return a plain Python evaluator of one dimension (sympy's own is 1000 times slower)."""
    if dim.is_Symbol:
        key = str(dim)
        return lambda sizes: sizes[key]
    if dim.is_Integer:
        number = int(dim)
        return lambda sizes: number
    if isinstance(dim, sympy.floor):
        top, bottom = sympy.fraction(sympy.together(dim.args[0]))
        inner, divisor = _compiled(sympy.expand(top)), int(bottom)
        return lambda sizes: inner(sizes) // divisor
    parts = [_compiled(a) for a in dim.args]
    if dim.is_Add:
        return lambda sizes: sum(p(sizes) for p in parts)
    if dim.is_Pow:
        return lambda sizes: parts[0](sizes) ** parts[1](sizes)
    return lambda sizes: _product([p(sizes) for p in parts])


def _product(numbers: Sequence[int]) -> int:
    product = 1
    for number in numbers:
        product *= number
    return product


def _numbers(dims: Sequence[Dim]) -> bool:
    return all(isinstance(d, int) for d in dims)


def _record(condition: Condition) -> None:
    found = _open.get()
    if found is not None:
        found.append(condition)
