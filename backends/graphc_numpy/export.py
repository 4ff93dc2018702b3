"""A standalone module: Python files that compute, train and test themselves with NumPy alone.

The functions are those that run in process, text for text. Equal programs and states give equal
bytes, and none of them names a place, a time or a user.
"""

from __future__ import annotations

import inspect
import io
import re
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from graphc.backend import Array, Case, Direction, graph_hash
from graphc.ir import Program
from graphc_numpy import replay, standalone, tables
from graphc_numpy.emit import Source
from graphc_numpy.names import comment, identifier, quoted

_HEAD = re.compile(r'\A""".*?"""\n', re.DOTALL)
_TABLES = re.compile(r"# --- tables\n.*?# --- end of tables\n", re.DOTALL)
_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_LINE = 88  # characters of a line in texts for reading


def write(
    folder: Path,
    program: Program,
    source: Source,
    states: Mapping[str, Array],
    cases: Sequence[Case],
) -> None:
    """Write a program's module into a folder that exists.

    Errors: UnsupportedError for outputs under keys that are no plain values
    """
    for name, content in files(program, source, states, cases).items():
        folder.joinpath(name).write_bytes(
            content if isinstance(content, bytes) else content.encode("utf-8")
        )


def files(
    program: Program, source: Source, states: Mapping[str, Array], cases: Sequence[Case]
) -> dict[str, str | bytes]:
    """Return the files of a program's module: name to content."""
    made = tables.module_tables(program, source.entries)  # first: it refuses some programs
    name, graph = file_name(program.name), graph_hash(program)
    metadata = {"graph": graph, "notes": "{}", "program": program.name}
    found: dict[str, str | bytes] = {
        f"{name}.py": _module(program, source, f"GRAPH = {quoted(graph)}\n{made}"),
        weights_name(program.name): standalone._packed(states, metadata),
        "README.txt": _readme(program, graph, bool(cases)),
    }
    if source.constants:
        found[f"{name}_constants.npz"] = _npz(_numbered(source.constants))
    if cases:
        found[f"{name}_test.py"], found[f"{name}_test.npz"] = _test(name, program, cases)
    return found


def file_name(program: str) -> str:
    """Return the name of a program's Python file, which hides none of those that it imports."""
    name = _stem(program)
    return f"{name}_" if name in sys.stdlib_module_names or name == "numpy" else name


def weights_name(program: str) -> str:
    """Return the name of the weights file beside it."""
    return f"{_stem(program)}.safetensors"


def _stem(program: str) -> str:
    return program if _IDENTIFIER.fullmatch(program) else identifier(program)


# ---------------------------------------------------------------- the module


def _module(program: Program, source: Source, made: str) -> str:
    """Return ``name.py``: imports, the program's functions, its tables, the face."""
    text = inspect.getsource(standalone)
    imports, face = _TABLES.split(_HEAD.sub("", text))
    parts = [_title(program), imports.strip()]
    if source.constants:
        parts.append(_constants(file_name(program.name), len(source.constants)))
    head = "# `state` holds parameters and states by name; a call exchanges arrays of it, and\n"
    head += "# changes none in place."
    names = f"NAME = {quoted(program.name)}\nWEIGHTS = {quoted(weights_name(program.name))}"
    gap = "\n\n" if source.body.startswith("_c") else "\n\n\n"  # constants, or a function
    text = "\n\n\n".join([source.body, f"{names}\n{made}", face.lstrip()])
    return "\n\n".join([*parts, head + gap + text])


def _title(program: Program) -> str:
    lines = [
        f'"""{_plain(program.name)}: a module that graphc wrote; it needs NumPy alone.',
        "",
        *(f"    {line}" for f in program.functions for line in _wrapped(tables.signature(f))),
        "",
        "They are attributes of a `Module`, which takes the weights beside this file if it gets no",
        "other, and goes on learning where a function updates its states.",
        '"""',
    ]
    return "\n".join(lines)


def _constants(name: str, count: int) -> str:
    place = f'Path(__file__).with_name("{name}_constants.npz")'
    return "\n".join(
        [
            "# The constants of more than 64 elements.",
            f"with np.load({place}, allow_pickle=False) as _held:",
            f'    constants = [_held[f"c{{_i}}"] for _i in range({count})]',
        ]
    )


def _wrapped(text: str) -> list[str]:
    """Return a text of a docstring or README as lines that are not too long."""
    lines, line = [], ""
    for word in _plain(text).split(" "):
        if line and len(line) + len(word) + 1 > _LINE:
            lines.append(line)
            line = f"    {word}"
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line]


def _plain(text: str) -> str:
    """Return a text that may hold a user's, for a docstring: no quotes, backslashes, controls."""
    return "".join("'" if c == '"' else "/" if c == "\\" else comment(c) for c in text)


# ---------------------------------------------------------------- what lies beside it


def _test(name: str, program: Program, cases: Sequence[Case]) -> tuple[str, bytes]:
    """Return ``name_test.py`` and its arrays."""
    inputs = {f.name: [n.attrs["name"] for n in f.inputs] for f in program.functions}
    lines = [f"MODULE = {quoted(name)}", "CASES: list[dict[str, Any]] = ["]
    arrays: dict[str, Array] = {}
    for number, case in enumerate(cases):
        arrays |= {f"{number}_in{i}": a for i, a in enumerate(case.inputs)}
        results = (*case.outputs, *case.states.values())
        arrays |= {f"{number}_out{i}": a for i, a in enumerate(results)}
        lines += _case(case, inputs[case.function])
    text = _HEAD.sub(lambda _: f'"""{_TESTED.format(name=name)}"""\n', inspect.getsource(replay))
    made = "\n".join([*lines, "]"]) + "\n"
    return _TABLES.sub(lambda _: made, text, count=1), _npz(arrays)


_TESTED = """\
Replay recorded calls of {name}.py from the weights beside it: python {name}_test.py

They were recorded with these weights, and differ with others. The exit status is 1 where a result
differs by more than its tolerance.
"""


def _case(case: Case, inputs: Sequence[str]) -> list[str]:
    # A size that goes by an input's name cannot be passed by it: that is the input.
    sizes = ", ".join(f"{quoted(n)}: {s}" for n, s in case.sizes.items() if n not in inputs)
    named = [*("None" for _ in case.outputs), *(quoted(n) for n in case.states)]
    results = [f"({n}, {float(t)!r})" for n, t in zip(named, case.tolerances, strict=True)]
    slopes = [
        f"({s.gradient}, {s.loss}, {quoted(s.leaf)}, [{', '.join(map(_direction, s.directions))}])"
        for s in case.slopes
    ]
    return [
        "    {",
        f'        "function": {quoted(case.function)},',
        f'        "sizes": {{{sizes}}},',
        f'        "inputs": [{", ".join(map(quoted, inputs))}],',
        *tables.listed("results", results),
        *tables.listed("slopes", slopes),
        "    },",
    ]


def _direction(direction: Direction) -> str:
    return f"({direction.signs}, {direction.step!r}, {direction.tolerance!r})"


def _numbered(arrays: Sequence[Array]) -> dict[str, Array]:
    return {f"c{i}": array for i, array in enumerate(arrays)}


def _npz(arrays: Mapping[str, Array]) -> bytes:
    """Return arrays as an .npz file without times; np.savez would leave them to zipfile."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3  # the same on every system
            file = io.BytesIO()
            np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)
            archive.writestr(entry, file.getvalue())
    return held.getvalue()


def _readme(program: Program, graph: str, tested: bool) -> str:
    name, weights = file_name(program.name), weights_name(program.name)
    title = f"{_plain(program.name)}: a standalone module in Python"
    functions = [line for f in program.functions for line in _wrapped(tables.signature(f))]
    text = _README.format(
        title=title,
        rule="=" * len(title),
        name=name,
        weights=weights,
        functions="\n".join(f"    {line}" for line in functions),
    )
    if tested:
        text += f"\npython {name}_test.py replays recorded calls and prints OK.\n"
    return f"{text}\ngraph: {graph}\n"


_README = """\
{title}
{rule}

Written by graphc; it needs Python 3.11 or later and NumPy 2, and nothing else.

    from {name} import Module
    m = Module()               # the weights beside it, {weights}; or a path
    m.functions                # what it computes, by name; each is an attribute, too
    m.state["..."]             # a parameter or state: read-only, but can be assigned
    m.save("a.safetensors")    # m.load reads it, and refuses another program's

Functions

{functions}

Values come in by position or name, and go out in new arrays. A call that fails
raises ValueError, TypeError or IndexError and leaves the state as it was.
"""
