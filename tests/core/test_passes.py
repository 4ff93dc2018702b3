"""Rewrite rules keep values bit for bit, or come nearer to the exact ones; the small passes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import mpmath
import numpy as np
import pytest

import fills
import op_samples
import precise
import reference
from graphc import dims, ir, printer, verify
from graphc.ir import Function, Graph, Node, Note, Program
from graphc.ops import elementwise as e
from graphc.ops import leaf, linear, phase, pool, random, reduce
from graphc.ops.scalar import Argument, Number, Tree
from graphc.passes import bind, fold, merge, pipeline, retype, rewrite, simplify, stabilise

N = dims.symbol("N")
SHAPE = (3, 1)
Build = Callable[[Node], Node]


def _filled(value: float, x: Node) -> Node:
    return linear.broadcast_to(leaf.constant(value, x.dtype), x.shape)


def _negative(x: Node) -> Node:
    return e.apply(e.NEGATIVE, x)


def _pair(made: e.Formula, value: float, *, left: bool = False) -> Build:
    """Return a formula of x and a number."""

    def build(x: Node) -> Node:
        number = _filled(value, x)
        return e.apply(made, *((number, x) if left else (x, number)))

    return build


# ---------------------------------------------------------------- rules that change no bit

EXACT: dict[str, list[Build]] = {
    "times_one": [
        _pair(e.MULTIPLY, 1),
        _pair(e.MULTIPLY, 1, left=True),
        _pair(e.MULTIPLY, -1),
        _pair(e.MULTIPLY, -1, left=True),
        _pair(e.DIVIDE, 1),
        _pair(e.SUBTRACT, 0),
    ],
    "twice_negative": [lambda x: _negative(_negative(x))],
    "plus_negative": [
        lambda x: e.apply(e.ADD, x, _negative(linear.flip(x, (0,)))),
        lambda x: e.apply(e.SUBTRACT, x, _negative(linear.flip(x, (0,)))),
    ],
    "same_move_twice": [
        lambda x: linear.reshape(linear.reshape(x, (1, 3)), (3,)),
        lambda x: linear.transpose(
            linear.transpose(linear.broadcast_to(x, (2, 3, 1)), (1, 2, 0)), (2, 0, 1)
        ),
        lambda x: linear.broadcast_to(linear.broadcast_to(x, (3, 2)), (5, 3, 2)),
        lambda x: linear.flip(linear.flip(x, (0,)), (0,)),
    ],
    "sum_of_units": [lambda x: linear.sum(x, (1,))],
    "movement_of_nothing": [
        lambda x: ir.apply(linear.RESHAPE, (x,), {"shape": x.shape}),
        lambda x: ir.apply(linear.BROADCAST_TO, (x,), {"shape": x.shape}),
        lambda x: ir.apply(linear.CAST, (x,), {"dtype": x.dtype}),
    ],
    "known_size": [lambda x: ir.apply(leaf.SIZE, (), {"dim": 4, "dtype": x.dtype})],
    "constant_formula": [
        lambda x: e.apply(e.DIVIDE, leaf.constant(1.0, x.dtype), leaf.constant(-0.0, x.dtype)),
        lambda x: e.apply(e.MULTIPLY, leaf.constant(0.1, x.dtype), leaf.constant(3, x.dtype)),
        lambda x: e.apply(e.ADD, leaf.constant(np.nan, x.dtype), leaf.constant(3, x.dtype)),
        lambda x: e.apply(
            e.FLOOR_DIVIDE, leaf.constant(-(2**63)), linear.cast(leaf.constant(-1), "int64")
        ),
        lambda x: e.apply(e.REMAINDER, leaf.constant(7), leaf.constant(0)),
        lambda x: e.apply(e.RELU, leaf.constant(-0.0, x.dtype)),
    ],
    "scalar_formula": [lambda x: e.apply(e.SUBTRACT, _filled(0.1, x), _filled(-0.0, x))],
    "moved_repetition": [
        lambda x: linear.reshape(_filled(-0.0, x), (1, 3)),
        lambda x: linear.transpose(_filled(np.nan, x), (1, 0)),
        lambda x: linear.flip(_filled(2, x), (0,)),
        lambda x: linear.slice(_filled(2, x), (1, 0), (2, 1)),
        lambda x: linear.broadcast_to(linear.reshape(_filled(2, x), (3, 1)), (3, 4)),
    ],
    "constant_cast": [
        lambda x: linear.cast(leaf.constant(300), "uint8"),
        lambda x: linear.cast(leaf.constant([-1, 5]), "uint64"),
        lambda x: linear.cast(leaf.constant([2**63 - 1]), "float32"),
        lambda x: linear.cast(leaf.constant([1e300, np.nan, -0.0, 1e-50]), "float32"),
    ],
}
EXACT_RULES = {r.__name__: r for r in (*simplify.RULES, *fold.RULES)}
EXAMPLES = [(name, i) for name, builds in EXACT.items() for i in range(len(builds))]


def test_every_exact_rule_has_an_example() -> None:
    assert set(EXACT) == set(EXACT_RULES)


def _same_bits(a: Any, b: Any) -> None:
    assert (a.dtype, a.shape) == (b.dtype, b.shape)
    np.testing.assert_array_equal(a, b)
    if a.dtype.name in reference.FLOATS:
        np.testing.assert_array_equal(np.signbit(a[a == 0]), np.signbit(b[b == 0]))


@pytest.mark.parametrize("dtype", reference.FLOATS)
@pytest.mark.parametrize(("name", "i"), EXAMPLES)
def test_exact_rule_changes_no_bit(name: str, i: int, dtype: str) -> None:
    x = leaf.input("x", SHAPE, dtype)
    node = EXACT[name][i](x)
    after = EXACT_RULES[name](node)
    assert after is not None and after.type == node.type
    for column in np.resize(fills.special(dtype), (9, 3)):
        values = reference.evaluate([node, after], {x: column.reshape(SHAPE)})
        _same_bits(*values)


@pytest.mark.parametrize(
    "build",
    [_pair(e.ADD, 0), _pair(e.SUBTRACT, -0.0), _pair(e.MULTIPLY, 0), _pair(e.SUBTRACT, 1)],
)
def test_what_would_change_a_bit_is_left_alone(build: Build) -> None:
    node = build(leaf.input("x", SHAPE, "float64"))
    assert all(rule(node) is None for rule in simplify.RULES)


def test_rounded_formula_of_constants_is_left_to_the_back_end() -> None:
    assert fold.constant_formula(e.apply(e.EXP, leaf.constant(1.0))) is None


def test_saturating_cast_of_a_constant_is_left_to_the_back_end() -> None:
    assert fold.constant_cast(linear.cast(leaf.constant(1e30), "int32")) is None


def test_folding_leaves_nothing_to_fold() -> None:
    x = leaf.input("x", SHAPE, "float64")
    made = e.apply(e.MULTIPLY, e.apply(e.ADD, _filled(2, x), _filled(3, x)), _filled(4, x))
    once = fold.fold(ir.program_of(e.apply(e.ADD, x, made), inputs=(x,)))
    assert printer.text(fold.fold(once)) == printer.text(once)
    assert printer.text(once).count("constant(") == 1


# ---------------------------------------------------------------- rules towards the exact value


def _plus_one(x: Node) -> Node:
    return e.apply(e.ADD, x, _filled(1, x))


def _over_one(x: Node) -> Node:
    return e.apply(e.DIVIDE, _filled(1, x), x)


STABLE: dict[str, list[Build]] = {
    "log_of_exp": [lambda x: e.apply(e.LOG, e.apply(e.EXP, x))],
    "log_of_sigmoid": [lambda x: e.apply(e.LOG, e.apply(e.SIGMOID, x))],
    "log_of_one_plus": [
        lambda x: e.apply(e.LOG, _plus_one(x)),
        lambda x: e.apply(e.LOG, e.apply(e.ADD, _filled(1, x), x)),
        lambda x: e.apply(e.LOG, _plus_one(e.apply(e.EXP, x))),
        lambda x: e.apply(e.LOG1P, e.apply(e.EXP, x)),
    ],
    "exp_minus_one": [lambda x: e.apply(e.SUBTRACT, e.apply(e.EXP, x), _filled(1, x))],
    "logistic": [
        lambda x: _over_one(_plus_one(e.apply(e.EXP, _negative(x)))),
        lambda x: e.apply(e.RECIPROCAL, _plus_one(e.apply(e.EXP, x))),
    ],
}
STABLE_RULES = {r.__name__: r for r in stabilise.RULES}


def _tree(node: Node) -> Tree:
    """Return the formulas under a node, over its one leaf, as one tree."""
    if node.op is leaf.INPUT:
        return Argument(0)
    if node.op is linear.BROADCAST_TO:
        return Number(node.inputs[0].attrs["value"].item())
    tree: Tree = node.attrs["formula"].tree
    parts = [_tree(n) for n in node.inputs]
    for i, part in enumerate(parts):
        tree = precise.composed(tree, _shifted(part), i)
    return _shifted(tree, -100)


def _shifted(tree: Tree, by: int = 100) -> Tree:
    """Return a tree with its argument under another number, so that none is replaced twice."""
    return precise.composed(tree, Argument(by if by > 0 else 0), 0 if by > 0 else 100)


def test_every_stabilising_rule_has_an_example() -> None:
    assert {*STABLE, "log_of_sum_of_exp"} == set(STABLE_RULES)


@pytest.mark.parametrize("dtype", reference.FLOATS)
@pytest.mark.parametrize(("name", "i"), [(n, i) for n, b in STABLE.items() for i in range(len(b))])
def test_stabilising_rule_comes_nearer_to_the_truth(name: str, i: int, dtype: str) -> None:
    info = np.finfo(dtype)
    sizes = [float(info.tiny), 1e-9, 1e-4, 0.5, 3.0, 30.0, 90.0, 800.0]
    points = np.array([0.0, *sizes, *(-s for s in sizes)], dtype)
    x = leaf.input("x", points.shape, dtype)
    node = STABLE[name][i](x)
    after = STABLE_RULES[name](node)
    assert after is not None and after.type == node.type
    before, now = reference.evaluate([node, after], {x: points})
    gained = 0
    for place, old, new in zip(points.tolist(), before, now, strict=True):
        true = precise.truth(_tree(node), [place], digits=700)
        if true is None or abs(true) > float(info.max):
            continue
        missed = abs(float(new) - true)
        assert missed <= precise.tolerance(_tree(after), [place], dtype)
        gained += not np.isfinite(old) or missed < abs(float(old) - true)
    assert gained


@pytest.mark.parametrize("reshaped", [False, True])
def test_log_of_sum_of_exp_neither_overflows_nor_vanishes(reshaped: bool) -> None:
    x = leaf.input("x", (3, 2), "float32")
    total = linear.sum(e.apply(e.EXP, x), (1,))
    node = e.apply(e.LOG, linear.reshape(total, (3, 1)) if reshaped else total)
    after = stabilise.log_of_sum_of_exp(node)
    assert after is not None and after.type == node.type
    at = np.array([[200, 201], [-200, -201], [0, 1]], "float32")
    (value,) = reference.evaluate([after], {x: at})
    with mpmath.workdps(50):
        rows = at.astype(float).tolist()
        true = [float(mpmath.log(sum(mpmath.exp(v) for v in row))) for row in rows]
    np.testing.assert_allclose(value.ravel(), true, rtol=1e-6)


# ---------------------------------------------------------------- merge


def _merged(*outputs: Node) -> list[Node]:
    leaves = [n for n in ir.topological(outputs) if n.op is leaf.INPUT]
    return list(merge.merge(ir.program_of(*outputs, inputs=leaves)).functions[0].outputs)


def test_equal_nodes_become_the_first_with_its_note() -> None:
    x = leaf.input("x", (3,), "float64")
    first, second = (ir.named(e.apply(e.EXP, x), n) for n in ("first", "second"))
    a, b = _merged(first, second)
    assert a is b and a.note.name == "first"


def test_users_of_merged_nodes_are_merged() -> None:
    x = leaf.input("x", (3,), "float64")
    a, b = _merged(*(_negative(e.apply(e.EXP, x)) for _ in range(2)))
    assert a is b


def test_equal_constants_are_merged() -> None:
    a, b = _merged(leaf.constant([1.0, 2.0]), leaf.constant([1.0, 2.0]))
    assert a is b


def test_leaves_of_equal_type_stay_apart() -> None:
    a, b = _merged(leaf.input("x", (3,), "float64"), leaf.input("y", (3,), "float64"))
    assert a is not b


def _draws(*streams: random.Stream) -> list[Node]:
    key = leaf.input("key", (2,), "uint64")
    return _merged(*(random.random_bits(key, s, (3,)) for s in streams))


def test_draws_of_two_streams_stay_apart() -> None:
    a, b = _draws(random.Stream(), random.Stream())
    assert a is not b


def test_draws_of_one_stream_are_merged() -> None:
    stream = random.Stream()
    a, b = _draws(stream, stream)
    assert a is b


def _unequal() -> list[tuple[Node, Node]]:
    x = leaf.input("x", (1, 1, 4, 4), "float64")
    window = pool.Pool((2, 2), (2, 2))
    return [
        (leaf.constant(0.0), leaf.constant(-0.0)),
        (leaf.constant(1.0), leaf.constant(1.0, "float32")),
        (leaf.constant([1.0]), leaf.constant([[1.0]])),
        (leaf.constant(1), leaf.constant(True)),
        (linear.pad(x, (1,) * 4, (0,) * 4), linear.pad(x, (1,) * 4, (0,) * 4, value=-0.0)),
        (linear.cast(x, "int32"), linear.cast(x, "int64")),
        (reduce.max(x, (0,)), linear.sum(x, (0,))),
        (
            e.apply(e.SUBTRACT, x, linear.flip(x, (2,))),
            e.apply(e.SUBTRACT, linear.flip(x, (2,)), x),
        ),
        (pool.max_pool2d(x, window), pool.max_pool2d(x, pool.Pool((2, 2), (2, 1)))),
    ]


@pytest.mark.parametrize("i", range(len(_unequal())))
def test_nodes_that_differ_stay_apart(i: int) -> None:
    a, b = _merged(*_unequal()[i])
    assert a is not b


# ---------------------------------------------------------------- retype and bind


def _floats(program: Program) -> set[str]:
    return {t for n in ir.topological(program.roots) for t in (n.dtype,) if t in ir.FLOATS}


def test_retyping_leaves_no_other_float() -> None:
    key = leaf.input("key", (2,), "uint64")
    x, w = leaf.input("x", (N, 3), "float32"), leaf.parameter("w", (3,), "float32", None)
    y = e.apply(e.MULTIPLY, x, linear.broadcast_to(w, x.shape))
    y = e.apply(e.ADD, y, random.uniform(key, random.Stream(), x.shape, "float32"))
    y = e.apply(e.ADD, reduce.mean(y, (0,)), linear.cast(leaf.iota(3), "float32"))
    y = e.apply(e.MULTIPLY, y, linear.broadcast_to(leaf.size(N, "float32"), (3,)))
    made = Program("p", (Function("f", (x, key), (y,)),), (w,))
    changed = retype.retype(made, "float64")
    verify.verify(changed)
    assert _floats(made) == {"float32"} and _floats(changed) == {"float64"}
    assert {n.attrs["name"] for n in changed.states} == {"w"}


def test_retyping_keeps_what_is_no_float() -> None:
    i = leaf.input("i", (3,), "int32")
    made = ir.program_of(linear.cast(i, "uint8"), inputs=(i,))
    assert printer.text(retype.retype(made, "float64")) == printer.text(made)


def test_binding_removes_the_names() -> None:
    x = leaf.input("x", (N, dims.symbol("T"), 4), "float64")
    y = linear.reshape(x, (N * dims.symbol("T") * 4,))
    y = linear.slice(y, (N,), (N,))
    y = linear.pad(y, (0,), (N + 1,))
    y = e.apply(e.MULTIPLY, y, linear.broadcast_to(leaf.size(N, "float64"), y.shape))
    y = e.apply(e.ADD, y, linear.cast(leaf.iota(2 * N + 1), "float64"))
    made = bind.bind(ir.program_of(y, inputs=(x,)), {"N": 3})
    verify.verify(made)
    assert re.search(r"\bN\b", printer.text(made)) is None
    assert "T" in printer.text(made)


# ---------------------------------------------------------------- the driver


def test_replacement_has_its_predecessors_note() -> None:
    x = leaf.input("x", (3,), "float64")
    with ir.noting(name="h", where="model.py:3"):
        h = _negative(_negative(x))
    y = e.apply(e.EXP, _pair(e.MULTIPLY, -1)(ir.renoted(_negative(h), Note("z"))))
    made = simplify.simplify(ir.program_of(y, inputs=(x,)))
    assert made.functions[0].inputs == (x,)
    assert made.functions[0].outputs[0].note is y.note


def test_rules_descend_into_bodies() -> None:
    x, carry = leaf.input("x", (3,), "float64"), leaf.input("carry", (3,), "float64")
    body = Graph((carry,), (e.apply(e.EXP, _negative(_negative(carry))),))
    looped = Node(op_samples.TWO, (x, x), MappingProxyType({"body": body}), (x.tensor, x.tensor))
    mapping = rewrite.rewritten([looped], simplify.RULES)
    inner = mapping[looped].attrs["body"]
    assert [n.op.name for n in ir.topological(inner.outputs)] == ["input", "elementwise"]
    assert inner.inputs == (carry,)


def test_unchanged_program_keeps_its_nodes() -> None:
    x = leaf.input("x", (3,), "float64")
    made = ir.program_of(e.apply(e.EXP, x), inputs=(x,))
    assert simplify.simplify(made).functions[0].outputs == made.functions[0].outputs


def test_substitution_exchanges_what_is_under_a_node() -> None:
    x, other = (leaf.input(n, (3,), "float64") for n in ("x", "other"))
    y = e.apply(e.EXP, _negative(x))
    mapping = ir.substitute([y], {x: other})
    (value,) = reference.evaluate([mapping[y]], {other: np.zeros(3)})
    assert value.tolist() == [1.0, 1.0, 1.0]


def _resolved_outputs(outputs: Sequence[Node], inputs: Sequence[Node]) -> list[Node]:
    made = pipeline.canonical(ir.program_of(*outputs, inputs=inputs))
    return list(made.functions[0].outputs)


@pytest.mark.parametrize("sample", op_samples.SAMPLES, ids=op_samples.label)
def test_pipeline_keeps_the_value_of_a_sample(sample: op_samples.Sample) -> None:
    node = sample.build(sample.dtypes[0])
    leaves = sample.leaves(node)
    states = tuple(n for n in leaves if n.op is not leaf.INPUT)
    inputs = tuple(n for n in leaves if n.op is leaf.INPUT)
    made = Program("p", (Function("f", inputs, (node,), training=True),), states)
    after = pipeline.canonical(made)
    sizes = sample.sizes[-1]
    at = sample.inputs(node, sizes)
    (output,) = after.functions[0].outputs
    values = [reference.evaluate([n], at, sizes, extra=op_samples.TOYS)[0] for n in (node, output)]
    assert output.type == node.type
    np.testing.assert_array_equal(*values)
    names = {n.op.name for n in ir.topological(after.roots)}
    assert not names & {o.name for o in (phase.PHASE, phase.WITH_UPDATE, phase.STOP_GRADIENT)}


def test_dump_holds_the_program_after_each_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPHC_DUMP", str(tmp_path / "dump"))
    x = leaf.input("x", (N,), "float32")
    pipeline.canonical(ir.program_of(_negative(x), inputs=(x,)), dtype="float64", sizes={"N": 2})
    names = sorted(p.name for p in (tmp_path / "dump").iterdir())
    passes = ("declared", "bind", "retype", *(p.__name__ for p in pipeline.PASSES))
    assert names == [f"{i:02}-{name}.txt" for i, name in enumerate(passes)]
    assert "float64[2]" in (tmp_path / "dump" / names[-1]).read_text()
