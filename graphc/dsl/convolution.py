"""Convolutions and pools on tensors: how users write windows, made exact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc import dims
from graphc.dsl import functions
from graphc.dsl.convert import node_of, pair, same_dtype
from graphc.dsl.location import public
from graphc.dsl.tensor import Tensor
from graphc.errors import ShapeError
from graphc.ir import Node
from graphc.ops import conv, linear, pool
from graphc.ops.conv import Pads, Pair, Window
from graphc.ops.pool import Pool

Padding = int | str | Sequence[Any]


@public
def conv2d(
    x: Any,
    w: Any,
    b: Any = None,
    *,
    stride: Any = 1,
    padding: Padding = 0,
    dilation: Any = 1,
    groups: int = 1,
    exact: bool = False,
) -> Tensor:
    """Cross-correlate images with a bank of filters.

    ``padding`` is a number, a pair (vertical, horizontal), ((top, bottom), (left, right)),
    ``"valid"``, ``"same_upper"`` or ``"same_lower"``; ``exact`` makes a remainder of the size
    formula an error.

    Shapes:    x (N, C, H, W), w (M, C / groups, KH, KW), b (M,) -> (N, M, OH, OW);
               OH = floor((H + pt + pb - d(KH - 1) - 1) / s) + 1
    Units:     stride, padding and dilation in elements
    Errors:    ShapeError if channels differ, a kernel exceeds the padded image, or (``exact``)
               strides leave a remainder
    Gradient:  conv2d_input_adjoint, conv2d_filter_adjoint
    Source:    Dumoulin & Visin 2016, relationship 6
    """
    image, filters = same_dtype("conv2d", x, w)
    strides = _steps("conv2d: the stride", stride)
    dilations = _steps("conv2d: the dilation", dilation)
    groups, _ = _steps("conv2d: the number of groups", groups)
    reach = _reach(filters, dilations)
    pads = _pads("conv2d", padding, image, reach, strides)
    window = Window(strides, pads, dilations, groups, exact)
    made = Tensor(conv.conv2d(image, filters, window))
    if b is None:
        return made
    bias = node_of(b)
    if bias.shape != (filters.shape[0],):
        raise ShapeError(
            f"conv2d: the bias is {dims.shape_text(bias.shape)}, there are {filters.shape[0]} "
            "filters",
            rows=[(bias.label, str(bias.type)), (filters.label, str(filters.type))],
            hint=f"declare the bias with the shape ({filters.shape[0]},)",
        )
    return functions.add(made, Tensor(linear.reshape(bias, (*bias.shape, 1, 1))))


@public
def max_pool2d(
    x: Any,
    kernel: Any,
    stride: Any = None,
    padding: Padding = 0,
    *,
    ceil_mode: bool = False,
    exact: bool = False,
) -> Tensor:
    """Take the largest of each window; the stride is the kernel unless given.

    Padding is -inf; ties go to the first maximum in row-major order; NaN wins.

    Shapes: x (N, C, H, W) -> (N, C, OH, OW)
    Units:  kernel, stride and padding in elements
    Errors: ShapeError, DtypeError
    """
    node = node_of(x)
    made = _pool("max_pool2d", node, kernel, stride, padding)
    return Tensor(pool.max_pool2d(node, Pool(*made, ceil_mode, exact=exact)))


@public
def avg_pool2d(
    x: Any,
    kernel: Any,
    stride: Any = None,
    padding: Padding = 0,
    *,
    ceil_mode: bool = False,
    exact: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Take the mean of each window; the stride is the kernel unless given.

    Shapes: x (N, C, H, W) -> (N, C, OH, OW)
    Units:  kernel, stride and padding in elements
    Errors: ShapeError, DtypeError
    """
    node = node_of(x)
    made = _pool("avg_pool2d", node, kernel, stride, padding)
    return Tensor(pool.avg_pool2d(node, Pool(*made, ceil_mode, count_include_pad, exact)))


def _pool(
    name: str, x: Node, kernel: Any, stride: Any, padding: Padding
) -> tuple[Pair, Pair, Pads]:
    window = _steps(f"{name}: the kernel", kernel)
    strides = window if stride is None else _steps(f"{name}: the stride", stride)
    pads = _pads(name, padding, x, window, strides)
    return window, strides, pads


def _steps(what: str, value: Any) -> Pair:
    steps = pair(what, value)
    if min(steps) < 1:
        raise ShapeError(f"{what} is at least 1, not {value!r}")
    return steps


def _reach(filters: Node, dilation: Pair) -> Pair:
    if len(filters.shape) != 4 or not all(isinstance(d, int) for d in filters.shape):
        return (1, 1)  # the op itself says what is wrong
    down, across = (d * (int(k) - 1) + 1 for d, k in zip(dilation, filters.shape[2:], strict=True))
    return down, across


def _pads(name: str, padding: Padding, x: Node, reach: Pair, stride: Pair) -> Pads:
    if isinstance(padding, str):
        return _named_pads(name, padding, x, reach, stride)
    given = tuple(padding) if isinstance(padding, tuple | list) else (padding, padding)
    if len(given) != 2:
        raise ShapeError(f"{name}: padding is one number, two, or two pairs, not {padding!r}")
    down, across = (pair(f"{name}: padding", p) for p in given)
    if min(*down, *across) < 0:
        raise ShapeError(f"{name}: padding {padding!r} is negative")
    return down, across


def _named_pads(name: str, padding: str, x: Node, reach: Pair, stride: Pair) -> Pads:
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding not in ("same_upper", "same_lower"):
        raise ShapeError(
            f"{name}: there is no padding {padding!r}",
            hint='a number, pairs, "valid", "same_upper" or "same_lower"',
        )
    found = []
    sizes = x.shape[2:] if len(x.shape) == 4 else (1, 1)  # else the op itself says what is wrong
    for extent, r, s in zip(sizes, reach, stride, strict=True):
        if s > 1 and not isinstance(extent, int):
            raise ShapeError(
                f"{name}: {padding} with stride {s} needs a size of numbers, not "
                f"{dims.text(extent)}",
                hint="give the padding in numbers",
            )
        # SAME keeps ceil(extent / stride) windows; stride 1 needs no extent.
        total = max(r - s if s == 1 or int(extent) % s == 0 else r - int(extent) % s, 0)
        half = total // 2
        found.append((half, total - half) if padding == "same_upper" else (total - half, half))
    return found[0], found[1]
