"""Layers over time (``gx.nn.RNN``, ``LSTM``, ``GRU``): a cell that owns parameters, and its scan.

``layer(xs)`` loops over a sequence, ``layer.cell(carry, x)`` is one step of it with the same
parameters: for training, for sampling, for a stream. They know no loop but ``gx.scan``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphc.dsl import declare, functions, initialisers, loops, movement
from graphc.dsl.convert import node_of, whole
from graphc.dsl.layers import width_of
from graphc.dsl.location import public
from graphc.dsl.names import scope
from graphc.dsl.tensor import Tensor
from graphc.errors import GraphError, ShapeError
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
                carry = self._zeros(node.shape[1:-1], node)
            return loops.scan(self._stepped, carry, Tensor(node), **walk)

    @public
    def cell(self, carry: Carry, x: Any) -> tuple[Carry, Tensor]:
        """Do one step: (carry, x) -> (new carry, h).

        Shapes: x (N, in) or (in,), each part of the carry (N, units) or (units,)
        """
        with scope(self.name):
            return self._stepped(carry, x)

    @public
    def zeros(self, *shape: Any) -> Carry:
        """Return a carry of zeros; ``layer.zeros("N")`` is one for N samples."""
        return self._zeros(shape, None)

    def _zeros(self, shape: tuple[Any, ...], like: Node | None) -> Carry:
        dtype = like.dtype if like is not None and like.tensor.is_float else None
        parts = tuple(movement.zeros((*shape, self.units), dtype) for _ in range(self._carries))
        return parts if self._carries > 1 else parts[0]

    def _stepped(self, carry: Carry, x: Any) -> tuple[Carry, Tensor]:
        node = node_of(x)
        if self.weight_x is None:
            self._declare(node)
        parts = carry if isinstance(carry, tuple | list) else (carry,)
        if len(parts) != self._carries:
            wanted = "the pair (h, c)" if self._carries == 2 else "one tensor h"
            raise GraphError(f"{self.kind}: the carry is {wanted}, not {len(parts)} of them")
        tensors = [Tensor(node_of(part, node.dtype)) for part in parts]
        return self._step(self, tuple(tensors) if self._carries > 1 else tensors[0], Tensor(node))

    def _declare(self, x: Node) -> None:
        dtype = x.dtype if x.tensor.is_float else None
        columns, width = self._gates * self.units, width_of(self.kind, x)
        init = self._init["init"]
        init = initialisers.of(init if init is not None else initialisers.glorot(), None)
        self.weight_x = declare.parameter("weight_x", (width, columns), init, dtype=dtype)
        self.weight_h = declare.parameter("weight_h", (self.units, columns), init, dtype=dtype)
        self.bias = declare.parameter("bias", (columns,), self._init["bias_init"], dtype=dtype)
        if self._init.get("inner_bias"):
            self.bias_h = declare.parameter("bias_h", (self.units,), 0, dtype=dtype)


def _checked(kind: str, units: Any) -> int:
    number = whole(f"{kind}: the number of units", units)
    if number < 1:
        raise ShapeError(f"{kind}: the number of units is at least 1, not {number}")
    return number


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
        gates = [0.0] * size, [float(forget_bias)] * size, [0.0] * (2 * size)
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
