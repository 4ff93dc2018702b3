"""The NumPy back end: what its source looks like, and what it promises beside each op's value.

That every op has the value it should is `test_against_reference.py`.
"""

from __future__ import annotations

import ast
import builtins
import linecache
import math
import os
import subprocess
import sys
import traceback
import tracemalloc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc_numpy
from graphc import dims, ir
from graphc.backend import Options
from graphc.errors import IndexRangeError, SizeError
from graphc.ir import Function, Node, Program
from graphc.ops import elementwise, indexing, leaf, linear, matmul, reduce, scalar
from graphc.passes import pipeline
from graphc_numpy.build import NumpyExecutable

N = dims.symbol("N")
TANH, ADD, MULTIPLY = elementwise.TANH, elementwise.ADD, elementwise.MULTIPLY


def program(*functions: Function, states: Sequence[Node] = (), name: str = "sample") -> Program:
    return Program(name, functions, tuple(states))


def build(ready: Program) -> NumpyExecutable:
    built = graphc_numpy.backend.build(ready, Options())
    assert isinstance(built, NumpyExecutable)
    return built


def source(ready: Program) -> str:
    (text,) = build(ready).report["source"].values()  # type: ignore[attr-defined]
    assert isinstance(text, str)
    return text


def body(ready: Program) -> str:
    """Return the source from its first function of the program on."""
    text = source(ready)
    return text[text.index(f"def {ready.functions[0].name}(") :]


def run(output: Node, *arrays: Any, sizes: Mapping[str, int] | None = None) -> Any:
    """Return the value of one node; arrays are of the inputs as they are met."""
    inputs = tuple(n for n in ir.topological([output]) if n.op.name == "input")
    executable = build(program(Function("f", inputs, (output,))))
    (result,) = executable.call("f", [np.asarray(a) for a in arrays], sizes or {})
    assert (result.dtype.name, type(result)) == (output.dtype, np.ndarray)
    return result


def x_(*shape: dims.Dim, dtype: str = "float32", name: str = "x") -> Node:
    return leaf.input(name, shape, dtype)


def zeros(shape: Any, dtype: str, generator: Any) -> Any:
    return np.zeros(shape, dtype)


# ---------------------------------------------------------------- source


def dense() -> Program:
    """Return a dense layer, its mean square, and one step down its gradient, as nodes."""
    x = x_(N, 3)
    with ir.noting(scope=("net", "out"), where="model.py:7"):
        w = leaf.parameter("net.out.weight", (3, 2), "float32", zeros)
        b = leaf.parameter("net.out.bias", (2,), "float32", zeros)
        spread = linear.broadcast_to(b, (N, 2))
        h = elementwise.apply(TANH, elementwise.apply(ADD, matmul.matmul(x, w), spread))
        h = ir.named(h, "h")
    with ir.noting(where="model.py:8"):
        loss = reduce.mean(elementwise.apply(elementwise.SQUARE, h), (0, 1))
    with ir.noting(where="model.py:9"):
        rate = elementwise.filled(0.1, b)
        step = elementwise.apply(
            elementwise.SUBTRACT, b, elementwise.apply(MULTIPLY, rate, linear.sum(h, (0,)))
        )
    predict = Function("predict", (x,), (h,))
    train = Function("train", (x,), (loss,), ((b, step),), training=True)
    return program(predict, train, states=(w, b), name="dense")


GOLDEN = """\
# dense: written by graphc. `state` holds parameters and states by
# name; a call exchanges arrays of it, and changes none in place.

import numpy as np


def predict(state, x):
    net_out_weight = state["net.out.weight"]
    net_out_bias = state["net.out.bias"]

    # net.out.h  matmul, add, tanh  model.py:7
    h = np.tanh(x @ net_out_weight + net_out_bias)

    return (h,)


def train(state, x):
    net_out_weight = state["net.out.weight"]
    net_out_bias = state["net.out.bias"]

    # net.out.h  matmul, add, tanh  model.py:7
    h = np.tanh(x @ net_out_weight + net_out_bias)

    # square, mean  model.py:8
    mean_1 = (h * h).mean()
    # sum, multiply, subtract  model.py:9
    new_net_out_bias = net_out_bias - 0.1 * h.sum(axis=0)

    state.update({
        "net.out.bias": new_net_out_bias,
    })
    return (mean_1,)
"""


def test_source_reads_as_a_person_would_have_written_it() -> None:
    assert source(dense()) == GOLDEN


def test_sizes_are_keyword_arguments() -> None:
    x = x_(N, 2, 3)
    count = leaf.size(N + 1, "float32")
    y = linear.reshape(
        elementwise.apply(MULTIPLY, x, linear.broadcast_to(count, x.shape)), (2 * N, 3)
    )
    assert body(program(Function("f", (x,), (y,)))) == (
        "def f(state, x, *, N):\n"
        "    # multiply, reshape\n"
        "    reshape_1 = (x * (1 + N)).reshape(2 * N, 3)\n"
        "\n"
        "    return (reshape_1,)\n"
    )


def test_runtime_functions_are_carried_along() -> None:
    text = source(program(Function("f", (x := x_(3),), (elementwise.apply(elementwise.ERF, x),))))
    tree = ast.parse(text)
    imports = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
    assert [ast.unparse(n) for n in imports] == ["import numpy as np"]
    held: dict[str, Any] = {}
    exec(text, held)
    (value,) = held["f"]({}, np.array([0.5, -1, 3], np.float32))
    np.testing.assert_allclose(value, [math.erf(v) for v in (0.5, -1, 3)], rtol=1e-6)
    assert "noqa" not in text and "sigmoid" not in text


def test_large_constants_are_data_beside_the_source() -> None:
    small, large = leaf.constant(np.arange(3), "float32"), leaf.constant(np.arange(99), "int64")
    executable = build(program(Function("f", (), (small, large))))
    (text,) = executable.report["source"].values()  # type: ignore[attr-defined]
    assert "_c1 = np.array([0.0, 1.0, 2.0], np.float32)\n_c2 = constants[0]  # int64[99]" in text
    assert executable.report["constants"] == 1
    first, second = executable.call("f", [], {})
    assert first.tolist() == [0, 1, 2] and second.tolist() == list(range(99))


def test_source_is_the_same_in_every_process() -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_numpy_backend import dense, source\n"
        "print(source(dense()), end='')"
    )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for seed in ("1", "2"):
        made = subprocess.run(
            [sys.executable, "-c", script, str(Path(__file__).parent)],
            env={**environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert made == GOLDEN


def test_tracebacks_show_lines_of_the_source() -> None:
    executable = build(dense())
    with pytest.raises(TypeError) as caught:
        executable.call("predict", [np.array(["a"])], {})
    shown = "".join(traceback.format_exception(caught.value))
    assert "h = np.tanh(x @ net_out_weight + net_out_bias)" in shown
    assert "<graphc numpy dense>" in linecache.cache


def test_a_part_that_is_read_twice_is_computed_once() -> None:
    made = elementwise.formula("twice", lambda x: scalar.exp(x) * (1 + scalar.exp(x)), 1)
    text = body(program(Function("f", (x := x_(3),), (elementwise.apply(made, x),))))
    assert text.count("np.exp") == 1


def test_long_formulas_are_cut_into_statements() -> None:
    made = elementwise.formula("deep", lambda x: scalar.tanh(scalar.sin(x)), 1)
    y = x = x_(2)
    for _ in range(500):
        y = elementwise.apply(made, y)
    text = body(program(Function("f", (x,), (y,))))
    assert max(len(line) for line in text.splitlines()) <= 100
    value = np.array([0.3, 2.0], np.float32)
    expected = value
    for _ in range(500):
        expected = np.tanh(np.sin(expected))
    np.testing.assert_array_equal(run(y, value), expected)


# ---------------------------------------------------------------- names

HOSTILE = [
    'x"\n    import os  #',
    "'''\"\"\"\\",
    "*/ } {",
    "\r\nraise SystemExit",
    "\u2028raise SystemExit",
    "😀 名前 é",
    "\ud800",
    "class",
    "print",
    "np",
    "state",
    "conv2d",
    "f",
    "_c1",
    "9lives",
    "",
    "a" * 10_000,
    "N",
    "tanh_1",
]


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name)[:20])
def test_hostile_names_inject_nothing(name: str) -> None:
    with ir.noting(name=name or None, scope=(name,), where=f"{name}:3"):
        x = x_(N, 2, name=name)
        w = leaf.parameter(name, (2,), "float32", zeros)
        table = leaf.constant([[1.0, 2.0], [3.0, 4.0]], "float32")
        made = elementwise.Formula(name, TANH.arguments, TANH.expr)
        y = elementwise.apply(made, elementwise.apply(ADD, x, linear.broadcast_to(w, (N, 2))))
        y = matmul.matmul(y, table)
        place = reduce.argmax(y, 1)
        z = indexing.take(w, place)
    ready = program(Function("f", (x,), (y, z), ((w, w),)), states=(w,), name=name)
    text = source(ready)
    allowed = (ast.Import, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.Return, ast.Expr, ast.If)
    kinds = {type(n) for n in ast.walk(ast.parse(text)) if isinstance(n, ast.stmt)}
    assert kinds <= {*allowed, ast.Raise}
    longest = max(line for line in text.splitlines() if "state[" not in line)
    assert len(longest) < 600
    taken = [
        n.id
        for n in ast.walk(ast.parse(text))
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    ]
    assert not set(taken) & {*dir(builtins), "np", "state", "check_index"}
    executable = build(ready)
    executable.write(name, np.array([1, -1], np.float32))
    value = np.array([[0.5, 2.0]], np.float32)
    first, second = executable.call("f", [value], {"N": 1})
    expected = np.tanh(value + np.float32([1, -1])) @ [[1, 2], [3, 4]]
    np.testing.assert_allclose(first, expected, rtol=1e-6)
    assert second.tolist() == [-1]


def test_names_that_become_one_identifier_stay_apart() -> None:
    a, b = x_(2, name="a.b"), x_(2, name="a_b")
    y = elementwise.apply(elementwise.SUBTRACT, a, b)
    assert run(y, np.float32([3, 4]), np.float32([1, 1])).tolist() == [2, 3]


# ---------------------------------------------------------------- memory


def test_outputs_are_fresh_and_apart() -> None:
    x, s = x_(2, 3), leaf.state("s", (2, 3), "float32", zeros)
    c = leaf.constant(np.ones((2, 3)), "float32")
    y = elementwise.apply(ADD, x, s)
    moved = linear.transpose(y, (1, 0))
    same = elementwise.apply(elementwise.formula("same", lambda v: v, 1), y)
    outputs = (
        x,
        x,
        s,
        c,
        y,
        y,
        moved,
        same,
        linear.reshape(x, (6,)),
        linear.flip(y, (0,)),
        linear.slice(y, (0, 0), (1, 3)),
        linear.broadcast_to(x_row := linear.slice(s, (0, 0), (1, 3)), (2, 3)),
        x_row,
        leaf.constant(2.0, "float32"),
    )
    executable = build(program(Function("f", (x,), outputs, ((s, y),)), states=(s,)))
    given = np.arange(6, dtype=np.float32).reshape(2, 3)
    given.flags.writeable = False
    results = executable.call("f", [given], {})
    everything = [given, executable._state["s"], c.attrs["value"], *results]
    for i, a in enumerate(everything):
        for b in everything[:i]:
            assert not np.shares_memory(a, b)
    for result, node in zip(results, outputs, strict=True):
        assert result.flags.writeable and result.flags.c_contiguous
        assert result.shape == node.shape and result.dtype.name == node.dtype


def test_updates_read_old_values_and_do_not_share() -> None:
    a, b = (leaf.state(n, (2,), "float32", zeros) for n in "ab")
    count = leaf.state("count", (), "int64", zeros)
    more = elementwise.apply(ADD, count, leaf.constant(1, "int64"))
    swap = Function("swap", (), (a, count), ((a, b), (b, a), (count, more)))
    executable = build(program(swap, states=(a, b, count)))
    executable.write("a", np.float32([1, 2]))
    first, _ = executable.call("swap", [], {})
    executable.call("swap", [], {})
    executable.call("swap", [], {})
    assert first.tolist() == [1, 2] and executable.read("a").tolist() == [0, 0]
    assert executable.read("b").tolist() == [1, 2] and executable.read("count") == 3
    assert not np.shares_memory(executable._state["a"], executable._state["b"])
    assert type(executable._state["count"]) is np.ndarray


def test_states_begin_as_zeros_and_are_copied_both_ways() -> None:
    s = leaf.state("s", (2,), "float32", zeros)
    executable = build(program(Function("f", (), (s,)), states=(s,)))
    assert executable.read("s").tolist() == [0, 0]
    given = np.float32([1, 2])
    executable.write("s", given)
    given[:] = 9
    executable.read("s")[:] = 9
    assert executable.read("s").tolist() == [1, 2]


def test_long_functions_let_arrays_go() -> None:
    x = x_(250_000)
    y = x
    for _ in range(300):
        y = ir.named(elementwise.apply(TANH, y), "h")
    executable = build(program(Function("f", (x,), (y,))))
    given = np.ones(250_000, np.float32)
    tracemalloc.start()
    executable.call("f", [given], {})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * given.nbytes


def test_deep_graphs_are_emitted_and_run() -> None:
    x = x_(2)
    y = x
    for k in range(30_000):
        y = elementwise.apply((TANH, elementwise.NEGATIVE)[k % 2], y)
    assert np.isfinite(run(y, np.float32([1, 2]))).all()


# ---------------------------------------------------------------- errors


def looked_up() -> Program:
    i, s = x_(2, dtype="int64", name="i"), leaf.state("s", (3,), "float32", zeros)
    one = linear.broadcast_to(leaf.constant(1, "int64"), (2,))
    with ir.noting(where="model.py:12"):
        y = indexing.take(s, elementwise.apply(ADD, i, one))
    new = elementwise.apply(ADD, s, elementwise.filled(1, s))
    return program(Function("f", (i,), (y,), ((s, new),)), states=(s,))


@pytest.mark.parametrize(("index", "shown"), [([0, 2], 3), ([-3, 9], -2)])
def test_a_computed_index_outside_its_axis_changes_no_state(index: list[int], shown: int) -> None:
    executable = build(looked_up())
    with pytest.raises(IndexRangeError) as caught:
        executable.call("f", [np.array(index)], {})
    assert str(caught.value) == f"take: an index is {shown}, outside 0 … 2\n  at model.py:12"
    assert executable.read("s").tolist() == [0, 0, 0]
    executable.call("f", [np.array([-1, 1])], {})
    assert executable.read("s").tolist() == [1, 1, 1]


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "uint32", "uint64"])
def test_every_reader_of_places_checks_them(dtype: str) -> None:
    x, v, i = x_(2, 3), x_(2, name="v"), x_(2, dtype=dtype, name="i")
    readers = {
        "take": indexing.take(x, i, 1),
        "pick": indexing.pick(x, i),
        "one_hot": indexing.one_hot(i, 3, "float32"),
        "scatter_add": indexing.scatter_add(leaf.constant([0, 0, 0], "float32"), i, v),
    }
    for op, node in readers.items():
        executable = build(program(Function("f", (x, v, i), (node,))))
        for place in (3, 255 if dtype == "uint8" else 2**31 - 1):
            arrays = [np.ones((2, 3), np.float32), np.ones(2, np.float32)]
            with pytest.raises(IndexRangeError, match=f"{op}: an index is {place}, outside 0 … 2"):
                executable.call("f", [*arrays, np.array([0, place], dtype)], {})


def test_arrays_that_no_memory_holds_are_a_size_error() -> None:
    y = linear.sum(leaf.iota(N, "int64"), (0,))
    executable = build(program(Function("f", (), (y,), where="model.py:3")))
    for size in (2**55, 2**62):
        with pytest.raises(SizeError) as caught:
            executable.call("f", [], {"N": size})
        first, place, row, hint = str(caught.value).splitlines()
        assert first.startswith("f: the arrays do not fit into memory: ")
        assert (place, row) == ("  at model.py:3", f"  N   {size}")
        assert hint == "  try: call it with smaller sizes"


def test_missing_names_ops_without_an_emitter() -> None:
    def infer(inputs: Any, attrs: Any) -> Any:
        return inputs[0].tensor

    strange = ir.Op("strange", infer, leaf.no_gradient, ir.Floats.EXACT, "y = x")
    x = x_(2)
    ready = program(Function("f", (x,), (ir.apply(strange, (x,)),)))
    assert graphc_numpy.backend.missing(ready) == [("strange", "it has no emitter")]
    assert graphc_numpy.backend.missing(dense()) == []


# ---------------------------------------------------------------- numbers


def test_numbers_take_the_dtype_of_what_they_stand_beside() -> None:
    only_numbers = elementwise.formula("half", lambda x: scalar.where(x < 0, 1, 0.5), 1)
    nothing_read = elementwise.formula("e", lambda x: scalar.exp(1), 1)
    x = np.float32([[-1, 2]])
    assert run(elementwise.apply(only_numbers, x_(1, 2)), x).tolist() == [[1, 0.5]]
    e = run(elementwise.apply(nothing_read, x_(1, 2)), x)
    np.testing.assert_allclose(e, [[math.e, math.e]], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "uint64"])
def test_whole_numbers_wrap(dtype: str) -> None:
    made = elementwise.formula("less", lambda x: x - 300, 1)
    got = run(elementwise.apply(made, x_(2, dtype=dtype)), np.array([1, 2], dtype))
    expected = np.array([1, 2], dtype) - np.array([300], np.int64).astype(dtype)
    np.testing.assert_array_equal(got, expected)


def test_repetition_is_left_to_numpy_where_it_fills_the_shape() -> None:
    row, column = x_(1, 3, name="row"), x_(2, 1, name="column")
    spread = [linear.broadcast_to(v, (2, 3)) for v in (row, column)]
    made = program(Function("f", (row, column), (elementwise.apply(ADD, *spread),)))
    assert "broadcast_to" not in source(made)
    one = elementwise.apply(ADD, spread[0], spread[0])
    assert run(one, np.float32([[1, 2, 3]])).tolist() == [[2, 4, 6]] * 2


def test_canonical_programs_of_no_inputs_and_no_outputs_run() -> None:
    s = leaf.state("s", (), "float32", zeros)
    step = elementwise.apply(ADD, s, leaf.constant(1, "float32"))
    ready = pipeline.canonical(program(Function("f", (), (), ((s, step),)), states=(s,)))
    executable = build(ready)
    assert executable.call("f", [], {}) == [] and executable.read("s") == 1
