"""The tables of an exported module: constants, states and functions as C data, the weights file.

Data alone, and no function of C.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np

from graphc.dims import Shape
from graphc.ir import Node
from graphc_c import cwriter, emit
from graphc_c.cwriter import CTYPES, Writer, comment
from graphc_c.export_names import Face, Module, output_names
from graphc_c.plan import Array

KINDS = {
    **{"bool": "BOOL", "uint8": "U8", "int32": "I32", "int64": "I64", "uint32": "U32"},
    **{"uint64": "U64", "float32": "F32", "float64": "F64"},
}


# ---------------------------------------------------------------- constants


def constants(w: Writer, arrays: Sequence[Array]) -> None:
    """Write the arrays that lie beside the code, and the table that a call gets."""
    for i, array in enumerate(arrays):
        kind = CTYPES[array.dtype.name]
        w.line(comment(f"constant {i}", f"{array.dtype.name}{list(array.shape)}"))
        w.line(f"static const {kind} gx_k{i}[{max(array.size, 1)}] = {{")
        words = [number(v, array.dtype.name) for v in array.ravel()] or ["0"]
        for start in range(0, len(words), 6):
            w.line("  " + ", ".join(words[start : start + 6]) + ",")
        w.line("};")
    rows = [f"(void *)gx_k{i}" for i in range(len(arrays))] or ["NULL"]
    w.lines_of("static void *const gx_constants[] = {", *(f"  {row}," for row in rows), "};")
    w.line()


def number(value: np.generic, dtype: str) -> str:
    """Return an element as a C literal."""
    plain = value.item()
    text = float(plain).hex() if dtype.startswith("float") else str(int(plain))
    if dtype == "float32" and math.isfinite(plain):
        return f"{text}f"
    return cwriter.literal(text, dtype)


def c_string(text: str) -> str:
    """Return any text as a C string of its UTF-8 bytes."""
    plain = {ord('"'): '\\"', ord("\\"): "\\\\", ord("?"): "\\?"}
    made = [
        plain.get(b, chr(b) if 0x20 <= b <= 0x7E else f"\\{b:03o}")
        for b in text.encode("utf-8", "surrogatepass")
    ]
    return '"' + "".join(made) + '"'


# ---------------------------------------------------------------- states


def tensors(w: Writer, module: Module) -> None:
    """Write the table of states, and where they lie in a block and in a file."""
    at = 0
    saved, total = file_places(module.program.states)
    rows = []
    for i, node in enumerate(module.program.states):
        nbytes = byte_size(node)
        shape = [int(d) for d in node.shape]
        rounded = -(-max(nbytes, 1) // emit.ALIGNMENT) * emit.ALIGNMENT
        second = at + rounded if i in module.updated else at
        name = node.attrs["name"]
        w.line(f"static const int64_t gx_shape{i}[] = {{{', '.join(map(str, shape)) or '0'}}};")
        rows.append(
            f"{{{c_string(name)}, {c_string(node.dtype)}, {c_string(KINDS[node.dtype])},\n"
            f"   {c_string(file_entry(node, saved[i]))},\n"
            f"   gx_shape{i}, {len(shape)}, INT64_C({nbytes}),\n"
            f"   {{INT64_C({at}), INT64_C({second})}}, INT64_C({saved[i]})}},"
        )
        at = second + rounded
    w.line("static const gx_tensor gx_tensors[] = {")
    w.lines_of(*("  " + row for row in rows or ['{"", "", "", "", 0, 0, 0, {0, 0}, 0},']))
    w.line("};")
    names = module.state_names
    key = names.index("random.key") if "random.key" in names else -1
    w.line("static const gx_program gx_self = {")
    w.line(f"  gx_tensors, {len(rows)}, INT64_C({at}), INT64_C({total}),")
    w.line(f"  UINT64_C(0x{module.graph[:16]}), {key},")
    w.line("  " + c_string(metadata(module)) + "};")
    w.line()


def byte_size(node: Node) -> int:
    """Return the bytes of a state."""
    return math.prod(int(d) for d in node.shape) * np.dtype(node.dtype).itemsize


def file_places(states: tuple[Node, ...]) -> tuple[list[int], int]:
    """Return where each state's bytes lie in a file, wide dtypes first, and their sum."""
    order = sorted(range(len(states)), key=lambda i: -np.dtype(states[i].dtype).itemsize)
    places, at = [0] * len(states), 0
    for i in order:
        places[i] = at
        at += byte_size(states[i])
    return places, at


def metadata(module: Module) -> str:
    """Return the beginning of a weights file's header."""
    return '{"__metadata__":' + _json({"program": module.name, "notes": "{}"})


def file_entry(node: Node, begin: int) -> str:
    """Return a state's entry in a weights file's header, with the comma before it."""
    entry = {
        "dtype": KINDS[node.dtype],
        "shape": [int(d) for d in node.shape],
        "data_offsets": [begin, begin + byte_size(node)],
    }
    return "," + _json({node.attrs["name"]: entry})[1:-1]


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


# ---------------------------------------------------------------- functions


def arguments(w: Writer, face: Face) -> None:
    """Write the table of a function's sizes, inputs and outputs, under the user's names."""
    inputs = [(n.attrs["name"], n.dtype, n.shape) for n in face.function.inputs]
    names = zip(output_names(face.function), face.plan.results, strict=True)
    rows: list[tuple[str, str, Shape]] = [(name, "int64", ()) for name in face.plan.sizes]
    rows += [*inputs, *((name, t.dtype, t.shape) for name, t in names)]
    written = []
    for i, (name, dtype, shape) in enumerate(rows):
        extents = ", ".join(str(d) if isinstance(d, int) else "-1" for d in shape)
        w.line(f"static const int64_t gx_f{face.number}_shape{i}[] = {{{extents or '0'}}};")
        place = f"gx_f{face.number}_shape{i}, {len(shape)}"
        written.append(f"{{{c_string(name)}, {c_string(dtype)}, {place}}},")
    w.line(f"static const gx_argument gx_f{face.number}_places[] = {{")
    w.lines_of(*("  " + row for row in written or ['{"", "", NULL, 0},']))
    w.line("};")


def functions(w: Writer, module: Module) -> None:
    """Write the table of all functions."""
    w.line("static const gx_function *const gx_functions[] = {")
    w.lines_of(*(f"  &gx_f{face.number}," for face in module.faces), "};")
