"""From a kernel's descriptor to its C function.

Each writes loops over index maps around functions of the runtime. Sizes that are numbers stand in
the text as numbers; open ones are parameters n0, n1, …
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from graphc.dims import Dim, Shape
from graphc_c import descriptors as d
from graphc_c.cwriter import CTYPES, SUFFIXES, Writer, index, literal, size
from graphc_c.plan import Kernel, row_major


def signature(kernel: Kernel) -> str:
    """Return the head of a kernel's function: reads, writes, sizes, place of a bad index."""
    parts = [f"const {CTYPES[v.dtype]} *restrict a{i}" for i, v in enumerate(kernel.reads)]
    parts += [f"{CTYPES[v.dtype]} *restrict o{i}" for i, v in enumerate(kernel.writes)]
    parts += [f"int64_t n{i}" for i in range(len(kernel.sizes))]
    if kernel.below is not None:
        parts.append("int64_t *restrict bad")
    result = "void" if kernel.below is None else "int"
    return f"{result} {kernel.symbol}({', '.join(parts) or 'void'})"


def function(kernel: Kernel) -> str:
    """Return a kernel's function."""
    writer = Writer()
    linkage = "" if kernel.descriptor.contracts else "static "
    with writer.block(linkage + signature(kernel)):
        _WRITERS[kernel.descriptor.kind](writer, kernel.descriptor)
    return writer.text


# ---------------------------------------------------------------- elementwise


def _elementwise(w: Writer, k: d.Elementwise) -> None:
    with ExitStack() as loops:
        variables = _loops(w, loops, "i", k.space)
        for i, operand in enumerate(k.operands):
            place = index(list(zip(variables, operand.strides, strict=True)))
            w.line(f"const {CTYPES[operand.dtype]} x{i} = a{i}[{place}];")
        value = _Values(w).text(k.expression)
        place = index(list(zip(variables, k.out.strides, strict=True)))
        w.line(f"o0[{place}] = {value};")


def _loops(w: Writer, stack: ExitStack, letter: str, space: Sequence[Dim]) -> list[str]:
    """Open one loop for each extent and return their variables."""
    variables = [f"{letter}{i}" for i in range(len(space))]
    for variable, extent in zip(variables, space, strict=True):
        stack.enter_context(w.loop(variable, size(extent)))
    return variables


class _Values:
    """Writes an expression as temporaries, each distinct call once."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.names: dict[d.Expression, str] = {}

    def text(self, expression: d.Expression) -> str:
        """Return the C text of an expression, after the lines that compute it."""
        if isinstance(expression, d.Read):
            return f"x{expression.index}"
        if isinstance(expression, d.Literal):
            return literal(expression.text, expression.dtype)
        if isinstance(expression, d.Extent):
            return f"({CTYPES[expression.dtype]}){size(expression.dim)}"
        if expression not in self.names:
            args = ", ".join(self.text(a) for a in expression.args)
            name = self.names[expression] = f"t{len(self.names)}"
            kind = CTYPES[expression.dtype]
            self.writer.line(f"const {kind} {name} = {expression.function}({args});")
        return self.names[expression]


# ---------------------------------------------------------------- reductions


def _reduction(w: Writer, k: d.Reduction) -> None:
    adds = k.what in ("sum", "mean")
    rows = adds and k.kept and k.kept_strides[-1] == 1 and k.reduced
    if rows and k.reduced_strides[-1] != 1:
        _add_rows(w, k)
    else:
        _reduce_each(w, k)
    if k.what == "mean":
        _divide(w, k)


def _add_rows(w: Writer, k: d.Reduction) -> None:
    """Add row after row into the result's rows: the innermost kept axis is contiguous."""
    outer, outer_strides = k.kept[:-1], k.kept_strides[:-1]
    width = size(k.kept[-1])
    with ExitStack() as loops:
        kept = _loops(w, loops, "i", outer)
        place = index(list(zip(kept, row_major(k.kept)[:-1], strict=True)))
        w.line(f"{CTYPES[k.dtype]} *restrict row = o0 + {place};")
        with w.loop("j", width):
            w.line("row[j] = 0;")
        with ExitStack() as inner:
            reduced = _loops(w, inner, "r", k.reduced)
            walk = [*zip(kept, outer_strides, strict=True)]
            walk += zip(reduced, k.reduced_strides, strict=True)
            w.line(f"const {CTYPES[k.dtype]} *restrict x = a0 + {index(walk)};")
            with w.loop("j", width):
                s = SUFFIXES[k.dtype]
                w.line(f"row[j] = gx_add_{s}(row[j], x[j]);")


def _reduce_each(w: Writer, k: d.Reduction) -> None:
    """Reduce for each result on its own."""
    s, kind = SUFFIXES[k.dtype], CTYPES[k.dtype]
    *outer, last = [*zip(k.reduced, k.reduced_strides, strict=True)] or [(1, 1)]
    run = f"{size(last[0])}, {size(last[1])}"
    what = "sum" if k.what == "mean" else k.what
    with ExitStack() as loops:
        kept = _loops(w, loops, "i", k.kept)
        walk = list(zip(kept, k.kept_strides, strict=True))
        place = index(list(zip(kept, row_major(k.kept), strict=True)))
        if not outer:
            w.line(f"o0[{place}] = gx_{what}_{s}(a0 + {index(walk)}, {run});")
            return
        w.line(f"{kind} total = 0;")
        with ExitStack() as inner:
            reduced = _loops(w, inner, "r", [extent for extent, _ in outer])
            walk += zip(reduced, [stride for _, stride in outer], strict=True)
            part = f"gx_sum_{s}(a0 + {index(walk)}, {run})"
            w.line(f"total = gx_add_{s}(total, {part});")
        w.line(f"o0[{place}] = total;")


def _divide(w: Writer, k: d.Reduction) -> None:
    with w.loop("j", _product(k.kept)):
        w.line(f"o0[j] /= ({CTYPES[k.dtype]})({_product(k.reduced)});")


def _product(shape: Shape) -> str:
    return " * ".join(size(n) for n in shape) or "1"


# ---------------------------------------------------------------- contractions


def _matmul(w: Writer, k: d.Matmul) -> None:
    m, n, depth = k.sizes
    out = (*row_major((*k.batch, m, n)),)
    s = SUFFIXES[k.dtype]
    with ExitStack() as loops:
        batch = _loops(w, loops, "i", k.batch)
        rank = len(batch)
        a, b, c = (
            f"{name} + {index(list(zip(batch, strides[:rank], strict=True)))}"
            for name, strides in (("a0", k.a), ("a1", k.b), ("o0", out))
        )
        sizes = ", ".join(size(x) for x in (m, n, depth))
        left, right = (", ".join(size(x) for x in t[rank:]) for t in (k.a, k.b))
        name, work = ("gemm", ", o1") if k.dtype.startswith("float") else ("matmul", "")
        w.line(f"gx_{name}_{s}({sizes},")
        w.line(f"    {a}, {left},")
        w.line(f"    {b}, {right},")
        w.line(f"    {c}, {size(n)}, 0{work});")


def _convolution(w: Writer, k: d.Convolution) -> None:
    _shape(w, "gx_conv2d_shape", k.shape)
    w.line(f"gx_{k.what}_{SUFFIXES[k.dtype]}(&s, a0, a1, o0, o1);")


def _shape(w: Writer, struct: str, shape: Sequence[tuple[str, Dim]]) -> None:
    w.line(f"const {struct} s = {{")
    fields = [f".{name} = {size(value)}" for name, value in shape]
    for start in range(0, len(fields), 6):
        w.line("    " + ", ".join(fields[start : start + 6]) + ",")
    w.line("};")


def _pooling(w: Writer, k: d.Pooling) -> None:
    _shape(w, "gx_pool2d_shape", k.shape)
    two = k.what in ("max_pool2d_adjoint", "max_pool2d_select")
    reads = "a0, a1" if two else "a0"
    w.line(f"gx_{k.what}_{SUFFIXES[k.dtype]}(&s, {reads}, o0);")


# ---------------------------------------------------------------- indices and the rest


def _gather(w: Writer, k: d.Gather) -> None:
    source = "a0" if k.what == "one_hot" else "a1"
    places, length = size(k.places), size(k.length)
    signed = k.index_dtype in ("int32", "int64")
    with w.loop("i", places):
        w.line(f"const {CTYPES[k.index_dtype]} p = {source}[i];")
        low = "p < 0 || " if signed else ""
        with w.block(f"if ({low}(uint64_t)p >= (uint64_t)({length}))"):
            w.lines_of("*bad = (int64_t)p;", "return 1;")
    _GATHERS[k.what](w, k)
    w.line("return 0;")


def _take(w: Writer, k: d.Gather) -> None:
    with w.loop("i", size(k.before)), w.loop("j", size(k.places)):
        after, width = size(k.after), CTYPES[k.dtype]
        w.line(
            f"const {width} *restrict x = a0 + (i * {size(k.length)} + (int64_t)a1[j]) * {after};"
        )
        w.line(f"{width} *restrict y = o0 + (i * {size(k.places)} + j) * {after};")
        with w.loop("l", after):
            w.line("y[l] = x[l];")


def _scatter_add(w: Writer, k: d.Gather) -> None:
    with w.loop("i", size(k.before)), w.loop("j", size(k.places)):
        after, width = size(k.after), CTYPES[k.dtype]
        w.line(f"const {width} *restrict v = a0 + (i * {size(k.places)} + j) * {after};")
        w.line(f"{width} *restrict y = o0 + (i * {size(k.length)} + (int64_t)a1[j]) * {after};")
        with w.loop("l", after):
            w.line(f"y[l] = gx_add_{SUFFIXES[k.dtype]}(y[l], v[l]);")


def _pick(w: Writer, k: d.Gather) -> None:
    with w.loop("i", size(k.places)):
        w.line(f"o0[i] = a0[i * {size(k.length)} + (int64_t)a1[i]];")


def _one_hot(w: Writer, k: d.Gather) -> None:
    with w.loop("i", size(k.places)), w.loop("j", size(k.length)):
        w.line(f"o0[i * {size(k.length)} + j] = j == (int64_t)a0[i];")


_GATHERS = {"take": _take, "scatter_add": _scatter_add, "pick": _pick, "one_hot": _one_hot}


def _iota(w: Writer, k: d.Iota) -> None:
    with w.loop("i", size(k.length)):
        w.line(f"o0[i] = ({CTYPES[k.dtype]})i;")


def _random_bits(w: Writer, k: d.RandomBits) -> None:
    w.line(f"gx_random_bits_{SUFFIXES[k.dtype]}(a0, {k.stream}u, {size(k.count)}, o0);")


_WRITERS: dict[str, Callable[[Writer, Any], None]] = {
    d.Elementwise.kind: _elementwise,
    d.Reduction.kind: _reduction,
    d.Matmul.kind: _matmul,
    d.Convolution.kind: _convolution,
    d.Pooling.kind: _pooling,
    d.Gather.kind: _gather,
    d.Iota.kind: _iota,
    d.RandomBits.kind: _random_bits,
}
