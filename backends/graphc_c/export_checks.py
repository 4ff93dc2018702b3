"""The test of an exported module: recorded calls, gradients by differences, and what has to fail.

What was recorded comes from core; here it becomes C, and a file of numbers beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from graphc.backend import Array, Case, Direction, Slope
from graphc_c.export_c import filled
from graphc_c.export_names import Face, Module
from graphc_c.export_tables import c_string

_ALIGN = 64
_WRONG_SIZES = ("0", "-1", "INT64_MAX", "INT64_MIN")


def test_files(module: Module, cases: Mapping[str, Case]) -> tuple[str, bytes]:
    """Return ``name_test.c`` and ``name_test.bin``."""
    recorded = [
        _Recorded(module, f, cases[f.function.name])
        for f in module.faces
        if f.function.name in cases
    ]
    data = _Data()
    functions = [_test(r, data) for r in recorded]
    words = {"name": module.name, "p": module.prefix, "m": module.macro}
    functions = [*_for_slopes([s for r in recorded for s in r.case.slopes], words), *functions]
    calls = [f"    test_{r.face.symbol}(weights, bytes, golden);" for r in recorded]
    text = filled(
        "test.c.in",
        functions="\n".join(functions),
        calls="\n".join(calls),
        recorded=len(data.bytes),
        **words,
    )
    return text, bytes(data.bytes)


def _for_slopes(slopes: Sequence[Slope], words: Mapping[str, str]) -> list[str]:
    """Return what comparing gradients needs: C warns of functions that nobody calls."""
    made = []
    if any(slope.directions for slope in slopes):
        made.append(filled("slopes.c.in", **words))
    if any(not slope.directions for slope in slopes):
        made.append(_UNCOMPARED)
    return made


_UNCOMPARED = """\
/* A gradient that differences say nothing about where it was recorded. */
static void uncompared(const char *what) {
  printf("%s: not compared with differences\\n", what);
}
"""


@dataclass(frozen=True, slots=True)
class _Recorded:
    """A recorded call of one function of a module."""

    module: Module
    face: Face
    case: Case

    @property
    def sizes(self) -> list[str]:
        return [str(self.case.sizes[n]) for n in self.face.plan.sizes]

    @property
    def tensors(self) -> list[str]:
        """The inputs and outputs of the test's call."""
        inputs = [f"in[{i}]" for i in range(len(self.case.inputs))]
        return [*inputs, *(f"out[{i}]" for i in range(len(self.case.outputs)))]

    def called(self, state: str, work: str, sizes: list[str], tensors: list[str]) -> str:
        return f"{self.face.symbol}({', '.join([state, work, *sizes, *tensors])})"


class _Data:
    """Arrays one after the other."""

    def __init__(self) -> None:
        self.bytes = bytearray()

    def place(self, array: Array) -> int:
        """Add an array and return where it is."""
        at = len(self.bytes)
        plain = np.ascontiguousarray(array)
        self.bytes += plain.astype(plain.dtype.newbyteorder("<")).tobytes()
        self.bytes += b"\0" * (-len(self.bytes) % _ALIGN)
        return at


def _test(r: _Recorded, data: _Data) -> str:
    symbol, m, p = r.face.symbol, r.module.macro, r.module.prefix
    inputs = [f"golden + {data.place(a)}" for a in r.case.inputs]
    outputs = [f"block({a.nbytes})" for a in r.case.outputs]
    places = [data.place(a) for a in r.case.outputs]
    lines = [
        f"static int call_{symbol}({p}state *s, void *work,",
        "    void *const *in, void *const *out) {",
        "  (void)in;",
        "  (void)out;",
        f"  return {r.called('s', 'work', r.sizes, r.tensors)};",
        "}",
        "",
        f"static void test_{symbol}(const char *weights, size_t bytes,",
        "    char *golden) {",
        f"  {p}state *s = fresh(weights, bytes);",
        f"  size_t needed = {symbol}_work_size({', '.join(r.sizes)});",
        '  expect(needed > 0, "sizes that fit");',
        "  void *work = block(needed);",
        f'  expect({p}work_init(work, needed) == {m}OK, "work_init");',
        "  (void)golden;",
        f"  void *in[] = {{{', '.join(inputs) or 'NULL'}}};",
        f"  void *out[] = {{{', '.join(outputs) or 'NULL'}}};",
        f"  int status = call_{symbol}(s, work, in, out);",
        f"  expect(status == {m}OK, {c_string(r.face.function.name + ' runs')});",
        *_outputs(r, places),
        *_states(r, data),
        *_refused(r),
        *_slopes(r, places),
        *(f"  free(out[{i}]);" for i in range(len(outputs))),
        "  free(work);",
        "  free(s);",
        "}",
        "",
    ]
    return "\n".join(lines)


# ---------------------------------------------------------------- recorded results


def _outputs(r: _Recorded, places: list[int]) -> list[str]:
    rows = zip(r.face.outputs, r.case.outputs, places, r.case.tolerances, strict=False)
    return [
        _compared(f"{r.face.function.name}: {name}", f"out[{i}]", array, at, tolerance)
        for i, (name, array, at, tolerance) in enumerate(rows)
    ]


def _said(text: str) -> str:
    """Return a text to print, whose control characters no terminal acts on."""
    shown = text if text.isprintable() else repr(text)[1:-1]
    return c_string(shown)


def _compared(what: str, got: str, array: Array, at: int, tolerance: float) -> str:
    wanted = f"golden + {at}"
    if not array.dtype.name.startswith("float"):
        same = f"memcmp({got}, {wanted}, {array.nbytes}) == 0"
        return f"  expect({same}, {_said(what)});"
    kind = _kind(array)
    return f"  compare({_said(what)}, {got}, {wanted}, {array.size}, '{kind}', {tolerance!r});"


def _kind(array: Array) -> str:
    return "f" if array.dtype.name == "float32" else "d"


def _states(r: _Recorded, data: _Data) -> list[str]:
    lines = []
    tolerances = r.case.tolerances[len(r.case.outputs) :]
    for (name, array), tolerance in zip(r.case.states.items(), tolerances, strict=True):
        index = r.module.state_names.index(name)
        call = f"{r.module.prefix}get(s, {index}, value, {array.nbytes})"
        what = f"{r.face.function.name}: new {name}"
        lines += [
            "  {",
            f"    void *value = block({array.nbytes});",
            f'    expect({call} == {r.module.macro}OK, "get");',
            "  " + _compared(what, "value", array, data.place(array), tolerance),
            "    free(value);",
            "  }",
        ]
    return lines


# ---------------------------------------------------------------- what has to fail


def _refused(r: _Recorded) -> list[str]:
    """Return calls that have to fail, and leave the state as it was."""
    m, p = r.module.macro, r.module.prefix
    attempts = [
        (r.called("NULL", "work", r.sizes, r.tensors), "NULL", "no state"),
        (r.called("s", "NULL", r.sizes, r.tensors), "NULL", "no work"),
        (r.called("s", "(char *)work + 1", r.sizes, r.tensors), "ALIGNMENT", "crooked work"),
        (
            r.called("(void *)((char *)s + 1)", "work", r.sizes, r.tensors),
            "ALIGNMENT",
            "a crooked state",
        ),
    ]
    for i, tensor in enumerate(r.tensors):
        none = [*r.tensors[:i], "NULL", *r.tensors[i + 1 :]]
        attempts.append((r.called("s", "work", r.sizes, none), "NULL", f"no {tensor}"))
    for size in _WRONG_SIZES if r.sizes else ():
        wrong = [size, *r.sizes[1:]]
        attempts.append((r.called("s", "work", wrong, r.tensors), "SIZE", f"a size of {size}"))
    lines = [
        f"  char *before = block({p}save_size());",
        f'  expect({p}save(s, before, {p}save_size()) == {m}OK, "save");',
        *(f'  expect({call} == {m}{status}, "{claim}");' for call, status, claim in attempts),
    ]
    for size in _WRONG_SIZES if r.sizes else ():
        asked = f"{r.face.symbol}_work_size({', '.join([size, *r.sizes[1:]])})"
        lines.append(f'  expect({asked} == 0, "work for a size of {size}");')
    call = r.called("s", "work", r.sizes, r.tensors)
    return [
        *lines,
        f"  memset(work, 0, {m}ALIGN);",
        f'  expect({call} == {m}WORK, "work that is not prepared");',
        f"  (void){p}work_init(work, needed - {m}ALIGN);",
        f'  expect({call} == {m}WORK, "too little work");',
        f'  expect({p}work_init(work, needed) == {m}OK, "work_init");',
        '  expect(unchanged(s, before), "a call that fails changes nothing");',
        "  free(before);",
    ]


# ---------------------------------------------------------------- gradients


def _slopes(r: _Recorded, places: list[int]) -> list[str]:
    """Return comparisons of the gradients among the outputs with differences of their losses."""
    lines = []
    for slope in r.case.slopes:
        what = f"{r.face.function.name}: dL/d{slope.leaf}"
        if not slope.directions:
            lines.append(f"  uncompared({_said(what)});")
        lines += [_slope(r, slope, d, places, what) for d in slope.directions]
    return lines


def _slope(r: _Recorded, slope: Slope, direction: Direction, places: list[int], what: str) -> str:
    gradient, loss = r.case.outputs[slope.gradient], r.case.outputs[slope.loss]
    names = [n.attrs["name"] for n in r.face.function.inputs]
    state = -1 if slope.leaf in names else r.module.state_names.index(slope.leaf)
    given = names.index(slope.leaf) if slope.leaf in names else -1
    along = "NULL" if direction.signs else f"golden + {places[slope.gradient]}"
    way = "made-up signs" if direction.signs else "itself"
    fields = [
        f"{_said(f'{what} along {way}')}, weights, bytes, s, work, in, out,",
        f"call_{r.face.symbol}, {slope.loss}, {slope.gradient}, {state}, {given},",
        f"'{_kind(loss)}', '{_kind(gradient)}', {gradient.size}, {along},",
        f"{direction.step!r}, {direction.tolerance!r}",
    ]
    body = "\n      ".join(fields)
    return f"  compare_slope(&(slope){{\n      {body}}});"
