"""Layers over time (``gx.nn.RNN``, ``LSTM``, ``GRU``): a cell that owns parameters, and its scan.

``layer(xs)`` loops over a sequence, ``layer.cell(carry, x)`` is one step of it with the same
parameters: for training, for sampling, for a stream. They know no loop but ``gx.scan``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from graphc import dims
from graphc.dsl import declare, functions, initialisers, loops, movement
from graphc.dsl.convert import node_of, number, whole
from graphc.dsl.layers import width_of
from graphc.dsl.location import public
from graphc.dsl.names import scope
from graphc.dsl.tensor import Tensor
from graphc.errors import GraphcError, GraphError, ShapeError
from graphc.ir import Node

Carry = Any  # a tensor, or for an LSTM the pair (h, c)
Step = Callable[["Recurrent", Carry, Tensor], "tuple[Carry, Tensor]"]


class Recurrent:
    """What ``RNN``, ``LSTM`` and ``GRU`` make: parameters, a cell over them, and its loop.

    The first call declares the parameters ``weight_x``, ``weight_h``, ``bias`` (and for a GRU with
    ``reset_after`` ``bias_h``); later calls, of the layer or of its cell, share them.

    Errors: ShapeError if the last axis of x has no number of elements, or another at a later call
    """

    def __init__(
        self, kind: str, units: int, name: str, *, gates: int, carries: int, step: Step, **init: Any
    ) -> None:
        self.kind, self.units, self.name = kind, _checked(kind, units), name
        self._gates, self._carries, self._step, self._init = gates, carries, step, init
        self.weight_x: Any = None
        self.weight_h: Any = None
        self.bias: Any = None
        self.bias_h: Any = None

    @public
    def __call__(self, xs: Any, carry: Carry = None, **walk: Any) -> tuple[Carry, Tensor]:
        """Loop over xs: ``gx.scan(layer.cell, carry, xs, **walk)``, from zeros by default.

        Shapes: xs (T, N, in) or (T, in) -> the last carry, and h of all steps (T, N, units)
        """
        node = node_of(xs)
        if len(node.shape) < 2:
            raise ShapeError(
                f"{self.kind}: takes sequences (T, N, in) or (T, in)",
                rows=[(node.label, str(node.type))],
            )
        with scope(self.name):
            if carry is None:
                carry = self._zeros(node.shape[1:-1], _float_of(node))
            with self._unchanged_on_error():
                return loops.scan(self._stepped, carry, Tensor(node), **walk)

    @public
    def cell(self, carry: Carry, x: Any) -> tuple[Carry, Tensor]:
        """Do one step: (carry, x) -> (new carry, h).

        Shapes: x (N, in) or (in,), each part of the carry (N, units) or (units,)
        """
        with scope(self.name), self._unchanged_on_error():
            return self._stepped(carry, x)

    @contextmanager
    def _unchanged_on_error(self) -> Iterator[None]:
        """Let a call that fails declare nothing."""
        held = self.weight_x, self.weight_h, self.bias, self.bias_h
        try:
            yield
        except GraphcError:
            self.weight_x, self.weight_h, self.bias, self.bias_h = held
            raise

    @public
    def zeros(self, *shape: Any, dtype: str | None = None) -> Carry:
        """Return a carry of zeros; ``layer.zeros("N")`` is one for N samples.

        Its dtype is that of the weights, once there are any.
        """
        if dtype is None and self.weight_x is not None:
            dtype = self.weight_x.dtype
        return self._zeros(shape, dtype)

    def _zeros(self, shape: tuple[Any, ...], dtype: str | None) -> Carry:
        parts = tuple(movement.zeros((*shape, self.units), dtype) for _ in range(self._carries))
        return parts if self._carries > 1 else parts[0]

    def _stepped(self, carry: Carry, x: Any) -> tuple[Carry, Tensor]:
        node = node_of(x)
        tensors = self._checked_carry(carry, node)
        if self.weight_x is None:
            self._declare(node)
        return self._step(self, tuple(tensors) if self._carries > 1 else tensors[0], Tensor(node))

    def _checked_carry(self, carry: Carry, x: Node) -> list[Tensor]:
        parts = carry if isinstance(carry, tuple | list) else (carry,)
        if len(parts) != self._carries:
            wanted = "the pair (h, c)" if self._carries == 2 else "one tensor h"
            raise GraphError(f"{self.kind}: the carry is {wanted}, not {len(parts)} of them")
        nodes = [node_of(part, _float_of(x)) for part in parts]
        for node in nodes:
            width = node.shape[-1] if node.shape else None
            if width is None or dims.equal(width, self.units) is False:
                raise ShapeError(
                    f"{self.kind}: a carry has {self.units} units",
                    rows=[("carry", str(node.type)), ("x", str(x.type))],
                )
        return [Tensor(n) for n in nodes]

    def _declare(self, x: Node) -> None:
        dtype = _float_of(x)
        columns, width = self._gates * self.units, width_of(self.kind, x)
        init = self._init["init"]
        init = initialisers.of(init if init is not None else initialisers.glorot(), None)
        self.weight_x = declare.parameter("weight_x", (width, columns), init, dtype=dtype)
        self.weight_h = declare.parameter("weight_h", (self.units, columns), init, dtype=dtype)
        self.bias = declare.parameter("bias", (columns,), self._init["bias_init"], dtype=dtype)
        if self._init.get("inner_bias"):
            self.bias_h = declare.parameter("bias_h", (self.units,), 0, dtype=dtype)


def _float_of(node: Node) -> str | None:
    return node.dtype if node.tensor.is_float else None


def _checked(kind: str, units: Any) -> int:
    size = whole(f"{kind}: the number of units", units)
    if size < 1:
        raise ShapeError(f"{kind}: the number of units is at least 1, not {size}")
    return size


# ---------------------------------------------------------------- the three


@public
def RNN(  # noqa: N802  (a layer's name)
    units: int,
    *,
    name: str = "rnn",
    activation: Callable[[Any], Tensor] = functions.tanh,
    init: Any = None,
    bias_init: Any = 0,
) -> Recurrent:
    """Elman's recurrence: ``h_t = activation(x_t @ weight_x + h_{t-1} @ weight_h + bias)``.

    Shapes: x (…, in), h (…, units); weight_x (in, units), weight_h (units, units), bias (units,)
    Source: Elman 1990
    """
    if not callable(activation):
        raise GraphError(f"RNN: the activation is a function of a tensor, not {activation!r:.60}")

    def step(w: Recurrent, h: Tensor, x: Tensor) -> tuple[Carry, Tensor]:
        h = activation(x @ w.weight_x + h @ w.weight_h + w.bias).named("h")
        return h, h

    made = {"init": init, "bias_init": bias_init}
    return Recurrent("RNN", units, name, gates=1, carries=1, step=step, **made)


@public
def LSTM(  # noqa: N802
    units: int,
    *,
    name: str = "lstm",
    init: Any = None,
    bias_init: Any = None,
    forget_bias: float = 1.0,
) -> Recurrent:
    """Long short-term memory; its carry is the pair (h, c).

    ::

        i, f, g, o = split(x_t @ weight_x + h_{t-1} @ weight_h + bias, 4)
        c_t = sigmoid(f) * c_{t-1} + sigmoid(i) * tanh(g)
        h_t = sigmoid(o) * tanh(c_t)

    The columns of the weights hold the gates in the order i, f, g, o (input, forget, candidate,
    output), as in PyTorch and Keras; ONNX has i, o, f, g. The forget gate's bias begins at
    ``forget_bias``, the others' at 0, unless ``bias_init`` gives all.

    Shapes: x (…, in), h and c (…, units); weight_x (in, 4 units), weight_h (units, 4 units), bias
        (4 units,)
    Source: Hochreiter & Schmidhuber 1997, Gers et al. 2000; forget_bias: Jozefowicz et al. 2015
    """

    def step(w: Recurrent, carry: Carry, x: Tensor) -> tuple[Carry, Tensor]:
        h, c = carry
        i, f, g, o = movement.split(x @ w.weight_x + h @ w.weight_h + w.bias, 4, axis=-1)
        new = functions.sigmoid(i) * functions.tanh(g)
        c = (functions.sigmoid(f) * c + new).named("c")
        h = (functions.sigmoid(o) * functions.tanh(c)).named("h")
        return (h, c), h

    size = _checked("LSTM", units)
    if bias_init is None:
        gates = (
            [0.0] * size,
            [float(number("LSTM: forget_bias", forget_bias))] * size,
            [0.0] * (2 * size),
        )
        bias_init = [b for gate in gates for b in gate]
    made = {"init": init, "bias_init": bias_init}
    return Recurrent("LSTM", size, name, gates=4, carries=2, step=step, **made)


@public
def GRU(  # noqa: N802
    units: int,
    *,
    name: str = "gru",
    reset_after: bool = True,
    init: Any = None,
    bias_init: Any = 0,
) -> Recurrent:
    """Gated recurrent unit; [z], [r], [n] are the columns of a gate.

    ::

        z_t = sigmoid(x_t @ weight_x[z] + h_{t-1} @ weight_h[z] + bias[z])
        r_t = sigmoid(x_t @ weight_x[r] + h_{t-1} @ weight_h[r] + bias[r])
        n_t = tanh(x_t @ weight_x[n] + bias[n] + r_t * (h_{t-1} @ weight_h[n] + bias_h))
        h_t = (1 - z_t) * n_t + z_t * h_{t-1}

    Without ``reset_after``, r stands before the product, ``(r_t * h_{t-1}) @ weight_h[n]``, and
    there is no bias_h. The gates' order is z, r, n (update, reset, candidate), as in Keras and
    ONNX; PyTorch has r, z, n. z weighs what is kept, as in all three; a paper that writes
    ``(1 - z) h + z n`` has the opposite sign of z's columns.

    Shapes: x (…, in), h (…, units); weight_x (in, 3 units), weight_h (units, 3 units), bias
        (3 units,), bias_h (units,)
    Source: Cho et al. 2014 (without reset_after); Appleyard et al. 2016 (with it)
    """

    def step(w: Recurrent, h: Tensor, x: Tensor) -> tuple[Carry, Tensor]:
        two = 2 * w.units
        given = x @ w.weight_x + w.bias
        if reset_after:
            held = h @ w.weight_h
            gates = functions.sigmoid(given[..., :two] + held[..., :two])
            z, r = movement.split(gates, 2, axis=-1)
            inner = r * (held[..., two:] + w.bias_h)
        else:
            gates = functions.sigmoid(given[..., :two] + h @ w.weight_h[:, :two])
            z, r = movement.split(gates, 2, axis=-1)
            inner = (r * h) @ w.weight_h[:, two:]
        n = functions.tanh(given[..., two:] + inner)
        h = ((1 - z) * n + z * h).named("h")
        return h, h

    made = {"init": init, "bias_init": bias_init, "inner_bias": reset_after}
    return Recurrent("GRU", units, name, gates=3, carries=1, step=step, **made)
