"""Leaves: inputs, parameters, states, constants, sizes and ranges.

Holds nothing that computes on tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc import dims, ir
from graphc.dims import Dim, Shape
from graphc.errors import DtypeError, SizeError
from graphc.ir import Attrs, Cotangents, Differentiate, Floats, Node, Op, TensorType


def fixed_bytes(t: TensorType) -> int:
    """Return the bytes of a tensor with each named dimension taken as 1."""
    return int(dims.size([d for d in t.shape if isinstance(d, int)])) * np.dtype(t.dtype).itemsize


def check_bytes(name: str, t: TensorType, where: str | None) -> None:
    """Raise for a tensor whose bytes overflow 63 bits for every size of its named dimensions.

    Errors: SizeError
    """
    if fixed_bytes(t) > dims.LARGEST:
        raise SizeError(
            f"{name} would take {fixed_bytes(t):,} bytes, more than 2**63 - 1",
            where=where,
            rows=[(name, str(t))],
        )


def _declared(inputs: Sequence[Node], attrs: Attrs) -> TensorType:
    declared = TensorType(attrs["dtype"], attrs["shape"])
    check_bytes(attrs["name"], declared, None)
    return declared


def no_gradient(
    node: Node, cotangents: Cotangents, differentiate: Differentiate
) -> tuple[Node | None, ...]:
    """Answer None for every input: the op is constant almost everywhere, or has no inputs."""
    return (None,) * len(node.inputs)


INPUT = Op("input", _declared, no_gradient, Floats.EXACT, "x")
PARAMETER = Op("parameter", _declared, no_gradient, Floats.EXACT, "θ")
STATE = Op("state", _declared, no_gradient, Floats.EXACT, "s")
LEAVES_WITH_STATE = (PARAMETER, STATE)


def input(name: str, shape: Shape, dtype: str) -> Node:
    """Declare what a call passes in."""
    return ir.apply(INPUT, (), {"name": name, "dtype": dtype, "shape": shape})


def parameter(name: str, shape: Shape, dtype: str, init: Any) -> Node:
    """Declare a state that learning changes; ``init(shape, dtype, generator)`` begins it."""
    return ir.apply(PARAMETER, (), {"name": name, "dtype": dtype, "shape": shape, "init": init})


def state(name: str, shape: Shape, dtype: str, init: Any) -> Node:
    """Declare a state that is no parameter."""
    return ir.apply(STATE, (), {"name": name, "dtype": dtype, "shape": shape, "init": init})


def _constant_type(inputs: Sequence[Node], attrs: Attrs) -> TensorType:
    value = attrs["value"]
    return TensorType(value.dtype.name, value.shape)


CONSTANT = Op("constant", _constant_type, no_gradient, Floats.EXACT, "c")


def constant(value: object, dtype: str | None = None) -> Node:
    """Make a constant of an array or a number; its array is copied and frozen."""
    try:
        array = np.array(value, dtype=dtype, order="C")
    except OverflowError:
        raise DtypeError(
            f"the number {value} does not fit into {dtype}", hint="cast the tensor beside it"
        ) from None
    if array.dtype.name not in ir.DTYPES:
        raise DtypeError(
            f"a constant of dtype {array.dtype.name} is not supported",
            hint="use one of " + ", ".join(ir.DTYPES),
        )
    array.flags.writeable = False
    return ir.apply(CONSTANT, (), {"value": array})


def _scalar_type(inputs: Sequence[Node], attrs: Attrs) -> TensorType:
    return TensorType(attrs["dtype"], ())


SIZE = Op("size", _scalar_type, no_gradient, Floats.EXACT, "n")


def size(dim: Dim, dtype: str) -> Node:
    """Return a dimension as a scalar."""
    if isinstance(dim, int):
        return constant(dim, dtype)
    return ir.apply(SIZE, (), {"dim": dim, "dtype": dtype})


def _iota_type(inputs: Sequence[Node], attrs: Attrs) -> TensorType:
    return TensorType(attrs["dtype"], (attrs["length"],))


IOTA = Op("iota", _iota_type, no_gradient, Floats.EXACT, "0, 1, …, n − 1")


def iota(length: Dim, dtype: str = "int64") -> Node:
    """Return 0, 1, …, length - 1."""
    return ir.apply(IOTA, (), {"length": length, "dtype": dtype})


def is_constant(node: Node, value: float | None = None) -> bool:
    """Tell whether a node is a scalar constant (of this value), or such a one broadcast."""
    if node.op.name == "broadcast_to":
        node = node.inputs[0]
    if node.op is not CONSTANT or node.shape != ():
        return False
    held = node.attrs["value"]
    return value is None or bool(held == value and not (value == 0 and np.signbit(held)))
