"""A graph of nodes as a sketch: plumbing folded away, large graphs collapsed into blocks.

Folded are broadcasts, reshapes by axes of length 1, scalar constants and sizes: a constant shows
as a number in the words of the op that it enters. All steps are linear in the number of nodes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphc.ir import Node
from graphc.ops import elementwise, leaf
from graphc.render import formulas, loops, naming, words
from graphc.render.formulas import PRETTY, Term
from graphc.render.loops import Opened
from graphc.render.sketch import Arrow, Block, Box, Path, Sketch, without_loops

BUDGET = 300  # boxes that a reader, and the engine, can take
_LEAF_KINDS = {
    leaf.INPUT: "input",
    leaf.PARAMETER: "parameter",
    leaf.STATE: "state",
    leaf.CONSTANT: "constant",
    leaf.SIZE: "constant",
    leaf.IOTA: "constant",
    loops.CARRY: "carry",
    loops.STEP: "step",
}

Values = Mapping[Node, Any]
Group = Path


@dataclass(frozen=True, slots=True)
class Folded:
    """A graph with its plumbing out of sight.

    Attributes:
        shown: the nodes that get a box, in topological order.
        stand: for each node the shown one that stands for it, or None for a number.
        numbers: the number, as text, of each node that is one.
        drawn: the nodes that only random draws lead to.
    """

    shown: tuple[Node, ...]
    stand: Mapping[Node, Node | None]
    numbers: Mapping[Node, str]
    drawn: set[Node]


def sketch(outputs: Mapping[str, Node], title: str, values: Values, collapse: int | None) -> Sketch:
    """Return the forward picture of some outputs."""
    plan = planned(outputs, values)
    roots = set(plan.outputs.values())
    groups = grouping({n: plan.opened.paths[n] for n in plan.folded.shown}, roots, collapse)
    keys = box_keys(plan.folded.shown, groups)
    boxes = group_boxes(plan.folded.shown, groups, keys)
    arrows = []
    for node in plan.folded.shown:
        if node not in groups:
            boxes[keys[node]] = plan.box(node, keys[node])
        arrows += [
            Arrow(keys[source], keys[node], label, kind)
            for source, label, kind in plan.reads(node, node in groups)
        ]
    return Sketch(in_order(boxes, keys, plan.folded.shown), without_loops(arrows), title)


def planned(outputs: Mapping[str, Node], values: Values) -> Plan:
    """Return what a forward picture shows, before boxes are gathered into blocks."""
    opened = loops.opened(outputs.values())
    became = {name: opened.became[n] for name, n in outputs.items()}
    roots = set(became.values())
    own = {**naming.own_names(opened.order), **opened.names}
    folded = fold(opened.order, roots | opened.kept, own)
    names = {**{n: name for name, n in reversed(list(became.items()))}, **own}
    carried = {opened.became[n]: v for n, v in values.items() if n in opened.became}
    usual = words.usual_dtype(opened.order)
    return Plan(opened, folded, became, names, carried, usual)


def fold(order: Sequence[Node], roots: set[Node], named: Container[Node]) -> Folded:
    """Return a graph with its plumbing out of sight; roots and named nodes are never plumbing."""
    stand: dict[Node, Node | None] = {}
    numbers: dict[Node, str] = {}
    drawn = formulas.noise(order)
    shown = []
    for node in order:
        literal = formulas.literal_text(node)
        if node in roots:
            stand[node] = node
        elif node in drawn:
            stand[node] = node if drawn[node] else None
        elif node in named:
            stand[node] = node
        elif literal is not None:
            stand[node], numbers[node] = None, literal
        elif naming.is_passing(node):
            stand[node] = stand[node.inputs[0]]
            if node.inputs[0] in numbers:
                numbers[node] = numbers[node.inputs[0]]
        else:
            stand[node] = node
        if stand[node] is node:
            shown.append(node)
    return Folded(tuple(shown), stand, numbers, set(drawn))


def grouping(
    scopes: Mapping[Node, Path], kept: set[Node], collapse: int | None, budget: int = BUDGET
) -> dict[Node, Group]:
    """Return the block of each node that does not get a box of its own.

    Args:
        scopes: the path that each shown node stands in, in topological order.
        kept: nodes that keep their boxes.
        collapse: how deep scopes are drawn open, or None for as deep as ``budget`` allows.
        budget: how many boxes there may be.
    """
    if collapse is not None:
        return _by_scope(scopes, kept, collapse)
    if len(scopes) <= budget:
        return {}
    deepest = max(map(len, scopes.values()))
    for depth in range(deepest - 1, -1, -1):
        found = _by_scope(scopes, kept, depth)
        if len(scopes) - len(found) + len(set(found.values())) <= budget:
            return found
    return _by_stretch(scopes, kept if len(kept) < budget // 2 else set(), budget)


def _by_scope(scopes: Mapping[Node, Path], kept: set[Node], depth: int) -> dict[Node, Group]:
    return {
        node: ("scope", *scope[: depth + 1])
        for node, scope in scopes.items()
        if len(scope) > depth and node not in kept
    }


def _by_stretch(nodes: Iterable[Node], kept: set[Node], budget: int) -> dict[Node, Group]:
    """Return stretches of the topological order, when scopes do not suffice."""
    inner = [n for n in nodes if n not in kept]
    length = -(-len(inner) // (budget // 4))
    return {n: ("stretch", str(i // length)) for i, n in enumerate(inner)}


def box_keys(shown: Sequence[Node], groups: Mapping[Node, Group]) -> dict[Node, str]:
    """Return the key of each node's box, or of the block that it is in."""
    numbers: dict[Node | Group, int] = {}
    return {n: f"n{numbers.setdefault(groups.get(n, n), len(numbers))}" for n in shown}


def group_boxes(
    shown: Sequence[Node], groups: Mapping[Node, Group], keys: Mapping[Node, str]
) -> dict[str, Box]:
    """Return a box for each block, by its key."""
    members: dict[Group, list[Node]] = {}
    for node in shown:
        if node in groups:
            members.setdefault(groups[node], []).append(node)
    return {keys[nodes[0]]: _group_box(g, keys[nodes[0]], nodes) for g, nodes in members.items()}


def _group_box(group: Group, key: str, nodes: Sequence[Node]) -> Box:
    counts = Counter(leaf_kind(n) or "operation" for n in nodes)
    parts = [_counted(count, word) for word, count in sorted(counts.items())]
    scope = group[1:] if str(group[0]).startswith("scope") else ()
    last = scope[-1] if scope else ""
    walk = [last.words] if isinstance(last, Block) and last.words else []
    return Box(
        key,
        "group",
        ", ".join([*walk, *parts]),
        words.type_words(nodes[-1], "float32"),
        title=last.title if isinstance(last, Block) else last,
        name=".".join(b.title if isinstance(b, Block) else b for b in scope),
        scope=scope[:-1],
    )


def leaf_kind(node: Node) -> str | None:
    """Return the kind of box that a leaf gets; None for what computes."""
    return _LEAF_KINDS.get(node.op)


_COUNTED = {"carry": "carried value", "step": "sequence"}


def _counted(count: int, word: str) -> str:
    return f"{count:,} {_COUNTED.get(word, word)}" + ("s" if count > 1 else "")


def in_order(
    boxes: Mapping[str, Box], keys: Mapping[Node, str], shown: Sequence[Node]
) -> tuple[Box, ...]:
    """Return boxes in the order of the nodes that they stand for."""
    ordered = dict.fromkeys(keys[n] for n in shown)
    return tuple(boxes[key] for key in ordered)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a forward picture shows: nodes that get boxes, and all that is written on them.

    Attributes:
        opened: the graph, its loops open.
        folded: the same with its plumbing out of sight.
        outputs: the results, by name.
        names: names of nodes.
        values: numbers of nodes, where they are known.
        usual: the dtype that goes without saying.
    """

    opened: Opened
    folded: Folded
    outputs: Mapping[str, Node]
    names: Mapping[Node, str]
    values: Values
    usual: str

    def box(self, node: Node, key: str) -> Box:
        """Return the box of a node."""
        kind = leaf_kind(node) or "op"
        name = self.names.get(node, "")
        return Box(
            key=key,
            kind=kind,
            words="" if kind in _WORDLESS else self.words(node, self.numbers(node)),
            shape=words.type_words(node, self.usual),
            title=local_name(node, name),
            name=name,
            scope=self.opened.paths[node],
            is_output=node in self.outputs.values(),
            value=value_of(node, self.values),
            tip=tip(node),
            is_entry=kind == "carry",
        )

    def reads(self, node: Node, is_grouped: bool = False) -> list[tuple[Node, str, str]]:
        """Return the shown nodes that one reads, each with a label and the kind of its arrow."""
        if node in self.folded.drawn:
            return []
        labels = [""] * len(node.inputs) if is_grouped else self._labels(node)
        found = []
        for child, label in zip(node.inputs, labels, strict=True):
            source = self.folded.stand[child]
            if source is not None:
                found.append((source, label, "forward"))
        new = self.opened.returns.get(node)
        if new is not None and self.folded.stand[new] is not None:
            label = loops.turn(self.opened.loops[node])
            found.append((self.folded.stand[new] or new, label, "loop"))
        return found

    def numbers(self, node: Node) -> list[str | None]:
        """Return for each input of a node the number that stands for it, or None."""
        return [self.folded.numbers.get(n) for n in node.inputs]

    def words(self, node: Node, numbers: Sequence[str | None]) -> str:
        """Return what a node computes, in words."""
        if node in self.folded.drawn:
            return formulas.noise_words(node)
        if node.op is loops.CARRY:
            return "" if numbers[0] is None else f"{numbers[0]} at first"
        if node.op is elementwise.ELEMENTWISE:
            return words.elementwise_words(node, numbers)[0]
        return words.op_words(node)

    def _labels(self, node: Node) -> list[str]:
        """Return a letter for each input whose place matters and does not show otherwise."""
        if node.op is not elementwise.ELEMENTWISE:
            return _operand_labels(node)
        numbers = self.numbers(node)
        letters = iter(words.elementwise_words(node, numbers)[1])
        return ["" if number is not None else next(letters) for number in numbers]


_WORDLESS = ("input", "parameter", "state", "step")


def _operand_labels(node: Node) -> list[str]:
    if node.op.name == "matmul" and node.inputs[1].op is not leaf.PARAMETER:
        return ["left", "right"]
    return list(_OPERANDS.get(node.op.name, ("",) * len(node.inputs)))


_OPERANDS = {
    "take": ("", "index"),
    "pick": ("", "index"),
    "scatter_add": ("base", "index", "values"),
    "phase": ("train", "test"),
    "with_update": ("", "state", "new value"),
    loops.CARRY.name: ("first",),
}


def local_name(node: Node, name: str) -> str:
    """Return the name of a node without the scope that its block shows already."""
    prefix = "".join(f"{word}." for word in node.note.scope)
    return name.removeprefix(prefix)


def value_of(node: Node, values: Values) -> str:
    """Return the numbers of a node, where they are known."""
    return words.value_words(values[node]) if node in values else ""


def tip(node: Node) -> str:
    """Return the formula and the user's line of a node."""
    parts = [_formula(node) if node.inputs else node.op.name, node.note.where or ""]
    return "  at ".join(part for part in parts if part)


def _formula(node: Node) -> str:
    if node.op is not elementwise.ELEMENTWISE:
        return node.op.formula
    letters = [Term(str(letter)) for letter in node.attrs["formula"].arguments]
    return f"y = {formulas.elementwise_term(node, letters, PRETTY).text}"
