"""The library of an exported module: its header, and its sources around the same kernels.

Kernels, placing and calls are the text that runs in process; what is new here is the C face, the
check of sizes, and the tables of states. Knows no files.
"""

from __future__ import annotations

import hashlib
import json
import re
from importlib.resources import files

from graphc_c import emit, export_sizes, export_tables, kernels
from graphc_c.cache import strip_comments
from graphc_c.cwriter import CTYPES, Writer, comment
from graphc_c.export_names import STATUSES, Face, Module
from graphc_c.export_tables import c_string
from graphc_c.plan import ProgramPlan

ABI = 1
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
        count=len(module.faces),
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
    export_tables.constants(w, module.plan.constants)
    export_tables.tensors(w, module)
    for face in module.faces:
        export_sizes.fits(w, face)
        export_sizes.shapes(w, face)
        export_tables.arguments(w, face)
        _entry(w, module, face)
    export_tables.functions(w, module)
    room = max(len(face.plan.arena) for face in module.faces)
    return w.text + filled("face.c.in", p=module.prefix, m=module.macro, room=max(room, 1))


def filled(template: str, **words: object) -> str:
    """Return a text of ``runtime/export`` with ``@word@`` replaced."""
    text = (files("graphc_c") / "runtime" / "export" / template).read_text("utf-8")
    return re.sub(r"@([a-z]+)@", lambda m: str(words[m[1]]), text)


# ---------------------------------------------------------------- entries


def _entry(w: Writer, module: Module, face: Face) -> None:
    """Write one function of the face, and the one that tells its work."""
    n, plan = face.number, face.plan
    counts = (len(plan.sizes), len(face.inputs), len(face.outputs), len(plan.arena))
    w.lines_of(
        f"static const gx_function gx_f{n} = {{",
        f"  {c_string(face.function.name)}, gx_f{n}_places, {', '.join(map(str, counts))},",
        f"  gx_f{n}_shape, gx_f{n}_fits, gx_f{n}_plan, gx_f{n}_call}};",
        "",
    )
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
        inputs = [f"(void *){name}" for name in face.inputs]
        for kind, given in (("in", inputs), ("out", face.outputs)):
            w.line(_wrapped(f"void *const gx_{kind}[] = {{", given or ["NULL"])[:-1] + "};")
        w.line(f"return gx_run(&gx_self, &gx_f{n}, (char *)s, work, gx_dims, gx_in, gx_out,")
        w.line("              gx_constants);")
    w.line()
