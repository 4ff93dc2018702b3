"""How gradients flow: their norms by parameter, by layer, and by step of each loop.

Norms are tensors, so a program can return them at every step of training, under output names of
its own: ``gx.function(inputs, list(flow.norms.values()))``. With ``at=`` they are numbers too. It
trains nothing and draws no graph.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphc import dims, ir
from graphc.dsl import functions, graph
from graphc.dsl.tensor import Tensor
from graphc.ir import Node
from graphc.passes.perturb import Disturbance, perturb
from graphc.render import files, words

_BAR = 24  # characters of the longest bar
_STEPS = 40  # rows of one loop's table; more steps are shown at equal distances


@dataclass(frozen=True, slots=True, eq=False)
class GradientFlow:
    """Norms of the gradients of one loss, as a value: it prints as text, and saves.

    Attributes:
        loss: what is derived.
        norms: for each parameter the norm of dL/dW, by the parameter's name.
        by_layer: for each layer the joint norm of its parameters' gradients, by its scope.
        per_step: for each carry of each loop dL/dh_t of all steps (T, …), by the carry's name;
            each counts all that h_t influences, in the later steps and in its own.
        step_norms: the norms of these (T,).
        numbers: the numbers of ``norms``, ``by_layer`` and ``step_norms``, where they are known.
    """

    loss: Tensor
    norms: Mapping[str, Tensor]
    by_layer: Mapping[str, Tensor]
    per_step: Mapping[str, Tensor]
    step_norms: Mapping[str, Tensor]
    numbers: Mapping[str, Mapping[str, Any]] | None = None

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Return the tensors that ``numbers`` are of."""
        return {
            "norms": dict(self.norms),
            "by_layer": dict(self.by_layer),
            "step_norms": dict(self.step_norms),
        }

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers as data, lists by step; without numbers the shapes."""
        if self.numbers is None:
            return {
                part: {n: list(map(str, t.shape)) for n, t in table.items()}
                for part, table in self.tensors().items()
            }
        return {
            part: {n: value.tolist() for n, value in table.items()}
            for part, table in self.numbers.items()
        }

    def __str__(self) -> str:
        return _text(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the form that the suffix names: .txt .json; missing folders are made.

        Errors: RenderError for another suffix; OSError
        """
        forms = {
            ".txt": lambda: f"{self}\n",
            ".json": lambda: json.dumps(self.as_dict(), indent=2) + "\n",
        }
        files.save(path, forms)


def flow(loss: Tensor, targets: Mapping[str, Tensor]) -> GradientFlow:
    """Return the norms of a loss's gradients by parameters, and by the carries of its loops."""
    gradients = graph.grad(loss, dict(targets))
    squares = {name: functions.square(g).sum() for name, g in gradients.items()}
    layers: dict[str, Tensor] = {}
    for name, square in squares.items():
        layer = ".".join(targets[name].node.note.scope)
        layers[layer] = layers[layer] + square if layer in layers else square
    steps = _by_step(loss)
    return GradientFlow(
        loss,
        {name: functions.sqrt(s) for name, s in squares.items()},
        {layer: functions.sqrt(s) for layer, s in layers.items()},
        steps,
        {name: _step_norm(t) for name, t in steps.items()},
    )


def _step_norm(gradient: Tensor) -> Tensor:
    axes = tuple(range(1, len(gradient.shape)))
    squares = functions.square(gradient)
    return functions.sqrt(squares.sum(axis=axes) if axes else squares)


def _by_step(loss: Tensor) -> dict[str, Tensor]:
    """Return dL/dh_t of all steps for each carry that the loss depends on."""
    mapping, found = perturb([loss.node])
    names = _names(found)
    disturbed = Tensor(mapping[loss.node])
    order = ir.topological([disturbed.node])
    reached = {n for n in order}
    live = [i for i, d in enumerate(found) if d.zeros in reached]
    if not live:
        return {}
    wrt = [Tensor(found[i].zeros) for i in live]
    gradients = graph.grad(disturbed, wrt, disconnected="zero")
    return {names[i]: g for i, g in zip(live, gradients, strict=True)}


def _names(found: Sequence[Disturbance]) -> list[str]:
    """Return a name for each carry: the user's, or its loop's and its place."""
    names: list[str] = []
    for d in found:
        path = _user_name(d.carry) or ".".join((*d.loop.scope, f"carry{d.place}"))
        count = sum(n == path or n.startswith(f"{path} (") for n in names)
        names.append(f"{path} ({count + 1})" if count else path)
    return names


def _user_name(node: Node) -> str | None:
    return node.note.path if node.note.origin is None and node.inputs else None


# ---------------------------------------------------------------- as text


def _text(flow: GradientFlow) -> str:
    lines = [f"gradients of {words.shortened(flow.loss.node.label)}"]
    if flow.numbers is None:
        lines += [f"  {n}: a norm" for n in flow.norms]
        lines += [f"  {n}: norms {dims.shape_text(t.shape)}" for n, t in flow.step_norms.items()]
        return "\n".join([*lines, "  at= gives numbers"])
    norms = {n: float(v) for n, v in flow.numbers["norms"].items()}
    lines += _bars(norms)
    layers = {n or "(no layer)": float(v) for n, v in flow.numbers["by_layer"].items()}
    if 1 < len(layers) < len(norms):
        lines += ["", "by layer", *_bars(layers)]
    for name, values in flow.numbers["step_norms"].items():
        steps = range(0, len(values), max(1, -(-len(values) // _STEPS)))
        lines += ["", f"dL/d{words.shortened(name)} by step"]
        lines += _bars({f"t = {t}": float(values[t]) for t in steps})
    return "\n".join(lines)


def _bars(values: Mapping[str, float]) -> list[str]:
    """Return a line for each value, with a bar on a scale of powers of ten from the smallest."""
    names = {name: words.shortened(name) for name in values}
    width = max((len(n) for n in names.values()), default=0)
    logs = [math.log10(v) for v in values.values() if 0 < v < math.inf]
    low, high = (min(logs), max(logs)) if logs else (0.0, 0.0)
    low = min(math.floor(low), high - 1)
    lines = []
    for name, value in values.items():
        share = (math.log10(value) - low) / (high - low) if 0 < value < math.inf else 0
        bar = "#" * max(round(_BAR * share), 1 if share else 0)
        lines.append(f"  {names[name].ljust(width)}  {value:10.3e}  {bar}".rstrip())
    return lines
