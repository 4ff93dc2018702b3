"""The test form of a graph: phases choose their second value, owned updates fall away.

Knows no layer by name.
"""

from __future__ import annotations

from collections.abc import Iterable

from graphc import ir
from graphc.errors import FormError
from graphc.ir import Node
from graphc.ops import phase
from graphc.passes import rewrite


def inference(roots: Iterable[Node]) -> dict[Node, Node]:
    """Return what each node becomes in the test form.

    Promises: no phase and no owned update is reached any more.
    Errors:   FormError where a derivative of the training form goes through a phase.
    """
    roots = tuple(roots)
    mapping = rewrite.rewritten(roots, (_test_value, _plain_value))
    for node in ir.topological(mapping[r] for r in roots):
        if node.op is phase.TRAINING_ONLY:
            raise FormError(
                "the test form reaches a derivative of the training form, through "
                f"{node.inputs[0].note.path or 'a phase'}",
                where=node.note.where,
                rows=[("the phase", str(node.type), node.note.where or "")],
                hint="write training=True, or derive gx.inference(loss)",
            )
    return mapping


def _test_value(node: Node) -> Node | None:
    return node.inputs[1] if node.op is phase.PHASE else None


def _plain_value(node: Node) -> Node | None:
    return node.inputs[0] if node.op is phase.WITH_UPDATE else None
