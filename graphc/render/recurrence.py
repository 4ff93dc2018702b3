"""How a loop's state moves with what the loop captures: the recurrence, and what it unrolls to.

For h_t = f(h_{t-1}, W): ∂h_t/∂W = ∂⁺h_t/∂W + ∂h_t/∂h_{t-1} ∂h_{t-1}/∂W, where ∂⁺ means the use of W
at step t alone. For scalars these are written out as derivatives; for tensors as differentials,
∂h = … ∂W … ∂h[t − 1] …, which say the same along every direction ∂W. Derives forward, by deriving a
derivative by its own cotangent; knows no text of a whole derivation.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from graphc import dims, ir
from graphc.ir import Graph, Node
from graphc.ops import leaf, linear, scan
from graphc.passes import differentiate
from graphc.render import formulas, naming, notation
from graphc.render.formulas import PLAIN, Term
from graphc.render.local import over, read_by
from graphc.render.loops import Loop, Opened
from graphc.render.notation import Math, fraction, row, symbol, word

_LONGEST = 400  # characters of a recurrence that is written out


@dataclass(frozen=True, slots=True)
class Equation:
    """One line: a symbol and what it is, as text and as mathematics.

    Attributes:
        symbol: what is given.
        expression: what it is.
        left: the symbol as mathematics.
        right: the expression as mathematics.
        type: dtype and shape, where it has one.
        rule: why.
        node: the graph of the expression, where it is one; leaves called ``symbol`` and
            ``previous`` carry the tangents.
        loop: the loop that it is of.
        of: which of the loop's `states.Slopes` its numbers are; empty for a part of a state.
    """

    symbol: str
    expression: str
    left: Math
    right: Math
    type: str
    rule: str
    node: Node | None = None
    loop: Loop | None = None
    of: str = ""


def equations(
    opened: Opened, names: Mapping[Node, str], wrt: Node, loss: Node | None = None
) -> Iterator[Equation]:
    """Yield the recurrences of all loops that capture a tensor, or what it is spread to.

    Args:
        opened: the graph of a loss and its gradient, its loops open.
        names: the symbols of the forward pass.
        wrt: the tensor, as a node of that graph.
        loss: what is derived, as a node of that graph; where it reads the tensor in other ways
            than through a loop's state, the sum over time says so.
    """
    found = dict.fromkeys(opened.loops[n] for n in opened.order if n in opened.loops)
    moved = _reached(opened, wrt)
    derived = {loop.partner for loop in found}
    for loop in found:
        if loop.partner is None and loop in derived and loop.outer is None:
            body: Graph = loop.node.attrs["body"]
            inner = scan.parts(body.inputs[:-1], loop.walk)
            read = [n for n in inner.captured if loop.inner[n] in moved]
            if read:  # what a step is fed moves with the target too
                read += [n for n in inner.sequences if loop.inner[n] in moved]
            carries = [i for i in range(loop.walk.carries) if _is_moved(loop, i, names)]
            if read and carries:
                only = loss is None or not _goes_around(opened, loop, wrt, loss)
                made = _Writer(loop, names, names[wrt], read, carries, only, wrt, moved)
                yield from (replace(e, loop=loop) for e in made.equations())


def _goes_around(opened: Opened, loop: Loop, wrt: Node, loss: Node) -> bool:
    """Tell whether a loss reads a tensor in other ways than through what a loop's steps hand on."""
    reached = _reached(opened, wrt, set(loop.renewed))
    return loss in reached or any(n.inputs[0] in reached for n in loop.carries)


def _reached(opened: Opened, wrt: Node, cut: Collection[Node] = ()) -> set[Node]:
    """Return the nodes that a tensor moves, but for those that only ``cut`` ones lead to.

    What moves a new carry moves the carry of the step after.
    """
    order = [n for n in opened.order if n not in cut]
    sources = {wrt}
    while True:
        found = differentiate.depends(order, sources)
        more = {c for c, new in opened.returns.items() if new in found and c.tensor.is_float}
        if more <= found:
            return found
        sources |= more


def _unspread(node: Node) -> Node:
    while naming.is_passing(node):
        node = node.inputs[0]
    return node


def _is_moved(loop: Loop, i: int, names: Mapping[Node, str]) -> bool:
    return loop.renewed[i] in names and loop.renewed[i].tensor.is_float


@dataclass(frozen=True, slots=True)
class _Writer:
    loop: Loop
    names: Mapping[Node, str]
    target: str
    read: Sequence[Node]
    carries: Sequence[int]
    is_all: bool
    wrt: Node
    moved: Container[Node]

    @property
    def states(self) -> list[str]:
        return [self.names[self.loop.renewed[i]] for i in self.carries]

    @property
    def is_scalar(self) -> bool:
        outputs = [self.loop.renewed[i] for i in self.carries]
        is_plain = all(_unspread(self.loop.inner[n]) is self.wrt for n in self.read)
        return is_plain and all(n.shape == () for n in (*self.read, *outputs))

    def _moving(self, inner: Node) -> Node:
        """Return how a leaf of the body moves with the target, in movements of statements."""
        value = self.loop.inner[inner]
        node = _unspread(value)
        if node in self.names:
            return self._direction(inner, f"∂{self.names[node]}", self.is_scalar)
        holes = {n: leaf.input("held", n.shape, n.dtype) for n in read_by(value, self.names)}
        moving = [
            (hole, self._direction(n, f"∂{self.names[n]}", unit=False))
            for n, hole in holes.items()
            if n in self.moved
        ]
        made = tangent(over(value, holes), moving)
        if made is None:
            return linear.broadcast_to(leaf.constant(0, inner.dtype), inner.shape)
        return over(made, {hole: n for n, hole in holes.items()})

    def equations(self) -> Iterator[Equation]:
        for i, state in zip(self.carries, self.states, strict=True):
            yield from self._of_carry(i, state)
        yield self._unrolled()
        yield self._summed()

    def _of_carry(self, i: int, state: str) -> Iterator[Equation]:
        of = ("back", "use", "total") if self.is_scalar and len(self.carries) == 1 else ("", "", "")
        alone = self._tangent(i, uses=True, carries=())
        whole = self._tangent(i, uses=True, carries=self.carries)
        if self.is_scalar:
            for j in self.carries:
                back = self._tangent(i, uses=False, carries=(j,), unit=True)
                if back is not None:
                    before = self._before(j)
                    left = _derivative(state, before)
                    said = "one step back"
                    made = self._written(f"∂{state}/∂{before}", left, back, said)
                    yield replace(made, of=of[0])
        if alone is not None:
            name, left = self._moved(f"⁺{state}")
            said = f"the use of {self.target} at this step alone"
            yield replace(self._written(name, left, alone, said), of=of[1])
        if whole is not None:
            name, left = self._moved(state)
            said = "the recurrence: this step's use, and what was handed on"
            is_first = self._is_first(i)
            said += ", the first state's own at first" if is_first else ", 0 at first"
            said += " and at each border" if self.loop.walk.truncate else ""
            yield replace(self._written(name, left, whole, said), of=of[2])

    def _is_first(self, i: int) -> bool:
        """Tell whether the first state depends on the target."""
        return self.loop.carries[i].inputs[0] in self.moved

    def _moved(self, state: str) -> tuple[str, Math]:
        """Return how a state's movement with the target is called."""
        plain = state.removeprefix("⁺")
        sign = "∂⁺" if plain != state else "∂"
        if self.is_scalar:
            above = row(sign, symbol(plain))
            return f"{sign}{plain}/∂{self.target}", fraction(above, row("∂", symbol(self.target)))
        return f"{sign}{plain}", row(sign, symbol(plain))

    def _before(self, i: int) -> str:
        return self.names[self.loop.carries[i]]

    def _written(self, name: str, left: Math, node: Node, rule: str) -> Equation:
        names = {**self.names, **_tangent_names(node)}
        order = ir.topological((node,))
        known = {n: Term(s) for n, s in names.items()}
        text = formulas.written(order, known, PLAIN)[node].text
        right = notation.written(order, names)[node]
        if len(text) > _LONGEST:
            parts = f"∂⁺{name[1:]} + what {', '.join(map(self._before, self.carries))} hand on"
            text, right = parts, word(parts)
        return Equation(name, text, left, right, str(node.type), rule, node)

    def _tangent(
        self, i: int, *, uses: bool, carries: Sequence[int], unit: bool = False
    ) -> Node | None:
        """Return how a new carry moves with what is captured, with old carries, or with both."""
        body: Graph = self.loop.node.attrs["body"]
        moving: list[tuple[Node, Node]] = []
        if uses:
            moving += [(n, self._moving(n)) for n in self.read]
        for j in carries:
            before = self._before(j)
            name = f"∂{before}/∂{self.target}" if self.is_scalar else f"∂{before}"
            moving.append((body.inputs[j], self._direction(body.inputs[j], name, unit)))
        made = tangent(body.outputs[i], moving)
        return None if made is None else ir.substitute([made], self.loop.inner)[made]

    def _direction(self, like: Node, name: str, unit: bool) -> Node:
        if unit:
            return leaf.constant(1, like.dtype)
        return leaf.input(name, like.shape, like.dtype)

    def _unrolled(self) -> Equation:
        """Return the recurrence as a sum over the steps up to t, of products of steps back."""
        t = self.loop.letter
        state = self.states[0] if len(self.states) == 1 else f"({', '.join(self.states)})"
        sign = "+" if self.loop.walk.reverse else "−"
        later = "−" if self.loop.walk.reverse else "+"
        end = f"k = {t} … T − 1" if self.loop.walk.reverse else f"k = 0 … {t}"
        if self.loop.walk.reverse:
            last = dims.text(dims.add(self.loop.walk.length, -1)).replace("-", "−")
            end = f"k = {t} … {last}"
        at = "{}[{}]".format
        product = f"∂{at(state, t)}/∂{at(state, f'{t} {sign} 1')}"
        first = f"∂{at(state, f'k {later} 1')}/∂{at(state, 'k')}"
        use = f"∂⁺{at(state, 'k')}/∂{self.target}"
        maths = [_fraction(part) for part in (product, first, use)]
        rule = "the recurrence unrolled: the use at step k, carried on from step to step"
        if self.loop.walk.truncate:
            k = self.loop.walk.truncate
            every = f"every {k} steps" if k > 1 else "between any two steps"
            rule += f"; no gradient passes the borders {every}, so k begins at the last one"
        return Equation(
            f"∂{at(state, t)}/∂{self.target}",
            f"Σ_k {product} ⋯ {first} {use},  {end}",
            _fraction(f"∂{at(state, t)}/∂{self.target}"),
            row(
                Math("index", parts=(notation.sign("Σ"), word(end))),
                maths[0],
                "⋯",
                maths[1],
                maths[2],
            ),
            "",
            rule,
            of="unrolled",
        )

    def _summed(self) -> Equation:
        """Return the gradient as the sum over time of both readings of the chain rule."""
        state = self.states[0] if len(self.states) == 1 else f"({', '.join(self.states)})"
        t, target = self.loop.letter, self.target
        total = f"∂L/∂{state}", f"∂⁺{state}/∂{target}"
        alone = f"∂⁺L/∂{state}", f"∂{state}/∂{target}"
        # The other reading counts what the first state does too.
        pairs = (total,) if any(map(self._is_first, self.carries)) else (alone, total)
        text = " = ".join(f"Σ_{t} {a} {b}" for a, b in pairs)
        big = Math("index", parts=(notation.sign("Σ"), word(t)))
        parts = [row(big, _fraction(a), _fraction(b)) for a, b in pairs]
        rule = (
            f"the sum over time; ∂⁺L/∂{state} is what a step's own outputs do to the loss, "
            f"∂L/∂{state} all that follows too"
        )
        name, left = f"∂L/∂{target}", _fraction(f"∂L/∂{target}")
        if not self.is_all:
            name, left = f"{name} through {state}", row(left, word(f" through {state}"))
            rule += f"; {target} is read in other ways too, whose gradients add up with this"
        right = notation.equated(parts)
        return Equation(name, text, left, right, "", rule, of="summed")


def tangent(output: Node, moving: Sequence[tuple[Node, Node]]) -> Node | None:
    """Return how a node moves when others move by given tangents; None if it does not.

    The derivative by reverse mode is linear in its cotangent; its own derivative by that is the
    derivative by forward mode.
    """
    cotangent = leaf.input("v", output.shape, output.dtype)
    found = differentiate.cotangents((output,), (cotangent,), [n for n, _ in moving])
    live = [(found[n], t) for n, t in moving if n in found]
    if not live:
        return None
    slopes, seeds = zip(*live, strict=True)
    made = differentiate.cotangents(slopes, seeds, [cotangent]).get(cotangent)
    return None if made is None else _without_double_flips(made)


def _without_double_flips(root: Node) -> Node:
    """Return a graph in which no transpose undoes another, as deriving twice makes them."""
    became: dict[Node, Node] = {}
    for node in ir.topological((root,)):
        made = ir.with_inputs(node, tuple(became[n] for n in node.inputs))
        if node.op is linear.TRANSPOSE and made.inputs[0].op is linear.TRANSPOSE:
            inner = made.inputs[0]
            axes = [inner.attrs["axes"][a] for a in made.attrs["axes"]]
            made = inner.inputs[0] if axes == sorted(axes) else made
        became[node] = made
    return became[root]


def _tangent_names(node: Node) -> dict[Node, str]:
    """Return the names of the tangents that a formula reads."""
    inputs = [n for n in ir.topological((node,)) if n.op is leaf.INPUT]
    return {n: n.attrs["name"] for n in inputs if n.attrs["name"].startswith("∂")}


def _derivative(above: str, below: str) -> Math:
    return fraction(row("∂", symbol(above)), row("∂", symbol(below)))


def _fraction(text: str) -> Math:
    """Return ``∂⁺h[k]/∂w`` as a fraction."""
    above, below = text.split("/∂", 1)
    sign = "∂⁺" if above.startswith("∂⁺") else "∂"
    return fraction(row(sign, symbol(above.removeprefix(sign))), row("∂", symbol(below)))
