"""Layers (``gx.nn``): what declares parameters or states; everything else is a plain function.

A layer owns the parameters that its first call declares; later calls share them.
"""

from __future__ import annotations

from typing import Any

from graphc import dims, ir
from graphc.dsl import convolution, declare, functions, initialisers
from graphc.dsl.convert import node_of, pair, whole
from graphc.dsl.location import public
from graphc.dsl.names import scope
from graphc.dsl.tensor import Tensor
from graphc.errors import ShapeError
from graphc.ops.conv import channel_hint

_OPTIONS = ("stride", "padding", "dilation", "groups", "exact")


class Dense:
    """``x @ weight + bias`` along the last axis.

    Shapes: x (…, in), weight (in, units), bias (units,) -> (…, units)
    Errors: ShapeError if the last axis has no number of elements, or another at a later call
    """

    @public
    def __init__(
        self,
        units: int,
        *,
        name: str = "dense",
        bias: bool = True,
        init: Any = None,
        bias_init: Any = 0,
    ) -> None:
        self.units, self.name, self.has_bias = units, name, bias
        self.init = initialisers.of(init if init is not None else initialisers.glorot(), None)
        self.bias_init = bias_init
        self.weight: Tensor | None = None
        self.bias: Tensor | None = None

    def __call__(self, x: Any) -> Tensor:
        """Apply the layer; the first call declares its parameters."""
        return self._apply(x)

    @public
    def _apply(self, x: Any) -> Tensor:
        node = node_of(x)
        with scope(self.name):
            if self.weight is None:
                inputs = width_of("Dense", node)
                dtype = node.dtype if node.tensor.is_float else None
                shape = (inputs, self.units)
                weight = declare.parameter("weight", shape, self.init, dtype=dtype)
                if self.has_bias:
                    self.bias = declare.parameter(
                        "bias", (self.units,), self.bias_init, dtype=dtype
                    )
                self.weight = weight  # last, so that a call that fails leaves no half of it
            product = functions.matmul(Tensor(node), self.weight)
            return product if self.bias is None else product + self.bias


class Conv2d:
    """``conv2d(x, weight, bias)`` with options of `graphc.conv2d`.

    Shapes: x (N, C, H, W), weight (filters, C / groups, KH, KW), bias (filters,)
    Errors: ShapeError
    """

    @public
    def __init__(
        self,
        filters: int,
        kernel: Any,
        *,
        name: str = "conv2d",
        bias: bool = True,
        init: Any = None,
        bias_init: Any = 0,
        **window: Any,
    ) -> None:
        unknown = sorted(set(window) - set(_OPTIONS))
        if unknown:
            raise ShapeError(
                f"Conv2d has no option {', '.join(unknown)}",
                hint=", ".join(_OPTIONS) + " are there",
            )
        self.filters, self.kernel, self.name = filters, pair("Conv2d: the kernel", kernel), name
        self.has_bias, self.window = bias, window
        self.init = initialisers.of(init if init is not None else initialisers.glorot(), None)
        self.bias_init = bias_init
        self.weight: Tensor | None = None
        self.bias: Tensor | None = None

    def __call__(self, x: Any) -> Tensor:
        """Apply the layer; the first call declares its parameters."""
        return self._apply(x)

    @public
    def _apply(self, x: Any) -> Tensor:
        node = node_of(x)
        with scope(self.name):
            if self.weight is None:
                self._declare(node)
            return convolution.conv2d(Tensor(node), self.weight, self.bias, **self.window)

    def _declare(self, node: ir.Node) -> None:
        groups = whole("Conv2d: the number of groups", self.window.get("groups", 1))
        if groups < 1:
            raise ShapeError(f"Conv2d: the number of groups is at least 1, not {groups}")
        if len(node.shape) != 4:
            raise ShapeError(
                "Conv2d: takes images (N, C, H, W)",
                rows=[(node.label, str(node.type))],
                hint=channel_hint(node),
            )
        channels = node.shape[1]
        if not isinstance(channels, int) or channels % groups:
            raise ShapeError(
                f"Conv2d: {dims.text(channels)} channels do not divide into {groups} groups",
                rows=[(node.label, str(node.type), "N C H W")],
            )
        shape = (self.filters, channels // groups, *self.kernel)
        weight = declare.parameter("weight", shape, self.init, dtype=node.dtype)
        if self.has_bias:
            self.bias = declare.parameter("bias", (self.filters,), self.bias_init, dtype=node.dtype)
        self.weight = weight  # last, so that a call that fails leaves no half of it


def width_of(layer: str, node: ir.Node) -> int:
    """Return the number of features of what a layer gets, which its weight's shape needs.

    Errors: ShapeError
    """
    width = node.shape[-1] if node.shape else None
    if not isinstance(width, int):
        raise ShapeError(
            f"{layer}: the last axis has no number of elements, so the weight has no shape",
            rows=[(node.label, str(node.type))],
            hint="declare it as a number, or .reshape to one",
        )
    return width
