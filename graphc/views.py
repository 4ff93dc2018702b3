"""What users look at: pictures, derivations and summaries of tensors and programs.

Views are values: printing gives text, notebooks show them, ``.save(name)`` writes the form that
the suffix names. How they are made stands in `render` and `analysis`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from graphc import ir
from graphc.compiler import evaluate
from graphc.dsl import graph, loops, structure
from graphc.dsl.location import public
from graphc.dsl.program import Function, Program
from graphc.dsl.tensor import Tensor
from graphc.errors import CallError
from graphc.ir import Node
from graphc.ops import scan

if TYPE_CHECKING:
    from graphc.analysis.cost import Summary
    from graphc.analysis.flow import GradientFlow
    from graphc.render.chain import Chain
    from graphc.render.derivation import Derivation
    from graphc.render.diagram import Diagram

VIEWS = ("graph", "gradient", "chain", "unrolled")


@public
def draw(
    what: Any,
    view: str = "graph",
    *,
    wrt: Any = None,
    at: Mapping[Any, Any] | None = None,
    title: str | None = None,
    **sizes: int,
) -> Diagram:
    """Return the picture of a tensor, a nest of them, or a program's functions.

    Args:
        what: a tensor, a nest of tensors, a `Program` (its first function, or for gradients its
            loss) or one of its functions.
        view: ``"graph"``, ``"gradient"`` for forward and backward together, ``"chain"`` for the
            chain rule from the loss back to one tensor, or ``"unrolled"`` for the steps of loops
            side by side.
        wrt: for gradients: parameters or tensors (all parameters by default); for a chain: one.
        at: arrays by name or tensor; the picture then shows numbers.
        title: a line above the picture.
        sizes: sizes of named dimensions, for the unrolled view: ``T=5``. What neither they nor
            ``at`` say is drawn with 3 steps, and the title says so.

    Errors: CallError for an unknown view or size, GradientError, RenderError
    """
    from graphc.render import chain_picture, diagram

    if view not in VIEWS:
        raise CallError(f"there is no view {view!r:.60}", hint="one of " + ", ".join(VIEWS))
    if sizes and view != "unrolled":
        raise CallError(
            f"draw: the view {view!r} has no sizes: {', '.join(sizes):.60}",
            hint='view="unrolled"',
        )
    if view == "unrolled":
        return _unrolled(_outputs(what), at, title, sizes)
    if view == "chain":
        return chain_picture.diagram(chain(what, wrt, at=at), title)
    if view == "gradient":
        loss = loss_of(what)
        targets = _by_name(loss, wrt)
        gradients = graph.grad(loss, list(targets.values()))
        named = {name: g.node for name, g in zip(targets, gradients, strict=True)}
        values = _values({"loss": loss} | dict(zip(targets, gradients, strict=True)), at)
        return diagram.gradient_diagram(loss.node, named, title=title, values=values)
    outputs = _outputs(what)
    nodes = {name: t.node for name, t in outputs.items()}
    return diagram.diagram(nodes, title=title, values=_values(outputs, at))


def _unrolled(
    outputs: Mapping[str, Tensor],
    at: Mapping[Any, Any] | None,
    title: str | None,
    sizes: Mapping[str, Any],
) -> Diagram:
    from graphc.render import diagram
    from graphc.render import sizes as dimensions

    nodes = {name: t.node for name, t in outputs.items()}
    known = loops.checked_sizes("draw", nodes.values(), sizes)
    arrays = {(k.name if isinstance(k, Tensor) else k): v for k, v in (at or {}).items()}
    seen = dimensions.seen(nodes.values(), arrays)
    found, chosen = dimensions.bound(nodes, {**seen, **known})
    values = _values({name: Tensor(n) for name, n in found.items()}, None if at is None else arrays)
    if at is not None:
        values = {**(values or {}), **_by_step([Tensor(n) for n in found.values()], arrays)}
    said = dimensions.title_of({**seen, **known}, chosen) if title is None else title
    return diagram.unrolled_diagram(found, title=said, values=values)


def _by_step(outputs: Sequence[Tensor], at: Mapping[Any, Any] | None) -> dict[Node, Any]:
    """Return the numbers, at all steps, of what stands inside the loops that some outputs reach."""
    from graphc.render import loops

    stacks = loops.stacks([t.node for t in outputs])
    if not stacks:
        return {}
    numbers = evaluate([Tensor(n) for n in stacks.values()], at, training=True)
    return dict(zip(stacks, numbers, strict=True))


def _with_steps(
    loss: Tensor, gradient: Tensor, at: Mapping[Any, Any] | None
) -> dict[Node, Any] | None:
    """Return the numbers of a loss and its gradient, those inside loops at all steps."""
    values = _values({"loss": loss, "gradient": gradient}, at)
    if values is None:
        return None
    return {**values, **_by_step([loss], at), **_by_step([gradient], at)}


@public
def explain(loss: Any, wrt: Any, *, at: Mapping[Any, Any] | None = None) -> Derivation:
    """Return the derivation of one gradient, step by step from the loss to the final formula.

    Args:
        loss: a scalar tensor, or a program or function with one.
        wrt: one parameter or tensor, or its name.
        at: arrays by name or tensor; the steps then show numbers.

    Errors: GradientError, NameClashError
    """
    from graphc.render import derivation

    loss = loss_of(loss)
    target = _one("explain", loss, wrt)
    gradient = graph.grad(loss, target)
    values = _with_steps(loss, gradient, at)
    return derivation.explain(
        loss.node,
        target.node,
        gradient.node,
        values=values,
        numbers=None if at is None else _numbers(at),
    )


@public
def chain(loss: Any, wrt: Any, *, at: Mapping[Any, Any] | None = None) -> Chain:
    """Return the chain rule from a loss back to one tensor: the factors of each path.

    Args:
        loss: a scalar tensor, or a program or function with one.
        wrt: one parameter or tensor, or its name.
        at: arrays by name or tensor; the factors then have numbers.

    Errors: GradientError, NameClashError
    """
    from graphc.render import paths

    loss = loss_of(loss)
    target = _one("chain", loss, wrt)
    gradient = graph.grad(loss, target)

    has_loops = any(n.op is scan.SCAN for n in ir.topological([loss.node]))
    values = _with_steps(loss, gradient, at) if has_loops else None
    return paths.chain(
        loss.node,
        target.node,
        gradient.node,
        numbers=None if at is None else _numbers(at),
        values=values,
    )


def _numbers(at: Mapping[Any, Any]) -> Callable[[Sequence[Node]], dict[Node, Any]]:
    """Return what computes nodes from arrays, in the training form."""

    def numbers(nodes: Sequence[Node]) -> dict[Node, Any]:
        found = evaluate([Tensor(n) for n in nodes], at, training=True)
        return dict(zip(nodes, found, strict=True))

    return numbers


def _one(word: str, loss: Tensor, wrt: Any) -> Tensor:
    """Return the one tensor that ``wrt`` stands for."""
    target = graph.wanted(loss, wrt)
    if not isinstance(target, Tensor):
        raise CallError(
            f"{word} derives by one tensor, and {wrt!r:.60} stands for several",
            hint="write its full name",
        )
    return target


@public
def summary(what: Any) -> Summary:
    """Return the table of layers: shapes, parameters, multiply-adds.

    ``what`` is a tensor, a nest of them, a `Program` or one of its functions.
    """
    from graphc.analysis import cost

    return cost.summary([t.node for t in _outputs(what).values()])


@public
def gradient_flow(
    loss: Any, wrt: Any = None, *, at: Mapping[Any, Any] | None = None
) -> GradientFlow:
    """Return the norms of a loss's gradients by parameter, by layer, and by step of each loop.

    Its ``norms``, ``per_step`` and ``step_norms`` are tensors, for a program to return or for
    `graphc.evaluate`; ``per_step`` has dL/dh_t itself.

    Args:
        loss: a scalar tensor, or a program or function with one.
        wrt: parameters or tensors, or their names (all parameters by default).
        at: arrays by name or tensor; it then holds and prints numbers.

    Errors: GradientError, NameClashError
    """
    from graphc.analysis import flow

    loss = loss_of(loss)
    found = flow.flow(loss, _by_name(loss, wrt))
    if at is None:
        return found
    return replace(found, numbers=evaluate(found.tensors(), at, training=True))


def _outputs(what: Any) -> dict[str, Tensor]:
    """Return tensors by name."""
    if isinstance(what, Program):
        what = next(iter(what.functions.values()))
    if isinstance(what, Function):
        what = structure.build(what.structure, what.outputs)
    if isinstance(what, Tensor):
        return {what.name or "output": what}
    leaves, _ = structure.flatten(what)
    if not leaves or not all(isinstance(t, Tensor) for t in leaves):
        raise CallError(f"a tensor, a nest of them, or a program is wanted, not {what!r:.60}")
    if isinstance(what, Mapping) and len(what) == len(leaves):
        return dict(zip(map(str, what), leaves, strict=True))
    return {t.name or f"output {i}": t for i, t in enumerate(leaves)}


def loss_of(what: Any) -> Tensor:
    """Return the float scalar that a tensor, a function or a program stands for.

    Errors: CallError if there is none
    """
    if isinstance(what, Tensor):
        return what
    functions = list(what.functions.values()) if isinstance(what, Program) else [what]
    for function in sorted(functions, key=lambda f: not getattr(f, "training", False)):
        for tensor in getattr(function, "outputs", ()):
            if tensor.shape == () and tensor.node.tensor.is_float:
                return tensor  # type: ignore[no-any-return]
    raise CallError(f"{what!r:.60} has no float scalar to derive", hint="pass the loss itself")


def _by_name(loss: Tensor, wrt: Any) -> dict[str, Tensor]:
    leaves = structure.flatten(graph.wanted(loss, wrt))[0]
    return {t.name or f"tensor {i}": t for i, t in enumerate(leaves)}


def _values(outputs: Mapping[str, Tensor], at: Mapping[Any, Any] | None) -> dict[Node, Any] | None:
    """Return the numbers of all nodes that some outputs reach, in the training form."""
    if at is None:
        return None
    order = ir.topological(t.node for t in outputs.values())
    order = [n for n in order if not isinstance(n.type, tuple)]
    numbers = evaluate([Tensor(n) for n in order], at, training=True)
    return dict(zip(order, numbers, strict=True))
