"""The sizes of an exported function: whether they are allowed, and the shapes that they make.

In process the library's own checks do this; a standalone module brings them along as C.
"""

from __future__ import annotations

import re

import numpy as np

from graphc import dims
from graphc.dims import Dim, Shape
from graphc_c import cwriter
from graphc_c.cwriter import Writer, comment
from graphc_c.export_names import Face, all_nodes, nodes_shapes
from graphc_c.plan import Plan

_LARGEST = "0x1p48"  # bytes of one tensor: no machine holds more, and sums stay below 2**63


def _names(plan: Plan) -> dict[str, str]:
    return {n: f"d_{i}" for i, n in enumerate(plan.sizes)}


def _bound(dim: Dim, names: dict[str, str]) -> str:
    """Return an upper bound of |dim| as an expression of doubles, which cannot overflow."""
    text = dims.render(dim, names.__getitem__, lambda top, below: f"({top} / {below} + 1)")
    return re.sub(r"(?<![\w.])\d+(?![\w.])", r"\g<0>.0", text.replace("-", ""))


def fits(w: Writer, face: Face) -> None:
    """Write the function that tells whether sizes are allowed and nothing overflows."""
    names = _names(face.plan)
    claims = _claims(face)
    w.line(comment(f"{face.function.name}: whether its sizes are allowed."))
    with w.block(f"static int gx_f{face.number}_fits(const int64_t *dims)"):
        for i, name in enumerate(face.plan.sizes):
            w.line(f"const int64_t d_{i} = dims[{i}]; {comment(name)}")
            with w.block(f"if (d_{i} < 1 || d_{i} > INT64_MAX / 2)"):
                w.line("return 0;")
        if not face.plan.sizes:
            w.line("(void)dims;")
        for text in _bounds(face, names):
            with w.block(f"if ({text} > {_LARGEST})"):
                w.line("return 0;")
        for left, relation, right, why in claims:
            w.line(comment(why))
            sides = (cwriter.size(d, names.__getitem__) for d in (left, right))
            with w.block(f"if (!({f' {relation} '.join(sides)}))"):
                w.line("return 0;")
        w.line("return 1;")
    w.line()


def _bounds(face: Face, names: dict[str, str]) -> list[str]:
    found: dict[str, None] = {}
    for shape, dtype in nodes_shapes(face.function):
        factors = [_bound(d, names) for d in shape]
        if any(not isinstance(d, int) for d in shape) and set(dims.names(shape)) <= names.keys():
            width = np.dtype(dtype).itemsize
            found[" * ".join([*factors, f"{width}.0"])] = None
    works = {b.work for b in face.plan.arena if b.work is not None}
    for dim in sorted({_bound(d, names) for w in works for d in w.arguments if type(d) is not int}):
        found[dim] = None
    return [re.sub(r"\bd_(\d+)\b", r"(double)d_\1", text) for text in found]


def _claims(face: Face) -> list[tuple[Dim, str, Dim, str]]:
    """Return what must hold of a function's sizes: axes are not negative, and open conditions."""
    found: dict[tuple[Dim, str, Dim], str] = {}
    for shape, _ in nodes_shapes(face.function):
        for dim in shape:
            if not isinstance(dim, int) and dims.at_least(dim, 0) is not True:
                found.setdefault((dim, ">=", 0), "an axis has no negative size")
    with dims.collecting() as claims:
        for node in all_nodes(face.function):
            node.op.infer(node.inputs, node.attrs)
    for c in claims:
        found.setdefault((c.left, c.relation, c.right), c.reason)
    known = set(face.plan.sizes)
    return [(*k, why) for k, why in found.items() if set(dims.names((k[0], k[2]))) <= known]


def shapes(w: Writer, face: Face) -> None:
    """Write the function that evaluates the shape of a size, an input or an output."""
    names = _names(face.plan)
    inputs = [n.shape for n in face.function.inputs]
    found: list[Shape] = [*inputs, *(t.shape for t in face.plan.results)]
    known = set(face.plan.sizes)
    head = f"static void gx_f{face.number}_shape(const int64_t *dims, int64_t place,"
    w.line(head)
    with w.block("                         int64_t *shape)"):
        for i, name in enumerate(face.plan.sizes):
            w.line(f"const int64_t d_{i} = dims[{i}]; {comment(name)}")
            w.line(f"(void)d_{i};")
        w.lines_of("(void)dims;", "(void)place;", "(void)shape;")
        for i, shape in enumerate(found, start=len(face.plan.sizes)):
            texts = [cwriter.size(d, names.__getitem__) for d in shape]
            if texts and set(dims.names(shape)) <= known:
                with w.block(f"if (place == {i})"):
                    w.lines_of(*(f"shape[{k}] = {text};" for k, text in enumerate(texts)))
    w.line()
