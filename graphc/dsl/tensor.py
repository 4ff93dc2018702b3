"""What a user holds: a tensor over a node, with NumPy's words as methods.

Holds no mathematics: each method calls the function of that name in `functions` or `movement`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn
from weakref import WeakKeyDictionary, ref

from graphc.dims import Dim, Shape
from graphc.dsl.location import placed
from graphc.errors import TensorUseError
from graphc.ir import Node

Axes = int | Sequence[int] | None

_held: WeakKeyDictionary[Node, ref[Tensor]] = WeakKeyDictionary()


class Tensor:
    """A value that a program will compute.

    Tensors hash by identity, and ``==`` is elementwise; a node has one tensor only. They hold no
    numbers: `gx.evaluate` gives those.
    """

    __slots__ = ("__weakref__", "node")
    node: Node

    def __new__(cls, node: Node) -> Tensor:
        """Return the one tensor of a node."""
        known = _held.get(node)
        tensor = known() if known is not None else None
        if tensor is None:
            tensor = super().__new__(cls)
            tensor.node = node
            _held[node] = ref(tensor)
        return tensor

    # ------------------------------------------------------------ facts

    @property
    def shape(self) -> Shape:
        """The dimensions: numbers, or expressions of named sizes."""
        return self.node.shape

    @property
    def dtype(self) -> str:
        """The dtype's name."""
        return self.node.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.node.shape)

    @property
    def size(self) -> Dim:
        """The number of elements."""
        return self.node.tensor.size

    @property
    def name(self) -> str | None:
        """The full name, with its scope, if it has one."""
        named = self.node.attrs.get("name")
        return str(named) if named is not None else self.node.note.path

    def __repr__(self) -> str:
        return f"<Tensor {self.node.label}: {self.node.type}>"

    __hash__ = object.__hash__

    # ------------------------------------------------------------ what a tensor is not

    @placed
    def __bool__(self) -> bool:
        raise TensorUseError(
            f"a tensor has no truth value: it holds no numbers yet ({self.node!r})",
            hint="gx.where chooses by element, `is` compares identity, gx.evaluate gives numbers",
        )

    @placed
    def _no_number(self) -> NoReturn:
        raise TensorUseError(
            f"a tensor is no number: it holds none yet ({self.node!r})",
            hint="use graphc's functions, as in gx.exp(t); gx.evaluate(t, at={...}) gives numbers",
        )

    def __float__(self) -> float:
        self._no_number()

    def __int__(self) -> int:
        self._no_number()

    def __index__(self) -> int:  # noqa: PLE0305  (it raises)
        self._no_number()

    @placed
    def __array__(self, dtype: object = None, copy: object = None) -> NoReturn:
        raise TensorUseError(
            f"a tensor is no array: it holds no numbers yet ({self.node!r})",
            hint="use graphc's functions, as in gx.tanh(t); gx.evaluate(t, at={...}) gives numbers",
        )

    @placed
    def __len__(self) -> int:
        if self.node.shape and isinstance(self.node.shape[0], int):
            return self.node.shape[0]
        if not self.node.shape:
            raise TensorUseError(f"a scalar has no length ({self.node!r})")
        raise TensorUseError(
            f"the length of {self.node!r} is not known while the graph is declared",
            hint="t.shape[0] is the dimension",
        )

    @placed
    def __iter__(self) -> Iterator[Tensor]:
        if not self.node.shape:
            raise TensorUseError(f"cannot iterate over a scalar ({self.node!r})")
        if not isinstance(self.node.shape[0], int):
            raise TensorUseError(
                f"cannot iterate over {self.node!r}: its first axis is open",
                hint="functions of whole tensors need no loop; t[0] reads the first row",
            )
        return (self[i] for i in range(self.node.shape[0]))

    @placed
    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        raise TensorUseError(
            f"a tensor does not change ({self.node!r})",
            hint="gx.where chooses by element, gx.concatenate joins parts, gx.scatter_add adds",
        )

    @placed
    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TensorUseError(
            f"a tensor is neither copied nor pickled ({self.node!r})",
            hint="share it: tensors never change; module.save writes weights",
        )

    @placed
    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Tensor:
        operator = functions.UFUNCS.get(ufunc.__name__)
        if operator is not None and method == "__call__" and not kwargs:
            return operator(*inputs)
        called = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
        self._no_array(called, _OWN_WORDS.get(called, called))

    @placed
    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> NoReturn:
        inside = func.__module__.partition(".")[2]
        called = f"{inside}.{func.__name__}" if inside else func.__name__
        self._no_array(called, _OWN_WORDS.get(called, called))

    def _no_array(self, called: str, own: str) -> NoReturn:
        words = functions.__dict__ | movement.__dict__
        known = own in words and not own.startswith("_")
        word = f"gx.{own}" if known else "a function of graphc, or gx.elementwise"
        raise TensorUseError(
            f"np.{called} takes arrays, and {self.node!r} is a tensor", hint=f"use {word}"
        )

    # ------------------------------------------------------------ arithmetic

    def __add__(self, other: Any) -> Tensor:
        return functions.add(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return functions.add(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return functions.subtract(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return functions.subtract(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return functions.multiply(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return functions.multiply(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return functions.divide(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return functions.divide(other, self)

    def __floordiv__(self, other: Any) -> Tensor:
        return functions.floor_divide(self, other)

    def __rfloordiv__(self, other: Any) -> Tensor:
        return functions.floor_divide(other, self)

    def __mod__(self, other: Any) -> Tensor:
        return functions.remainder(self, other)

    def __rmod__(self, other: Any) -> Tensor:
        return functions.remainder(other, self)

    def __pow__(self, other: Any) -> Tensor:
        return functions.pow(self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return functions.pow(other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return functions.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return functions.matmul(other, self)

    def __neg__(self) -> Tensor:
        return functions.negative(self)

    def __pos__(self) -> Tensor:
        return self

    def __abs__(self) -> Tensor:
        return functions.abs(self)

    def __invert__(self) -> Tensor:
        return functions.logical_not(self)

    def __and__(self, other: Any) -> Tensor:
        return functions.logical_and(self, other)

    def __rand__(self, other: Any) -> Tensor:
        return functions.logical_and(other, self)

    def __or__(self, other: Any) -> Tensor:
        return functions.logical_or(self, other)

    def __ror__(self, other: Any) -> Tensor:
        return functions.logical_or(other, self)

    def __eq__(self, other: Any) -> Tensor:  # type: ignore[override]
        return functions.equal(self, other)

    def __ne__(self, other: Any) -> Tensor:  # type: ignore[override]
        return functions.not_equal(self, other)

    def __lt__(self, other: Any) -> Tensor:
        return functions.less(self, other)

    def __le__(self, other: Any) -> Tensor:
        return functions.less_equal(self, other)

    def __gt__(self, other: Any) -> Tensor:
        return functions.greater(self, other)

    def __ge__(self, other: Any) -> Tensor:
        return functions.greater_equal(self, other)

    def __getitem__(self, index: Any) -> Tensor:
        return indexing.getitem(self, index)

    # ------------------------------------------------------------ movement

    def reshape(self, *shape: Any) -> Tensor:
        """See `graphc.reshape`."""
        dimensions = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
        return movement.reshape(self, dimensions)

    def flatten(self, start: int = 0) -> Tensor:
        """See `graphc.flatten`."""
        return movement.flatten(self, start)

    def transpose(self, *axes: int) -> Tensor:
        """See `graphc.transpose`."""
        return movement.transpose(self, axes or None)

    @property
    def T(self) -> Tensor:  # noqa: N802  (NumPy's word)
        """The tensor with its axes in reverse order."""
        return movement.transpose(self)

    def squeeze(self, axis: Axes = None) -> Tensor:
        """See `graphc.squeeze`."""
        return movement.squeeze(self, axis)

    def astype(self, dtype: str) -> Tensor:
        """See `graphc.cast`."""
        return movement.cast(self, dtype)

    # ------------------------------------------------------------ reductions

    def sum(self, axis: Axes = None, *, keepdims: bool = False) -> Tensor:
        """See `graphc.sum`."""
        return functions.sum(self, axis, keepdims=keepdims)

    def mean(self, axis: Axes = None, *, keepdims: bool = False) -> Tensor:
        """See `graphc.mean`."""
        return functions.mean(self, axis, keepdims=keepdims)

    def max(self, axis: Axes = None, *, keepdims: bool = False) -> Tensor:
        """See `graphc.max`."""
        return functions.max(self, axis, keepdims=keepdims)

    def min(self, axis: Axes = None, *, keepdims: bool = False) -> Tensor:
        """See `graphc.min`."""
        return functions.min(self, axis, keepdims=keepdims)

    def argmax(self, axis: int | None = None, *, keepdims: bool = False) -> Tensor:
        """See `graphc.argmax`."""
        return functions.argmax(self, axis, keepdims=keepdims)

    # ------------------------------------------------------------ functions of one tensor

    def exp(self) -> Tensor:
        """See `graphc.exp`."""
        return functions.exp(self)

    def log(self) -> Tensor:
        """See `graphc.log`."""
        return functions.log(self)

    def sqrt(self) -> Tensor:
        """See `graphc.sqrt`."""
        return functions.sqrt(self)

    def abs(self) -> Tensor:
        """See `graphc.abs`."""
        return functions.abs(self)

    def tanh(self) -> Tensor:
        """See `graphc.tanh`."""
        return functions.tanh(self)

    def sigmoid(self) -> Tensor:
        """See `graphc.sigmoid`."""
        return functions.sigmoid(self)

    def relu(self) -> Tensor:
        """See `graphc.relu`."""
        return functions.relu(self)

    def softplus(self) -> Tensor:
        """See `graphc.softplus`."""
        return functions.softplus(self)

    def softmax(self, axis: int = -1) -> Tensor:
        """See `graphc.softmax`."""
        return functions.softmax(self, axis)

    def log_softmax(self, axis: int = -1) -> Tensor:
        """See `graphc.log_softmax`."""
        return functions.log_softmax(self, axis)

    # ------------------------------------------------------------ notes and updates

    def named(self, name: str) -> Tensor:
        """Return the same value under a name, by which `graphc.find` gives it back."""
        return functions.named(self, name)

    def with_update(self, updates: Mapping[Tensor, Any]) -> Tensor:
        """See `graphc.with_update`."""
        return functions.with_update(self, updates)


_OWN_WORDS = {
    **{"arctan": "atan", "absolute": "abs", "power": "pow", "true_divide": "divide"},
    **{"amax": "max", "amin": "min", "dot": "matmul", "add.reduce": "sum"},
}

# These files import the class above; it needs them only when a method is called.
import graphc.dsl.functions as functions  # noqa: E402, PLR0402
import graphc.dsl.indexing as indexing  # noqa: E402, PLR0402
import graphc.dsl.movement as movement  # noqa: E402, PLR0402
