"""From what users write to what the strict IR takes: numbers, dtypes, shapes, axes.

Broadcasts and promotes; knows no mathematics.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import numpy.typing as npt
import sympy

from graphc import dims, ir
from graphc.dims import Dim, Shape
from graphc.dsl.location import public
from graphc.dsl.tensor import Tensor
from graphc.errors import DtypeError, GraphError, ShapeError, TensorUseError
from graphc.ir import Node
from graphc.ops import leaf, linear

_default: ContextVar[str] = ContextVar("graphc_default_dtype", default="float32")


@public
def default_dtype(dtype: str) -> AbstractContextManager[None]:
    """Make a float dtype the one that declarations and float arrays inside the block get."""
    chosen = dtype_of(dtype)
    if chosen not in ir.FLOATS:
        raise DtypeError(f"the default dtype is one of {', '.join(ir.FLOATS)}, not {chosen}")
    return _defaulting(chosen)


@contextmanager
def _defaulting(dtype: str) -> Iterator[None]:
    token = _default.set(dtype)
    try:
        yield
    finally:
        _default.reset(token)


def float_dtype() -> str:
    """Return the default float dtype."""
    return _default.get()


def dtype_of(dtype: Any) -> str:
    """Return the name of a dtype that a user wrote: a name, or what NumPy takes for one.

    Errors: DtypeError
    """
    name = dtype
    if isinstance(dtype, np.dtype | type):
        try:
            name = np.dtype(dtype).name
        except TypeError:
            name = dtype
    if not isinstance(name, str) or name not in ir.DTYPES:
        raise DtypeError(
            f"there is no dtype {dtype!r:.60}", hint="use one of " + ", ".join(ir.DTYPES)
        )
    return name


def float_or(dtype: Any) -> str:
    """Return a dtype that a user wrote, or the default float dtype for None."""
    return float_dtype() if dtype is None else dtype_of(dtype)


def shape_of(shape: Any) -> Shape:
    """Return the shape that a user wrote: a dimension, or a sequence of them.

    Errors: ShapeError
    """
    if isinstance(shape, Tensor):
        raise ShapeError(
            f"a shape is made of numbers and names, not of {shape!r}",
            hint="t.shape is a tensor's shape, t.shape[0] its first dimension",
        )
    if isinstance(shape, str) or not isinstance(shape, Sequence):
        shape = (shape,)
    return tuple(dims.parse(d) for d in shape)


def node_of(value: Any, dtype: str | None = None) -> Node:
    """Return the node of a tensor, or a constant of an array or number.

    Float arrays become the default float type unless ``dtype`` is given; a dimension becomes a
    scalar.
    """
    if isinstance(value, Tensor):
        return value.node
    if isinstance(value, sympy.Expr) and not value.is_number:
        if not all(s.is_integer for s in value.free_symbols):
            raise DtypeError(
                f"{value} is an expression of a formula, not a tensor",
                hint="in a formula use gx.scalar, as in gx.scalar.tanh(x)",
            )
        if not value.is_integer:
            raise ShapeError(
                f"{value} is not a whole number for all sizes, so it is no size",
                hint="divide the tensor instead, as in t / x.shape[0], or round down with //",
            )
        return leaf.size(dims.canonical(value), dtype or "int64")
    array = array_of(value)
    if array.dtype.kind == "f" and dtype is None:
        dtype = float_dtype()
    return leaf.constant(array, dtype)


def array_of(value: Any) -> npt.NDArray[Any]:
    """Return what a user wrote as an array of numbers.

    Errors: DtypeError
    """
    try:
        array = np.asarray(value)
    except TensorUseError:
        raise DtypeError(
            f"a list of tensors is no tensor: {value!r:.60}",
            hint="gx.stack joins tensors along a new axis, gx.concatenate along one they have",
        ) from None
    except (TypeError, ValueError) as error:
        why = "its rows differ in length" if "inhomogeneous" in str(error) else str(error)
        raise DtypeError(f"{value!r:.60} is no array: {why}") from None
    if array.dtype.kind not in "biuf":
        raise DtypeError(f"a tensor, an array or a number is wanted, not {value!r:.60}")
    return array


def number(what: str, value: Any, dtype: str | None = None) -> Any:
    """Return a plain number, which a dtype of integers (if one is given) has to hold.

    Errors: DtypeError
    """
    if not isinstance(value, int | float | np.number | np.bool_):
        raise DtypeError(f"{what} is a number, not {value!r:.60}")
    held = value.item() if isinstance(value, np.generic) else value
    if dtype is not None and dtype not in ir.FLOATS and held != int(held):
        raise DtypeError(f"{what} is {held!r}, which {dtype} does not hold")
    return held


def whole(what: str, value: Any) -> int:
    """Return a whole number; True is none, and neither is 3.0.

    Errors: ShapeError
    """
    try:
        if not isinstance(value, bool | Tensor):
            return operator.index(value)
    except TypeError:
        pass
    raise ShapeError(f"{what} is a whole number, not {value!r:.60}")


def several(name: str, values: Any) -> list[Any]:
    """Return the items of a list of tensors.

    Errors: GraphError
    """
    try:
        if not isinstance(values, str | Tensor | Mapping):
            return list(values)
    except TypeError:
        pass
    raise GraphError(f"{name}: takes a list of tensors, not {values!r:.60}")


def by_tensor(name: str, table: Any) -> dict[Tensor, Any]:
    """Return a dict whose keys are tensors.

    Errors: GraphError
    """
    if not isinstance(table, Mapping) or not all(isinstance(k, Tensor) for k in table):
        raise GraphError(f"{name}: takes a dict with tensors as keys, not {table!r:.60}")
    return dict(table)


def operands(name: str, *values: Any) -> tuple[Node, ...]:
    """Return nodes of one shape and dtype for the operands of an elementwise function."""
    nodes = same_dtype(name, *values)
    shape = broadcast_shape(name, nodes)
    return tuple(linear.broadcast_to(n, _target(n, shape)) for n in nodes)


def _target(node: Node, shape: Shape) -> Shape:
    """Return the shape with a node's own spelling of dimensions that are equal but undecided."""
    lead = len(shape) - len(node.shape)
    own = [d if d != 1 else shape[lead + i] for i, d in enumerate(node.shape)]
    return (*shape[:lead], *own)


def same_dtype(name: str, *values: Any) -> tuple[Node, ...]:
    """Return nodes of one dtype; plain numbers take the dtype of the tensors beside them."""
    typed = [v for v in values if not _is_number(v)]
    nodes = [node_of(v) for v in typed]
    dtype = promoted(name, nodes) if nodes else None
    result = []
    for value in values:
        if not _is_number(value):
            result.append(linear.cast(nodes.pop(0), dtype) if dtype else nodes.pop(0))
            continue
        result.append(leaf.constant(value, _number_dtype(value, dtype)))
        dtype = dtype or result[-1].dtype
    final = promoted(name, result)
    return tuple(linear.cast(n, final) for n in result)


def _is_number(value: Any) -> bool:
    return isinstance(value, bool | int | float) and not isinstance(value, np.generic)


def _number_dtype(value: float, beside: str | None) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return beside if beside and beside != "bool" else "int64"
    return beside if beside in ir.FLOATS else float_dtype()


def promoted(name: str, nodes: Sequence[Node]) -> str:
    """Return the dtype that several have in common.

    An integer with a float gives the float's dtype, float32 with float64 gives float64.
    """
    found = {n.dtype for n in nodes}
    floats = sorted(found & set(ir.FLOATS))
    if floats:
        return floats[-1]
    result = np.result_type(*sorted(found)).name
    if result not in ir.DTYPES or (result in ir.FLOATS):
        raise DtypeError(
            f"{name}: no integer dtype holds both {' and '.join(sorted(found))}",
            rows=[(n.label, str(n.type)) for n in nodes],
            hint="cast one of them with .astype",
        )
    return result


def broadcast_shape(name: str, nodes: Sequence[Node], kept: int = 0) -> Shape:
    """Return the shape that several broadcast to, their last ``kept`` axes left out.

    A named dimension is never repeated.

    Errors: ShapeError with all shapes
    """
    shapes = [n.shape[: len(n.shape) - kept] for n in nodes]
    rank = max(map(len, shapes))
    result: list[Dim] = [1] * rank
    for shape in shapes:
        for i, d in enumerate(shape, start=rank - len(shape)):
            if result[i] == 1:
                result[i] = d
            elif d != 1 and dims.equal(result[i], d) is False:
                raise ShapeError(
                    f"{name}: {dims.text(result[i])} and {dims.text(d)} elements do not fit "
                    f"together at axis {i - rank - kept}",
                    rows=[(n.label, str(n.type)) for n in nodes],
                    hint=_broadcast_hint(nodes),
                )
    return tuple(result)


def _broadcast_hint(nodes: Sequence[Node]) -> str | None:
    shapes = [n.shape for n in nodes]
    if len(shapes) == 2 and len(shapes[0]) == len(shapes[1]) and shapes[0] == shapes[1][::-1]:
        return "transpose one of them with .T"
    return "shapes align at their last axes; only axes of length 1 repeat"


def axis_of(name: str, axis: Any, rank: int) -> int:
    """Return an axis counted from the front.

    Errors: ShapeError
    """
    place = whole(f"{name}: an axis", axis)
    if not -rank <= place < rank:
        raise ShapeError(f"{name}: there is no axis {place} in a tensor of {rank} axes")
    return place % rank


def axes_of(name: str, axis: Any, rank: int) -> tuple[int, ...]:
    """Return axes counted from the front, sorted; all of them for None."""
    if axis is None:
        return tuple(range(rank))
    given = axis if isinstance(axis, Sequence) else (axis,)
    found = tuple(sorted(axis_of(name, a, rank) for a in given))
    if len(set(found)) != len(found):
        raise ShapeError(f"{name}: an axis occurs twice in {tuple(given)}")
    return found


def pair(name: str, value: Any) -> tuple[int, int]:
    """Return (down, across) from one number or two.

    Errors: ShapeError
    """
    given = value if isinstance(value, tuple | list) else (value, value)
    if len(given) != 2:
        raise ShapeError(f"{name}: one whole number or a pair of them, not {value!r:.60}")
    return whole(name, given[0]), whole(name, given[1])
