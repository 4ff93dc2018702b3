"""Diagrams of graphs: the forward picture, and forward and backward together.

Knows how a diagram is asked for, shown and saved; what it shows stands in `forward` and
`gradients`, how it looks in `dot`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from graphc.ir import Node
from graphc.render import dot, engine, files, forward, gradients, sketch, unrolled
from graphc.render.forward import Values
from graphc.render.sketch import Sketch


@dataclass(frozen=True, slots=True)
class Diagram:
    """A picture as a value: it prints as text, shows itself in a notebook, and saves."""

    sketch: Sketch

    @property
    def dot(self) -> str:
        """The picture as DOT text."""
        return dot.text(self.sketch)

    @property
    def svg(self) -> str:
        """The picture as SVG text (RenderError where no engine is found)."""
        return engine.render(self.dot, "svg").decode()

    @property
    def png(self) -> bytes:
        """The picture as PNG bytes (RenderError where no engine is found)."""
        return engine.render(self.dot, "png")

    def __str__(self) -> str:
        return sketch.text(self.sketch).rstrip("\n")

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the form that the suffix names: .svg .png .dot .txt; missing folders are made.

        Errors: RenderError for another suffix, or where no engine is found; OSError
        """
        forms: files.Forms = {
            ".svg": lambda: self.svg,
            ".png": lambda: self.png,
            ".dot": lambda: self.dot,
            ".txt": lambda: sketch.text(self.sketch),
        }
        files.save(path, forms)


def diagram(
    outputs: Mapping[str, Node] | Sequence[Node],
    *,
    title: str | None = None,
    values: Values | None = None,
    collapse: int | None = None,
) -> Diagram:
    """Return the picture of what some outputs compute.

    Args:
        outputs: nodes, with names for those that have none.
        title: a line over the picture.
        values: arrays of nodes, whose numbers are shown.
        collapse: how many scopes deep the picture is open; by default as deep as it stays legible.
    """
    named = outputs if isinstance(outputs, Mapping) else _numbered(outputs)
    return Diagram(forward.sketch(named, title or "", values or {}, collapse))


def gradient_diagram(
    loss: Node,
    grads: Mapping[str, Node],
    *,
    title: str | None = None,
    values: Values | None = None,
    collapse: int | None = None,
) -> Diagram:
    """Return the picture of a loss and its gradients, each beside what it is the gradient of.

    Args:
        loss: the scalar that the gradients are of, as it was derived.
        grads: gradients by the name of what they are by.
        title: a line over the picture.
        values: arrays of nodes, whose numbers are shown.
        collapse: how many scopes deep the picture is open; by default as deep as it stays legible.
    """
    return Diagram(gradients.sketch(loss, grads, title or "", values or {}, collapse))


def unrolled_diagram(
    outputs: Mapping[str, Node], *, title: str | None = None, values: Values | None = None
) -> Diagram:
    """Return the picture of some outputs with their loops unrolled, time from left to right.

    Args:
        outputs: nodes by name; the lengths of their loops are numbers.
        title: a line over the picture.
        values: arrays of nodes, whose numbers are shown.
    """
    return Diagram(unrolled.sketch(outputs, title or "", values or {}))


def _numbered(outputs: Sequence[Node]) -> dict[str, Node]:
    if len(outputs) == 1:
        return {"output": outputs[0]}
    return {f"output {i}": node for i, node in enumerate(outputs)}
