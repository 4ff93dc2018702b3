"""The paths of a graph from a loss back to one tensor, and the local derivative on each piece.

The pieces lead from statement to statement. What stands between the loss and the first quantity
of the network itself (differences, squares, means, …) is one piece. All steps but the listing of
paths, which is bounded, are linear in the number of nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np

from graphc import ir
from graphc.errors import GradientError
from graphc.ir import Node
from graphc.ops import leaf, scan
from graphc.passes import differentiate
from graphc.render import backward, chain_loops, formulas, forward, gradients, naming, words
from graphc.render.backward import Reading
from graphc.render.chain import INCOMING, Chain, Factor, Quantity
from graphc.render.formulas import PRETTY, Term
from graphc.render.local import Piece, Pieces, alive, derived, read_by
from graphc.render.loops import Opened

MOST = 64  # paths that are listed; of more, the pieces between the meeting points are shown
_DERIVATIVES = 4096  # numbers in the array of a factor's derivatives
_OUTPUTS = 32  # elements of a numerator whose derivatives are computed one by one
_LONGEST = 200  # characters of a rule
_FACTORS = 128  # of a chain whose factors get arrays of derivatives
_LOSS_OPS = ("sum", "mean", "logsumexp", "pick", "take", "stop_gradient", "cast", "slice")
_LOSS_FORMULAS = {
    *("add", "subtract", "multiply", "divide", "negative", "square", "abs", "log", "exp"),
    *("where", "maximum", "minimum", "reciprocal", "pow", "softplus"),
}

Numbers = Callable[[Sequence[Node]], Mapping[Node, Any]]
Edge = tuple[Node, Node]


def chain(
    loss: Node,
    wrt: Node,
    gradient: Node,
    *,
    numbers: Numbers | None = None,
    values: backward.Values | None = None,
) -> Chain:
    """Return the chain rule for the derivative of a loss by one of its nodes.

    Args:
        loss: a scalar.
        wrt: a node that it depends on; if it is no leaf, one with a name.
        gradient: its derivative, as it was derived.
        numbers: computes nodes; the factors then have values, where no loop is on the way.
        values: arrays of nodes, of those in loops at all steps; a chain through loops shows them.

    Errors: GradientError if the loss does not depend on ``wrt``
    """
    order = ir.topological((loss,))
    if wrt not in set(order):
        raise GradientError(f"the loss does not depend on {wrt.label}", where=wrt.note.where)
    target = naming.own_names(order).get(wrt, "")
    opened: Opened | None = None
    if any(n.op is scan.SCAN for n in order):
        reading, opened = gradients.read(loss, {target: gradient}, values or {})
    else:
        reading = backward.read(loss, {target: gradient}, {}, "L")
    goal = next((n for n, s in reading.symbols.items() if n is wrt or s == target), None)
    if goal is None:
        raise GradientError(
            f"{wrt.label} has no name that a chain could end at", hint='give it one: .named("h")'
        )
    finder = _Finder.of(reading, goal, opened)
    pieces = finder.pieces()
    if goal is not reading.loss and not pieces:
        finder, pieces = finder.across()
    counts = _Counts.of(pieces, reading.loss, goal)
    if counts.total > MOST:
        pieces = finder.collapsed(counts)
        counts = replace(_Counts.of(pieces, reading.loss, goal), total=counts.total)
    made = _Writer(finder, pieces, counts).chain(None if opened is not None else numbers)
    if opened is None:
        return made
    return chain_loops.over_time(made, reading, opened, finder.symbols, _nodes_of(pieces))


@dataclass(frozen=True, slots=True)
class _Finder:
    reading: Reading
    goal: Node
    order: Sequence[Node]
    useful: Container[Node]
    symbols: Mapping[Node, str]
    opened: Opened | None
    earlier: Mapping[Node, Node] = field(default_factory=dict)

    @staticmethod
    def of(reading: Reading, goal: Node, opened: Opened | None) -> _Finder:
        order = ir.topological((reading.loss,))
        useful = differentiate.depends(order, [goal])
        inner = _inside_the_loss(reading, goal, order, useful)
        kept = {n: s for n, s in reading.symbols.items() if n not in inner}
        kept = {n: s for n, s in kept.items() if not isinstance(n.type, tuple)}
        symbols = {reading.loss: "L"}
        used = {"L"}
        for node, name in naming.shortened(kept).items():
            if node is not reading.loss:
                symbols[node] = naming.unused(words.shortened(name), used)
                used.add(symbols[node])
        return _Finder(reading, goal, order, useful, symbols, opened)

    def pieces(self) -> Pieces:
        """Return the local derivatives by what is derived and what by, the loss's first."""
        return alive(self._from(self.reading.loss, self.order, self.useful), {self.goal})

    def _from(self, root: Node, order: Sequence[Node], useful: Container[Node]) -> Pieces:
        found: Pieces = {}
        reached = {root}
        for node in reversed(order):
            if node not in reached or node is self.goal:
                continue
            reads = read_by(node, self.symbols)
            found[node] = {}
            for below in (n for n in reads if n in useful):
                piece = self._piece(node, below, reads)
                if piece is not None:
                    found[node][below] = piece
                    reached.add(below)
        return found

    def across(self) -> tuple[_Finder, Pieces]:
        """Return the pieces of paths that need a step back, where none leads within a step.

        They go from the loss to a carry, and on from what the step before made of it, whose
        statements appear a second time, called ``s1[t − 1]``.

        Errors: GradientError if even two steps do not lead there
        """
        returns = {} if self.opened is None else self.opened.returns
        ahead = self._from(
            self.reading.loss, self.order, differentiate.depends(self.order, list(returns))
        )
        symbols, earlier = dict(self.symbols), dict[Node, Node]()
        back: Pieces = {}
        for carry, new in returns.items():
            if any(carry in below for below in ahead.values()):
                order = ir.topological((new,))
                useful = differentiate.depends(order, [self.goal])
                found = alive(self._from(new, order, useful), {self.goal})
                back |= self._copied(found, carry, new, symbols, earlier)
        if not back:
            raise GradientError(
                f"chain: no path of two steps leads from the loss to {self.symbols[self.goal]}",
                hint="gx.chain(gx.unroll(loss, T=3), …) shows them all",
            )
        pieces = {**alive(ahead, set(back)), **back}
        return replace(self, symbols=symbols, earlier=earlier), pieces

    def _copied(
        self,
        found: Pieces,
        carry: Node,
        new: Node,
        symbols: dict[Node, str],
        earlier: dict[Node, Node],
    ) -> Pieces:
        """Return the pieces of one step for copies of its statements; its end is the carry."""
        opened = self.opened
        sign = f"[{self.symbols[carry].rpartition('[')[2]}"
        copies = {new: carry}

        def copy(node: Node) -> Node:
            if opened is None or node not in opened.loops or node is self.goal:
                return node
            if node not in copies:
                copies[node] = ir.renoted(node, node.note)
                symbols[copies[node]] = f"{self.symbols[node]}{sign}"
                earlier[copies[node]] = node
            return copies[node]

        return {copy(top): {copy(n): p for n, p in below.items()} for top, below in found.items()}

    def _piece(self, top: Node, below: Node, cut: Iterable[Node]) -> Piece | None:
        rule = "" if self.opened is None else chain_loops.rule(top, self.opened)
        if not rule:
            return derived(top, below, cut)
        seed = leaf.input("incoming", top.shape, top.dtype)
        return Piece(seed, seed, {}, top, rule=rule)

    def collapsed(self, counts: _Counts) -> Pieces:
        """Return one piece from each node that all paths share to the next."""
        spine = counts.shared()
        found: Pieces = {}
        for top, below in pairwise(spine):
            piece = derived(top, below, [below])
            if piece is not None:
                found[top] = {below: replace(piece, ways=counts.between(top, below))}
        return found


def _inside_the_loss(
    reading: Reading, goal: Node, order: Sequence[Node], useful: Container[Node]
) -> set[Node]:
    """Return the nameless statements between the loss and the network's own last quantities."""
    users: dict[Node, list[Node]] = {}
    for node in order:
        for child in node.inputs:
            users.setdefault(child, []).append(node)
    inner: set[Node] = set()
    open_nodes = {reading.loss}  # the loss, what is inside it, and what is written into these
    for node in reversed(order):
        if node is reading.loss:
            continue
        if node is goal or not all(u in open_nodes for u in users.get(node, ())):
            continue
        if node not in reading.symbols:
            open_nodes.add(node)
        elif node in useful and node not in reading.names and _is_loss_like(node, reading.symbols):
            open_nodes.add(node)
            inner.add(node)
    return inner


def _is_loss_like(node: Node, symbols: Container[Node]) -> bool:
    if any(n.op is leaf.PARAMETER for n in read_by(node, symbols)):
        return False
    made = node.attrs.get("formula")
    return made.name in _LOSS_FORMULAS if made is not None else node.op.name in _LOSS_OPS


@dataclass(frozen=True, slots=True)
class _Counts:
    """How many paths lead from the loss to each node (``down``), and from it to the goal (``up``).

    Counted are those that end at the goal.
    """

    down: Mapping[Node, int]
    up: Mapping[Node, int]
    total: int

    @staticmethod
    def of(pieces: Pieces, loss: Node, goal: Node) -> _Counts:
        down, up = {loss: 1}, {goal: 1}
        for top in pieces:
            for below in pieces[top]:
                down[below] = down.get(below, 0) + down[top]
        for top in reversed(pieces):
            up[top] = sum(up[below] for below in pieces[top])
        return _Counts(down, up, up[loss])

    def shared(self) -> list[Node]:
        """Return the nodes that all paths lead through, the loss first."""
        found = [n for n in self.down if self.down[n] * self.up[n] == self.total]
        return sorted(found, key=lambda n: (self.down[n], -self.up[n]))

    def between(self, top: Node, below: Node) -> int:
        """Return the number of paths between two nodes that all paths share."""
        return self.down[below] // self.down[top]


@dataclass(frozen=True, slots=True)
class _Writer:
    finder: _Finder
    pieces: Pieces
    counts: _Counts

    def chain(self, numbers: Numbers | None) -> Chain:
        loss, goal = self.finder.reading.loss, self.finder.goal
        listed = self._listed(loss, goal)
        edges = [(top, below) for top in self.pieces for below in self.pieces[top]]
        factors = self._factors(edges)
        quantities = self._quantities()
        paths = [[factors[edge] for edge in path] for path in listed]
        if numbers is not None:
            factors, quantities, paths = self._with_numbers(numbers, factors, quantities, listed)
        return Chain(
            symbol=f"∂L/∂{self.finder.symbols[goal]}" if goal is not loss else "∂L/∂L",
            quantities=tuple(quantities.values()),
            factors=tuple(factors.values()),
            paths=tuple(tuple(path) for path in paths),
            count=self.counts.total,
        )

    def _listed(self, loss: Node, goal: Node) -> list[list[Edge]]:
        found: list[list[Edge]] = []
        waiting: list[tuple[Node, list[Edge]]] = [(loss, [])]
        while waiting:
            node, path = waiting.pop()
            if node is goal:
                found.append(path)
                continue
            below = self.pieces[node]
            waiting += [(n, [*path, (node, n)]) for n in reversed(below)]
        return found

    def _factors(self, edges: Sequence[Edge]) -> dict[Edge, Factor]:
        order = self.finder.order
        others = [n for n in order if n.op is leaf.PARAMETER and n is not self.finder.goal]
        shared = differentiate.depends(order, others)
        symbols = self.finder.symbols
        return {
            (top, below): Factor(
                symbol=f"∂{symbols[top]}/∂{symbols[below]}",
                numerator=symbols[top],
                denominator=symbols[below],
                rule=self._rule(top, self.pieces[top][below], self._over_steps(top, below)),
                type=str(below.type),
                reused=below in shared and below is not self.finder.goal,
                ways=self.pieces[top][below].ways,
            )
            for top, below in edges
        }

    def _over_steps(self, top: Node, below: Node) -> str:
        """Return the sum over the steps of a loop that captures what is derived by."""
        opened = self.finder.opened
        if opened is None or self.pieces[top][below].rule:
            return ""
        top, below = (self.finder.earlier.get(n, n) for n in (top, below))
        inside = [loop for loop in opened.around(top) if loop not in opened.around(below)]
        return "".join(f"Σ_{loop.letter} " for loop in inside)

    def _rule(self, top: Node, piece: Piece, sums: str) -> str:
        if piece.ways > 1:
            return f"the sum over {piece.ways:,} paths"
        if piece.rule:
            return piece.rule
        symbols = self.finder.symbols
        is_first = top is self.finder.reading.loss
        names = {hole: Term(symbols[n]) for n, hole in piece.holes.items()}
        names[piece.seed] = Term("1" if is_first else INCOMING)
        if not is_first:
            names[piece.result] = Term(symbols[top])
        order = ir.topological((piece.derivative,))
        texts = {**formulas.written(order, names, PRETTY), **names}
        text = texts[piece.derivative].text
        if len(text) > _LONGEST:
            return _rule_of(piece.result)
        return f"{sums}{text}" if sums else _without_incoming(text)

    def _quantities(self) -> dict[Node, Quantity]:
        shown = {*self.pieces, *(n for below in self.pieces.values() for n in below)}
        symbols = self.finder.symbols
        names = {n: Term(s) for n, s in symbols.items()}
        earlier, order = self.finder.earlier, self.finder.order
        before = [n for n in ir.topological(earlier.values()) if n not in set(order)]
        every = ir.topological((*earlier.values(), self.finder.reading.loss))
        texts = formulas.written(every, names, PRETTY)
        texts |= {copy: texts[node] for copy, node in earlier.items()}
        return {
            node: Quantity(
                symbol=symbols[node],
                kind=forward.leaf_kind(node) or "op",
                expression=texts[node].text if node.inputs else "",
                type=str(node.type),
                where=node.note.where or "",
            )
            for node in (*before, *earlier, *order)
            if node in shown or node is self.finder.goal
        }

    def _with_numbers(
        self,
        numbers: Numbers,
        factors: Mapping[Edge, Factor],
        quantities: Mapping[Node, Quantity],
        listed: Sequence[Sequence[Edge]],
    ) -> tuple[dict[Edge, Factor], dict[Node, Quantity], list[list[Factor]]]:
        """Return all with the numbers in their places."""
        gathered = self._gathered(listed)
        arrays = self._arrays(factors)
        slopes = backward.replay(self.finder.reading.loss, quantities)
        flat = [n for nodes in arrays.values() for n in nodes]
        wanted = [*quantities, *gathered.values(), *flat, *slopes.values()]
        found = numbers(list(dict.fromkeys(wanted)))
        valued = {
            edge: replace(factor, value=_stacked(edge, arrays[edge], found))
            if edge in arrays
            else factor
            for edge, factor in factors.items()
        }
        measured = {
            n: replace(q, value=found[n], gradient=found[slopes[n]] if n in slopes else None)
            for n, q in quantities.items()
        }
        paths = [
            [
                replace(valued[edge], gradient=found[gathered[tuple(path[: i + 1])]])
                for i, edge in enumerate(path)
            ]
            for path in listed
        ]
        return valued, measured, paths

    def _gathered(self, listed: Sequence[Sequence[Edge]]) -> dict[tuple[Edge, ...], Node]:
        """Return the product of the factors of each beginning of a path."""
        seed = differentiate.ones(self.finder.reading.loss)
        found: dict[tuple[Edge, ...], Node] = {}
        for path in listed:
            incoming = seed
            for i, (top, below) in enumerate(path):
                key = tuple(path[: i + 1])
                if key not in found:
                    found[key] = self.pieces[top][below].applied(top, incoming)
                incoming = found[key]
        return found

    def _arrays(self, edges: Iterable[Edge]) -> dict[Edge, list[Node]]:
        """Return the derivatives of each element of a numerator, where they are few."""
        small = [edge for edge in edges if _is_small(*edge)]
        if len(small) > _FACTORS:
            return {}
        return {(top, below): self._rows(top, below) for top, below in small}

    def _rows(self, top: Node, below: Node) -> list[Node]:
        size = int(np.prod(top.shape, dtype=int))
        units = np.eye(size, dtype=top.dtype).reshape((size, *top.shape))
        piece = self.pieces[top][below]
        return [piece.applied(top, leaf.constant(unit, top.dtype)) for unit in units]


def _nodes_of(pieces: Pieces) -> list[Node]:
    """Return the nodes that pieces lead through, users before inputs."""
    return list(dict.fromkeys([*pieces, *(n for below in pieces.values() for n in below)]))


def _is_small(top: Node, below: Node) -> bool:
    if not all(isinstance(d, int) for d in (*top.shape, *below.shape)):
        return False
    rows, columns = (int(np.prod(n.shape, dtype=int)) for n in (top, below))
    return rows <= _OUTPUTS and rows * columns <= _DERIVATIVES


def _stacked(edge: Edge, rows: Sequence[Node], found: Mapping[Node, Any]) -> Any:
    top, below = edge
    return np.stack([found[n] for n in rows]).reshape((*top.shape, *below.shape))


def _rule_of(node: Node) -> str:
    """Return the rule of a node's op, for a derivative that is too long to be written out."""
    op = node.inputs[0].op if node.op is scan.RESULT else node.op
    return f"{op.name}: {op.rule}"


def _without_incoming(text: str) -> str:
    """Return a rule without the ``•`` that it begins with, if it is a plain factor."""
    for begin, instead in ((f"{INCOMING} · ", ""), (f"{INCOMING} / ", "1 / ")):
        rest = text.removeprefix(begin)
        if rest != text and INCOMING not in rest:
            return _unbracketed(instead + rest)
    plain = {INCOMING: "1", f"−{INCOMING}": "−1"}
    return plain.get(text, text)


def _unbracketed(text: str) -> str:
    inside = text[1:-1]
    is_whole = text.startswith("(") and text.endswith(")") and not set("()") & set(inside)
    return inside if is_whole else text
