"""The library of an exported module: its header, and its sources around the same kernels.

Kernels, placing and calls are the text that runs in process; what is new here is the C face, the
check of sizes, and the tables of states. Knows no files.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from importlib.resources import files

import numpy as np

from graphc import dims
from graphc.dims import Dim
from graphc.ir import Node
from graphc_c import cwriter, emit, kernels
from graphc_c.cache import strip_comments
from graphc_c.cwriter import CTYPES, Writer, comment
from graphc_c.export_names import Face, Module, all_nodes, nodes_shapes
from graphc_c.plan import Array, Plan, ProgramPlan

ABI = 1
KINDS = {
    **{"bool": "BOOL", "uint8": "U8", "int32": "I32", "int64": "I64", "uint32": "U32"},
    **{"uint64": "U64", "float32": "F32", "float64": "F64"},
}
STATUSES = ("OK", "NULL", "ALIGNMENT", "STATE", "SIZE", "INDEX", "FILE", "OTHER", "NAME", "ROOM")
_LARGEST = "0x1p48"  # bytes of one tensor: no machine holds more, and sums stay below 2**63
MOST_BUFFERS = 4096  # of one function: their tables take 80 KiB of stack while sizes are asked for
# What a kind of kernel needs of the runtime; kinds that are not here may need anything.
_NEEDS = {
    **{"elementwise": (), "gather": (), "iota": (), "reduce": ("gx_reduce.h",)},
    **{"matmul": ("gx_gemm.h",), "conv": ("gx_conv.h",), "pool": ("gx_pool.h",)},
    "random_bits": ("gx_random.h",),
}
_ALWAYS = ("gx_call.h", "gx_cast.h", "gx_plan.h", "gx_scalar.h")

# A tile of a matrix product is written for all rows and columns that are read from it, which GCC
# does not see where it inlines for small constant sizes.
_QUIET = """\
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

"""


def graph_hash(plan: ProgramPlan) -> str:
    """Return the SHA-256 of all the code that a plan becomes, without its comments."""
    code = {n: strip_comments(t) for n, (t, _) in emit.sources(plan).items()}
    held = [hashlib.sha256(c.tobytes()).hexdigest() for c in plan.constants]
    return hashlib.sha256(json.dumps([code, held], sort_keys=True).encode()).hexdigest()


# ---------------------------------------------------------------- the header


def header(module: Module) -> str:
    """Return ``name.h``."""
    p, m = module.prefix, module.macro
    statuses = ",\n".join(f"  {m}{name} = {i}" for i, name in enumerate(STATUSES))
    return filled(
        "face.h.in",
        name=module.name,
        p=p,
        m=m,
        abi=ABI,
        graph=module.graph,
        statuses=statuses,
        tensors=len(module.program.states),
        functions="\n".join(_declaration(module, f) for f in module.faces),
    )


def _declaration(module: Module, face: Face) -> str:
    lines = [comment(face.shapes)]
    lines.append(f"{module.macro}API {head(module, face)};")
    lines.append(f"{module.macro}API {work_head(face)};\n")
    return "\n".join(lines)


def head(module: Module, face: Face) -> str:
    """Return a function's head."""
    parts = [f"{module.prefix}state *s", "void *work", *(f"int64_t {n}" for n in face.sizes)]
    nodes = zip(face.inputs, face.function.inputs, strict=True)
    parts += [f"const {CTYPES[n.dtype]} *{name}" for name, n in nodes]
    results = zip(face.outputs, face.plan.results, strict=True)
    parts += [f"{CTYPES[t.dtype]} *{name}" for name, t in results]
    return _wrapped(f"int {face.symbol}(", parts)


def work_head(face: Face) -> str:
    """Return the head of the function that tells a function's work."""
    sizes = ", ".join(f"int64_t {n}" for n in face.sizes) or "void"
    return f"size_t {face.symbol}_work_size({sizes})"


def _wrapped(start: str, parts: list[str]) -> str:
    lines, line = [], start
    for i, part in enumerate(parts):
        word = part + (")" if i == len(parts) - 1 else ",")
        if len(line) + len(word) > 78:
            lines.append(line.rstrip())
            line = "    "
        line += word + " "
    return "\n".join([*lines, line.rstrip()])


# ---------------------------------------------------------------- the sources


def shared_header(module: Module) -> str:
    """Return the header that the library's own files share."""
    made = emit.sources(module.plan)
    contracting = emit.CONTRACTIONS in made
    found = {k.symbol: k for p in module.plan.plans for k in p.kernels}
    used = runtime_headers(module.plan)
    guard = f"{module.macro}KERNELS_H"
    lines = [
        comment(f"Program {module.name}: what its files share; no part of its face."),
        f"#ifndef {guard}",
        f"#define {guard}",
        *(f'#include "runtime/{n}"' for n in used),
    ]
    if contracting:
        own = [k for k in found.values() if k.descriptor.contracts]
        lines.append("/* So that several modules can be linked into one program. */")
        lines += [f"#define {k.symbol} {module.prefix}{k.symbol}" for k in own]
        lines += [f"{kernels.signature(k)};" for k in own]
    return "\n".join([*lines, "#endif"]) + "\n"


def included(text: str) -> list[str]:
    """Return the headers of the runtime that a C text includes."""
    return re.findall(r'#include "(gx_\w+\.h)"', text)


def runtime_headers(plan: ProgramPlan) -> list[str]:
    """Return the headers that a plan's kernels need of those that they have in process."""
    known = included(emit.headers(plan)[emit.HEADER])
    if {k.descriptor.kind for p in plan.plans for k in p.kernels} - _NEEDS.keys():
        return known
    return [n for n in known if n in _needed(plan)]


def _needed(plan: ProgramPlan) -> set[str]:
    kinds = {k.descriptor.kind for p in plan.plans for k in p.kernels}
    return {n for kind in kinds for n in _NEEDS[kind]} | set(_ALWAYS)


def sources(module: Module) -> dict[str, tuple[str, bool]]:
    """Return the library's C files: text, and whether it holds contraction kernels."""
    made = emit.sources(module.plan)
    include = f'#include "{module.name}_kernels.h"'
    old = f'#include "{emit.HEADER}"'
    found = {}
    for name, (text, contracts) in made.items():
        if contracts:
            found[f"{module.name}_{name}"] = (text.replace(old, _QUIET + include, 1), True)
    text = made[emit.REST][0].replace(old, f'#include "{module.name}.h"\n\n{include}', 1)
    text = text.replace(
        include, f'{include}\n#include "runtime/gx_module.h"\n#include "runtime/gx_weights.h"', 1
    )
    # In process these are the library's face; here the face stands over them.
    text = re.sub(r"^GX_API ", "static ", text, flags=re.MULTILINE)
    found[f"{module.name}.c"] = (text + _face(module), False)
    return dict(sorted(found.items()))


def _face(module: Module) -> str:
    w = Writer()
    _constants(w, module.plan.constants)
    _tensors(w, module)
    for face in module.faces:
        _fits(w, face)
        _entry(w, module, face)
    return w.text + filled("face.c.in", p=module.prefix, m=module.macro)


def filled(template: str, **words: object) -> str:
    """Return a text of ``runtime/export`` with ``@word@`` replaced."""
    text = (files("graphc_c") / "runtime" / "export" / template).read_text("utf-8")
    return re.sub(r"@([a-z]+)@", lambda m: str(words[m[1]]), text)


def _constants(w: Writer, constants: object) -> None:
    arrays: list[Array] = list(constants)  # type: ignore[call-overload]
    for i, array in enumerate(arrays):
        kind = CTYPES[array.dtype.name]
        w.line(comment(f"constant {i}", f"{array.dtype.name}{list(array.shape)}"))
        w.line(f"static const {kind} gx_k{i}[{max(array.size, 1)}] = {{")
        words = [number(v, array.dtype.name) for v in array.ravel()] or ["0"]
        for start in range(0, len(words), 6):
            w.line("  " + ", ".join(words[start : start + 6]) + ",")
        w.line("};")


def number(value: np.generic, dtype: str) -> str:
    """Return an element as a C literal."""
    plain = value.item()
    text = float(plain).hex() if dtype.startswith("float") else str(int(plain))
    if dtype == "float32" and math.isfinite(plain):
        return f"{text}f"
    return cwriter.literal(text, dtype)


def _tensors(w: Writer, module: Module) -> None:
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


def c_string(text: str) -> str:
    """Return any text as a C string of its UTF-8 bytes."""
    plain = {ord('"'): '\\"', ord("\\"): "\\\\", ord("?"): "\\?"}
    made = [
        plain.get(b, chr(b) if 0x20 <= b <= 0x7E else f"\\{b:03o}")
        for b in text.encode("utf-8", "surrogatepass")
    ]
    return '"' + "".join(made) + '"'


# ---------------------------------------------------------------- sizes


def _names(plan: Plan) -> dict[str, str]:
    return {n: f"d_{i}" for i, n in enumerate(plan.sizes)}


def bound(dim: Dim, names: dict[str, str]) -> str:
    """Return an upper bound of |dim| as an expression of doubles, which cannot overflow."""
    text = dims.render(dim, names.__getitem__, lambda top, below: f"({top} / {below} + 1)")
    return re.sub(r"(?<![\w.])\d+(?![\w.])", r"\g<0>.0", text.replace("-", ""))


def _fits(w: Writer, face: Face) -> None:
    """Write the function that tells whether sizes are allowed and nothing overflows."""
    names = _names(face.plan)
    claims = size_claims(face)
    w.line(comment(f"{face.function.name}: whether its sizes are allowed."))
    with w.block(f"static int gx_f{face.number}_fits(const int64_t *dims)"):
        for i, name in enumerate(face.plan.sizes):
            w.line(f"const int64_t d_{i} = dims[{i}]; {comment(name)}")
            with w.block(f"if (d_{i} < 1 || d_{i} > INT64_MAX / 2)"):
                w.line("return 0;")
        if not face.plan.sizes:
            w.line("(void)dims;")
        for text in _bounds(face, names):
            with w.block(f"if ({text} > {_LARGEST})"):
                w.line("return 0;")
        for left, relation, right, why in claims:
            w.line(comment(why))
            sides = (cwriter.size(d, names.__getitem__) for d in (left, right))
            with w.block(f"if (!({f' {relation} '.join(sides)}))"):
                w.line("return 0;")
        w.line("return 1;")
    w.line()


def _bounds(face: Face, names: dict[str, str]) -> list[str]:
    found: dict[str, None] = {}
    for shape, dtype in nodes_shapes(face.function):
        factors = [bound(d, names) for d in shape]
        if any(not isinstance(d, int) for d in shape) and set(dims.names(shape)) <= names.keys():
            width = np.dtype(dtype).itemsize
            found[" * ".join([*factors, f"{width}.0"])] = None
    works = {b.work for b in face.plan.arena if b.work is not None}
    for dim in sorted({bound(d, names) for w in works for d in w.arguments if type(d) is not int}):
        found[dim] = None
    return [re.sub(r"\bd_(\d+)\b", r"(double)d_\1", text) for text in found]


def size_claims(face: Face) -> list[tuple[Dim, str, Dim, str]]:
    """Return what must hold of a function's sizes: axes are not negative, and open conditions."""
    found: dict[tuple[Dim, str, Dim], str] = {}
    for shape, _ in nodes_shapes(face.function):
        for dim in shape:
            if not isinstance(dim, int) and dims.at_least(dim, 0) is not True:
                found.setdefault((dim, ">=", 0), "an axis has no negative size")
    with dims.collecting() as claims:
        for node in all_nodes(face.function):
            node.op.infer(node.inputs, node.attrs)
    for c in claims:
        found.setdefault((c.left, c.relation, c.right), c.reason)
    known = set(face.plan.sizes)
    return [(*k, why) for k, why in found.items() if set(dims.names((k[0], k[2]))) <= known]


# ---------------------------------------------------------------- entries


def _entry(w: Writer, module: Module, face: Face) -> None:
    """Write one function of the face, and the one that tells its work."""
    n, plan = face.number, face.plan
    counts = (len(plan.sizes), len(face.inputs), len(face.outputs), len(plan.arena))
    table = f"{{{', '.join(map(str, counts))}, gx_f{n}_fits, gx_f{n}_plan, gx_f{n}_call}}"
    w.line(f"static const gx_function gx_f{n} =\n    {table};")
    w.line()
    sizes = ", ".join(face.sizes) or "0"
    with w.block(work_head(face)):
        room = max(len(plan.arena), 1)
        w.line(f"const int64_t gx_dims[] = {{{sizes}}};")
        w.line(f"int64_t gx_bytes[{room}], gx_offsets[{room}];")
        w.line(f"int32_t gx_order[{room}];")
        w.line(f"return gx_work_bytes(&gx_f{n}, gx_dims, gx_bytes, gx_offsets, gx_order);")
    w.line()
    w.line(comment(face.shapes))
    with w.block(head(module, face)):
        w.line(f"const int64_t gx_dims[] = {{{sizes}}};")
        constants = [f"(void *)gx_k{i}" for i in range(len(module.plan.constants))]
        inputs = [f"(void *){name}" for name in face.inputs]
        for kind, given in (("in", inputs), ("out", face.outputs), ("constants", constants)):
            w.line(_wrapped(f"void *const gx_{kind}[] = {{", given or ["NULL"])[:-1] + "};")
        w.line(f"return gx_run(&gx_self, &gx_f{n}, (char *)s, work, gx_dims, gx_in, gx_out,")
        w.line("              gx_constants);")
    w.line()
