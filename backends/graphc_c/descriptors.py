"""What kernels do, as data: iteration space, operands as index maps, expression.

Dimensions are over the descriptor's own names; nothing here names an object of the user's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphc.dims import Dim, Shape

Strides = tuple[Dim, ...]


@dataclass(frozen=True, slots=True)
class Read:
    """The element of operand ``index`` at the current point."""

    index: int
    dtype: str


@dataclass(frozen=True, slots=True)
class Literal:
    """A number of a dtype; floats exactly, by ``float.hex``."""

    text: str
    dtype: str


@dataclass(frozen=True, slots=True)
class Extent:
    """A dimension as a number of a dtype."""

    dim: Dim
    dtype: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function of the runtime on expressions; its value has a dtype."""

    function: str
    args: tuple[Expression, ...]
    dtype: str


Expression = Read | Literal | Extent | Call


@dataclass(frozen=True, slots=True)
class Operand:
    """How a kernel walks over a view: a dtype, and a stride for each axis of its space."""

    dtype: str
    strides: Strides


@dataclass(frozen=True, slots=True)
class Elementwise:
    """``out[i…] = expression`` over a space."""

    kind: ClassVar[str] = "elementwise"
    contracts: ClassVar[bool] = False
    space: Shape
    operands: tuple[Operand, ...]
    out: Operand
    expression: Expression


@dataclass(frozen=True, slots=True)
class Reduction:
    """``out[kept…] = what(x[kept…, reduced…])``; the result is row-major over the kept axes.

    ``what`` is sum, mean, max, argmax or logsumexp; all but sum and mean walk one reduced axis.
    """

    kind: ClassVar[str] = "reduce"
    contracts: ClassVar[bool] = False
    what: str
    dtype: str
    kept: Shape
    kept_strides: Strides
    reduced: Shape
    reduced_strides: Strides


@dataclass(frozen=True, slots=True)
class Matmul:
    """``c[batch…, m, n] = Σ_k a[batch…, m, k] b[batch…, k, n]``, c row-major."""

    kind: ClassVar[str] = "matmul"
    contracts: ClassVar[bool] = True
    dtype: str
    batch: Shape
    sizes: tuple[Dim, Dim, Dim]  # m, n, k
    a: Strides  # batch…, m, k
    b: Strides  # batch…, k, n


@dataclass(frozen=True, slots=True)
class Convolution:
    """conv2d or one of its adjoints over row-major tensors, as ``gx_conv.h`` says."""

    kind: ClassVar[str] = "conv"
    contracts: ClassVar[bool] = True
    what: str
    dtype: str
    shape: tuple[tuple[str, Dim], ...]


@dataclass(frozen=True, slots=True)
class Pooling:
    """A pool, its adjoint or its selection over row-major tensors, as ``gx_pool.h`` says."""

    kind: ClassVar[str] = "pool"
    contracts: ClassVar[bool] = False
    what: str
    dtype: str
    shape: tuple[tuple[str, Dim], ...]


@dataclass(frozen=True, slots=True)
class Gather:
    """Reads and adds at places, over row-major tensors; out-of-range places stop the call.

    take: out[a, i, b] = x[a, index[i], b]; scatter_add: out[a, index[i], b] += values[a, i, b]
    (out holds the base); one_hot: out[i, v] = index[i] == v; pick: out[i] = x[i, index[i]].
    """

    kind: ClassVar[str] = "gather"
    contracts: ClassVar[bool] = False
    what: str
    dtype: str
    index_dtype: str
    before: Dim
    places: Dim
    length: Dim
    after: Dim


@dataclass(frozen=True, slots=True)
class Iota:
    """``out[i] = i``."""

    kind: ClassVar[str] = "iota"
    contracts: ClassVar[bool] = False
    dtype: str
    length: Dim


@dataclass(frozen=True, slots=True)
class RandomBits:
    """``count`` words of Philox4x32-10 of a stream."""

    kind: ClassVar[str] = "random_bits"
    contracts: ClassVar[bool] = False
    dtype: str
    stream: int
    count: Dim
