"""The driver that all rewriting passes share: one walk over a program, bodies of loops included.

It knows no single rule. Nothing recurses over a graph: graphs are 100,000 nodes deep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from graphc import ir
from graphc.ir import Function, Graph, Node, Program

Rule = Callable[[Node], "Node | None"]


def rewrite(program: Program, *rules: Rule) -> Program:
    """Apply rules to every node, inputs before users.

    A rule gets a node whose inputs are rewritten already and returns its replacement, or None to
    leave it. Rules are tried in order, again on a replacement, until none applies.

    Needs:    each rule makes progress, so that it ends.
    Promises: a replacement has its predecessor's note.
    Keeps:    names and order of functions, inputs and states.
    """
    mapping = rewritten(program.roots, rules)
    return mapped(program, mapping)


def rewritten(roots: Iterable[Node], rules: Iterable[Rule]) -> dict[Node, Node]:
    """Return for each node that the roots reach what it becomes."""
    return _walked(roots, tuple(rules), set())


def _walked(roots: Iterable[Node], rules: tuple[Rule, ...], known: set[Node]) -> dict[Node, Node]:
    """Rewrite a graph; ``known`` holds all that was made so far, in other bodies too."""
    mapping: dict[Node, Node] = {}
    for node in ir.topological(roots):
        with ir.noting_as(node.note):
            current = _fixpoint(_rebuilt(node, mapping, rules, known), rules, known)
        mapping[node] = current
        known.add(current)
    return mapping


def mapped(program: Program, mapping: Mapping[Node, Node]) -> Program:
    """Return a program with its nodes exchanged."""
    functions = tuple(
        replace(
            f,
            inputs=tuple(mapping[n] for n in f.inputs),
            outputs=tuple(mapping[n] for n in f.outputs),
            updates=tuple((mapping[s], mapping[n]) for s, n in f.updates),
        )
        for f in program.functions
    )
    return replace(program, functions=functions, states=tuple(mapping[s] for s in program.states))


def per_function(program: Program, change: Callable[[Function], Function]) -> Program:
    """Return a program with each function changed on its own."""
    return replace(program, functions=tuple(change(f) for f in program.functions))


def _rebuilt(
    node: Node, mapping: Mapping[Node, Node], rules: tuple[Rule, ...], known: set[Node]
) -> Node:
    inputs = tuple(mapping[n] for n in node.inputs)
    attrs = _rewritten_bodies(node.attrs, rules, known)
    if attrs is node.attrs:
        return ir.with_inputs(node, inputs)
    return ir.renoted(ir.apply(node.op, inputs, attrs), node.note)


def _rewritten_bodies(attrs: ir.Attrs, rules: tuple[Rule, ...], known: set[Node]) -> ir.Attrs:
    """Return the attributes with the rules applied inside each graph among them."""
    changed: dict[str, Any] = {}
    for name, value in attrs.items():
        if isinstance(value, Graph):
            inner = _walked((*value.inputs, *value.outputs), rules, known)
            if any(a is not b for a, b in inner.items()):
                inputs = tuple(inner[n] for n in value.inputs)
                changed[name] = Graph(inputs, tuple(inner[n] for n in value.outputs))
    return MappingProxyType({**attrs, **changed}) if changed else attrs


def _fixpoint(node: Node, rules: tuple[Rule, ...], known: set[Node]) -> Node:
    note = node.note
    again = True
    while again:
        again = False
        for rule in rules:
            result = rule(node)
            if result is None or result is node:
                continue
            if result in known:
                return result
            node, again = ir.renoted(result, note), True
    return node
