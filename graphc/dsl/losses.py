"""Losses: prediction first, logits instead of probabilities.

``reduction`` is ``"mean"`` over the number of targets, ``"sum"``, or ``"none"``; ``weights`` has a
factor for each target.
"""

from __future__ import annotations

from typing import Any

from graphc import dims, ir
from graphc.dsl import convert, functions, movement
from graphc.dsl.convert import axis_of, node_of
from graphc.dsl.location import public
from graphc.dsl.tensor import Tensor
from graphc.errors import DtypeError, GraphError, ShapeError
from graphc.ops import indexing


@public
def cross_entropy(
    logits: Any, targets: Any, *, axis: int = -1, weights: Any = None, reduction: str = "mean"
) -> Tensor:
    """Return -log softmax(logits)[target].

    Targets are class numbers, or probabilities of the logits' shape. Its gradient by the logits is
    p - d: softmax minus the one-hot target.

    Shapes: logits (…, V) with classes along ``axis``, targets (…) integers or (…, V) floats
    Errors: ShapeError, DtypeError; IndexRangeError at the call for a class outside 0 … V - 1
    """
    scores, wanted = node_of(logits), node_of(targets)
    axis = axis_of("cross_entropy", axis, len(scores.shape))
    if not scores.tensor.is_float:
        raise DtypeError(
            f"cross_entropy: logits are floats, not {scores.dtype}",
            rows=[(scores.label, str(scores.type))],
        )
    if wanted.tensor.is_float:
        _same_shape("cross_entropy", scores, wanted)
        log_p = functions.log_softmax(Tensor(scores), axis)
        each = functions.negative((Tensor(wanted) * log_p).sum(axis))
        return _reduced("cross_entropy", each, weights, reduction)
    last = (*(i for i in range(len(scores.shape)) if i != axis), axis)
    rows = movement.transpose(Tensor(scores), last)
    expected = rows.shape[:-1]
    if len(wanted.shape) != len(expected) or any(
        dims.equal(a, b) is False for a, b in zip(wanted.shape, expected, strict=True)
    ):
        raise ShapeError(
            f"cross_entropy: the targets should be {dims.shape_text(expected)}",
            rows=[
                (scores.label, str(scores.type), "… V"),
                (wanted.label, str(wanted.type), "one class for each row"),
            ],
            hint=f'one-hot rows: .argmax({axis}) gives the classes, .astype("{scores.dtype}") '
            "makes them probabilities"
            if len(wanted.shape) == len(scores.shape)
            else None,
        )
    picked = Tensor(indexing.pick(rows.node, wanted))
    each = functions.logsumexp(rows, -1) - picked
    return _reduced("cross_entropy", each, weights, reduction)


@public
def mse(prediction: Any, target: Any, *, weights: Any = None, reduction: str = "mean") -> Tensor:
    """Return (prediction - target)², averaged over all elements.

    Errors: ShapeError unless the shapes are equal: a broadcast here is a mistake
    """
    a, b = _pair("mse", prediction, target)
    return _reduced("mse", functions.square(Tensor(a) - Tensor(b)), weights, reduction)


@public
def half_squared_error(
    prediction: Any, target: Any, *, weights: Any = None, reduction: str = "mean"
) -> Tensor:
    """Return ½ Σ (prediction - target)² over all axes but the first, averaged over the first.

    Errors: ShapeError unless the shapes are equal
    """
    a, b = _pair("half_squared_error", prediction, target)
    squares = functions.square(Tensor(a) - Tensor(b)) * 0.5
    rest = tuple(range(1, len(a.shape)))
    each = squares.sum(rest) if rest else squares
    return _reduced("half_squared_error", each, weights, reduction)


def _pair(name: str, prediction: Any, target: Any) -> tuple[ir.Node, ir.Node]:
    a = node_of(prediction)
    b = node_of(target)
    if not a.tensor.is_float:
        raise DtypeError(f"{name}: predictions are floats, not {a.dtype}")
    if not b.tensor.is_float:
        b = movement.cast(Tensor(b), a.dtype).node
    _same_shape(name, a, b)
    return a, b


def _same_shape(name: str, a: ir.Node, b: ir.Node) -> None:
    if len(a.shape) != len(b.shape) or any(
        dims.equal(m, n) is False for m, n in zip(a.shape, b.shape, strict=True)
    ):
        raise ShapeError(
            f"{name}: prediction and target have one shape",
            rows=[(a.label, str(a.type)), (b.label, str(b.type))],
            hint="reshape one of them; a loss does not broadcast",
        )


def _reduced(name: str, each: Tensor, weights: Any, reduction: str) -> Tensor:
    if weights is not None:
        each = each * Tensor(convert.node_of(weights, each.dtype))
    if not isinstance(reduction, str) or reduction not in ("mean", "sum", "none"):
        raise GraphError(f'{name}: reduction is "mean", "sum" or "none", not {reduction!r:.60}')
    if reduction == "none":
        return each
    return each.sum() if reduction == "sum" else each.mean()
