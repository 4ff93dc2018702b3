"""The canonical text: complete, deterministic, one node a line, notes beside it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import sympy

import op_samples
from graphc import dims, ir, printer
from graphc.ir import Function, Graph, Node, Note, Program
from graphc.ops import elementwise as e
from graphc.ops import leaf, linear, random
from graphc.ops.elementwise import Formula
from op_samples import SAMPLES, Sample

HOSTILE = ["line\nbreak", 'quo"te', "*/ int main() { /*", "🙂", "x" * 10_000, "", " ", "\r\u2028"]


def _vector(name: str = "x") -> Node:
    return leaf.input(name, (3,), "float64")


def test_text_of_a_program() -> None:
    x = leaf.input("x", (dims.symbol("N"), 2), "float32")
    w = leaf.parameter("w", (2, 2), "float32", None)
    y = e.apply(e.TANH, linear.transpose(x, (1, 0)))
    new = e.apply(e.NEGATIVE, w)
    program = Program("net", (Function("step", (x,), (y,), ((w, new),), [0], True),), (w,))
    assert printer.text(program) == (
        "program net\n"
        '%0 = parameter(dtype="float32"; init=None; name="w"; shape=(2, 2)) : float32[2, 2]\n'
        "function step (training form): x\n"
        '  %1 = input(dtype="float32"; name="x"; shape=(N, 2)) : float32[N, 2]\n'
        "  %2 = transpose(%1; axes=(1, 0)) : float32[2, N]\n"
        "  %3 = elementwise(%2; formula=formula tanh(x) tanh(x)) : float32[2, N]\n"
        "  %4 = elementwise(%0; formula=formula negative(x) negative(x)) : float32[2, 2]\n"
        "  update %0 = %4\n"
        "  return %3 as [0]\n"
    )


def _changed(value: Any) -> Iterator[Any]:
    """Return values that an attribute might have instead."""
    for kind, others in _OTHERS:
        if isinstance(value, kind):
            yield from others(value)
            return
    for f in fields(value):
        yield from (replace(value, **{f.name: v}) for v in _changed(getattr(value, f.name)))


def _changed_tuple(value: tuple[Any, ...]) -> Iterator[Any]:
    yield (*value, 1)
    for i, part in enumerate(value):
        yield from ((*value[:i], other, *value[i + 1 :]) for other in _changed(part))


def _changed_formula(value: Formula) -> Iterator[Any]:
    yield replace(value, name=value.name + "_")
    yield replace(value, expr=value.expr + 1)
    if len(value.arguments) > 1:
        yield replace(value, arguments=value.arguments[::-1])


def _changed_array(value: Any) -> Iterator[Any]:
    if value.size and value.dtype != bool:
        other = value.copy()
        other.ravel()[-1] = 77
        yield other
    yield value.astype("float32" if value.dtype != np.float32 else "float64")
    yield value.reshape((*value.shape, 1))


_OTHERS: tuple[tuple[Any, Callable[[Any], Iterable[Any]]], ...] = (
    (bool, lambda v: [not v]),
    (int | float | sympy.Expr, lambda v: [v + 1 if v + 1 != v else -v]),
    (str, lambda v: [v + "_"]),
    (type(None), lambda v: [1]),
    (np.ndarray, _changed_array),
    (tuple, _changed_tuple),
    (Formula, _changed_formula),
)


def _text(node: Node) -> str:
    return printer.graph_text(node)


@pytest.mark.parametrize("sample", SAMPLES, ids=op_samples.label)
def test_each_change_of_an_attribute_changes_the_text(sample: Sample) -> None:
    node = sample.build(sample.dtypes[0])
    for name, value in node.attrs.items():
        others = list(_changed(value))
        assert others, f"no other value for {name}={value!r}"
        for other in others:
            attrs = MappingProxyType({**node.attrs, name: other})
            assert _text(Node(node.op, node.inputs, attrs, node.type)) != _text(node)


def test_order_of_inputs_changes_the_text() -> None:
    a, b = _vector("a"), _vector("b")
    texts = {
        printer.text(ir.program_of(e.apply(e.SUBTRACT, *pair), inputs=(a, b)))
        for pair in ((a, b), (b, a))
    }
    assert len(texts) == 2


def test_zero_and_minus_zero_are_different_constants() -> None:
    assert _text(leaf.constant(0.0)) != _text(leaf.constant(-0.0))


def test_equal_streams_print_equally_and_others_do_not() -> None:
    key, one, other = leaf.input("key", (2,), "uint64"), random.Stream(), random.Stream()

    def pair(a: random.Stream, b: random.Stream) -> str:
        drawn = [random.random_bits(key, s, (2,)) for s in (a, b)]
        return _text(linear.concatenate(drawn, 0))

    assert pair(one, other) == pair(other, one)
    assert pair(one, one) != pair(one, other)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"training": False},
        {"structure": [0]},
        {"outputs": ()},
        {"inputs": ()},
        {"updates": ()},
    ],
    ids=str,
)
def test_each_change_of_a_function_changes_the_text(change: dict[str, Any]) -> None:
    x, s = _vector(), leaf.state("s", (3,), "float64", None)
    y = e.apply(e.EXP, x)
    function = Function("f", (x,), (y,), ((s, y),), 0, True)
    made = Program("p", (function,), (s,))
    other = Program("p", (replace(function, **change),), (s,))
    assert printer.digest(made) != printer.digest(other)


def test_notes_are_not_part_of_the_hash() -> None:
    def program(note: Note) -> Program:
        x = _vector()
        return ir.program_of(ir.renoted(e.apply(e.EXP, x), note), inputs=(x,))

    noted = program(Note("h", ("block",), "model.py:3", 2, ir.Origin(Note("z"), "dL/dz")))
    assert printer.digest(noted) == printer.digest(program(Note()))
    assert "dL/dz block.h model.py:3" in printer.text(noted, notes=True)
    assert "model.py" not in printer.text(noted)


def test_where_a_function_stands_is_not_part_of_the_hash() -> None:
    x = _vector()
    made = [Program("p", (Function("f", (x,), (x,), where=w),)) for w in ("a.py:1", "b.py:2")]
    assert printer.digest(made[0]) == printer.digest(made[1])


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_name_stays_on_its_line(name: str) -> None:
    x = leaf.input(name, (3,), "float64")
    y = ir.named(e.apply(e.EXP, x), name)
    text = printer.text(Program(name, (Function("f", (x,), (y,), where=name),)), notes=True)
    assert len(text.splitlines()) == 5
    assert text.isascii() and text.isprintable() == ("\n" not in text)


def test_names_are_told_apart_however_they_look() -> None:
    names = [*HOSTILE, '"a"', "a", "a b", 'a" b', "a\\nb", "a\nb", "\\u00e9", "é"]
    texts = {_text(leaf.input(name, (3,), "float64")) for name in names}
    assert len(texts) == len(names)


def test_body_of_a_loop_is_part_of_the_text() -> None:
    def looped(made: Formula) -> Node:
        carry = _vector("carry")
        body = Graph((carry,), (e.apply(made, carry),))
        attrs = MappingProxyType({"body": body})
        return Node(op_samples.TWO, (_vector(),), attrs, _vector().type)

    assert _text(looped(e.EXP)) == _text(looped(e.EXP))
    assert _text(looped(e.EXP)) != _text(looped(e.TANH))


_PROGRAM = """
import sys
sys.path[:0] = {path!r}
import op_samples
from graphc import dims, printer
names = [dims.symbol(n) for n in "QXAZNTB"]
for a, b, c in zip(names, names[1:], names[2:]):
    print(dims.text(dims.multiply(a + 1, b + 2, c)), dims.render(a * b + c + 1, str, str))
for sample in op_samples.SAMPLES:
    print(printer.graph_text(sample.build(sample.dtypes[0])))
"""


def test_text_is_the_same_in_every_process() -> None:
    program = _PROGRAM.format(path=[p for p in sys.path if p])
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
        )
        for seed in ("1", "2")
    ]
    one, other = (p.communicate()[0] for p in processes)
    assert one == other and len(one) > 10_000
