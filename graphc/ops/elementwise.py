"""Elementwise functions: formulas over the scalar primitives, one line each, and their op.

Derivative, LaTeX and code all come from a formula's one line; a new activation touches nothing
else. How a user's formula is tried out stands in `probe`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import sympy

from graphc import dims, ir
from graphc.errors import DtypeError, FormulaError, ShapeError
from graphc.ir import Attrs, Cotangents, Differentiate, Floats, Node, Op, TensorType
from graphc.ops import leaf, linear, scalar
from graphc.ops.scalar import Argument, Number, Tree

RESULT = sympy.Symbol("y", real=True)


@dataclass(frozen=True, slots=True)
class Formula:
    """A named expression of arguments.

    Attributes:
        name: what code, pictures and errors call it.
        arguments: its symbols, in order.
        expr: the expression, in sympy over `graphc.ops.scalar`.
        partials: derivatives by each argument, in the arguments and ``RESULT``, if given by hand.
    """

    name: str
    arguments: tuple[sympy.Symbol, ...]
    expr: sympy.Expr
    partials: tuple[sympy.Expr, ...] | None = None

    @property
    def tree(self) -> Tree:
        """The expression as a tree of scalar primitives, which is what back ends run."""
        return scalar.tree_of(self.expr, self.arguments)

    @property
    def text(self) -> str:
        """The canonical text of the formula."""
        return scalar.tree_text(self.tree, tuple(map(str, self.arguments)))

    def partial(self, i: int) -> sympy.Expr:
        """Return the derivative by argument i, over the arguments and ``RESULT``."""
        return _partial(self, i)


def symbols(count: int) -> tuple[sympy.Symbol, ...]:
    """Return the symbols that formulas of ``count`` arguments use."""
    names = ("x",) if count == 1 else tuple(f"x{i}" for i in range(count))
    return tuple(sympy.Symbol(n, real=True) for n in names)


def formula(
    name: str,
    definition: Callable[..., Any],
    arity: int,
    derivative: Callable[..., Any] | None = None,
) -> Formula:
    """Return the formula of a Python function of sympy expressions.

    ``derivative(*arguments, y)`` gives the partial derivatives (one, or a tuple) by hand.
    """
    arguments = symbols(arity)
    expr = _expression(name, "the formula", _written(name, "the formula", definition, arguments))
    partials = None
    if derivative is not None:
        given = _written(name, "derivative=", derivative, (*arguments, RESULT))
        given = given if isinstance(given, tuple) else (given,)
        partials = tuple(_expression(name, "derivative=", p) for p in given)
        if len(partials) != arity:
            raise FormulaError(f"{name}: {len(partials)} derivatives for {arity} arguments")
    made = Formula(name, arguments, expr, partials)
    try:
        made.tree  # noqa: B018  (a formula that is none fails here, at its definition)
    except FormulaError as error:
        error.message = f"{name}: {error.message}"
        raise
    return made


def arity_of(name: str, what: str, definition: Callable[..., Any]) -> int:
    """Return how many arguments a formula's Python function takes.

    Errors: FormulaError for a function of no, of optional or of any number of arguments
    """
    if not callable(definition):
        raise FormulaError(f"{name}: {what} is a function, not {definition!r:.60}")
    if isinstance(definition, type) and issubclass(definition, scalar.Scalar):
        return int(next(iter(definition.nargs)))
    try:
        parameters = inspect.signature(definition).parameters.values()
    except ValueError:
        raise FormulaError(f"{name}: the arguments of {definition!r:.60} are unknown") from None
    plain = [p for p in parameters if p.kind in _POSITIONAL and p.default is p.empty]
    odd = [str(p) for p in parameters if p not in plain]
    if odd or not plain:
        raise FormulaError(
            f"{name}: {what} takes tensors by position, and has "
            + (f"the argument {odd[0]}" if odd else "no argument"),
            hint="lambda x: …, one name an argument; write fixed numbers into the formula",
        )
    return len(plain)


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _written(
    name: str, what: str, function: Callable[..., Any], arguments: Sequence[sympy.Symbol]
) -> Any:
    """Return what a user's function of symbols gives."""
    count = arity_of(name, what, function)
    if count != len(arguments):
        raise FormulaError(
            f"{name}: {what} takes {count} arguments instead of {len(arguments)}: "
            + ", ".join(map(str, arguments))
        )
    try:
        return function(*arguments)
    except TypeError as error:  # math.exp, np.exp and their like take no symbols
        raise FormulaError(
            f"{name}: {what} does not take symbols: {error}", hint=scalar.WRITE_WITH
        ) from error


def _expression(name: str, what: str, value: Any) -> sympy.Expr:
    """Return a value as an expression of primitives."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = sympy.sympify(value)
    if not isinstance(value, sympy.Expr | sympy.core.relational.Relational):
        raise FormulaError(
            f"{name}: {what} gives {value!r:.60}, which is no expression", hint=scalar.WRITE_WITH
        )
    return canonical(value)


@cache
def _partial(formula: Formula, i: int) -> sympy.Expr:
    if formula.partials is not None:
        return formula.partials[i]
    derivative = formula.expr.diff(formula.arguments[i])
    return derivative.xreplace({formula.expr: RESULT})


_FOREIGN: dict[Any, Any] = {
    **{sympy.exp: scalar.exp, sympy.log: scalar.log, sympy.tanh: scalar.tanh},
    **{sympy.sin: scalar.sin, sympy.cos: scalar.cos, sympy.atan: scalar.atan},
    **{sympy.erf: scalar.erf, sympy.Abs: scalar.abs, sympy.sign: scalar.sign},
    **{sympy.floor: scalar.floor, sympy.StrictLessThan: scalar.less},
    sympy.LessThan: scalar.less_equal,
    sympy.StrictGreaterThan: lambda a, b: scalar.less(b, a),
    sympy.GreaterThan: lambda a, b: scalar.less_equal(b, a),
    sympy.Max: lambda *a: _fold(scalar.maximum, a),
    sympy.Min: lambda *a: _fold(scalar.minimum, a),
}


def canonical(expr: sympy.Expr) -> sympy.Expr:
    """Return an expression with sympy's own functions replaced by the primitives."""
    if isinstance(expr, sympy.Piecewise):
        return _pieces(expr)
    if not expr.args:
        return expr
    if expr.is_Pow and expr.base == sympy.E:
        return scalar.exp(canonical(expr.exp))
    args = [canonical(a) for a in expr.args]
    function = _FOREIGN.get(expr.func)
    if function is None and all(a is b for a, b in zip(args, expr.args, strict=True)):
        return expr
    return (function or expr.func)(*args)


def _fold(function: Any, args: Sequence[sympy.Expr]) -> sympy.Expr:
    ordered = sorted(args, key=sympy.default_sort_key)
    value = ordered[0]
    for arg in ordered[1:]:
        value = function(value, arg)
    return value


def _pieces(expr: sympy.Piecewise) -> sympy.Expr:
    value = None
    for piece, condition in reversed(expr.args):
        if value is None and condition != sympy.true:
            raise FormulaError("a Piecewise needs a last piece for all other values")
        chosen = canonical(piece)
        value = chosen if value is None else scalar.where(canonical(condition), chosen, value)
    return value


def _infer(inputs: Sequence[Node], attrs: Attrs) -> TensorType:
    made: Formula = attrs["formula"]
    if len(inputs) != len(made.arguments):
        raise FormulaError(f"{made.name}: {len(inputs)} arguments instead of {len(made.arguments)}")
    first = inputs[0].tensor
    for node in inputs[1:]:
        if node.shape != first.shape and not _same_shape(node, inputs[0], made.name):
            rows = [(n.label, str(n.type)) for n in inputs]
            raise ShapeError(f"{made.name}: the shapes differ", rows=rows)
    try:
        dtype = _result_dtype(made, tuple(n.dtype for n in inputs))
    except DtypeError as error:
        rows = [(n.label, str(n.type)) for n in inputs]
        said = error.message.startswith(f"{made.name} ")
        message = error.message if said else f"{made.name}: {error.message}"
        raise DtypeError(message, rows=rows, hint=error.hint) from None
    return TensorType(dtype, first.shape)


@cache
def _result_dtype(made: Formula, dtypes: tuple[str, ...]) -> str:
    return scalar.result_dtype(made.tree, dtypes)


def _same_shape(a: Node, b: Node, name: str) -> bool:
    if len(a.shape) != len(b.shape):
        return False
    where = ir.current_note().where
    return all(
        dims.require_equal(m, n, f"{name}: {a.label} and {b.label} have one shape", where)
        for m, n in zip(a.shape, b.shape, strict=True)
    )


def _derivative(
    node: Node, cotangents: Cotangents, differentiate: Differentiate
) -> tuple[Node | None, ...]:
    made: Formula = node.attrs["formula"]
    (g,) = cotangents
    if g is None:
        return (None,) * len(node.inputs)
    return tuple(
        _times(g, made.partial(i), node, i) if x.tensor.is_float else None
        for i, x in enumerate(node.inputs)
    )


def _times(g: Node, partial: sympy.Expr, node: Node, i: int) -> Node | None:
    """Return ``g * partial`` at a node; where the partial chooses, so does the product."""
    made: Formula = node.attrs["formula"]
    if partial == 0:
        return None
    if partial == 1:
        return g
    if partial == -1:
        return apply(NEGATIVE, g)
    values = dict(zip((*made.arguments, RESULT), (*node.inputs, node), strict=True))
    if partial in values:
        return apply(MULTIPLY, g, values[partial])
    if partial.is_Number:
        return apply(MULTIPLY, g, filled(float(partial), g))
    suffix = "'" if len(node.inputs) == 1 else f"'{i}"
    used = [s for s in values if partial.has(s)]
    if isinstance(partial, scalar.where):
        factor = _fresh("g", used)
        chosen = _local(f"{made.name}{suffix}", (factor, *used), _distribute(factor, partial))
        return apply(chosen, g, *(values[s] for s in used))
    local = _local(f"{made.name}{suffix}", tuple(used), partial)
    return apply(MULTIPLY, g, apply(local, *(values[s] for s in used)))


def _local(name: str, arguments: tuple[sympy.Symbol, ...], expr: sympy.Expr) -> Formula:
    """Return a formula in which the value of another, an argument here, is no longer RESULT."""
    value = _fresh("v", arguments)
    renamed = tuple(value if s == RESULT else s for s in arguments)
    return Formula(name, renamed, expr.xreplace({RESULT: value}))


def _fresh(letter: str, taken: Sequence[sympy.Symbol]) -> sympy.Symbol:
    names = (letter, *(f"{letter}{k}" for k in range(len(taken))))
    return next(s for s in (sympy.Symbol(n, real=True) for n in names) if s not in taken)


def _distribute(factor: sympy.Symbol, expr: sympy.Expr) -> sympy.Expr:
    if isinstance(expr, scalar.where):
        condition, then, other = expr.args
        return scalar.where(condition, _distribute(factor, then), _distribute(factor, other))
    return factor * expr


def filled(value: float, like: Node) -> Node:
    """Return a tensor of one number, with another's type."""
    return linear.broadcast_to(leaf.constant(value, like.dtype), like.shape)


ELEMENTWISE = Op(
    "elementwise", _infer, _derivative, Floats.ROUNDED, "y = f(x)", "dL/dx = dL/dy ⊙ f'(x)"
)


def apply(made: Formula, *inputs: Node) -> Node:
    """Apply a formula to tensors of one shape.

    Errors: ShapeError, DtypeError
    """
    return ir.apply(ELEMENTWISE, inputs, {"formula": made})


def is_formula(node: Node, made: Formula) -> bool:
    """Tell whether a node applies this formula."""
    return node.op is ELEMENTWISE and node.attrs["formula"] == made


def floats_of(made: Formula) -> tuple[Floats, int]:
    """Return the float class of a formula, and the largest ULP bound of its primitives."""
    ulp = max((scalar.PRIMITIVES[n].ulp for n in _primitive_names(made.tree)), default=0)
    return (Floats.ROUNDED if ulp else Floats.EXACT), ulp


def _primitive_names(tree: Tree) -> set[str]:
    if isinstance(tree, Argument | Number):
        return set()
    return {tree.name}.union(*(_primitive_names(a) for a in tree.args))


_where, _HALF = scalar.where, sympy.Rational(1, 2)


def _plus(a: sympy.Expr, b: sympy.Expr) -> sympy.Expr:
    """Return a + b; sympy's own first sum would import 70 ms of tensors and permutations."""
    return sympy.Add(a, b, evaluate=False)


def _unary(name: str, definition: Callable[..., Any] | None = None) -> Formula:
    return formula(name, definition or scalar.FUNCTIONS[name], 1)


def _binary(name: str, definition: Callable[..., Any] | None = None) -> Formula:
    return formula(name, definition or scalar.FUNCTIONS[name], 2)


ADD = _binary("add", _plus)
SUBTRACT = _binary("subtract", lambda a, b: _plus(a, -b))
MULTIPLY = _binary("multiply", lambda a, b: a * b)
# Quotients are derived through their own value: b ** 2 would overflow where a / b does not.
DIVIDE = formula("divide", lambda a, b: a / b, 2, lambda a, b, y: (1 / b, -y / b))
NEGATIVE = _unary("negative", lambda x: -x)
SQUARE = _unary("square", lambda x: x**2)
RECIPROCAL = formula("reciprocal", lambda x: 1 / x, 1, lambda x, y: -(y**2))
FLOOR_DIVIDE = _binary("floor_divide")
REMAINDER = _binary("remainder")
POW = _binary("pow")
EQUAL, NOT_EQUAL = _binary("equal"), _binary("not_equal")
LESS, LESS_EQUAL = _binary("less"), _binary("less_equal")
GREATER = _binary("greater", lambda a, b: scalar.less(b, a))
GREATER_EQUAL = _binary("greater_equal", lambda a, b: scalar.less_equal(b, a))
LOGICAL_AND, LOGICAL_OR = _binary("logical_and"), _binary("logical_or")
LOGICAL_NOT = _unary("logical_not")
WHERE = formula("where", scalar.where, 3)
MAXIMUM, MINIMUM = _binary("maximum"), _binary("minimum")
ABS, SIGN, FLOOR, SQRT = _unary("abs"), _unary("sign"), _unary("floor"), _unary("sqrt")
EXP, EXPM1, LOG, LOG1P = _unary("exp"), _unary("expm1"), _unary("log"), _unary("log1p")
TANH, SIGMOID, SOFTPLUS = _unary("tanh"), _unary("sigmoid"), _unary("softplus")
ERF, SIN, COS, ATAN = _unary("erf"), _unary("sin"), _unary("cos"), _unary("atan")
RELU = _unary("relu", lambda x: _where(scalar.less_equal(x, 0), 0, x))
LEAKY_RELU = _binary("leaky_relu", lambda x, a: _where(scalar.less(x, 0), a * x, x))
ELU = _binary("elu", lambda x, a: _where(scalar.less_equal(x, 0), a * scalar.expm1(x), x))
SILU = _unary("silu", lambda x: x * scalar.sigmoid(x))
GELU = _unary("gelu", lambda x: x * _plus(scalar.erf(x * sympy.Float(math.sqrt(0.5))) / 2, _HALF))

FORMULAS = {
    made.name: made
    for made in (
        *(ADD, SUBTRACT, MULTIPLY, DIVIDE, NEGATIVE, SQUARE, RECIPROCAL, FLOOR_DIVIDE, REMAINDER),
        *(POW, EQUAL, NOT_EQUAL, LESS, LESS_EQUAL, GREATER, GREATER_EQUAL, LOGICAL_AND),
        *(LOGICAL_OR, LOGICAL_NOT, WHERE, MAXIMUM, MINIMUM, ABS, SIGN, FLOOR, SQRT, EXP, EXPM1),
        *(LOG, LOG1P, TANH, SIGMOID, SOFTPLUS, ERF, SIN, COS, ATAN, RELU, LEAKY_RELU, ELU),
        *(SILU, GELU),
    )
}
