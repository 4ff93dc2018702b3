"""Symbols for the nodes of a graph: the user's names, and short ones where there is none.

What is called by a symbol is a *statement* (``s1 = x @ W1 + b1``); all else is written into the
statements that use it. Pictures and derivations share these names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence

from graphc import ir
from graphc.ir import Node
from graphc.ops import conv, elementwise, leaf, linear, matmul, phase, pool
from graphc.render import formulas

_LEAVES = (leaf.INPUT, leaf.PARAMETER, leaf.STATE)
_DEEPEST = 3  # nodes written into one statement, one inside the other
_PARTS = 8  # dots of a name, from its end, where it may be cut
_SUMS = (elementwise.ADD, elementwise.SUBTRACT)
_ACTIVATIONS = {
    *("tanh", "sigmoid", "relu", "leaky_relu", "elu", "silu", "gelu", "softplus", "erf", "sin"),
    *("softmax", "atan"),
}


def symbols(outputs: Iterable[Node], given: Mapping[Node, str] | None = None) -> dict[Node, str]:
    """Return the symbol of each statement that the outputs reach, in topological order.

    ``given`` names nodes in advance. A name that two nodes carry gets a number at the second.
    """
    outputs, given = tuple(outputs), dict(given or {})
    order = ir.topological(outputs)
    names = {**own_names(order), **given}
    taken = set(names.values())
    counts: Counter[str] = Counter()
    used: set[str] = set()
    found: dict[Node, str] = {}
    stated = statements(order, {*outputs, *names})
    for node in order:
        if node in stated:
            name = names.get(node)
            found[node] = unused(name, used) if name else _generated(node, taken, counts)
            used.add(found[node])
    return found


def own_names(order: Iterable[Node]) -> dict[Node, str]:
    """Return what the user called nodes, with their scopes.

    A call of several nodes names its result: parts that share its name stand before it.
    """
    found: dict[Node, str] = {}
    last: dict[tuple[str, str | None], Node] = {}
    for node in order:
        if node.op in _LEAVES:
            found[node] = str(node.attrs["name"])
        elif node.note.path:
            key = (node.note.path, node.note.where)
            found.pop(last.get(key, node), None)
            found[node], last[key] = node.note.path, node
    return found


def statements(order: Sequence[Node], kept: set[Node]) -> set[Node]:
    """Return the nodes of an order that get a symbol of their own, ``kept`` ones among them."""
    users = Counter(n for node in order for n in node.inputs)
    user = {n: node for node in order for n in node.inputs}
    noise = formulas.noise(order)
    depth: dict[Node, int] = {}
    stated: set[Node] = set()
    for node in order:
        inside = max((depth[n] for n in node.inputs), default=0)
        through = is_passing(node)
        depth[node] = inside if through else inside + 1
        if node in noise:
            is_stated = noise[node]
        elif node in kept or inside >= _DEEPEST:
            is_stated = True
        elif through or formulas.literal_text(node) is not None:
            is_stated = False
        else:
            is_stated = users[node] > 1 or not _is_written_inside(node, user.get(node))
        if is_stated:
            stated.add(node)
            depth[node] = 0
    return stated


def is_passing(node: Node) -> bool:
    """Tell whether a node only spreads or reshapes by ones: text and pictures leave it out."""
    if node.op in (linear.BROADCAST_TO, phase.TRAINING_ONLY):
        return True
    return formulas.is_unit_reshape(node)


def shortened(names: Mapping[Node, str]) -> dict[Node, str]:
    """Return each name's shortest ending of whole words, ``c1.weight``, that no other shares."""
    endings: Counter[str] = Counter()
    for name in names.values():
        endings.update(_endings(name))
    return {
        node: next((e for e in _endings(name) if e and endings[e] == 1), name)
        for node, name in names.items()
    }


def _endings(name: str) -> list[str]:
    """Return the endings of a name that begin after one of its last dots, the shortest first."""
    parts = name.rsplit(".", _PARTS)
    return [".".join(parts[i:]) for i in range(len(parts) - 1, -1, -1)]


def _is_written_inside(node: Node, user: Node | None) -> bool:
    """Tell whether a node that is used once reads well inside its user."""
    if node.op in (linear.TRANSPOSE, linear.CAST):
        return True
    if user is None or not any(elementwise.is_formula(user, f) for f in _SUMS):
        return False
    return node.op in (matmul.MATMUL, conv.CONV2D) or _is_arithmetic(node)


def _is_arithmetic(node: Node) -> bool:
    made = node.attrs.get("formula")
    return made in (*_SUMS, elementwise.MULTIPLY, elementwise.NEGATIVE)


def _generated(node: Node, taken: set[str], counts: Counter[str]) -> str:
    letter = _letter(node)
    while True:
        counts[letter] += 1
        name = f"{letter}{counts[letter]}"
        if name not in taken:
            return name


def unused(name: str, used: Container[str]) -> str:
    """Return a name, with a number if others have it already."""
    number, found = 1, name
    while found in used:
        number += 1
        found = f"{name}#{number}"
    return found


def _letter(node: Node) -> str:
    made = node.attrs.get("formula")
    if made is not None and made.name in _ACTIVATIONS:
        return "h"
    if made in _SUMS or node.op in (matmul.MATMUL, conv.CONV2D):
        return "s"
    if node.op in (pool.MAX_POOL2D, pool.AVG_POOL2D):
        return "p"
    return "c" if node.op is leaf.CONSTANT else "v"
