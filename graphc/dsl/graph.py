"""What is asked of a tensor's graph: its parameters, named tensors, other forms, derivatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphc import dims, ir
from graphc.dsl import names, structure
from graphc.dsl.convert import by_tensor, node_of
from graphc.dsl.location import public
from graphc.dsl.tensor import Tensor
from graphc.errors import DtypeError, GradientError, NameClashError, ShapeError
from graphc.ir import Node
from graphc.ops import elementwise, leaf, scan
from graphc.passes import inference as forms
from graphc.passes import rewrite, stabilise
from graphc.passes.differentiate import cotangents, depends, ones
from graphc.verify import check_leaf_names


@public
def parameters(nest: Any) -> dict[str, Tensor]:
    """Return ``{name: parameter}`` of what a tensor, or a nest of them, depends on.

    Errors: NameClashError if two different parameters share a name
    """
    roots = [node_of(t) for t in structure.flatten(nest)[0]]
    found = [n for n in ir.topological(roots) if n.op is leaf.PARAMETER]
    check_leaf_names(found)
    return {n.attrs["name"]: Tensor(n) for n in found}


@public
def find(tensor: Tensor, name: str) -> Tensor:
    """Return the tensor of this name (its full name, or the end of it) that a graph holds.

    Errors: NameClashError if there is none, or several
    """
    if not isinstance(tensor, Tensor) or not isinstance(name, str):
        raise NameClashError(f"find takes a tensor and a name, not {tensor!r:.60} and {name!r:.60}")
    known: dict[str, list[Node]] = {}
    for node in ir.topological([tensor.node]):
        label = node.attrs.get("name") or node.note.path
        if label and node.note.origin is None:
            known.setdefault(label, []).append(node)
    # A call of several nodes names its result; parts that share the name stand before it.
    full = {label: nodes[-1] for label, nodes in known.items()}
    if name in full:
        return Tensor(full[name])
    ends = {label: n for label, n in full.items() if label.endswith("." + name)}
    if len(ends) == 1:
        return Tensor(next(iter(ends.values())))
    if ends:
        raise NameClashError(
            f"{name!r} is the end of several names", hint="one of " + ", ".join(ends)
        )
    raise names.unknown(name, full)


@public
def replace(nest: Any, replacements: Mapping[Tensor, Any]) -> Any:
    """Return a tensor, or a nest of them, with tensors of its graph exchanged for others.

    Errors: ShapeError if a replacement has another type
    """
    table: dict[Node, Node] = {}
    for old, new in by_tensor("replace", replacements).items():
        table[old.node] = node_of(new, old.dtype)
        if table[old.node].type != old.node.type:
            raise ShapeError(
                "replace: the replacement has another type",
                rows=[("replaced", str(old.node.type)), ("by", str(table[old.node].type))],
            )
    leaves, shape = structure.flatten(nest)
    nodes = [node_of(t) for t in leaves]
    mapping = ir.substitute(nodes, table)
    return structure.build(shape, [Tensor(mapping[n]) for n in nodes])


@public
def inference(nest: Any) -> Any:
    """Return the test form of a tensor, or of a nest of them: to draw, derive or mix it."""
    leaves, shape = structure.flatten(nest)
    nodes = [node_of(t) for t in leaves]
    mapping = forms.inference(nodes)
    return structure.build(shape, [Tensor(mapping[n]) for n in nodes])


@public
def grad(loss: Tensor, wrt: Any = None, *, disconnected: str = "raise") -> Any:
    """Return the gradient of a scalar loss, as tensors.

    ``wrt`` is a tensor of the graph, a name, a glob (``"head.*"``), or a nest of them, and gives
    the structure of the result; left out, it is all parameters and the result is
    ``{parameter: gradient}``, as it is for a glob. The training form is derived; losses of digits
    are avoided first (``log(softmax)`` and the like).

    Errors: GradientError if the loss is no float scalar, or does not depend on a tensor of wrt
        through floats (``disconnected="zero"`` gives zeros there)
    """
    if not isinstance(disconnected, str) or disconnected not in ("raise", "zero"):
        raise GradientError(f'disconnected is "raise" or "zero", not {disconnected!r:.60}')
    _check_loss(loss)
    targets = wanted(loss, wrt)
    leaves, shape = structure.flatten(targets)
    gradients = _gradients(loss.node, [t.node for t in leaves], disconnected)
    return _keyed(targets, structure.build(shape, [Tensor(g) for g in gradients]))


def _check_loss(loss: Any) -> None:
    if not isinstance(loss, Tensor):
        raise GradientError(f"grad derives a tensor, not {loss!r:.60}")
    if loss.shape != ():
        raise GradientError(
            f"the loss is no scalar: it has the shape {dims.shape_text(loss.shape)}",
            rows=[(loss.node.label, str(loss.node.type))],
            hint="reduce it with .sum() or .mean()",
        )
    if not loss.node.tensor.is_float:
        raise GradientError(f"the loss is {loss.dtype}: only floats have a derivative")


def wanted(tensor: Tensor, wrt: Any) -> Any:
    """Return wrt with names and globs replaced by tensors (a glob by a dict of them)."""
    known = parameters(tensor)
    if wrt is None:
        if not known:
            raise GradientError("the loss depends on no parameter", hint="say wrt=")
        return _Keyed({n: t for n, t in known.items() if t.node.tensor.is_float})

    def resolve(item: Any) -> Any:
        if isinstance(item, Tensor):
            return item
        if not isinstance(item, str):
            raise GradientError(
                f"wrt is a tensor, a name, a glob, or a nest of them, not {item!r:.60}"
            )
        if item in known:
            return known[item]
        if any(c in item for c in "*?["):
            return _Keyed(names.matching(item, known))
        return find(tensor, item)

    return structure.transform(resolve, wrt)


class _Keyed(dict[str, Tensor]):
    """Parameters by name, whose gradients the user gets by parameter."""


def _keyed(targets: Any, gradients: Any) -> Any:
    if isinstance(targets, _Keyed):
        return {targets[name]: g for name, g in gradients.items()}
    if isinstance(targets, Mapping):
        return {key: _keyed(targets[key], g) for key, g in gradients.items()}
    if isinstance(targets, tuple | list):
        parts = [_keyed(t, g) for t, g in zip(targets, gradients, strict=True)]
        return parts if isinstance(targets, list) else tuple(parts)
    return gradients


def _gradients(loss: Node, wrt: Sequence[Node], disconnected: str) -> list[Node]:
    for node in wrt:
        if not node.tensor.is_float:
            raise DtypeError(f"{node.label} is {node.dtype}: only floats have a derivative")
        carry = scan.stacked_carry(node)
        if carry is not None:
            raise GradientError(
                f"grad: {carry.note.path or 'this'} of all steps is the carry of a loop, stacked: "
                "derived by it, what one step does to the later ones would not count",
                rows=[(carry.note.path or node.label, str(node.type), node.note.where or "")],
                hint="gx.gradient_flow(loss).per_step has dL/dh_t of all steps",
            )
    loss, renewed = _stabilised(loss, wrt)
    origin = ir.Origin(loss.note, "dL/dL")
    with ir.noting(name=None, origin=origin):
        seed = ones(loss)
    found = cotangents([loss], [seed], renewed)
    order = ir.topological([loss])
    gradients = []
    for given, node in zip(wrt, renewed, strict=True):
        gradient = found.get(node)
        if gradient is None:
            gradient = _missing(loss, given, node, order, disconnected)
        role = ir.Origin(given.note, f"dL/d{given.label}")
        note = ir.Note(None, given.note.scope, given.note.where, given.note.step, role)
        gradients.append(ir.renoted(gradient, note) if gradient.note.name is None else gradient)
    return gradients


def _missing(loss: Node, given: Node, node: Node, order: list[Node], disconnected: str) -> Node:
    inside = node in set(order)
    if disconnected == "zero" or (inside and loss in depends(order, [node])):
        return elementwise.filled(0, node)
    why = "each path passes integers or stop_gradient" if inside else "no path leads there"
    raise GradientError(
        f"the loss has no gradient by {given.label}: {why}",
        rows=[
            ("loss", str(loss.type), loss.note.where or ""),
            (given.label, str(given.type), given.note.where or ""),
        ],
        hint='disconnected="zero" gives zeros',
    )


def _stabilised(loss: Node, wrt: Sequence[Node]) -> tuple[Node, list[Node]]:
    """Return the loss in a form that loses no digits, and what each node of wrt has become.

    No rule may look through a tensor that is derived by: each is cut out, and put back after.
    """
    order = ir.topological([loss])
    inner = [n for n in order if n in set(wrt) and n.inputs]
    holes = {n: leaf.input("wrt", n.shape, n.dtype) for n in inner}
    roots = []
    for node in (*inner, loss):
        below = {n: h for n, h in holes.items() if n is not node}
        roots.append(ir.substitute([node], below)[node])
    mapping = rewrite.rewritten(roots, stabilise.RULES)
    filled: dict[Node, Node] = {}
    renewed: dict[Node, Node] = {}
    for node, root in zip((*inner, loss), roots, strict=True):
        new = ir.substitute([mapping[root]], filled)[mapping[root]]
        renewed[node] = new
        if node in holes:
            filled[holes[node]] = new
    return renewed[loss], [renewed.get(n, n) for n in wrt]
