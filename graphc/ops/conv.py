"""Two-dimensional cross-correlation and its two adjoints.

The three are bilinear and closed under differentiation: the derivative of each is made of the
others. Images are (N, C, H, W), filters (M, C / groups, KH, KW).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphc import dims, ir
from graphc.dims import Dim, Shape
from graphc.errors import DtypeError, Row, ShapeError
from graphc.ir import Attrs, Cotangents, Differentiate, Floats, Node, Op, TensorType

Pair = tuple[int, int]
Pads = tuple[Pair, Pair]
_RANK = 4


@dataclass(frozen=True, slots=True)
class Window:
    """How filters move over images.

    Units: stride, padding ((top, bottom), (left, right)) and dilation in elements. With ``exact``
        a remainder of the size formula is an error.
    """

    stride: Pair = (1, 1)
    padding: Pads = ((0, 0), (0, 0))
    dilation: Pair = (1, 1)
    groups: int = 1
    exact: bool = False


def window(node: Node) -> Window:
    """Return a node's window."""
    made: Window = node.attrs["window"]
    return made


def channel_hint(x: Node) -> str | None:
    """Return what to try with images that are no (N, C, H, W)."""
    return "x[:, None] adds the axis C" if len(x.shape) == 3 else None


def output_extent(extent: Dim, kernel: int, stride: int, pads: Pair, dilation: int) -> Dim:
    """Return ``floor((H + pt + pb - d(k-1) - 1) / s) + 1``."""
    reach = dilation * (kernel - 1) + 1
    return dims.window_count(dims.add(extent, *pads), reach, stride)


def extent_formula(extent: Dim, kernel: int, stride: int, pads: Pair, dilation: int) -> str:
    """Return the size formula with the numbers in it, for errors and explanations."""
    reach = "" if dilation == 1 else f"{dilation}*"
    result = dims.text(output_extent(extent, kernel, stride, pads, dilation))
    return (
        f"floor(({dims.text(extent)} + {pads[0]} + {pads[1]} - {reach}({kernel} - 1) - 1)"
        f" / {stride}) + 1 = {result}"
    )


def check_exact(
    name: str, extent: Dim, reach: int, stride: int, pads: Pair, rows: Sequence[Row]
) -> None:
    """Raise if windows leave a remainder.

    Errors: ShapeError, with the numbers
    """
    room = dims.add(extent, *pads, -reach)
    left = dims.add(room, dims.multiply(-stride, dims.floor_divide(room, stride)))
    where = ir.current_note().where
    if not dims.require_equal(left, 0, f"{name}: exact=True leaves no remainder", where):
        raise ShapeError(
            f"{name}: doesn't fit: ({dims.text(extent)} + {pads[0]} + {pads[1]} - {reach}) / "
            f"{stride} leaves a remainder of {dims.text(left)}",
            rows=rows,
            hint="change padding or stride, or leave out exact=True to round down",
        )


def _check(x: Node, w: Node, win: Window, rows: Sequence[Row]) -> None:
    if len(x.shape) != _RANK or len(w.shape) != _RANK:
        raise ShapeError(
            "conv2d: takes images (N, C, H, W), filters (M, C, KH, KW)",
            rows=rows,
            hint=channel_hint(x),
        )
    if x.dtype != w.dtype or not x.tensor.is_float:
        raise DtypeError(f"conv2d: does not take {x.dtype} with {w.dtype}", rows=rows)
    if any(not isinstance(d, int) for d in (x.shape[1], *w.shape)):
        raise ShapeError("conv2d: channels and kernels have sizes of numbers", rows=rows)
    channels, expected = x.shape[1], dims.multiply(w.shape[1], win.groups)
    if channels != expected:
        grouped = f" ({w.shape[1]} in each of {win.groups} groups)" if win.groups > 1 else ""
        raise ShapeError(
            f"conv2d: the input has {channels} channels, the filters expect {expected}{grouped}",
            rows=rows,
            hint=f"declare the filters with C = {int(channels) // win.groups}"
            if int(channels) % win.groups == 0
            else f"{channels} channels do not divide into {win.groups} groups",
        )
    if int(w.shape[0]) % win.groups:
        raise ShapeError(
            f"conv2d: {w.shape[0]} filters do not divide into {win.groups} groups", rows=rows
        )


def _extents(size: Shape, kernel: Shape, win: Window, rows: Sequence[Row]) -> Shape:
    """Return (OH, OW), or raise with the formula and its numbers."""
    found = []
    for axis, letter in enumerate("HW"):
        arguments = (
            size[axis],
            int(kernel[axis]),
            win.stride[axis],
            win.padding[axis],
            win.dilation[axis],
        )
        reach = win.dilation[axis] * (int(kernel[axis]) - 1) + 1
        padded = dims.add(size[axis], *win.padding[axis])
        where = ir.current_note().where
        fits = dims.require_at_least(padded, reach, "conv2d: the kernel fits the image", where)
        if not fits or int(kernel[axis]) < 1:
            spread = f", spread over {reach}," if win.dilation[axis] > 1 else ""
            raise ShapeError(
                f"conv2d: a kernel of {kernel[axis]}{spread} does not fit into "
                f"{dims.text(padded)} (axis {letter}, padding included)",
                rows=[*rows, (f"O{letter}", extent_formula(*arguments))],
                hint="add padding, or take a smaller kernel",
            )
        if win.exact:
            check_exact("conv2d", size[axis], reach, win.stride[axis], win.padding[axis], rows)
        found.append(output_extent(*arguments))
    return tuple(found)


def _conv2d_type(inputs: Sequence[Node], attrs: Attrs) -> TensorType:
    x, w = inputs
    win: Window = attrs["window"]
    rows = [(x.label, str(x.type), "N C H W"), (w.label, str(w.type), "M C KH KW")]
    _check(x, w, win, rows)
    extents = _extents(x.shape[2:], w.shape[2:], win, rows)
    return TensorType(x.dtype, (x.shape[0], w.shape[0], *extents))


def _conv2d_derivative(
    node: Node, cotangents: Cotangents, differentiate: Differentiate
) -> tuple[Node | None, ...]:
    (g,) = cotangents
    if g is None:
        return (None, None)
    x, w = node.inputs
    win = window(node)
    return (
        conv2d_input_adjoint(g, w, x.shape[2:], win),
        conv2d_filter_adjoint(x, g, w.shape[2:], win),
    )


def _cost(node: Node) -> Dim:
    # Every output of the convolution itself gathers C / groups * KH * KW products.
    images, filters = {
        "conv2d": (node, node.inputs[-1]),
        "conv2d_input_adjoint": (node.inputs[0], node.inputs[-1]),
        "conv2d_filter_adjoint": (node.inputs[-1], node),
    }[node.op.name]
    return dims.multiply(images.tensor.size, *filters.shape[1:])


CONV2D = Op(
    "conv2d",
    _conv2d_type,
    _conv2d_derivative,
    Floats.SUM,
    "y[n, m, i, j] = Σ_{c,k,l} x[n, c, s·i + d·k − p, s·j + d·l − p] w[m, c, k, l]",
    "dL/dx = conv2d_input_adjoint(dL/dy, w), dL/dw = conv2d_filter_adjoint(x, dL/dy)",
    _cost,
)


def conv2d(x: Node, w: Node, win: Window) -> Node:
    """Cross-correlate images with a bank of filters.

    Shapes: x (N, C, H, W), w (M, C / groups, KH, KW) -> (N, M, OH, OW)
    Errors: ShapeError, with the size formula; DtypeError
    Source: Dumoulin & Visin 2016, relationship 6
    """
    return ir.apply(CONV2D, (x, w), {"window": win})


def _check_output(g: Node, expected: Shape, rows: Sequence[Row], name: str) -> None:
    where = ir.current_note().where
    agree = len(g.shape) == _RANK and all(
        dims.require_equal(a, b, f"{name}: sizes agree", where)
        for a, b in zip(g.shape[2:], expected, strict=True)
    )
    if not agree:
        raise ShapeError(
            f"{name}: the cotangent should end in {dims.shape_text(expected)}", rows=rows
        )


def _input_adjoint_type(inputs: Sequence[Node], attrs: Attrs) -> TensorType:
    g, w = inputs
    win: Window = attrs["window"]
    size: Shape = attrs["size"]
    rows = [(g.label, str(g.type), "N M OH OW"), (w.label, str(w.type), "M C KH KW")]
    _check_output(g, _extents(size, w.shape[2:], win, rows), rows, "conv2d_input_adjoint")
    return TensorType(g.dtype, (g.shape[0], dims.multiply(w.shape[1], win.groups), *size))


def _input_adjoint_derivative(
    node: Node, cotangents: Cotangents, differentiate: Differentiate
) -> tuple[Node | None, ...]:
    (v,) = cotangents
    if v is None:
        return (None, None)
    g, w = node.inputs
    win = window(node)
    return conv2d(v, w, win), conv2d_filter_adjoint(v, g, w.shape[2:], win)


CONV2D_INPUT_ADJOINT = Op(
    "conv2d_input_adjoint",
    _input_adjoint_type,
    _input_adjoint_derivative,
    Floats.SUM,
    "x[n, c, s·i + d·k − p, s·j + d·l − p] += g[n, m, i, j] w[m, c, k, l]",
    "dL/dg = conv2d(dL/dx, w), dL/dw = conv2d_filter_adjoint(dL/dx, g)",
    _cost,
)


def conv2d_input_adjoint(g: Node, w: Node, size: Shape, win: Window) -> Node:
    """Return the derivative of conv2d by its images (a transposed convolution).

    Shapes: g (N, M, OH, OW), w (M, C / groups, KH, KW), size (H, W) -> (N, C, H, W)
    """
    return ir.apply(CONV2D_INPUT_ADJOINT, (g, w), {"window": win, "size": size})


def _filter_adjoint_type(inputs: Sequence[Node], attrs: Attrs) -> TensorType:
    x, g = inputs
    win: Window = attrs["window"]
    kernel: Shape = attrs["kernel"]
    rows = [(x.label, str(x.type), "N C H W"), (g.label, str(g.type), "N M OH OW")]
    _check_output(g, _extents(x.shape[2:], kernel, win, rows), rows, "conv2d_filter_adjoint")
    where = ir.current_note().where
    if not dims.require_equal(x.shape[0], g.shape[0], "conv2d_filter_adjoint: batches", where):
        raise ShapeError("conv2d_filter_adjoint: batches differ", rows=rows)
    return TensorType(x.dtype, (g.shape[1], int(x.shape[1]) // win.groups, *kernel))


def _filter_adjoint_derivative(
    node: Node, cotangents: Cotangents, differentiate: Differentiate
) -> tuple[Node | None, ...]:
    (v,) = cotangents
    if v is None:
        return (None, None)
    x, g = node.inputs
    win = window(node)
    return conv2d_input_adjoint(g, v, x.shape[2:], win), conv2d(x, v, win)


CONV2D_FILTER_ADJOINT = Op(
    "conv2d_filter_adjoint",
    _filter_adjoint_type,
    _filter_adjoint_derivative,
    Floats.SUM,
    "w[m, c, k, l] = Σ_{n,i,j} x[n, c, s·i + d·k − p, s·j + d·l − p] g[n, m, i, j]",
    "dL/dx = conv2d_input_adjoint(g, dL/dw), dL/dg = conv2d(x, dL/dw)",
    _cost,
)


def conv2d_filter_adjoint(x: Node, g: Node, kernel: Shape, win: Window) -> Node:
    """Return the derivative of conv2d by its filters.

    Shapes: x (N, C, H, W), g (N, M, OH, OW), kernel (KH, KW) -> (M, C / groups, KH, KW)
    """
    return ir.apply(CONV2D_FILTER_ADJOINT, (x, g), {"window": win, "kernel": kernel})
