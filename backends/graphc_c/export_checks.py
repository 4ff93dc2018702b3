"""The test and the example of an exported module, and the results that the test compares with.

Results are those of the executable that exports, at small sizes, on made-up inputs; the executable
has its states back afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from graphc import dims
from graphc.errors import GraphcError
from graphc_c.cwriter import CTYPES
from graphc_c.export_c import c_string, filled, size_claims
from graphc_c.export_names import Face, Module
from graphc_c.plan import Array

_SIZES = (3, 4, 5, 2, 8, 16, 32, 1, 64)  # tried in this order for all named dimensions
_ALIGN = 64
# Sums in another order differ by a few hundred roundings; the change that one rounding of the
# inputs makes is added eight times, for results that are steep where they were recorded.
_RELATIVE = {"float32": 1e-4, "float64": 1e-11}
_ROUNDING = {"float32": 2.0**-22, "float64": 2.0**-51}
_STEEP = 8


class Runs(Protocol):
    """What recording needs of an executable."""

    def call(self, function: str, arrays: Sequence[Array], dims: Mapping[str, int]) -> list[Array]:
        """Run a function."""
        ...

    def read(self, state: str) -> Array:
        """Return a state."""
        ...

    def write(self, state: str, array: Array) -> None:
        """Set a state."""
        ...


@dataclass(frozen=True, slots=True)
class Case:
    """One recorded call: sizes, inputs, outputs and updated states, with tolerances."""

    face: Face
    sizes: Mapping[str, int]
    inputs: list[Array]
    outputs: list[Array]
    states: list[Array]
    tolerances: list[float]  # of outputs, then of states


def record(module: Module, executable: Runs) -> list[Case]:
    """Return a case for each function that runs at one of the sizes tried."""
    before = {name: executable.read(name) for name in module.state_names}
    made = (_case(module, face, executable, before) for face in module.faces)
    return [case for case in made if case is not None]


def _case(module: Module, face: Face, executable: Runs, before: Mapping[str, Array]) -> Case | None:
    for size in _SIZES:
        sizes = dict.fromkeys(face.plan.sizes, size)
        if not _allowed(face, sizes):
            continue
        for largest in (_index_limit(face, sizes), 1):
            inputs = _made_up(face, sizes, largest)
            moved = [_moved(a) for a in inputs]
            try:
                first = _run(module, face, executable, before, inputs, sizes)
                second = _run(module, face, executable, before, moved, sizes)
            except GraphcError:
                continue
            tolerances = [_tolerance(a, b) for a, b in zip(first, second, strict=True)]
            count = len(face.outputs)
            return Case(face, sizes, inputs, first[:count], first[count:], tolerances)
    return None


def _run(
    module: Module,
    face: Face,
    executable: Runs,
    before: Mapping[str, Array],
    inputs: Sequence[Array],
    sizes: Mapping[str, int],
) -> list[Array]:
    """Return a call's results and the states that it updates, which are put back."""
    names = module.state_names
    updated = [names[i] for i in face.plan.updates]
    try:
        results = executable.call(face.function.name, inputs, sizes)
        return [*results, *(executable.read(name) for name in updated)]
    finally:
        for name in updated:
            executable.write(name, before[name])


def _allowed(face: Face, sizes: Mapping[str, int]) -> bool:
    for left, relation, right, _ in size_claims(face):
        a, b = dims.evaluate(left, sizes), dims.evaluate(right, sizes)
        if not (a == b if relation == "==" else a >= b):
            return False
    return True


def _index_limit(face: Face, sizes: Mapping[str, int]) -> int:
    below = [k.below for k in face.plan.kernels if k.below is not None]
    lengths = [dims.evaluate(d, sizes) for d in below if set(dims.names((d,))) <= set(sizes)]
    return max(min(lengths, default=2), 1)


def _made_up(face: Face, sizes: Mapping[str, int], largest: int) -> list[Array]:
    """Return inputs: floats of both signs, integers that can be indices."""
    generator = np.random.default_rng(face.number)
    made: list[Array] = []
    for node in face.function.inputs:
        shape = [dims.evaluate(d, sizes) for d in node.shape]
        if node.tensor.is_float:
            array: Array = generator.uniform(-1, 1, shape)
        else:
            array = generator.integers(0, 2 if node.dtype == "bool" else largest, shape)
        made.append(np.require(array, node.dtype, ["C", "A"]))
    return made


def _moved(array: Array) -> Array:
    step = _ROUNDING.get(array.dtype.name)
    return array if step is None else np.require(array * (1 + step), array.dtype, ["C", "A"])


def _tolerance(first: Array, second: Array) -> float:
    relative = _RELATIVE.get(first.dtype.name)
    if relative is None:
        return 0.0
    finite = np.isfinite(first) & np.isfinite(second)
    a, b = first[finite].astype("float64"), second[finite].astype("float64")
    steep = float(np.abs(a - b).max(initial=0.0))
    return relative * max(float(np.abs(a).max(initial=0.0)), 1e-6) + _STEEP * steep


# ---------------------------------------------------------------- the files


def test_files(module: Module, cases: Sequence[Case]) -> tuple[str, bytes]:
    """Return ``name_test.c`` and ``name_test.bin``."""
    data = _Data()
    functions = [_test(module, case, data) for case in cases]
    calls = [f"    test_{c.face.symbol}(weights, bytes, golden);" for c in cases]
    text = filled(
        "test.c.in",
        name=module.name,
        p=module.prefix,
        m=module.macro,
        functions="\n".join(functions),
        calls="\n".join(calls),
        recorded=len(data.bytes),
    )
    return text, bytes(data.bytes)


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


def _test(module: Module, case: Case, data: _Data) -> str:
    face, p, m = case.face, module.prefix, module.macro
    sizes = [str(case.sizes[n]) for n in face.plan.sizes]
    lines = [
        f"static void test_{face.symbol}(const char *weights, size_t bytes,",
        "                               const char *golden) {",
        f"  {p}state *s = fresh(weights, bytes);",
        f"  size_t needed = {face.symbol}_work_size({', '.join(sizes)});",
        '  expect(needed > 0, "sizes that fit");',
        "  void *work = block(needed);",
        "  (void)golden;",
    ]
    for i, array in enumerate(case.outputs):
        lines.append(f"  {CTYPES[array.dtype.name]} *r{i} = block({array.nbytes});")
    inputs = [
        f"(const {CTYPES[a.dtype.name]} *)(const void *)(golden + {data.place(a)})"
        for a in case.inputs
    ]
    results = [f"r{i}" for i in range(len(case.outputs))]
    call = [*sizes, *inputs, *results]
    given = "".join(f",\n      {a}" for a in call)
    lines += [
        f"  int status = {face.symbol}(s, work{given});",
        f"  expect(status == {m}OK, {c_string(face.function.name + ' runs')});",
    ]
    names = [f"{face.function.name}: {n}" for n in face.outputs]
    for i, array in enumerate(case.outputs):
        lines.append(_compared(names[i], f"r{i}", array, data.place(array), case.tolerances[i]))
    for j, (i, array) in enumerate(zip(face.plan.updates, case.states, strict=True)):
        tolerance = case.tolerances[len(case.outputs) + j]
        lines += _compared_state(module, face, i, array, data.place(array), tolerance)
    lines += _refused(module, face, sizes, inputs, results)
    lines += [f"  free(r{i});" for i in range(len(results))]
    return "\n".join([*lines, "  free(work);", "  free(s);", "}", ""])


def _compared(what: str, got: str, array: Array, at: int, tolerance: float) -> str:
    wanted = f"golden + {at}"
    if not array.dtype.name.startswith("float"):
        same = f"memcmp({got}, {wanted}, {array.nbytes}) == 0"
        return f"  expect({same}, {c_string(what)});"
    kind = "f" if array.dtype.name == "float32" else "d"
    return f"  compare({c_string(what)}, {got}, {wanted}, {array.size}, '{kind}', {tolerance!r});"


def _compared_state(
    module: Module, face: Face, index: int, array: Array, at: int, tolerance: float
) -> list[str]:
    name = module.state_names[index]
    call = f"{module.prefix}get(s, {index}, value, {array.nbytes})"
    return [
        "  {",
        f"    void *value = block({array.nbytes});",
        f'    expect({call} == {module.macro}OK, "get");',
        "  " + _compared(f"{face.function.name}: new {name}", "value", array, at, tolerance),
        "    free(value);",
        "  }",
    ]


def _refused(
    module: Module, face: Face, sizes: list[str], inputs: list[str], results: list[str]
) -> list[str]:
    """Return calls that have to fail, and leave the state as it was."""
    m, p = module.macro, module.prefix

    def call(state: str, work: str, first: list[str], last: list[str]) -> str:
        return f"{face.symbol}({', '.join([state, work, *first, *inputs, *last])})"

    lines = [
        f"  char *before = block({p}save_size());",
        f'  expect({p}save(s, before, {p}save_size()) == {m}OK, "save");',
        f'  expect({call("NULL", "work", sizes, results)} == {m}NULL, "no state");',
        f'  expect({call("s", "NULL", sizes, results)} == {m}NULL, "no work");',
    ]
    crooked = call("s", "(char *)work + 1", sizes, results)
    lines.append(f'  expect({crooked} == {m}ALIGNMENT, "work that is not aligned");')
    if results:
        none = call("s", "work", sizes, [*results[:-1], "NULL"])
        lines.append(f'  expect({none} == {m}NULL, "no room for a result");')
    for size in ("0", "-1", "INT64_MAX", "INT64_MIN") if sizes else ():
        wrong = [size, *sizes[1:]]
        lines.append(
            f'  expect({call("s", "work", wrong, results)} == {m}SIZE, "a size of {size}");'
        )
        asked = f"{face.symbol}_work_size({', '.join(wrong)})"
        lines.append(f'  expect({asked} == 0, "work for a size of {size}");')
    lines.append('  expect(unchanged(s, before), "a call that fails changes nothing");')
    lines.append("  free(before);")
    return lines


def example(module: Module, cases: Sequence[Case]) -> str:
    """Return ``example.c``."""
    functions = [_called(module, case) for case in cases]
    calls = []
    for case in cases:
        call = f"    status = call_{case.face.symbol}(s);"
        calls += [f"  if (status == {module.macro}OK) {{", call, "  }"]
    return filled(
        "example.c.in",
        name=module.name,
        p=module.prefix,
        m=module.macro,
        functions="\n".join(functions),
        calls="\n".join(calls),
    )


def _called(module: Module, case: Case) -> str:
    face = case.face
    sizes = [str(case.sizes[n]) for n in face.plan.sizes]
    lines = [f"static int call_{face.symbol}({module.prefix}state *s) {{"]
    lines.append(f"  void *work = block({face.symbol}_work_size({', '.join(sizes)}));")
    words = ["s", "work", *sizes]
    for letter, arrays in (("x", case.inputs), ("r", case.outputs)):
        for i, array in enumerate(arrays):
            kind = CTYPES[array.dtype.name]
            lines.append(f"  {kind} *{letter}{i} = block({array.nbytes});")
            words.append(f"{letter}{i}")
    for i, array in enumerate(case.inputs):
        if array.dtype.name.startswith("float"):
            lines.append(f"  for (int i = 0; i < {array.size}; i++) {{")
            lines.append(f"    x{i}[i] = (i % 7 - 3) / {CTYPES[array.dtype.name]}_seven;")
            lines.append("  }")
    lines.append(f"  int status = {face.symbol}({', '.join(words)});")
    text = f'printf("{face.function.name}: %s", {module.prefix}status_text(status));'
    lines.append(f"  {text}")
    for i, array in enumerate(case.outputs):
        if array.size:
            lines.append(f'  printf("  {face.outputs[i]}[0] = %g", (double)r{i}[0]);')
    lines.append('  printf("\\n");')
    lines += [f"  free({w});" for w in words[1:] if w[0] in "wxr"]
    text = "\n".join([*lines, "  return status;", "}", ""])
    return text.replace("float_seven", "7.0f").replace("double_seven", "7.0")
