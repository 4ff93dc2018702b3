"""What differs between training and test, owned updates, and where gradients stop.

No back end sees these ops: `graphc.passes.inference` and the pipeline resolve them.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc import ir
from graphc.errors import GraphError, ShapeError
from graphc.ir import Attrs, Cotangents, Differentiate, Floats, Node, Op, TensorType
from graphc.ops import leaf

Gradients = tuple[Node | None, ...]


def _phase_type(inputs: Sequence[Node], attrs: Attrs) -> TensorType:
    train, test = inputs
    if train.type != test.type:
        raise ShapeError(
            "phase: both forms have one type",
            rows=[("train", str(train.type)), ("test", str(test.type))],
        )
    return train.tensor


def _phase_derivative(node: Node, cotangents: Cotangents, _: Differentiate) -> Gradients:
    (g,) = cotangents
    return (None if g is None else training_only(g), None)


PHASE = Op(
    "phase",
    _phase_type,
    _phase_derivative,
    Floats.EXACT,
    "y = train; in the test form, test",
    "dL/dtrain = dL/dy",
)


def phase(train: Node, test: Node) -> Node:
    """Return one tensor in the training form and another in the test form."""
    return ir.apply(PHASE, (train, test))


def _same_type(inputs: Sequence[Node], attrs: Attrs) -> TensorType:
    return inputs[0].tensor


def _training_only_derivative(node: Node, cotangents: Cotangents, _: Differentiate) -> Gradients:
    (g,) = cotangents
    return (None if g is None else training_only(g),)


TRAINING_ONLY = Op(
    "training_only", _same_type, _training_only_derivative, Floats.EXACT, "y = x", "dL/dx = dL/dy"
)


def training_only(x: Node) -> Node:
    """Mark a derivative through a phase: it has no meaning in the test form."""
    return x if x.op is TRAINING_ONLY else ir.apply(TRAINING_ONLY, (x,))


def _with_update_type(inputs: Sequence[Node], attrs: Attrs) -> TensorType:
    value, state, new = inputs
    if state.op not in leaf.LEAVES_WITH_STATE:
        raise GraphError(f"with_update: {state.label} is no state or parameter")
    if state.type != new.type:
        raise ShapeError(
            "with_update: the new value has the state's type",
            rows=[(state.label, str(state.type)), ("new value", str(new.type))],
        )
    return value.tensor


def _with_update_derivative(node: Node, cotangents: Cotangents, _: Differentiate) -> Gradients:
    return (cotangents[0], None, None)


WITH_UPDATE = Op(
    "with_update",
    _with_update_type,
    _with_update_derivative,
    Floats.EXACT,
    "y = value; a training function that reaches it sets state := new",
    "dL/dvalue = dL/dy",
)


def with_update(value: Node, state: Node, new: Node) -> Node:
    """Return the value; a training function that reaches it also updates the state."""
    return ir.apply(WITH_UPDATE, (value, state, new))


STOP_GRADIENT = Op("stop_gradient", _same_type, leaf.no_gradient, Floats.EXACT, "y = x")


def stop_gradient(x: Node) -> Node:
    """Return the value; no gradient passes."""
    return ir.apply(STOP_GRADIENT, (x,))
