"""What loops add to a derivation: names with the step in them, and the steps through time.

A quantity inside a loop is called ``h[t]``. What comes back from the step after is called by what
it is, ``∂L/∂h[t + 1] · ∂h[t + 1]/∂h[t]``. It derives nothing that `recurrence` doesn't.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from graphc import ir
from graphc.ir import Node
from graphc.ops import scan
from graphc.render import backward, formulas, loops, naming, notation, recurrence, words
from graphc.render.backward import Reading
from graphc.render.formulas import PLAIN, PRODUCT, Term
from graphc.render.loops import Loop, Opened
from graphc.render.notation import Math, Piece, row
from graphc.render.recurrence import Array, Local, Measured, Numbers, Recurrence
from graphc.render.steps import Step

_RULE = 400  # characters of a local derivative that is written out
_NUMBERS = 64  # elements of an array that is printed


@dataclass(frozen=True, slots=True)
class Names:
    """What the quantities of a graph with open loops are called.

    Attributes:
        forward: the name of each statement of the forward pass.
        back: the name of each gradient.
        products: of what loops hand back, the name as mathematics; it is a product.
        hidden: statements that get no step of their own.
    """

    forward: Mapping[Node, str]
    back: Mapping[Node, str]
    products: Mapping[Node, Math]
    hidden: frozenset[Node]


def has_loops(loss: Node) -> bool:
    """Tell whether a loss reaches a loop."""
    return any(n.op is scan.SCAN for n in ir.topological((loss,)))


def names(reading: Reading, opened: Opened) -> Names:
    """Return what the quantities of a graph with open loops are called."""
    short = naming.shortened(reading.symbols)
    ahead: dict[Node, str] = {}
    for node, name in short.items():
        said = words.shortened(name)
        inside = node in opened.loops and node.op not in (loops.CARRY, loops.STEP)
        ahead[node] = f"{said}[{opened.loops[node].letter}]" if inside else said
    back = backward.gradient_names(reading, "∂", ahead)
    products: dict[Node, Math] = {}
    hidden: set[Node] = {n for n in ahead if _is_plain_step(n, ahead)}
    for loop in _loops(opened):
        found = None if loop.partner is None else recurrence.of(loop.partner, opened)
        if found is None or len(found.places) != len(loop.carries):
            continue
        for i, (carry, new) in enumerate(zip(loop.carries, loop.renewed, strict=True)):
            part = _short(replace(found, names=(found.names[i],)), ahead, opened)
            whole = _short(found, ahead, opened)
            _name_product(back, products, carry, whole.at(1), part.at(0))
            if _is_border(new) and loop.partner is not None and loop.partner.walk.truncate:
                hidden.add(new)
                new = new.inputs[2]
            _name_product(back, products, new, whole.at(0), part.at(-1))
    for node in reading.stated:
        if node.op is loops.STEP and node not in reading.gradients and node.inputs[0] in back:
            back[node] = f"{back[node.inputs[0]]}[{opened.loops[node].letter}]"
            hidden.add(node)
    return Names(ahead, back, products, frozenset(hidden))


def _is_plain_step(node: Node, ahead: Mapping[Node, str]) -> bool:
    """Tell whether a step of a sequence is called by the sequence's own name."""
    source = ahead.get(node.inputs[0]) if node.op is loops.STEP else None
    return source is not None and ahead[node].startswith(f"{source}[")


def _short(found: Recurrence, ahead: Mapping[Node, str], opened: Opened) -> Recurrence:
    """Return a recurrence whose names are as short as those of its carries."""
    short = {opened.names[n]: s for n, s in ahead.items() if n in opened.names}
    ending = f"[{found.index(-1)}]"
    parts = [short.get(f"{n}{ending}", words.shortened(n)).removesuffix(ending) for n in found.names]
    return replace(found, names=tuple(parts))


def _name_product(
    back: dict[Node, str], products: dict[Node, Math], node: Node, whole: str, part: str
) -> None:
    if node not in back or node.op is loops.STEP:
        return
    back[node] = f"∂L/∂{whole} · ∂{whole}/∂{part}"
    products[node] = multiplied(notation.derivative("L", whole), notation.derivative(whole, part))


def _is_border(node: Node) -> bool:
    made = node.attrs.get("formula")
    return made is not None and made.name == "where"


def _loops(opened: Opened) -> list[Loop]:
    return list(dict.fromkeys(opened.loops[n] for n in opened.order if n in opened.loops))


def multiplied(*parts: Math) -> Math:
    """Return factors with a dot between two."""
    first, *others = parts
    return row(first, *(p for part in others for p in (notation.sign("·"), part)))


# ---------------------------------------------------------------- the ends of a loop


def end_steps(node: Node, made: Writing) -> Iterator[Step]:
    """Return the step that says what a loop begins with, forward or backward."""
    loop = made.opened.loops[node]
    first = node.inputs[0]
    common = {
        "expression": made.texts[first].text,
        "type": str(node.type),
        "where": node.note.where or "",
        "right": made.maths[first],
    }
    if loop.partner is None:
        name = made.names.forward[node]
        found = Recurrence(loop.node, loop.letter, (), ())
        symbol = f"{name.removesuffix(f'[{found.index(-1)}]')}[{found.before}]"
        rule = f"before the first step, {loop.letter} = {found.ends[0]}"
        yield Step("definition", symbol, rules=(rule,), left=notation.symbol(symbol), **common)
        return
    found = Recurrence(loop.partner.node, loop.letter, (), ())
    place = f"{loop.letter} = {found.ends[1]}"
    left = made.names.products.get(node, notation.symbol(made.names.back[node]))
    said = row(left, notation.word(f" at {place}"))
    nothing = "nothing comes back to the last step: none is after it"
    rule = nothing if made.texts[first].text == "0" else "the state after the last step is read too"
    symbol = f"{made.names.back[node]} at {place}"
    yield Step("gradient", symbol, rules=(rule,), left=said, **common)


@dataclass(frozen=True, slots=True)
class Writing:
    """What the steps of a loop are written with."""

    reading: Reading
    opened: Opened
    names: Names
    texts: Mapping[Node, Term]
    maths: Mapping[Node, Math]


def border_rule(node: Node, opened: Opened) -> str:
    """Return the words of a truncation for what a loop hands back; nothing without one."""
    loop = opened.loops.get(node)
    walk = None if loop is None or loop.partner is None else loop.partner.walk
    if walk is None or not walk.truncate or loop is None:
        return ""
    return f"truncated: nothing passes {borders(walk, loop.letter)}"


def borders(walk: scan.Walk, letter: str) -> str:
    """Return the places that no gradient passes: ``from step t to t − 1 at t = 5, 10, …``."""
    k = walk.truncate
    if walk.reverse:
        return f"between steps {k} and {k + 1}, {2 * k} and {2 * k + 1}, … of the walk"
    return f"from step {letter} to {letter} − 1 at {letter} = {k}, {2 * k}, …"


def values(reading: Reading, opened: Opened, numbers: Numbers) -> dict[Node, Array]:
    """Return the numbers of what stands inside loops, of all steps together (T, …)."""
    wanted: dict[Node, Node] = {}
    shown = {*reading.symbols, *reading.stated}
    for loop in _loops(opened):
        body = loop.node.attrs["body"]
        if loop.outer is not None:
            continue
        inner = [
            n
            for n, became in loop.inner.items()
            if became in shown and opened.loops.get(became) is loop and not isinstance(n.type, tuple)
        ]
        over = set(ir.topological(inner))
        if any(not n.inputs and n.op.name == "input" and n not in body.inputs for n in over):
            continue
        stacks = recurrence.stacked_values(loop.node, inner)
        wanted |= {loop.inner[n]: s for n, s in zip(inner, stacks, strict=True)}
    found = numbers(list(wanted.values()))
    return {node: found[s] for node, s in wanted.items()}


# ---------------------------------------------------------------- the steps through time


@dataclass(frozen=True, slots=True)
class Route:
    """A loop that a derivative leads through."""

    found: Recurrence
    held: tuple[Node, ...]
    wrt: Node
    loss: Node
    is_all: bool
    enters_first: bool
    writing: Writing
    loop: Loop
    measured: Measured | None = field(default=None)


def routes(
    loss: Node, wrt: Node, writing: Writing, numbers: Numbers | None
) -> Iterator[Route]:
    """Return the loops whose state depends on a node that their steps read."""
    for loop in _loops(writing.opened):
        found = None if loop.partner is not None or loop.outer else recurrence.of(loop, writing.opened)
        if found is None:
            continue
        first, _, held = recurrence.entering(found, wrt)
        if not held:
            continue
        short = _short(found, writing.names.forward, writing.opened)
        known = None
        if numbers is not None and not first:
            known = recurrence.measured(found, loss, wrt, held, numbers)
        is_all = recurrence.is_only_way(found, loss, wrt, held)
        made = Route(short, tuple(held), wrt, loss, is_all, bool(first), writing, loop, known)
        yield made


def steps(route: Route, target: str) -> Iterator[Step]:
    """Return the recurrence of a state's derivative, and the sum over time that it comes to."""
    found = route.found
    now, held, symbol = found.at(), found.at(-1), words.shortened(target)
    made = recurrence.local(found, [*found.old, *route.held])
    yield _local_step(route, made, f"∂{now}/∂{held}", notation.derivative(now, held), found.old)
    left = _plus(now, symbol)
    yield _local_step(route, made, f"∂⁺{now}/∂{symbol}", left, route.held)
    yield _total(route, symbol)
    yield _summed(route, symbol)
    yield _unrolled(route, symbol)


def _plus(above: str, below: str) -> Math:
    top = row(Math("power", parts=(notation.sign("∂"), notation.sign("+"))), notation.symbol(above))
    return notation.fraction(top, row("∂", notation.symbol(below)))


def _local_step(
    route: Route, made: Local, symbol: str, left: Math, wrt: Sequence[Node]
) -> Step:
    """Return the derivative of one step by the state before it, or by what is read at it."""
    is_state = wrt == route.found.old
    is_plain = len(wrt) == len(made.seeds) == 1 and wrt[0] in made.results
    text, math = Term("the derivative of the step above"), notation.word("the derivative of the step")
    if is_plain and (is_state or _value(route, wrt[0]) is route.wrt):
        said = _written(route, made, wrt[0])
        text, math = said if len(said[0].text) <= _RULE else (text, math)
    rule = f"one step derived by the state before it; {notation.INCOMING} is what comes from the left"
    if not is_state:
        first = f"∂⁺: the use at step {route.found.letter} alone"
        rule = f"{first}, {route.found.at(-1)} held; {notation.INCOMING} is what comes from the left"
    array = None if route.measured is None else route.measured.steps
    if not is_state and route.measured is not None:
        array = route.measured.immediate
    kind = route.found.new[0].type if is_state else route.wrt.type
    return Step(
        "time", symbol, text.text, str(kind), (rule,), value=_text(array), left=left, right=math
    )


def _value(route: Route, held: Node) -> Node:
    body = route.found.body
    return route.found.node.inputs[body.inputs.index(held)]


def _written(route: Route, made: Local, wrt: Node) -> tuple[Term, Math]:
    derivative, seed = made.results[wrt], made.seeds[0]
    order = ir.topological((derivative,))
    forward, inner = route.writing.names.forward, route.loop.inner
    said = {n: forward[inner[n]] for n in order if n in inner and inner[n] in forward}
    known = {n: Term(s) for n, s in said.items()} | {seed: Term(notation.INCOMING)}
    text = formulas.written(order, known, PLAIN)[derivative]
    math = notation.written(order, {**said, seed: notation.INCOMING})[derivative]
    return text, math


def _total(route: Route, symbol: str) -> Step:
    found = route.found
    now, held = found.at(), found.at(-1)
    text = f"∂⁺{now}/∂{symbol} + ∂{now}/∂{held} · ∂{held}/∂{symbol}"
    math = row(
        _plus(now, symbol),
        "+",
        multiplied(notation.derivative(now, held), notation.derivative(held, symbol)),
    )
    before = f"{found.state}[{found.before}]"
    stop = f"∂{before}/∂{symbol} = 0" if not route.enters_first else f"∂{before}/∂{symbol}"
    rules = [f"total derivative: {symbol} is read at step {found.letter} and at each before it"]
    rules.append(f"the recurrence stops at {stop}")
    if found.walk.truncate:
        place = borders(found.walk, found.letter)
        rules.append(f"truncated: the second term is left out {place}")
    array = None if route.measured is None else route.measured.totals
    return Step(
        "time",
        f"∂{now}/∂{symbol}",
        text,
        str(route.wrt.type),
        tuple(rules),
        value=_text(array),
        left=notation.derivative(now, symbol),
        right=math,
    )


def _end(route: Route, symbol: str) -> tuple[str, Math]:
    """Return the symbol of the sums: the gradient, or the part of it that a loop is."""
    left = notation.derivative("L", symbol)
    if route.is_all and not route.enters_first:
        return f"∂L/∂{symbol}", left
    said = f" through {route.found.state}"
    return f"∂L/∂{symbol}{said}", row(left, notation.word(said))


def _summed(route: Route, symbol: str) -> Step:
    found = route.found
    now, letter = found.at(), found.letter
    end, left = _end(route, symbol)
    right = row(
        sum_over(letter), multiplied(notation.derivative("L", now), _plus(now, symbol))
    )
    rule = f"∂L/∂{now} counts what comes from later steps, so each use of {symbol} counts once"
    array = None if route.measured is None else route.measured.summed
    return Step(
        "time",
        end,
        f"Σ_{letter} ∂L/∂{now} · ∂⁺{now}/∂{symbol}",
        str(route.wrt.type),
        (rule,),
        value=_text(array, route.wrt),
        left=left,
        right=right,
    )


def _unrolled(route: Route, symbol: str) -> Step:
    found = route.found
    t, k, j = found.letter, f"{found.letter}′", "j"
    now, at_k = found.at(), found.at(0, k)
    pair = found.at(0, j), found.at(-1, j)
    own = f"L[{t}]"
    low, sign = _lowest(found)
    product = f"Π_{j} ∂{pair[0]}/∂{pair[1]}"
    end, left = _end(route, symbol)
    right = row(
        sum_over(t),
        sum_over(k),
        notation.derivative(own, now),
        "·",
        Math("index", parts=(notation.sign("Π"), notation.word(j))),
        notation.derivative(*pair),
        "·",
        _plus(at_k, symbol),
    )
    rules = [
        f"the recurrence of ∂{now}/∂{symbol}, opened; {own} is what the outputs of step {t} add",
        f"{k} {low}; {j} = {k} {sign} 1 … {t}, and the product is 1 where {k} = {t}",
    ]
    if found.walk.truncate:
        rules.append(f"truncated: the sum over {k} stops at the border, where {low_words(found)}")
    array = None if route.measured is None else route.measured.products
    return Step(
        "time",
        end,
        f"Σ_{t} Σ_{k} ∂{own}/∂{now} · ({product}) · ∂⁺{at_k}/∂{symbol}",
        str(route.wrt.type),
        tuple(rules),
        value=_text(array, route.wrt),
        left=left,
        right=right,
    )


def _lowest(found: Recurrence) -> tuple[str, str]:
    """Return which earlier steps reach a step."""
    t, k, first = found.letter, found.walk.truncate, found.ends[0]
    sign = "−" if found.walk.reverse else "+"
    if not k:
        return f"= {first} … {t}", sign
    if found.walk.reverse:
        return f"= {t} and the steps before it in the walk, as far as the border", sign
    return f"= {k} ⌊{t} / {k}⌋ … {t}", sign


def low_words(found: Recurrence) -> str:
    """Return where a truncated sum stops."""
    return f"nothing passes {borders(found.walk, found.letter)}"


def sum_over(letter: str) -> Math:
    """Return the sign of a sum over steps."""
    return Math("index", parts=(notation.sign("Σ"), notation.word(letter)))


def _text(array: Array | None, like: Node | None = None) -> str:
    if array is None:
        return ""
    shown = np.squeeze(array) if like is None else array.reshape(_numbers(like))
    return words.array_text(shown) if shown.size <= _NUMBERS else words.value_words(shown)


def _numbers(node: Node) -> tuple[int, ...]:
    return tuple(d for d in node.shape if isinstance(d, int))


def piece(node: Node, math: Math) -> Piece:
    """Return a product's name as a piece of formulas."""
    return Piece(math, PRODUCT, all(d == 1 for d in node.shape))
