"""Reading and adding at places that integer tensors name.

A place lies in 0 … n - 1; others are errors: index inputs are checked when a call enters, computed
indices before any state is written.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc import dims, ir
from graphc.dims import Dim, Shape
from graphc.errors import DtypeError, ShapeError
from graphc.ir import Attrs, Cotangents, Differentiate, Floats, Node, Op, TensorType
from graphc.ops import elementwise, leaf, linear

Gradients = tuple[Node | None, ...]


def _check_index(name: str, index: Node) -> None:
    if index.dtype not in ir.INTEGERS:
        raise DtypeError(
            f"{name}: an index tensor holds integers, not {index.dtype}",
            rows=[(index.label, str(index.type))],
            hint='declare it with dtype="int64"',
        )


# ---------------------------------------------------------------- take and scatter_add


def _take_type(inputs: Sequence[Node], attrs: Attrs) -> TensorType:
    x, index = inputs
    axis: int = attrs["axis"]
    _check_index("take", index)
    if not 0 <= axis < len(x.shape):
        raise ShapeError(f"take: there is no axis {axis}", rows=[(x.label, str(x.type))])
    return TensorType(x.dtype, (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]))


def _take_derivative(node: Node, cotangents: Cotangents, _: Differentiate) -> Gradients:
    (g,) = cotangents
    if g is None:
        return (None, None)
    x, index = node.inputs
    zeros = elementwise.filled(0, x)
    return (scatter_add(zeros, index, g, node.attrs["axis"]), None)


TAKE = Op(
    "take",
    _take_type,
    _take_derivative,
    Floats.EXACT,
    "y[i…] = x[index[i…]] along an axis",
    "dL/dx = dL/dy added up at the places read",
)


def take(x: Node, index: Node, axis: int = 0) -> Node:
    """Read x at the places of an integer tensor along an axis.

    Shapes: x (A…, V, B…), index (I…) -> (A…, I…, B…)
    Errors: DtypeError, ShapeError; IndexRangeError at the call
    """
    return ir.apply(TAKE, (x, index), {"axis": axis})


def _scatter_type(inputs: Sequence[Node], attrs: Attrs) -> TensorType:
    base, index, values = inputs
    axis: int = attrs["axis"]
    _check_index("scatter_add", index)
    expected: Shape = (*base.shape[:axis], *index.shape, *base.shape[axis + 1 :])
    where = ir.current_note().where
    fits = len(values.shape) == len(expected) and all(
        dims.require_equal(a, b, "scatter_add: values fit the index", where)
        for a, b in zip(values.shape, expected, strict=True)
    )
    rows = [(n.label, str(n.type)) for n in inputs]
    if not fits:
        raise ShapeError(
            f"scatter_add: the values should be {dims.shape_text(expected)}", rows=rows
        )
    if values.dtype != base.dtype or base.dtype == "bool":
        raise DtypeError(f"scatter_add: does not add {values.dtype} to {base.dtype}", rows=rows)
    return base.tensor


def _scatter_derivative(node: Node, cotangents: Cotangents, _: Differentiate) -> Gradients:
    (g,) = cotangents
    if g is None:
        return (None, None, None)
    return (g, None, take(g, node.inputs[1], node.attrs["axis"]))


SCATTER_ADD = Op(
    "scatter_add",
    _scatter_type,
    _scatter_derivative,
    Floats.SUM,
    "y = base; y[index[i…]] += values[i…]",
    "dL/dbase = dL/dy, dL/dvalues = dL/dy read at the places",
)


def scatter_add(base: Node, index: Node, values: Node, axis: int = 0) -> Node:
    """Add values into a copy of base at the places of an integer tensor; places may repeat.

    Shapes: base (A…, V, B…), index (I…), values (A…, I…, B…) -> (A…, V, B…)
    """
    return ir.apply(SCATTER_ADD, (base, index, values), {"axis": axis})


# ---------------------------------------------------------------- pick and one_hot


def _pick_type(inputs: Sequence[Node], attrs: Attrs) -> TensorType:
    x, index = inputs
    _check_index("pick", index)
    where = ir.current_note().where
    fits = len(x.shape) == len(index.shape) + 1 and all(
        dims.require_equal(a, b, "pick: one index an element", where)
        for a, b in zip(x.shape, index.shape, strict=False)
    )
    if not fits:
        raise ShapeError(
            "pick: the index has the tensor's shape without its last axis",
            rows=[(n.label, str(n.type)) for n in inputs],
        )
    return TensorType(x.dtype, index.shape)


def _pick_derivative(node: Node, cotangents: Cotangents, _: Differentiate) -> Gradients:
    (g,) = cotangents
    if g is None:
        return (None, None)
    x, index = node.inputs
    hot = one_hot(index, x.shape[-1], x.dtype)
    spread = linear.spread(g, x, (len(x.shape) - 1,))
    return (elementwise.apply(elementwise.MULTIPLY, spread, hot), None)


PICK = Op(
    "pick",
    _pick_type,
    _pick_derivative,
    Floats.EXACT,
    "y[i…] = x[i…, index[i…]]",
    "dL/dx = dL/dy ⊗ one_hot(index)",
)


def pick(x: Node, index: Node) -> Node:
    """Read one element of each row.

    Shapes: x (I…, V), index (I…) -> (I…)
    """
    return ir.apply(PICK, (x, index), {})


def _one_hot_type(inputs: Sequence[Node], attrs: Attrs) -> TensorType:
    (index,) = inputs
    _check_index("one_hot", index)
    return TensorType(attrs["dtype"], (*index.shape, attrs["depth"]))


ONE_HOT = Op(
    "one_hot", _one_hot_type, leaf.no_gradient, Floats.EXACT, "y[i…, v] = 1 if v = index[i…] else 0"
)


def one_hot(index: Node, depth: Dim, dtype: str) -> Node:
    """Return rows of zeros with a one at each index.

    Shapes: index (I…) -> (I…, depth)
    """
    return ir.apply(ONE_HOT, (index,), {"depth": depth, "dtype": dtype})


def index_and_range(node: Node) -> tuple[Node, Dim] | None:
    """Return the index tensor that a node reads, and the length that its places stay below."""
    if node.op in (TAKE, SCATTER_ADD):
        return node.inputs[1], node.inputs[0].shape[node.attrs["axis"]]
    if node.op is PICK:
        return node.inputs[1], node.inputs[0].shape[-1]
    if node.op is ONE_HOT:
        return node.inputs[0], node.attrs["depth"]
    return None
