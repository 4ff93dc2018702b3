"""The picture of a loss and its gradients: each gradient beside what it is the gradient of.

Loops are open, the forward one beside the one that is its derivative; inside them, too, a
gradient is known by what it is: the body is derived again and compared. Knows no colours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from graphc import ir
from graphc.ir import Graph, Node
from graphc.ops import leaf, scan
from graphc.passes import differentiate
from graphc.render import backward, formulas, forward, loops, naming, words
from graphc.render.backward import Reading, Values
from graphc.render.formulas import ATOM, COMPARISON, PRETTY, Term
from graphc.render.loops import Loop, Opened, Opener
from graphc.render.sketch import Arrow, Box, Path, Sketch, without_loops

_TINTED = ("op", "parameter", "carry")


def sketch(
    loss: Node, grads: Mapping[str, Node], title: str, values: Values, collapse: int | None
) -> Sketch:
    """Return the picture of a loss and its gradients, each beside what it is the gradient of."""
    reading, opened = read(loss, grads, values)
    stated = {*reading.symbols, *reading.stated}
    shown = [n for n in opened.order if n in stated]
    groups = _grouping(reading, opened, collapse)
    keys = forward.box_keys(shown, groups)
    boxes = forward.group_boxes(shown, groups, keys)
    writer = _writer(reading, opened, keys)
    for node in shown:
        if node not in groups:
            boxes[keys[node]] = writer.box(node, groups)
    arrows = list(_arrows(reading, opened, keys))
    return Sketch(forward.in_order(boxes, keys, shown), without_loops(arrows), title)


# ---------------------------------------------------------------- reading


def read(loss: Node, grads: Mapping[str, Node], values: Values) -> tuple[Reading, Opened]:
    """Return a loss and its gradients, read, their loops open."""
    loss, found, values = backward.aligned(loss, grads, values)
    opener = Opener()
    roots = (loss, *found.values())
    replayed = backward.replay(loss, ir.topological((loss,)))
    opener.open_all((*roots, *replayed.values()), opener.became, None)
    opened = opener.finished(roots)
    became = opener.became
    root, asked = became[loss], {name: became[g] for name, g in found.items()}
    inside = opened.needed((root,))
    derived = backward.derived_of(opened.order, inside, asked)
    symbols, names = _symbols(root, opened, inside, derived)
    again = {became[n]: became[g] for n, g in replayed.items() if became[n] in symbols}
    again |= _inner_gradients(opener, opened, symbols, again)
    wanted = {n: asked[name] for n, name in symbols.items() if name in asked}
    gradients, origins = backward.matched(opened.order, derived, again, wanted)
    kept = {*gradients, *asked.values(), *opened.kept} & derived
    stated = backward.stated_of([n for n in opened.order if n in derived], kept)
    numbers = {became[n]: v for n, v in values.items() if n in became}
    for loop in dict.fromkeys(opened.loops.values()):
        numbers |= {loop.inner[n]: v for n, v in values.items() if n in loop.inner}
    reading = Reading(
        root, asked, opened.order, names, symbols, gradients, origins, stated, numbers
    )
    return reading, opened


def _symbols(
    root: Node, opened: Opened, inside: set[Node], derived: set[Node]
) -> tuple[dict[Node, str], dict[Node, str]]:
    """Return the symbols of the forward pass, and which of them are the user's names."""
    ahead = [n for n in opened.order if n in inside]
    names = naming.own_names(ahead) | {n: t for n, t in opened.names.items() if n in inside}
    kept = opened.kept
    given = {n: t for n, t in opened.names.items() if n in inside}
    given |= {} if root in names else {root: "L"}
    apart = backward.read_apart(opened.order, inside | derived, derived)
    ends = [n for n in ahead if n in kept]
    return naming.symbols((*ends, root, *apart), given), names


def _inner_gradients(
    opener: Opener, opened: Opened, symbols: Iterable[Node], again: Mapping[Node, Node]
) -> dict[Node, Node]:
    """Return the gradients of what stands inside loops, derived anew, by statement."""
    inner: dict[Loop, list[Node]] = {}
    for node in symbols:
        if node in opened.loops:
            inner.setdefault(opened.loops[node], []).append(node)
    backs = dict.fromkeys(opened.loops[n] for n in opened.order if n in opened.loops)
    found: dict[Node, Node] = {}
    # Outer loops come first: what they give is what inner ones are seeded with.
    for back in sorted(backs, key=lambda b: len(b.path)):
        if back.partner in inner and back.partner is not None:
            known = {**again, **found}
            seeds = _seeds(back.partner, back, opened, known)
            found |= _replayed(opener, back.partner, back, seeds, inner[back.partner])
    return found


def _seeds(
    partner: Loop, back: Loop, opened: Opened, again: Mapping[Node, Node]
) -> dict[int, Node]:
    """Return the cotangent, inside the backward loop, of each output of the forward body."""
    body: Graph = partner.node.attrs["body"]
    places = _float_carries(partner)
    seeds = dict(zip(places, back.carries, strict=True)) if len(places) == len(back.carries) else {}
    steps = [n for n in dict.fromkeys(back.steps) if n.op is loops.STEP and n not in partner.steps]
    numbers = backward.numbered(
        ir.topological([*again.values(), *(s.inputs[0] for s in steps)]), {}
    )
    step_of = {numbers[s.inputs[0]]: s for s in steps}
    outputs = [partner.inner[n] for n in body.outputs]
    for result, gradient in again.items():
        if opened.made_by.get(result) is not partner or result.op is loops.LAST:
            continue
        seed = gradient if result.op is loops.SUMMED else step_of.get(numbers[gradient])
        later = range(partner.walk.carries, len(outputs))
        place = next((k for k in later if outputs[k] is result.inputs[0]), None)
        if seed is not None and place is not None:
            seeds[place] = seed
    return seeds


def _float_carries(loop: Loop) -> list[int]:
    outputs = loop.node.attrs["body"].outputs[: loop.walk.carries]
    return [i for i, n in enumerate(outputs) if n.tensor.is_float]


def _replayed(
    opener: Opener, partner: Loop, back: Loop, seeds: Mapping[int, Node], wanted: Iterable[Node]
) -> dict[Node, Node]:
    """Return the gradients of statements of a body, over the leaves of the backward loop."""
    body: Graph = partner.node.attrs["body"]
    holes = {k: leaf.input(f"g{k}", n.shape, n.dtype) for k, n in enumerate(body.outputs)}
    wanted = set(wanted)
    raw = [
        n
        for n in ir.topological((*body.inputs, *body.outputs))
        if partner.inner.get(n) in wanted and n.op is not scan.SCAN and n.tensor.is_float
    ]
    cotangents = [holes[k] if k in seeds else None for k in range(len(body.outputs))]
    found = differentiate.cotangents(body.outputs, cotangents, raw)
    became = {**partner.inner, **{holes[k]: seed for k, seed in seeds.items()}}
    opener.open_all(found.values(), became, back)
    return {partner.inner[n]: became[g] for n, g in found.items()}


# ---------------------------------------------------------------- drawing


def _grouping(reading: Reading, opened: Opened, collapse: int | None) -> dict[Node, forward.Group]:
    kept = {reading.loss, *reading.asked.values()}
    ahead = {n: opened.paths[n] for n in reading.symbols}
    back = {n: _path(n, reading, opened) for n in reading.stated}
    share = 2 if len(ahead) + len(back) > forward.BUDGET else 1
    budget = forward.BUDGET // share
    found = forward.grouping(ahead, kept, collapse, budget)
    later = forward.grouping(back, kept, collapse, budget)
    return {**found, **{n: (f"{g[0]} of gradients", *g[1:]) for n, g in later.items()}}


def _path(node: Node, reading: Reading, opened: Opened) -> Path:
    """Return where a gradient stands: in the block of what it is of, or in its own loop."""
    of = reading.gradients.get(node)
    if node in opened.loops or not of or of[0] in opened.loops:
        return opened.paths[node]
    return opened.paths[of[0]]


def _arrows(reading: Reading, opened: Opened, keys: Mapping[Node, str]) -> Iterator[Arrow]:
    back = set(reading.stated)
    reads: dict[Node, tuple[Node, ...]] = {}
    for node in reading.order:
        found = dict.fromkeys(m for n in node.inputs for m in ((n,) if n in keys else reads[n]))
        reads[node] = tuple(found)
        if node not in keys:
            continue
        label = "first" if node.op is loops.CARRY else ""
        for source in found:
            kind = "backward" if source in back else "read" if node in back else "forward"
            yield Arrow(keys[source], keys[node], label, kind)
        new = opened.returns.get(node)
        if new in keys and new is not None:
            yield Arrow(keys[new], keys[node], loops.turn(opened.loops[node]), "loop")


@dataclass(frozen=True, slots=True)
class _Writer:
    """Writes the boxes: statements of the forward pass, rules of the backward pass."""

    reading: Reading
    opened: Opened
    keys: Mapping[Node, str]
    names: Mapping[Node, str]
    texts: Mapping[Node, Term]
    tints: Mapping[Node, int]
    usual: str

    def box(self, node: Node, groups: Mapping[Node, forward.Group]) -> Box:
        reading = self.reading
        is_back = node not in reading.symbols
        kind = "gradient" if is_back else forward.leaf_kind(node) or "op"
        is_asked = node in reading.asked.values()
        of = reading.gradients.get(node, ())
        return Box(
            key=self.keys[node],
            kind=kind,
            words=self._words(node, kind),
            shape=words.type_words(node, self.usual),
            title=self.names[node],
            name=reading.names.get(node, self.names[node]),
            scope=_path(node, reading, self.opened) if is_back else self.opened.paths[node],
            is_output=node is reading.loss or is_asked,
            is_named=is_asked or node in reading.names,
            value=forward.value_of(node, reading.values),
            tip=forward.tip(node),
            partner=next((self.keys[n] for n in of if n in self.keys and n not in groups), ""),
            tint=self.tints.get(of[0] if is_back and of else node),
            is_entry=node.op is loops.CARRY,
        )

    def _words(self, node: Node, kind: str) -> str:
        if kind in ("input", "parameter", "state") or node.op is loops.STEP:
            return ""
        if node.op is loops.CARRY:
            first = formulas.literal_text(node.inputs[0])
            passed = node.inputs[0]
            while first is None and naming.is_passing(passed):
                passed = passed.inputs[0]
                first = formulas.literal_text(passed)
            return "" if first is None else f"{first} at first"
        return self.texts[node].text


def _writer(reading: Reading, opened: Opened, keys: Mapping[Node, str]) -> _Writer:
    short = naming.shortened(reading.symbols)
    symbols = {n: words.shortened(name) for n, name in short.items()}
    names = {**symbols, **gradient_names(reading, opened, symbols, "d")}
    # "dL/dh from t + 1" gets brackets inside a sum.
    terms = {n: Term(t, COMPARISON if " from " in t else ATOM) for n, t in names.items()}
    texts = formulas.written(reading.order, terms, PRETTY)
    usual = words.usual_dtype(reading.order)
    return _Writer(reading, opened, keys, names, texts, _tints(reading), usual)


def gradient_names(
    reading: Reading, opened: Opened, symbols: Mapping[Node, str], sign: str
) -> dict[Node, str]:
    """Return the names of the backward pass; what loops hand on is called by what it is of."""
    found = backward.gradient_names(reading, sign, symbols)
    taken = set(found.values())
    for node in reading.stated:
        if node in reading.gradients or node not in opened.loops:
            continue
        loop = opened.loops[node]
        name = _handed_on(node, loop, symbols, sign)
        source = node.inputs[0] if node.inputs else node
        if node.op is loops.STEP and source in found:
            found[node] = f"{found[source]}[{loop.letter}]"
        elif name and name not in taken:
            found[node] = name
            taken.add(name)
    return found


def _handed_on(node: Node, loop: Loop, symbols: Mapping[Node, str], sign: str) -> str:
    """Return the name of a carry of a backward loop, or of what renews it."""
    if loop.partner is None:
        return ""
    places = _float_carries(loop.partner)
    before, after = "+−" if loop.walk.reverse else "−+"
    if len(places) != len(loop.carries):
        return ""
    for place, carry, new in zip(places, loop.carries, loop.renewed, strict=True):
        symbol = symbols.get(loop.partner.renewed[place])
        if symbol is not None and node is carry:
            return f"{sign}L/{sign}{symbol} from {loop.letter} {before} 1"
        if symbol is not None and node is new:
            return f"{sign}L/{sign}{symbol} for {loop.letter} {after} 1"
    return ""


def _tints(reading: Reading) -> dict[Node, int]:
    """Return the number of each forward box's colour: by position, a parameter's its reader's."""
    of = {n for statements in reading.gradients.values() for n in statements}
    found: dict[Node, int] = {}
    reads: dict[Node, tuple[Node, ...]] = {}
    number = 0
    for node in ir.topological(reading.symbols):
        inner = (m for n in node.inputs for m in ((n,) if n in reading.symbols else reads[n]))
        reads[node] = tuple(dict.fromkeys(inner))
        if node not in reading.symbols:
            continue
        kind = forward.leaf_kind(node) or "op"
        if kind == "parameter" or (kind not in _TINTED and node not in of):
            continue
        found[node] = number
        for read in reads[node]:
            if read.op is leaf.PARAMETER:
                found.setdefault(read, number)
        number += 1
    return found
