"""Loops opened: a graph in which what the body of a loop computes stands among all the rest.

Knows scans, and nothing of boxes, colours or DOT.

A scan becomes one step t of its body. Ops that exist in pictures alone stand where the body meets
the world: `CARRY` is the value before the step (its input: the first value), `STEP` one step of a
sequence, and `LAST`, `STACKED` and `SUMMED` are results, read from an output of the body. The way
from a new carry back to its `CARRY` is no input, since graphs have no circles: `Opened.returns`
has it. Loops over the same inputs that share their body, as one and the forward pass that its
derivative needs do, become one; a derivative reads the values of its forward loop where they are.
Results that nobody reads vanish, with what only they needed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from graphc import dims, ir
from graphc.ir import Floats, Node, Note, Op
from graphc.ops import elementwise, leaf, linear, scan
from graphc.passes.merge import merging
from graphc.render.sketch import Block, Path

_LETTERS = "tijklmn"  # of the step: of the outermost loop, of one inside it, ...


def _op(name: str, formula: str) -> Op:
    return Op(name, lambda inputs, attrs: inputs[0].type, leaf.no_gradient, Floats.EXACT, formula)


CARRY = _op("carry", "the value that the step before hands on")
STEP = _op("step", "one step of a sequence")
LAST = _op("last", "the value after the last step")
STACKED = _op("stack_t", "the values of all steps, stacked")
SUMMED = _op("sum_t", "the values of all steps, added up")
RESULTS = (LAST, STACKED, SUMMED)


@dataclass(frozen=True, slots=True, eq=False)
class Loop:
    """A loop that is open.

    Attributes:
        node: the first scan that became this loop.
        walk: how it walks.
        index: the step, as a node.
        letter: the step, in words.
        block: the block of pictures that it is.
        path: where its boxes stand: the blocks around it, and its own.
        outer: the loop that it stands in.
        partner: the loop that it is the derivative of, if there is one.
        given: what enters: first carries, sequences, captured values.
        inner: what each node of the body became.
    """

    node: Node
    walk: scan.Walk
    index: Node
    letter: str
    block: Block
    path: Path
    outer: Loop | None
    partner: Loop | None
    given: tuple[Node, ...]
    inner: dict[Node, Node] = field(default_factory=dict)

    @property
    def carries(self) -> tuple[Node, ...]:
        """The carries before the step."""
        return self._leaves(0, self.walk.carries)

    @property
    def steps(self) -> tuple[Node, ...]:
        """What its sequences are at this step."""
        return self._leaves(self.walk.carries, self.walk.carries + self.walk.sequences)

    @property
    def renewed(self) -> tuple[Node, ...]:
        """The carries after the step."""
        outputs = self.node.attrs["body"].outputs[: self.walk.carries]
        return tuple(self.inner[n] for n in outputs)

    def _leaves(self, first: int, end: int) -> tuple[Node, ...]:
        return tuple(self.inner[n] for n in self.node.attrs["body"].inputs[first:end])


@dataclass(frozen=True, slots=True)
class Opened:
    """A graph whose loops are open.

    Attributes:
        order: all nodes that its roots need, inputs before users, a body's nodes side by side.
        became: what each node of the graph that was given became.
        paths: the blocks that each node stands in.
        loops: the innermost loop of each node that stands in one.
        names: names for carries and steps of sequences, of forward loops.
        returns: for each carry, the new carry that the next step begins with.
        made_by: the loop that each result comes out of.
    """

    order: tuple[Node, ...]
    became: Mapping[Node, Node]
    paths: Mapping[Node, Path]
    loops: Mapping[Node, Loop]
    names: Mapping[Node, str]
    returns: Mapping[Node, Node]
    made_by: Mapping[Node, Loop]

    @property
    def kept(self) -> set[Node]:
        """The nodes that loops need to be seen: what enters and leaves a step."""
        ends = (n.inputs[0] for n in self.order if n.op in (LAST, STACKED))
        leaves = (n for n in self.order if n.op in (CARRY, STEP))
        return {*leaves, *ends, *self.returns.values()}

    def around(self, node: Node) -> tuple[Loop, ...]:
        """Return the loops that a node stands in, the outermost first."""
        found: list[Loop] = []
        loop = self.loops.get(node)
        while loop is not None:
            found.insert(0, loop)
            loop = loop.outer
        return tuple(found)

    def needed(self, roots: Iterable[Node]) -> set[Node]:
        """Return the nodes that some roots need; a carry needs what renews it."""
        return _needed(roots, self.returns)


def opened(roots: Iterable[Node]) -> Opened:
    """Return what some roots reach, its loops open."""
    roots = tuple(roots)
    opener = Opener()
    opener.open_all(roots, opener.became, None)
    return opener.finished(roots)


def stacks(roots: Iterable[Node]) -> dict[Node, Node]:
    """Return values inside loops, each with a tensor of what it is at all steps.

    Loops inside loops, and bodies that several loops share, are left out.
    """
    found: dict[Node, Node] = {}
    order = ir.topological(roots)
    scans = [n for n in order if n.op is scan.SCAN]
    shared = Counter(n.attrs["body"].inputs for n in scans)
    for node in scans:
        body: ir.Graph = node.attrs["body"]
        if shared[body.inputs] == 1:
            walk = scan.walk_of(node.attrs)
            steps = scan.parts(body.inputs[:-1], walk).sequences
            inner = ir.topological(body.outputs)
            values = [n for n in inner if n in steps or n.inputs]
            values = [n for n in values if not isinstance(n.type, tuple)]
            first = walk.carries + walk.stacked
            outputs = (*body.outputs[:first], *values, *body.outputs[first:])
            more = replace(walk, stacked=walk.stacked + len(values))
            made = scan.scan(more, ir.Graph(body.inputs, outputs), node.inputs)
            found |= {n: scan.result(made, first + i) for i, n in enumerate(values)}
    return found


def turn(loop: Loop) -> str:
    """Return what happens between two steps: ``t → t + 1``."""
    return f"{loop.letter} → {loop.letter} {'−' if loop.walk.reverse else '+'} 1"


def _needed(roots: Iterable[Node], back: Mapping[Node, Node]) -> set[Node]:
    live: set[Node] = set()
    wanted = list(roots)
    while wanted:
        found = [n for n in ir.topological(wanted) if n not in live]
        live |= set(found)
        wanted = [back[n] for n in found if n in back and back[n] not in live]
    return live


class Opener:
    """A graph in the making; loops are found again by what they are made of."""

    def __init__(self) -> None:
        self.became: dict[Node, Node] = {}
        self.equal = merging()
        self.order: dict[Node, None] = {}
        self.paths: dict[Node, Path] = {}
        self.loops: dict[Node, Loop] = {}
        self.names: dict[Node, str] = {}
        self.taken: set[str] = set()
        self.made_by: dict[Node, Loop] = {}
        self.known: dict[object, Loop] = {}
        self.by_note: dict[Note, Loop] = {}
        self.results: dict[object, Node] = {}

    def open_all(self, roots: Iterable[Node], became: dict[Node, Node], loop: Loop | None) -> None:
        """Open what some roots reach, outside or inside a loop (loops are nested a few deep)."""
        scans: dict[Node, tuple[Loop, tuple[Node, ...]]] = {}
        for node in ir.topological(roots):
            if node in became and node.op is not scan.SCAN:
                continue
            inputs = tuple(became[n] for n in node.inputs)
            if node.op is scan.SCAN:
                scans[node] = self._scan(node, inputs, loop)
                became[node] = node
                continue
            if node.op is scan.RESULT and node.inputs[0] in scans:
                made = self._result(node, *scans[node.inputs[0]])
            else:
                with ir.noting_as(node.note):
                    made = ir.with_inputs(node, inputs)
                # What a derivative does again of its forward pass is shown where it was done.
                first = self.equal(made) if loop is not None else None
                if loop is not None and loop.partner is not None and first is not None:
                    made = first
            became[node] = self._placed(made, loop)

    def finished(self, roots: Iterable[Node]) -> Opened:
        """Return what some roots, which are open, need."""
        back = {
            carry: new
            for loop in dict.fromkeys(self.known.values())
            for carry, new in zip(loop.carries, loop.renewed, strict=True)
        }
        live = _needed((self.became[n] for n in roots), back)
        order = tuple(n for n in self.order if n in live)
        returns = {n: back[n] for n in order if n in back}
        return Opened(order, self.became, self.paths, self.loops, self.names, returns, self.made_by)

    def _placed(self, node: Node, loop: Loop | None) -> Node:
        if node not in self.order:
            self.order[node] = None
            self.paths[node] = path_of(node.note, loop)
            if loop is not None:
                self.loops[node] = loop
        return node

    def _result(self, node: Node, loop: Loop, outputs: tuple[Node, ...]) -> Node:
        walk = scan.walk_of(node.inputs[0].attrs)
        k = node.attrs["index"]
        op = LAST if k < walk.carries else STACKED
        op = SUMMED if k >= walk.carries + walk.stacked else op
        key = (op, loop, outputs[k], node.note.path)
        if key not in self.results:
            made = Node(op, (outputs[k],), MappingProxyType({}), node.type, node.note)
            self.results[key], self.made_by[made] = made, loop
        return self.results[key]

    def _scan(
        self, node: Node, given: tuple[Node, ...], outer: Loop | None
    ) -> tuple[Loop, tuple[Node, ...]]:
        """Return the loop that a scan is, and what the outputs of its body became."""
        body: ir.Graph = node.attrs["body"]
        walk = replace(scan.walk_of(node.attrs), stacked=0)
        key: object = (body.inputs, given, walk)
        loop = self.known.get(key)
        if loop is not None:
            self.open_all(body.outputs, loop.inner, loop)
            outputs = tuple(loop.inner[n] for n in body.outputs)
            if outputs[: walk.carries] == loop.renewed:
                return loop, outputs
            key = node
        loop = self.known[key] = self._loop(node, given, outer)
        self.open_all(body.outputs, loop.inner, loop)
        return loop, tuple(loop.inner[n] for n in body.outputs)

    def _loop(self, node: Node, given: tuple[Node, ...], outer: Loop | None) -> Loop:
        walk, note = scan.walk_of(node.attrs), node.note
        partner = self.by_note.get(note.origin.note) if note.origin is not None else None
        depth = 0 if outer is None else _LETTERS.find(outer.letter[0]) + 1
        letter = _LETTERS[depth] if depth < len(_LETTERS) else f"n{depth}"
        number = leaf.size(dims.symbol(letter), "int64")
        index = number if partner is None else partner.index
        is_derived = note.origin is not None and partner is not None
        block = Block(
            f"loop {len(self.known)}", _title(note, is_derived), _walk_words(node, letter, given)
        )
        path = (*path_of(note, outer), block)
        loop = Loop(node, walk, index, letter, block, path, outer, partner, given)
        self.by_note.setdefault(note, loop)
        if note.origin is not None:
            self.by_note.setdefault(note.origin.note, loop)
        self._enter(loop, index)
        return loop

    def _enter(self, loop: Loop, index: Node) -> None:
        """Give the body's leaves what they stand for."""
        body: ir.Graph = loop.node.attrs["body"]
        inner, given = scan.parts(body.inputs[:-1], loop.walk), scan.parts(loop.given, loop.walk)
        loop.inner[body.inputs[-1]] = self._placed(index, loop)
        loop.inner.update(zip(inner.captured, given.captured, strict=True))
        for i, (n, first) in enumerate(zip(inner.carries, given.carries, strict=True)):
            made = loop.inner[n] = self._leaf(CARRY, n, first, loop)
            if loop.partner is None:
                sign = "+" if loop.walk.reverse else "−"
                name = _carry_name(body.outputs[i], len(inner.carries), i)
                name = ".".join((*loop.node.note.scope, f"{name}[{loop.letter} {sign} 1]"))
                self.names[made] = _unused(name, self.taken)
        for i, (n, x) in enumerate(zip(inner.sequences, given.sequences, strict=True)):
            same = self._same_step(x, loop)
            loop.inner[n] = same or self._leaf(STEP, n, x, loop)
            if loop.partner is None:
                name = f"{self._sequence_name(x, loop, i)}[{loop.letter}]"
                if name in self.taken:
                    name = ".".join((*loop.node.note.scope, name))
                self.names[loop.inner[n]] = _unused(name, self.taken)

    def _leaf(self, op: Op, inner: Node, outer: Node, loop: Loop) -> Node:
        origin, note = loop.node.note.origin, loop.node.note
        kept = Note(None, note.scope, note.where, note.step, origin)
        # Leaves are equal only in equal places of one loop, or of derivatives of one loop.
        place = loop.node.attrs["body"].inputs.index(inner)
        whose = loop.block.key if loop.partner is None else f"back {loop.partner.block.key}"
        attrs = MappingProxyType({"place": place, "loop": whose})
        return self._placed(Node(op, (outer,), attrs, inner.type, kept), loop)

    def _same_step(self, x: Node, loop: Loop) -> Node | None:
        """Return the value in the forward loop that a step of a derivative's sequence is."""
        partner = loop.partner
        if partner is None:
            return None
        sequences = scan.parts(partner.given, partner.walk).sequences
        if x in sequences:
            return partner.steps[sequences.index(x)]
        maker = self.made_by.get(x)
        is_kept = x.op is STACKED and maker is not None and maker.index is partner.index
        return x.inputs[0] if is_kept else None

    def _sequence_name(self, x: Node, loop: Loop, i: int) -> str:
        while not x.note.name and x.inputs and x.op in (linear.RESHAPE, linear.CAST):
            x = x.inputs[0]
        name = self.names.get(x) or x.attrs.get("name") or x.note.path
        if name:
            return str(name)
        word = "x" if loop.walk.sequences == 1 else f"x{i + 1}"
        return ".".join((*loop.node.note.scope, word))


def path_of(note: Note, loop: Loop | None) -> Path:
    """Return the blocks that a node stands in: scopes, loops, the time step of a copy."""
    scope: Path = note.scope if note.step is None else (*note.scope, f"t = {note.step}")
    if loop is None:
        return scope
    around = loop.node.note.scope
    same = next((i for i, (a, b) in enumerate(zip(scope, around, strict=False)) if a != b), None)
    shared = min(len(scope), len(around)) if same is None else same
    return (*loop.path, *scope[shared:])


def _carry_name(output: Node, count: int, i: int) -> str:
    """Return what the user called a carry, where samples that are finished keep theirs too."""
    if not output.note.name and elementwise.is_formula(output, elementwise.WHERE):
        output = output.inputs[1]
    is_own = output.note.origin is None and output.note.name
    return str(output.note.name) if is_own else "carry" if count == 1 else f"carry{i + 1}"


def _unused(name: str, taken: set[str]) -> str:
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}#{number}"
    taken.add(found)
    return found


def _title(note: Note, is_derived: bool) -> str:
    name = note.name or (note.scope[-1] if note.scope else "loop")
    return f"gradients of {name}" if is_derived else name


def _walk_words(node: Node, letter: str, given: Sequence[Node]) -> str:
    """Return how a loop walks: ``for t = 0 … T − 1, truncated every 5 steps``."""
    walk = scan.walk_of(node.attrs)
    parts = [f"for {letter} = {_range(walk)}"]
    if walk.truncate:
        parts.append(f"truncated every {walk.truncate} step{'s' if walk.truncate > 1 else ''}")
    parts += [f"each sample for its {name}" for name in _lengths(node, given)]
    return ", ".join(parts)


def _range(walk: scan.Walk) -> str:
    if walk.length in (0, 1):
        return "0" if walk.length else "none"
    last = dims.text(dims.add(walk.length, -1)).replace("-", "−")
    return f"{last} … 0" if walk.reverse else f"0 … {last}"


def _lengths(node: Node, given: Sequence[Node]) -> list[str]:
    """Return the names of the lengths that samples of a loop are cut to."""
    body: ir.Graph = node.attrs["body"]
    places = {n: i for i, n in enumerate(body.inputs)}
    outer = []
    for output in body.outputs[: node.attrs["carries"]]:
        if elementwise.is_formula(output, elementwise.WHERE):
            live = _plain(output.inputs[0])
            if elementwise.is_formula(live, elementwise.LESS):
                t, limit = map(_plain, live.inputs)
                if t is body.inputs[-1] and limit in places:
                    outer.append(_plain(given[places[limit]]))
    names = (n.note.name or n.attrs.get("name") or "lengths" for n in outer)
    return list(dict.fromkeys(map(str, names)))


def _plain(node: Node) -> Node:
    """Return what a node spreads, reshapes or casts."""
    while node.op in (linear.BROADCAST_TO, linear.RESHAPE, linear.CAST):
        node = node.inputs[0]
    return node
