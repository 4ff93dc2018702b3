"""From a program's plan to C sources: kernels, and for each function its plan and its call.

Two files: kernels that contract (matrix products, convolutions), compiled with fused multiply-add,
and all else, compiled without.
"""

from __future__ import annotations

from importlib.resources import files

from graphc.dims import Dim
from graphc.ir import Node
from graphc_c import kernels, memory
from graphc_c.cwriter import CTYPES, Writer, comment, size
from graphc_c.plan import Begin, Buffer, Kernel, Plan, ProgramPlan, View

CONTRACTIONS, REST, HEADER = "contractions.c", "program.c", "program.h"
ALIGNMENT = 64  # bytes: a cache line, and the widest vector

Sources = dict[str, tuple[str, bool]]


def sources(plan: ProgramPlan) -> Sources:
    """Return file name to (text, whether it holds contraction kernels)."""
    found = {k.symbol: k for p in plan.plans for k in p.kernels}
    contracting = [k for k in found.values() if k.descriptor.contracts]
    others = [k for k in found.values() if not k.descriptor.contracts]
    made = {REST: (_program(plan, others), False)}
    if contracting:
        text = [f'#include "{HEADER}"\n', *(kernels.function(k) for k in contracting)]
        made[CONTRACTIONS] = ("\n".join(text), True)
    return made


def headers(plan: ProgramPlan) -> dict[str, str]:
    """Return the runtime's headers, and the one that the program's own files share."""
    runtime = files("graphc_c") / "runtime"
    found = {f.name: f.read_text("utf-8") for f in runtime.iterdir() if f.name.endswith(".h")}
    own = [k for p in plan.plans for k in p.kernels if k.descriptor.contracts]
    lines = [
        comment(f"Program {plan.name}: what its files share."),
        "#ifndef PROGRAM_H",
        "#define PROGRAM_H",
        *(f'#include "{name}"' for name in _INCLUDES),
        *(f"{kernels.signature(k)};" for k in {k.symbol: k for k in own}.values()),
        "#endif",
    ]
    return dict(sorted(found.items())) | {HEADER: "\n".join(lines) + "\n"}


_INCLUDES = ("gx_call.h", "gx_cast.h", "gx_conv.h", "gx_gemm.h", "gx_plan.h", "gx_pool.h",
             "gx_random.h", "gx_reduce.h", "gx_scalar.h")  # fmt: skip


def _program(plan: ProgramPlan, own: list[Kernel]) -> str:
    w = Writer()
    w.line(comment(f"Program {plan.name}."))
    w.lines_of(f'#include "{HEADER}"', "")
    for kernel in own:
        w.lines.append(kernels.function(kernel))
    for number, part in enumerate(plan.plans):
        _placing(w, number, part)
        _calling(w, number, part)
    return w.text


# ---------------------------------------------------------------- the arena


def _placing(w: Writer, number: int, plan: Plan) -> None:
    """Write the function that places the arena's buffers for given dimensions."""
    spans = memory.lifetimes(plan)
    count = len(spans)
    w.line(comment(f"{plan.name}: where its {count} buffers lie; returns bytes, -1 on overflow."))
    w.line(f"GX_API int64_t gx_f{number}_plan(const int64_t *dims, int64_t *bytes,")
    with w.block("                     int64_t *offsets, int32_t *order)"):
        _unpack_sizes(w, plan)
        if not count:
            w.lines_of("(void)bytes;", "(void)offsets;", "(void)order;", "return 0;")
            return
        _table(w, "first", [first for first, _ in spans])
        _table(w, "last", [last for _, last in spans])
        names = _Names(plan)
        for i, buffer in enumerate(plan.arena):
            w.line(f"bytes[{i}] = {names.elements(buffer)} * (int64_t)sizeof({_ctype(buffer)});")
        w.line(f"return gx_place({count}, bytes, first, last, {ALIGNMENT}, offsets, order);")
    w.line()


def _table(w: Writer, name: str, numbers: list[int]) -> None:
    w.line(f"static const int32_t {name}[{len(numbers)}] = {{")
    for start in range(0, len(numbers), 16):
        w.line("    " + ", ".join(str(n) for n in numbers[start : start + 16]) + ",")
    w.line("};")


def _unpack_sizes(w: Writer, plan: Plan) -> None:
    for i, name in enumerate(plan.sizes):
        w.line(f"const int64_t d_{i} = dims[{i}]; {comment(name)}")
        w.line(f"(void)d_{i};")
    if not plan.sizes:
        w.line("(void)dims;")


# ---------------------------------------------------------------- the call


def _calling(w: Writer, number: int, plan: Plan) -> None:
    """Write the function that runs the kernels and exchanges the updated states."""
    names = _Names(plan)
    w.line(comment(f"{plan.name}: 0, or the number (from 1) of the kernel that met a bad index."))
    with w.block(f"GX_API int32_t gx_f{number}_call(gx_call *c)"):
        w.line("const int64_t *const dims = c->dims;")
        _unpack_sizes(w, plan)
        for buffer, name in names.buffers.items():
            kind = _ctype(buffer)
            const = "const " if buffer.storage in ("argument", "state", "constant") else ""
            place = f"({const}{kind} *)({_SOURCES[buffer.storage].format(buffer.index)})"
            w.line(f"{const}{kind} *const {name} = {place};")
        run_steps(w, names, plan)
        for state in plan.updates:
            w.line(f"gx_exchange(c, {state});")
        w.line("return 0;")
    w.line()


_SOURCES = {
    "argument": "c->arguments[{}]",
    "result": "c->results[{}]",
    "state": "c->states[{}]",
    "next": "c->next[{}]",
    "constant": "c->constants[{}]",
    "arena": "c->arena + c->offsets[{}]",
}
_LETTERS = {
    "argument": "x",
    "result": "r",
    "state": "s",
    "next": "u",
    "constant": "k",
    "arena": "v",
}


class _Names:
    """Generated names for the buffers of a function."""

    def __init__(self, plan: Plan) -> None:
        self.sizes = {name: f"d_{i}" for i, name in enumerate(plan.sizes)}
        self.loops: list[str] = []
        self.buffers: dict[Buffer, str] = {}
        for kernel in plan.kernels:
            for view in (*kernel.reads, *kernel.writes):
                b = view.buffer
                self.buffers.setdefault(b, f"{_LETTERS[b.storage]}{b.index}")

    def loop(self, begin: Begin) -> str:
        """Name a loop's counter and position; return the counter."""
        number = len(self.loops)
        self.loops.append(begin.variable)
        self.sizes[begin.variable] = f"p_{number}"
        return f"l_{number}"

    def size(self, dim: Dim) -> str:
        """Return a dimension over the function's sizes."""
        return size(dim, self.sizes.__getitem__)

    def place(self, view: View) -> str:
        """Return where a view begins."""
        base = self.buffers[view.buffer]
        return base if view.offset == 0 else f"{base} + {self.size(view.offset)}"

    def elements(self, buffer: Buffer) -> str:
        """Return how many elements a buffer of the arena takes."""
        if buffer.work is None:
            return self.size(buffer.layout.size(buffer.type.shape))
        arguments = ", ".join(self.size(a) for a in buffer.work.arguments)
        if buffer.work.struct:
            arguments = f"&({buffer.work.struct}){{{arguments}}}"
        return f"gx_{buffer.work.function}({arguments})"


def run_steps(w: Writer, names: _Names, plan: Plan) -> None:
    """Write the calls of a function's kernels, and the loops around them."""
    number = 0
    for step in plan.steps:
        if isinstance(step, Kernel):
            number += 1
            w.line(_provenance(step.node))
            _run(w, names, step, number)
        elif isinstance(step, Begin):
            _open_loop(w, names, step)
        else:
            w.close()


def _open_loop(w: Writer, names: _Names, begin: Begin) -> None:
    count, length = names.loop(begin), names.size(begin.length)
    position = names.sizes[begin.variable]
    w.line(_provenance(begin.node))
    w.open(f"for (int64_t {count} = 0; {count} < {length}; {count}++)")
    w.line(f"const int64_t {position} = {f'{length} - 1 - {count}' if begin.reverse else count};")


def _run(w: Writer, names: _Names, kernel: Kernel, step: int) -> None:
    arguments = [names.place(v) for v in (*kernel.reads, *kernel.writes)]
    arguments += [names.sizes[n] for n in kernel.sizes]
    if kernel.below is None:
        w.line(f"{kernel.symbol}({', '.join(arguments)});")
        return
    call = f"{kernel.symbol}({', '.join([*arguments, '&c->bad'])})"
    with w.block(f"if ({call})"):
        w.line(f"return {step};")


def _provenance(node: Node) -> str:
    formula = node.attrs.get("formula")
    what = node.op.name if formula is None else formula.name
    meaning = node.op.formula if formula is None else f"y = {formula.text}"
    return comment(node.note.path or "", what, _type(node), meaning, node.note.where or "")


def _type(node: Node) -> str:
    return ", ".join(str(t) for t in node.types)


def _ctype(buffer: Buffer) -> str:
    return CTYPES[buffer.type.dtype]
