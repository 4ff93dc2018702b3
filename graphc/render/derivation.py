"""A gradient derived step by step, from the definition of the loss to the final formula.

Steps are data; text is one way to write them, `paper` has the others. What is whose gradient is
read in `backward`.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from graphc import ir
from graphc.errors import GradientError
from graphc.ir import Node, Note
from graphc.ops import elementwise, scan
from graphc.render import (
    backward,
    files,
    formulas,
    gradients,
    loops,
    naming,
    notation,
    recurrence,
    states,
    words,
)
from graphc.render.backward import Reading
from graphc.render.formulas import ATOM, COMPARISON, PLAIN, Term
from graphc.render.forward import Values, leaf_kind
from graphc.render.loops import Loop, Opened
from graphc.render.notation import Math
from graphc.render.states import Numbers, Slopes

_LONGEST = 2000  # characters of a final formula; what would be longer keeps its symbols
_PIECE = 1500  # characters of a step that is still put into the next ones
_COLUMN = 84  # characters of a line before its type
_TYPE = 32  # characters of a type
_INDENT = " " * 6
_NUMBERS = 64  # elements of an array that is printed


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a derivation.

    Attributes:
        kind: "leaf", "definition", "gradient", "time" or "result".
        symbol: what the step gives a value to: ``s1``, ``∂L/∂s1``.
        expression: the value, in symbols of earlier steps; empty for a leaf.
        type: dtype and shape.
        rules: the local rules that were applied, one line each.
        where: ``file:line`` of the user's call.
        value: its numbers, where they are known.
        left: the symbol as mathematics.
        right: the expression as mathematics.
    """

    kind: str
    symbol: str
    expression: str
    type: str
    rules: tuple[str, ...] = ()
    where: str = ""
    value: str = ""
    left: Math = notation.EMPTY
    right: Math = notation.EMPTY


@dataclass(frozen=True, slots=True)
class Derivation:
    """A derivation as a value: it prints as text, shows itself in a notebook, and saves."""

    title: str
    steps: tuple[Step, ...]

    @property
    def latex(self) -> str:
        """The derivation as a LaTeX document, in ASCII."""
        from graphc.render import paper

        return paper.latex(self)

    @property
    def html(self) -> str:
        """The derivation as an HTML page that needs no network and no script."""
        from graphc.render import paper

        return paper.page(self)

    def __str__(self) -> str:
        return "\n".join(_lines(self)).rstrip("\n")

    def _repr_html_(self) -> str:
        from graphc.render import paper

        return paper.part(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the form that the suffix names: .txt .tex .html; missing folders are made.

        Errors: RenderError for another suffix; OSError
        """
        forms: files.Forms = {
            ".txt": lambda: f"{self}\n",
            ".tex": lambda: self.latex,
            ".html": lambda: self.html,
        }
        files.save(path, forms)

    def sections(self) -> Iterator[tuple[str, list[tuple[int | None, Step]]]]:
        """Return the steps under their heads, with the numbers of those that have one."""
        number = 0
        for kind, head in _HEADS.items():
            chosen: list[tuple[int | None, Step]] = []
            for step in (s for s in self.steps if s.kind == kind):
                is_numbered = kind in ("definition", "gradient", "time")
                number += is_numbered
                chosen.append((number if is_numbered else None, step))
            if chosen:
                yield head, chosen


def explain(
    loss: Node,
    wrt: Node,
    gradient: Node,
    *,
    values: Values | None = None,
    numbers: Numbers | None = None,
) -> Derivation:
    """Return the derivation of ``gradient``, the derivative of the loss by ``wrt``.

    Args:
        loss: a scalar.
        wrt: a node that it depends on.
        gradient: its derivative, as it was derived.
        values: arrays of nodes, whose numbers are shown.
        numbers: computes nodes; the recurrences of small loops then have numbers too.

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
        reading = backward.read(loss, {target: gradient}, values or {}, "L")
    goal = reading.asked[target]
    writer = _Writer.of(reading, goal, target, opened)
    if numbers is not None:
        writer = replace(writer, asked=Asked(loss, wrt, numbers))
    symbol = writer.back[goal]
    return Derivation(f"{symbol}, step by step", tuple(writer.steps(goal, symbol)))


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What was asked for, as it was given, and what computes its nodes."""

    loss: Node
    wrt: Node
    numbers: Numbers


@dataclass(frozen=True, slots=True)
class _Writer:
    reading: Reading
    names: Mapping[Node, str]
    back: Mapping[Node, str]
    texts: Mapping[Node, Term]
    maths: Mapping[Node, Math]
    named: Container[Node]
    by_note: Mapping[Note, Node]
    target: str
    opened: Opened | None
    asked: Asked | None = None

    @staticmethod
    def of(reading: Reading, goal: Node, target: str, opened: Opened | None) -> _Writer:
        names = {n: words.shortened(s) for n, s in reading.symbols.items()}
        if opened is None:
            back = backward.gradient_names(reading, "∂", names)
        else:
            names = {n: names[n] for n in opened.order if n in names}
            back = gradients.gradient_names(reading, opened, names, "∂")
        if target:
            back[goal] = f"∂L/∂{words.shortened(target)}"
        known = {n: _term(s) for n, s in {**names, **back}.items()}
        texts = formulas.written(reading.order, known, PLAIN)
        by_note = {n.note: n for n in reading.order if n not in reading.origins}
        maths = notation.written(reading.order, {**names, **back})
        return _Writer(reading, names, back, texts, maths, set(known), by_note, target, opened)

    def steps(self, goal: Node, symbol: str) -> Iterator[Step]:
        for node in self.names:
            yield self._definition(node)
        path = set(ir.topological((goal,))) if self.opened is None else self.opened.needed((goal,))
        for node in self.reading.stated:
            if node in path:
                yield self._gradient(node)
        yield from self._through_time()
        formula, math = self._assembled(goal)
        if formula != self.texts[goal].text:
            left = notation.symbol(symbol)
            yield Step("result", symbol, formula, str(goal.type), left=left, right=math)

    def _definition(self, node: Node) -> Step:
        kind = leaf_kind(node)
        is_leaf = kind in ("input", "parameter", "state")
        text, math = (str(kind), notation.word(str(kind))) if is_leaf else self._formula(node)
        walk = self._walk(node)
        return Step(
            kind="leaf" if is_leaf else "definition",
            symbol=self.names[node],
            expression=text,
            type=_type_text(node),
            rules=(walk,) if walk else (),
            where=node.note.where or "",
            value=self._value(node),
            left=notation.symbol(self.names[node]),
            right=math,
        )

    def _formula(self, node: Node) -> tuple[str, Math]:
        """Return what a statement computes; what a loop hands on or takes in, in words."""
        if self.opened is None or node not in self.opened.loops:
            return self.texts[node].text, self.maths[node]
        loop = self.opened.loops[node]
        names = {**self.names, **self.back}
        said = ""
        if node.op is loops.STEP:
            said = f"{self._said(node.inputs[0])} at step {loop.letter}"
        elif node in self.opened.returns:
            sign = "+" if loop.walk.reverse else "−"
            new = names.get(self.opened.returns[node]) or self.texts[self.opened.returns[node]].text
            first = self._said(node.inputs[0])
            said = f"{new} of step {loop.letter} {sign} 1; {first} at first"
        return (said, notation.word(said)) if said else (self.texts[node].text, self.maths[node])

    def _said(self, node: Node) -> str:
        return {**self.names, **self.back}.get(node) or self.texts[node].text

    def _walk(self, node: Node) -> str:
        """Return how a loop walks, at its first carry."""
        if self.opened is None or node.op is not loops.CARRY:
            return ""
        loop = self.opened.loops[node]
        return loop.block.words if node is loop.carries[0] else ""

    def _through_time(self) -> Iterator[Step]:
        """Return the recurrences by the target, and the sums that they unroll to."""
        wrt = next((n for n, s in self.reading.symbols.items() if s == self.target), None)
        if self.opened is None or wrt is None:
            return
        measured: dict[Loop | None, Slopes | None] = {None: None}
        for found in recurrence.equations(self.opened, self.names, wrt, self.reading.loss):
            if found.loop not in measured and found.loop is not None:
                measured[found.loop] = self._slopes(found.loop)
            yield Step(
                "time",
                found.symbol,
                found.expression,
                found.type,
                (found.rule,),
                value=_in_time(measured[found.loop], found.of, wrt),
                left=found.left,
                right=found.right,
            )

    def _slopes(self, loop: Loop) -> Slopes | None:
        """Return the numbers of a loop's derivatives, where they are asked for."""
        asked = self.asked
        if asked is None:
            return None
        body = loop.node.attrs["body"]
        for node in ir.topological((asked.loss,)):
            if node.op is scan.SCAN and node.attrs["body"].inputs == body.inputs:
                return states.slopes(node, asked.loss, asked.wrt, asked.numbers)
        return None

    def _gradient(self, node: Node) -> Step:
        of = self.reading.gradients.get(node, ())
        also = [f"∂L/∂{self.names[n]}" for n in of]
        symbols = list(dict.fromkeys([self.back[node], *also]))
        wheres = dict.fromkeys(n.note.where for n in of if n.note.where)
        text, math = self._formula(node)
        walk = self._walk(node)
        return Step(
            kind="gradient",
            symbol=" = ".join(symbols),
            expression=text,
            type=_type_text(node),
            rules=tuple(self._rules(node)) or ((walk,) if walk else ()),
            where=next(iter(wheres), node.note.where or ""),
            value=self._value(node),
            left=notation.equated(notation.symbol(s) for s in symbols),
            right=math,
        )

    def _value(self, node: Node) -> str:
        if node not in self.reading.values:
            return ""
        array = np.asarray(self.reading.values[node])
        if array.size > _NUMBERS:
            return words.value_words(array)
        return words.array_text(array)

    def _assembled(self, goal: Node) -> tuple[str, Math]:
        """Return the goal's formula with the gradients in it written out, as far as it is short."""
        names, order = {**self.names, **self.back}, self.reading.order
        known = {n: _term(s) for n, s in names.items()}
        inner = {n for n in self.reading.stated if n is not goal and not self._recurs(n)}
        texts = formulas.written(order, known, PLAIN, opened=inner, longest=_PIECE)
        if len(texts[goal].text) > _LONGEST:
            return self.texts[goal].text, self.maths[goal]
        opened = {n for n in inner if len(texts[n].text) <= _PIECE}
        return texts[goal].text, notation.written(order, names, opened)[goal]

    def _recurs(self, node: Node) -> bool:
        """Tell whether a statement is where a loop closes: its symbol stays in what reads it."""
        if self.opened is None or node not in self.opened.loops:
            return False
        renewed = self.opened.returns.values()
        of = self.reading.gradients.get(node, ())
        is_end = node.op in (loops.CARRY, loops.STEP) or node in renewed
        return is_end or any(n in renewed for n in of)

    def _rules(self, node: Node) -> Iterator[str]:
        """Return the local rules that a gradient's own text applies, the loss's end first."""
        reading = self.reading
        found: dict[str, None] = {}
        for inner in _written_inside(node, self.named):
            origin = reading.origins.get(inner)
            if origin is None:
                continue
            if origin.role.startswith("dL/dL") and not inner.inputs:
                found["the loss by itself"] = None
            elif origin.role.startswith("dL/d") and elementwise.is_formula(inner, elementwise.ADD):
                found["several paths lead here: their gradients add up"] = None
            elif (forward := self.by_note.get(origin.note)) is not None and forward.inputs:
                found[_rule(forward)] = None
        return iter(found)


def _in_time(slopes: Slopes | None, of: str, wrt: Node) -> str:
    """Return the numbers of a recurrence, by position."""
    if slopes is None or not of:
        return ""
    array: states.Array = getattr(slopes, of)
    if of == "summed":
        return words.array_text(array.reshape([d for d in wrt.shape if isinstance(d, int)]))
    shown = slopes.in_order(array)
    return words.value_words(shown) if shown.size > _NUMBERS else words.array_text(_flat(shown))


def _flat(array: states.Array) -> states.Array:
    """Return an array without the axes of a state and of a weight of one element."""
    return array.reshape([n for i, n in enumerate(array.shape) if i == 0 or n > 1])


def _term(name: str) -> Term:
    """Return a symbol; one of several words gets brackets inside a formula."""
    return Term(name, COMPARISON if " from " in name else ATOM)


def _type_text(node: Node) -> str:
    types = node.types
    return ", ".join(map(str, types))


def _written_inside(node: Node, named: Container[Node]) -> list[Node]:
    """Return the nodes that a statement's text holds, inputs first."""
    found: dict[Node, None] = {}
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if current not in found:
            found[current] = None
            waiting += [n for n in current.inputs if n not in named]
    return list(reversed(found))


def _rule(node: Node) -> str:
    if node.op is not elementwise.ELEMENTWISE:
        return f"{node.op.name}: {node.op.rule}"
    made: elementwise.Formula = node.attrs["formula"]
    letters = ["x"] if len(made.arguments) == 1 else list("abcdefgh"[: len(made.arguments)])
    value = formulas.elementwise_term(node, [Term(t) for t in letters], PLAIN).text
    parts = [f"y = {value}"]
    for i, (letter, child) in enumerate(zip(letters, node.inputs, strict=True)):
        text = formulas.partial_text(made, i, letters) if child.tensor.is_float else None
        if text is not None and not _is_number(child):
            parts.append(f"dL/d{letter} = {text}")
    return f"{made.name}: {', '.join(parts)}"


def _is_number(node: Node) -> bool:
    while naming.is_passing(node):
        node = node.inputs[0]
    return formulas.literal_text(node) is not None


_HEADS = {
    "leaf": "Given",
    "definition": "Forward",
    "gradient": "Backward",
    "time": "Through time",
    "result": "Result",
}


def _lines(derivation: Derivation) -> Iterator[str]:
    yield derivation.title
    for head, chosen in derivation.sections():
        yield ""
        yield head
        width = min(max(len(_said(step)) for _, step in chosen), _COLUMN)
        type_width = min(max(len(step.type) for _, step in chosen), _TYPE)
        for number, step in chosen:
            mark = _INDENT if number is None else f"{number:>4}. "
            for i, piece in enumerate(_wrapped(_said(step))):
                end = f"   {step.type.ljust(type_width)}   {step.where}" if i == 0 else ""
                yield f"{_INDENT if i else mark}{piece.ljust(width)}{end}".rstrip()
            yield from (f"{_INDENT}    {rule}" for rule in step.rules)
            yield from [f"{_INDENT}    = {step.value}"] * bool(step.value)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _COLUMN, subsequent_indent="    ", break_on_hyphens=False) or [""]


def _said(step: Step) -> str:
    if step.kind == "leaf":
        return f"{step.symbol}: {step.expression}"
    return f"{step.symbol} = {step.expression}"
