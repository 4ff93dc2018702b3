"""Optimisers: from a loss or gradients to updates, as graph, so that they are drawn and exported.

An optimiser's number is a scalar state that changes without a compile, or a tensor, or a function
of the step number (an int64 tensor that counts from 0).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from graphc.dsl import convert, declare, functions, graph, movement
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
    numbers = _Numbers(name)
    rate = numbers.of("lr", lr)
    updates = Updates(numbers.updates)
    for parameter, gradient in gradients.items():
        updates[parameter] = parameter - _beside(rate, parameter) * gradient
    return updates


@public
def momentum(
    loss: Tensor | Mapping[Tensor, Any],
    lr: Number = 0.01,
    momentum: Number = 0.9,
    *,
    nesterov: bool = False,
    params: Any = None,
    name: str = "momentum",
) -> Updates:
    """Return updates by a velocity: ``v = momentum * v + gradient``, ``parameter - lr * v``.

    With ``nesterov`` the step is ``gradient + momentum * v``. A velocity is a state
    ``NAME.velocity.PARAMETER`` that begins at 0.

    Errors: GradientError
    Source: Polyak 1964; Sutskever et al. 2013, in the form in which lr multiplies the velocity
    """
    gradients = gradients_of(loss, params)
    numbers = _Numbers(name)
    rate, kept = numbers.of("lr", lr), numbers.of("momentum", momentum)
    updates = Updates(numbers.updates)
    for parameter, gradient in gradients.items():
        velocity = _slot(f"{name}.velocity", parameter)
        factor = _beside(kept, parameter)
        new = factor * velocity + gradient
        step = gradient + factor * new if nesterov else new
        updates[velocity] = new
        updates[parameter] = parameter - _beside(rate, parameter) * step
    return updates


@public
def adam(
    loss: Tensor | Mapping[Tensor, Any],
    lr: Number = 0.001,
    beta1: Number = 0.9,
    beta2: Number = 0.999,
    *,
    epsilon: Number = 1e-8,
    params: Any = None,
    name: str = "adam",
) -> Updates:
    """Return updates by running means of the gradient and of its square, freed of their bias.

    States: ``NAME.step`` (int64, from 0), and for each parameter ``NAME.mean.PARAMETER`` and
    ``NAME.square.PARAMETER``, which begin at 0.

    Errors: GradientError
    Source: Kingma & Ba 2015, algorithm 1
    """
    gradients = gradients_of(loss, params)
    numbers = _Numbers(name)
    rate, small = numbers.of("lr", lr), numbers.of("epsilon", epsilon)
    first, second = numbers.of("beta1", beta1), numbers.of("beta2", beta2)
    count = numbers.step + 1
    updates = Updates(numbers.updates)
    for parameter, gradient in gradients.items():
        mean, square = (_slot(f"{name}.{s}", parameter) for s in ("mean", "square"))
        b1, b2 = _beside(first, parameter), _beside(second, parameter)
        t = movement.cast(count, parameter.dtype)
        updates[mean] = new_mean = b1 * mean + (1 - b1) * gradient
        updates[square] = new_square = b2 * square + (1 - b2) * functions.square(gradient)
        direction = new_mean / (1 - functions.pow(b1, t))
        scale = functions.sqrt(new_square / (1 - functions.pow(b2, t)))
        step = _beside(rate, parameter) * direction / (scale + _beside(small, parameter))
        updates[parameter] = parameter - step
    return updates


@public
def clip_norm(
    gradients: Mapping[Tensor, Any], limit: float | Tensor, *, squared: bool = False
) -> dict[Tensor, Tensor]:
    """Return gradients scaled down together so that their joint norm is at most ``limit``.

    ``squared`` is the form that S1's notes print: it compares and divides by the *squared* norm,
    which leaves a norm of ``limit / norm`` where it clips.

    Errors: GradientError
    Source: Pascanu et al. 2013
    """
    held = gradients_of(gradients)
    if not held:
        raise GradientError("clip_norm: there are no gradients")
    squares = [functions.square(g).sum() for g in held.values()]
    total = squares[0]
    for square in squares[1:]:
        total = total + square
    norm = total if squared else functions.sqrt(total)
    factor = functions.where(norm > limit, limit / norm, 1.0)
    return {p: g * _beside(factor, p) for p, g in held.items()}


def _slot(prefix: str, parameter: Tensor) -> Tensor:
    """Declare a state of an optimiser beside a parameter: its shape and dtype, zeros at first."""
    shape, dtype = parameter.shape, parameter.dtype
    return declare.state(f"{prefix}.{parameter.name}", shape, 0.0, dtype=dtype)


def _beside(number: Tensor, parameter: Tensor) -> Tensor:
    return movement.cast(number, parameter.dtype)


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


class _Numbers:
    """The numbers of one optimiser as tensors, and the updates that keep them going."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.updates = Updates()
        self._step: Tensor | None = None

    @property
    def step(self) -> Tensor:
        """The number of updates so far, a state that is declared when it is asked for."""
        if self._step is None:
            self._step = declare.state(f"{self.owner}.step", (), 0, dtype="int64")
            self.updates[self._step] = self._step + 1
        return self._step

    def of(self, name: str, value: Number) -> Tensor:
        """Return a number as a tensor: a state of its own, or what the user computes."""
        if isinstance(value, Tensor):
            return value
        if callable(value):
            return Tensor(node_of(value(self.step)))
        full = f"{self.owner}.{name}"
        return declare.state(full, (), float(convert.number(full, value)))
