"""Max and average pooling over images, and their adjoints.

Max pooling pads with -inf, gives ties to the first maximum in row-major order of the window, and
lets a NaN win. Its adjoint sends a cotangent to the winner's place; the adjoint of that one,
``max_pool2d_select``, reads there, so the three are closed under differentiation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphc import dims, ir
from graphc.dims import Dim, Shape
from graphc.errors import DtypeError, ShapeError
from graphc.ir import Attrs, Cotangents, Differentiate, Floats, Node, Op, TensorType
from graphc.ops.conv import Pads, Pair, channel_hint, check_exact

Gradients = tuple[Node | None, ...]
_RANK = 4


@dataclass(frozen=True, slots=True)
class Pool:
    """How pooling windows move over images.

    Attributes:
        kernel: (KH, KW) in elements.
        stride: (SH, SW) in elements.
        padding: ((top, bottom), (left, right)) in elements.
        ceil_mode: count a last window that starts inside the image or its left padding.
        count_include_pad: an average divides by the padded window, not by its real elements.
        exact: a remainder of the size formula is an error.
    """

    kernel: Pair
    stride: Pair
    padding: Pads = ((0, 0), (0, 0))
    ceil_mode: bool = False
    count_include_pad: bool = True
    exact: bool = False


def pooling(node: Node) -> Pool:
    """Return a node's pool."""
    made: Pool = node.attrs["pool"]
    return made


def output_extent(extent: Dim, pool: Pool, axis: int) -> Dim:
    """Return how many windows stand along an axis (0 for H, 1 for W)."""
    (low, high), k, s = pool.padding[axis], pool.kernel[axis], pool.stride[axis]
    if not pool.ceil_mode:
        return dims.window_count(dims.add(extent, low, high), k, s)
    # The last window may not start in the right padding (the rule of PyTorch and Caffe): of the
    # counts ceil((padded - k) / s) + 1 and ceil((extent + low) / s), the smaller.
    return dims.ceil_divide(dims.add(extent, low + min(high - k + s, 0)), s)


def _images(name: str, x: Node, pool: Pool) -> Shape:
    rows = [(x.label, str(x.type), "N C H W")]
    if len(x.shape) != _RANK:
        raise ShapeError(f"{name}: takes images (N, C, H, W)", rows=rows, hint=channel_hint(x))
    if not x.tensor.is_float:
        raise DtypeError(
            f"{name}: does not take {x.dtype}", rows=rows, hint='.astype("float32") first'
        )
    found = []
    for axis, letter in enumerate("HW"):
        extent, k, pads = x.shape[2 + axis], pool.kernel[axis], pool.padding[axis]
        padded = dims.add(extent, *pads)
        where = ir.current_note().where
        if not dims.require_at_least(padded, k, f"{name}: the window fits the image", where):
            raise ShapeError(
                f"{name}: a window of {k} does not fit into {dims.text(padded)} "
                f"(axis {letter}, padding included)",
                rows=rows,
                hint="add padding, or take a smaller window",
            )
        if pool.exact:
            check_exact(name, extent, k, pool.stride[axis], pads, rows)
        found.append(output_extent(extent, pool, axis))
    return (*x.shape[:2], *found)


def _pool_type(name: str) -> ir.Infer:
    def infer(inputs: Sequence[Node], attrs: Attrs) -> TensorType:
        (x,) = inputs
        return TensorType(x.dtype, _images(name, x, attrs["pool"]))

    return infer


def _agree(name: str, v: Node, expected: Shape) -> None:
    where = ir.current_note().where
    if len(v.shape) != _RANK or not all(
        dims.require_equal(a, b, f"{name}: sizes agree", where)
        for a, b in zip(v.shape, expected, strict=True)
    ):
        raise ShapeError(
            f"{name}: {v.label} should be {dims.shape_text(expected)}",
            rows=[(v.label, str(v.type))],
        )


# ---------------------------------------------------------------- max


def _max_derivative(node: Node, cotangents: Cotangents, _: Differentiate) -> Gradients:
    (g,) = cotangents
    x = node.inputs[0]
    return (None if g is None else max_pool2d_adjoint(x, g, pooling(node)),)


MAX_POOL2D = Op(
    "max_pool2d",
    _pool_type("max_pool2d"),
    _max_derivative,
    Floats.EXACT,
    "y[n, c, i, j] = max over the window of x",
    "dL/dx = dL/dy at each window's first maximum, 0 elsewhere",
)


def max_pool2d(x: Node, pool: Pool) -> Node:
    """Take the largest of each window.

    Shapes: x (N, C, H, W) -> (N, C, OH, OW)
    Errors: ShapeError, DtypeError
    """
    return ir.apply(MAX_POOL2D, (x,), {"pool": pool})


def _max_adjoint_type(inputs: Sequence[Node], attrs: Attrs) -> TensorType:
    x, g = inputs
    _agree("max_pool2d_adjoint", g, _images("max_pool2d_adjoint", x, attrs["pool"]))
    return x.tensor


def _max_adjoint_derivative(node: Node, cotangents: Cotangents, _: Differentiate) -> Gradients:
    (v,) = cotangents
    x = node.inputs[0]
    return (None, None if v is None else max_pool2d_select(x, v, pooling(node)))


MAX_POOL2D_ADJOINT = Op(
    "max_pool2d_adjoint",
    _max_adjoint_type,
    _max_adjoint_derivative,
    Floats.SUM,
    "x'[place of the maximum of window i, j] += g[n, c, i, j]",
    "dL/dg = dL/dx' at each window's first maximum",
)


def max_pool2d_adjoint(x: Node, g: Node, pool: Pool) -> Node:
    """Send each window's cotangent to the place of its maximum in x.

    Shapes: x (N, C, H, W), g (N, C, OH, OW) -> (N, C, H, W)
    """
    return ir.apply(MAX_POOL2D_ADJOINT, (x, g), {"pool": pool})


def _max_select_type(inputs: Sequence[Node], attrs: Attrs) -> TensorType:
    x, v = inputs
    _agree("max_pool2d_select", v, x.shape)
    return TensorType(v.dtype, _images("max_pool2d_select", x, attrs["pool"]))


def _max_select_derivative(node: Node, cotangents: Cotangents, _: Differentiate) -> Gradients:
    (g,) = cotangents
    x = node.inputs[0]
    return (None, None if g is None else max_pool2d_adjoint(x, g, pooling(node)))


MAX_POOL2D_SELECT = Op(
    "max_pool2d_select",
    _max_select_type,
    _max_select_derivative,
    Floats.EXACT,
    "y[n, c, i, j] = v[place of the maximum of window i, j of x]",
    "dL/dv = max_pool2d_adjoint(x, dL/dy)",
)


def max_pool2d_select(x: Node, v: Node, pool: Pool) -> Node:
    """Read v where each window of x has its maximum (0 for a window that is all padding).

    Shapes: x and v (N, C, H, W) -> (N, C, OH, OW)
    """
    return ir.apply(MAX_POOL2D_SELECT, (x, v), {"pool": pool})


# ---------------------------------------------------------------- average


def _average_derivative(node: Node, cotangents: Cotangents, _: Differentiate) -> Gradients:
    (g,) = cotangents
    size = node.inputs[0].shape[2:]
    return (None if g is None else avg_pool2d_adjoint(g, size, pooling(node)),)


AVG_POOL2D = Op(
    "avg_pool2d",
    _pool_type("avg_pool2d"),
    _average_derivative,
    Floats.SUM,
    "y[n, c, i, j] = mean over the window of x",
    "dL/dx = dL/dy / n, spread over each window",
)


def avg_pool2d(x: Node, pool: Pool) -> Node:
    """Take the mean of each window.

    Shapes: x (N, C, H, W) -> (N, C, OH, OW)
    Errors: ShapeError, DtypeError
    """
    return ir.apply(AVG_POOL2D, (x,), {"pool": pool})


def _average_adjoint_type(inputs: Sequence[Node], attrs: Attrs) -> TensorType:
    (g,) = inputs
    pool: Pool = attrs["pool"]
    expected = tuple(output_extent(d, pool, axis) for axis, d in enumerate(attrs["size"]))
    _agree("avg_pool2d_adjoint", g, (*g.shape[:2], *expected))
    return TensorType(g.dtype, (*g.shape[:2], *attrs["size"]))


def _average_adjoint_derivative(node: Node, cotangents: Cotangents, _: Differentiate) -> Gradients:
    (v,) = cotangents
    return (None if v is None else avg_pool2d(v, pooling(node)),)


AVG_POOL2D_ADJOINT = Op(
    "avg_pool2d_adjoint",
    _average_adjoint_type,
    _average_adjoint_derivative,
    Floats.SUM,
    "x'[n, c, h, w] = Σ g[n, c, i, j] / n over the windows that hold h, w",
    "dL/dg = avg_pool2d(dL/dx')",
)


def avg_pool2d_adjoint(g: Node, size: Shape, pool: Pool) -> Node:
    """Spread each window's cotangent evenly over the window.

    Shapes: g (N, C, OH, OW), size (H, W) -> (N, C, H, W)
    """
    return ir.apply(AVG_POOL2D_ADJOINT, (g,), {"pool": pool, "size": size})
