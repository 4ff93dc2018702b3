"""The tables of an exported module: what its functions take and give, as Python source.

Names that users chose stand in them as quoted strings; sizes are numbers, names, or functions of
the sizes by name. What reads the tables is in `standalone`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from graphc import dims, ir
from graphc.dims import Dim, Shape
from graphc.errors import UnsupportedError
from graphc.ir import Function, Program, Structure
from graphc_numpy.emit import Entry
from graphc_numpy.names import quoted


def module_tables(program: Program, entries: Mapping[str, Entry]) -> str:
    """Return the tables of a program's states and functions.

    Errors: UnsupportedError for outputs under keys that are no plain values
    """
    lines = [
        "STATES: dict[str, tuple[str, tuple[int, ...]]] = {",
        *(
            f"    {quoted(n.attrs['name'])}: ({quoted(n.dtype)}, {_shape(n.shape)}),"
            for n in program.states
        ),
        "}",
        "FUNCTIONS: dict[str, dict[str, Any]] = {",
    ]
    for function in program.functions:
        lines += _function(function, entries[function.name])
    return "\n".join([*lines, "}"])


def signature(function: Function) -> str:
    """Return what a function takes and gives, on one line."""
    given = [f"{n.attrs['name']}: {n.type}" for n in function.inputs]
    return f"{function.name}({', '.join(given)}) -> {_results(function.structure, function)}"


def _results(structure: Structure, function: Function) -> str:
    if isinstance(structure, int):
        return str(function.outputs[structure].type)
    if isinstance(structure, Mapping):
        parts = [f"{_label(k)}: {_results(v, function)}" for k, v in structure.items()]
        return "{" + ", ".join(parts) + "}"
    inner = [_results(v, function) for v in structure]
    return f"[{', '.join(inner)}]" if isinstance(structure, list) else _tuple(inner)


def _label(key: object) -> str:
    return str(key) if isinstance(key, str) else _key(key)


def _function(function: Function, entry: Entry) -> list[str]:
    sizes = open_sizes(function)
    keywords = ", ".join(f"{quoted(n)}: {quoted(keyword)}" for n, keyword in entry.sizes)
    return [
        f"    {quoted(function.name)}: {{",
        f'        "run": {entry.name},',
        f'        "text": {quoted(signature(function))},',
        *listed("inputs", [_input(n) for n in function.inputs]),
        f'        "structure": {_structure(function.structure)},',
        f'        "sizes": {_tuple([quoted(n) for n in sizes])},',
        f'        "keywords": {{{keywords}}},',
        *listed("solved", _solved(function)),
        *listed("claims", _claims(function, sizes)),
        "    },",
    ]


def _input(node: ir.Node) -> str:
    return f"({quoted(node.attrs['name'])}, {quoted(node.dtype)}, {_shape(node.shape)})"


def listed(key: str, items: Sequence[str]) -> list[str]:
    """Return an entry of a table that is a list, an item a line."""
    if not items:
        return [f'        "{key}": [],']
    return [f'        "{key}": [', *(f"            {item}," for item in items), "        ],"]


def _tuple(parts: Sequence[str]) -> str:
    return f"({', '.join(parts)}{',' * (len(parts) == 1)})"


def _structure(structure: Structure) -> str:
    if isinstance(structure, int):
        return str(structure)
    if isinstance(structure, Mapping):
        return "{" + ", ".join(f"{_key(k)}: {_structure(v)}" for k, v in structure.items()) + "}"
    parts = [_structure(v) for v in structure]
    return f"[{', '.join(parts)}]" if isinstance(structure, list) else _tuple(parts)


def _key(key: object) -> str:
    """Return a key of a dict of outputs: a plain value, or a parameter by its name."""
    if isinstance(key, str):
        return quoted(str.__str__(key))  # whatever a subclass says that it is
    if isinstance(key, tuple):
        return _tuple([_key(part) for part in key])
    if type(key) in (type(None), bool, int) or (type(key) is float and math.isfinite(key)):
        return repr(key)
    name = getattr(key, "name", None)
    if not isinstance(name, str):
        raise UnsupportedError(
            f"an exported module cannot name an output by {key!r:.60}",
            hint="keys that are texts, numbers or parameters",
        )
    return quoted(name)


# ---------------------------------------------------------------- sizes


def open_sizes(function: Function) -> tuple[str, ...]:
    """Return the names of the sizes that a call of a function has to know."""
    order = ir.topological(function.roots)
    shapes = [t.shape for n in (*function.inputs, *order) for t in n.types]
    lengths = [n.attrs[k] for n in order for k in ("dim", "length") if k in n.attrs]
    return dims.names(*shapes, lengths)


def _shape(shape: Shape) -> str:
    return _tuple([_size(d) for d in shape])


def _size(dim: Dim) -> str:
    """Return a size as the tables have it: a number, a name, or a function of the sizes."""
    if isinstance(dim, int):
        return str(dim)
    return quoted(str(dim)) if _is_name(dim) else f"lambda d: {_expression(dim)}"


def _is_name(dim: Dim) -> bool:
    return not isinstance(dim, int) and dims.names((dim,)) == (str(dim),)


def _expression(dim: Dim) -> str:
    return dims.render(dim, lambda n: f"d[{quoted(n)}]", lambda top, below: f"({top} // {below})")


def _solved(function: Function) -> list[str]:
    """Return how sizes follow from axes that are ``rest + step * size``, such as 2 N + 1."""
    direct = {str(d) for n in function.inputs for d in n.shape if _is_name(d)}
    found = []
    for place, node in enumerate(function.inputs):
        for axis, dim in enumerate(node.shape):
            for name in (n for n in dims.names((dim,)) if n not in direct):
                rest, step = _affine(dim, name)
                if step is not None:
                    needs = _tuple([quoted(n) for n in dims.names((dim,)) if n != name])
                    pair = f"({_expression(rest)}, {_expression(step)})"
                    found.append(f"({quoted(name)}, {place}, {axis}, {needs}, lambda d: {pair})")
    return found


def _affine(dim: Dim, name: str) -> tuple[Dim, Dim | None]:
    """Return ``rest, step`` of a size that is ``rest + step * name``; no step if it is not."""
    rest = dims.substitute(dim, {name: 0})
    step = dims.add(dims.substitute(dim, {name: 1}), dims.multiply(-1, rest))
    again = dims.add(rest, dims.multiply(step, dims.symbol(name)))
    return rest, step if dims.equal(again, dim) else None


def _claims(function: Function, sizes: Sequence[str]) -> list[str]:
    """Return what must hold of sizes: no axis is negative, and what ops left open."""
    found: dict[tuple[Dim, str, Dim], str] = {}
    for left, relation, right, why in _conditions(function):
        if set(dims.names((left, right))) <= set(sizes):
            found.setdefault((left, relation, right), why)
    return [
        f"({_size(left)}, {quoted(relation)}, {_size(right)}, {quoted(why)})"
        for (left, relation, right), why in found.items()
    ]


def _conditions(function: Function) -> Iterator[tuple[Dim, str, Dim, str]]:
    order = list(ir.with_bodies(ir.topological((*function.inputs, *function.roots))))
    with dims.collecting() as open_claims:
        for node in order:
            with ir.noting_as(node.note):
                node.op.infer(node.inputs, node.attrs)
    for c in open_claims:
        yield c.left, c.relation, c.right, _placed(c.reason, c.where)
    for node in order:
        for dim in (d for t in node.types for d in t.shape):
            if not isinstance(dim, int) and not dims.at_least(dim, 0):
                reason = f"{node.label} has no axis of negative size"
                yield dim, ">=", 0, _placed(reason, node.note.where)


def _placed(reason: str, where: str | None) -> str:
    return f"{reason} (at {where})" if where else reason
