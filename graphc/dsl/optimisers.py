"""Optimisers: from a loss or gradients to updates, as graph, so that they are drawn and exported.

An optimiser's number is a scalar state that changes without a compile, or a tensor, or a function
of the step number (an int64 tensor that counts from 0).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from graphc.dsl import convert, declare, graph, movement
from graphc.dsl.convert import node_of
from graphc.dsl.location import public
from graphc.dsl.tensor import Tensor
from graphc.errors import GradientError, GraphError

Number = float | Tensor | Callable[[Tensor], Any]


class Updates(dict[Tensor, Any]):
    """``{state: its new value}``, joined by ``|``: two values for one state are an error.

    Errors: GraphError that shows both lines
    """

    @public
    def __or__(self, other: Any) -> Updates:  # type: ignore[override]
        return _joined(self, other)

    @public
    def __ror__(self, other: Any) -> Updates:  # type: ignore[override]
        return _joined(other, self)

    @public
    def __ior__(self, other: Any) -> Updates:  # type: ignore[override]
        return _joined(self, other)


def _joined(first: Mapping[Tensor, Any], second: Any) -> Updates:
    added = convert.by_tensor("updates |", second)
    for state, new in added.items():
        old = first.get(state, new)
        if old is not new:
            places = [v.node.note.where or "" for v in (old, new) if isinstance(v, Tensor)]
            raise GraphError(
                f"{state.name} is updated twice",
                rows=[(f"by {i}", p) for i, p in enumerate(places, start=1)],
                hint="an optimiser's params= chooses what it updates",
            )
    return Updates({**first, **added})


@public
def sgd(
    loss: Tensor | Mapping[Tensor, Any],
    lr: Number = 0.01,
    *,
    params: Any = None,
    name: str = "sgd",
) -> Updates:
    """Return ``{parameter: parameter - lr * gradient}``.

    ``loss`` is a scalar, or gradients by parameter; ``params`` narrows a loss to some parameters
    (tensors, names, globs). All updates read the old values.

    Errors: GradientError
    """
    gradients = gradients_of(loss, params)
    rate, updates = number(f"{name}.lr", lr, name)
    for parameter, gradient in gradients.items():
        step = movement.cast(rate, parameter.dtype) * gradient
        updates[parameter] = parameter - step
    return updates


def gradients_of(loss: Tensor | Mapping[Tensor, Any], params: Any = None) -> dict[Tensor, Tensor]:
    """Return gradients by parameter from what an optimiser was given.

    Errors: GradientError
    """
    if isinstance(loss, Tensor):
        return _by_parameter(graph.wanted(loss, params), graph.grad(loss, params))
    if params is not None:
        raise GradientError("params= narrows a loss; a dict of gradients is narrow already")
    if not isinstance(loss, Mapping) or not all(isinstance(p, Tensor) for p in loss):
        raise GradientError(
            f"an optimiser takes a loss or gradients by parameter, not {loss!r:.60}"
        )
    return {p: Tensor(node_of(g, p.dtype)) for p, g in loss.items()}


def _by_parameter(wanted: Any, found: Any) -> dict[Tensor, Tensor]:
    if isinstance(wanted, Tensor):
        return {wanted: found}
    if isinstance(found, Mapping) and all(isinstance(k, Tensor) for k in found):
        return dict(found)
    pairs = wanted.items() if isinstance(wanted, Mapping) else enumerate(wanted)
    result: dict[Tensor, Tensor] = {}
    for key, part in pairs:
        result |= _by_parameter(part, found[key])
    return result


def number(full: str, value: Number, owner: str) -> tuple[Tensor, Updates]:
    """Return an optimiser's number as a tensor, and the updates that keep it going."""
    if isinstance(value, Tensor):
        return value, Updates()
    if callable(value):
        step = declare.state(f"{owner}.step", (), 0, dtype="int64")
        made = value(step)
        return Tensor(node_of(made)), Updates({step: step + 1})
    return declare.state(full, (), float(convert.number(full, value))), Updates()
