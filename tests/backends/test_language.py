"""The language through both back ends: NumPy's words give NumPy's numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gx

A = np.arange(24.0, dtype="float32").reshape(2, 3, 4) / 7 - 1.5
I = np.array([2, 0, 1, 2])  # noqa: E741  (an index)


def run(backend: str, define: Callable[..., Any], *arrays: np.ndarray) -> Any:
    """Return what a definition over inputs gives for arrays; the first axis is symbolic."""
    inputs = [
        gx.input(f"x{i}", (f"N{i}", *a.shape[1:]), dtype=a.dtype.name) for i, a in enumerate(arrays)
    ]
    program = gx.Program("p", f=gx.function(inputs, define(*inputs)))
    return gx.compile(program, backend=backend).f(*arrays)


MOVES: dict[str, Callable[[Any], Any]] = {
    "row": lambda x: x[1],
    "last": lambda x: x[:, -1],
    "slice": lambda x: x[:, 1:],
    "steps": lambda x: x[:, ::2, 1::2],
    "backwards": lambda x: x[:, ::-1],
    "backwards_steps": lambda x: x[:, :, ::-2],
    "ellipsis": lambda x: x[..., 2],
    "new_axis": lambda x: x[:, None, :, 1],
    "empty": lambda x: x[:, 2:2],
    "symbolic_tail": lambda x: x[1:],
    "symbolic_last": lambda x: x[-1],
    "symbolic_head": lambda x: x[:-1],
    "symbolic_backwards": lambda x: x[::-1],
    "transpose": lambda x: x.T,
    "axes": lambda x: x.transpose(1, 2, 0),
    "flat": lambda x: x.reshape(-1),
    "reshape": lambda x: x.reshape(-1, 6, 2),
    "sum": lambda x: x.sum(),
    "sum_axis": lambda x: x.sum(axis=1),
    "sum_axes": lambda x: x.sum(axis=(0, -1)),
    "sum_kept": lambda x: x.sum(axis=1, keepdims=True),
    "mean": lambda x: x.mean(axis=0),
    "max": lambda x: x.max(axis=(0, 2)),
    "min": lambda x: x.min(axis=1),
    "argmax": lambda x: x.argmax(axis=2),
    "argmax_all": lambda x: x.argmax(),
    "scale": lambda x: x * 2 - 1,
    "square": lambda x: x**2,
    "mod": lambda x: x % 0.75,
    "floor_divide": lambda x: x // 0.75,
    "negative": lambda x: -x,
    "compare": lambda x: (x > 0) & ~(x == 1) | (x <= -1),
    "array_left": lambda x: np.float32(3) - x,
    "row_left": lambda x: np.arange(4, dtype="float32") + x,
    "integer": lambda x: (x * 3).astype("int64") // 2,
}


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
def test_a_method_gives_numpys_numbers(backend: str, move: Callable[[Any], Any]) -> None:
    expected = np.asarray(move(A))
    got = run(backend, move, A)
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(got, expected, rtol=3e-6, atol=1e-6)


FUNCTIONS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "concatenate": (
        lambda x: gx.concatenate([x, x * 2], axis=1),
        lambda a: np.concatenate([a, a * 2], axis=1),
    ),
    "stack": (lambda x: gx.stack([x, -x], axis=2), lambda a: np.stack([a, -a], axis=2)),
    "split": (lambda x: gx.split(x, 2, axis=2)[1], lambda a: np.split(a, 2, axis=2)[1]),
    "pad": (
        lambda x: gx.pad(x, [0, (1, 2), 1], 5),
        lambda a: np.pad(a, [(0, 0), (1, 2), (1, 1)], constant_values=5),
    ),
    "flip": (lambda x: gx.flip(x, (1, 2)), lambda a: np.flip(a, (1, 2))),
    "where": (lambda x: gx.where(x > 0, x, 0.5), lambda a: np.where(a > 0, a, np.float32(0.5))),
    "clip": (lambda x: gx.clip(x, -1, 1), lambda a: np.clip(a, -1, 1)),
    "take": (lambda x: gx.take(x, I, axis=1), lambda a: np.take(a, I, axis=1)),
    "index": (lambda x: x[:, I], lambda a: a[:, I]),
    "pairs": (lambda x: x[:, I, np.array([3, 1, 0, 2])], lambda a: a[:, I, [3, 1, 0, 2]]),
    "matmul": (lambda x: x @ gx.swapaxes(x, 1, 2), lambda a: a @ np.swapaxes(a, 1, 2)),
    "vector": (lambda x: x @ np.ones(4, "float32"), lambda a: a @ np.ones(4, "float32")),
    "broadcast_stack": (
        lambda x: np.ones((3, 2, 3), "float32")[:, None] @ x,
        lambda a: np.ones((3, 2, 3), "float32")[:, None] @ a,
    ),
    "one_hot": (
        lambda x: gx.one_hot(I, 3) + x[:, 0, None, :1] * 0,
        lambda a: np.broadcast_to(np.eye(3, dtype="float32")[I], (2, 4, 3)),
    ),
    "arange": (
        lambda x: gx.arange(x.shape[0] * 2, "float32"),
        lambda a: np.arange(4, dtype="float32"),
    ),
    "size": (lambda x: x.sum() / x.shape[0], lambda a: a.sum() / 2),
    "softmax": (
        lambda x: gx.softmax(x, axis=1),
        lambda a: np.exp(a) / np.exp(a).sum(1, keepdims=True),
    ),
    "scatter_add": (
        lambda x: gx.scatter_add(gx.zeros((4, 3, 4)), np.array([1, 1]), x),
        lambda a: np.stack([a[0] * 0, a.sum(0), a[0] * 0, a[0] * 0]),
    ),
}


@pytest.mark.parametrize(("ours", "numpys"), FUNCTIONS.values(), ids=FUNCTIONS)
def test_a_function_gives_numpys_numbers(
    backend: str, ours: Callable[[Any], Any], numpys: Callable[[Any], Any]
) -> None:
    expected = numpys(A)
    got = run(backend, ours, A)
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(got, expected, rtol=3e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("left", "right", "gives"),
    [
        ("int64", "float32", "float32"),
        ("float32", "float64", "float64"),
        ("uint8", "int32", "int32"),
        ("bool", "float32", "float32"),
    ],
)
def test_dtypes_promote(backend: str, left: str, right: str, gives: str) -> None:
    got = run(backend, lambda a, b: a[0] + b[0], np.ones(2, left), np.ones(2, right))
    assert got.dtype == gives and got == 2


def test_a_structure_of_outputs_comes_back(backend: str) -> None:
    x = gx.input("x", (2,))
    outputs = {"a": x, "b": [x + 1, (x * 2,)]}
    got = gx.compile(gx.Program("p", f=gx.function([x], outputs)), backend=backend).f([1, 2])
    assert got["a"].tolist() == [1, 2]
    assert got["b"][0].tolist() == [2, 3]
    assert isinstance(got["b"], list) and isinstance(got["b"][1], tuple)


def test_dropout_is_the_identity_in_the_test_form_and_scales_in_training(backend: str) -> None:
    x = gx.input("x", ("N",))
    t = gx.dropout(x, 0.25)
    program = gx.Program("p", test=gx.function([x], t), train=gx.function([x], t, training=True))
    module = gx.compile(program, backend=backend)
    ones = np.ones(4_000, "float32")
    np.testing.assert_array_equal(module.test(ones), ones)
    first, second = module.train(ones), module.train(ones)
    for kept in (first, second):
        assert set(np.unique(kept)) == {np.float32(0), np.float32(1 / 0.75)}
        assert abs((kept > 0).mean() - 0.75) < 0.03
    assert (first != second).any(), "each call draws anew"
    module.init(seed=0)
    np.testing.assert_array_equal(module.train(ones), first)


@pytest.mark.cc
def test_draws_are_the_same_in_every_back_end() -> None:
    x = gx.input("x", ("N",))
    draws = {
        "bits": gx.random_bits((5, 3)),
        "wide": gx.random_bits((7,), "uint64"),
        "uniform": gx.uniform(x.shape),
        "double": gx.uniform((9,), -1, 2, dtype="float64"),
        "normal": gx.normal((1_000,)),
    }
    program = gx.Program("p", f=gx.function([x], draws))
    modules = [gx.compile(program, backend=b) for b in ("numpy", "c")]
    for _ in range(3):
        one, other = (m.f(np.zeros(6)) for m in modules)
        for key in ("bits", "wide", "uniform", "double"):
            np.testing.assert_array_equal(one[key], other[key])
        np.testing.assert_allclose(one["normal"], other["normal"], rtol=1e-5, atol=1e-6)
        assert abs(one["normal"].mean()) < 0.15 and abs(one["normal"].std() - 1) < 0.1


def test_two_draws_of_one_kind_differ(backend: str) -> None:
    got = run(backend, lambda x: {"a": gx.uniform(x.shape), "b": gx.uniform(x.shape)}, np.ones(8))
    assert (got["a"] != got["b"]).all()


def test_running_statistics_are_updated_by_training_only(backend: str) -> None:
    x = gx.input("x", ("N",))
    mean = gx.state("mean", (), 0.0)
    now = x.mean()
    centred = x - gx.phase(train=now.with_update({mean: 0.9 * mean + 0.1 * now}), test=mean)
    program = gx.Program(
        "p", test=gx.function([x], centred), train=gx.function([x], centred, training=True)
    )
    module = gx.compile(program, backend=backend)
    np.testing.assert_allclose(module.train([1, 3]), [-1, 1])
    np.testing.assert_allclose(module.state["mean"], 0.2, rtol=1e-6)
    np.testing.assert_allclose(module.test([1, 3]), [0.8, 2.8], rtol=1e-6)
    np.testing.assert_allclose(module.state["mean"], 0.2, rtol=1e-6)


def test_a_learning_rate_changes_without_a_compile(backend: str) -> None:
    w = gx.parameter("w", (2,), 1.0)
    program = gx.Program(
        "p", train=gx.function([], (w * w).sum(), updates=gx.sgd((w * w).sum(), 0.5))
    )
    module = gx.compile(program, backend=backend)
    module.state["sgd.lr"] = 0.25
    assert module.train() == 2
    np.testing.assert_array_equal(module.state["w"], [0.5, 0.5])


def test_a_learning_rate_may_be_a_function_of_the_step(backend: str) -> None:
    w = gx.parameter("w", (), 1.0)
    loss = w * 1.0
    updates = gx.sgd(loss, lr=lambda step: 1 / (1 + step))
    module = gx.compile(
        gx.Program("p", train=gx.function([], loss, updates=updates)), backend=backend
    )
    seen = [float(module.train()) for _ in range(4)]
    np.testing.assert_allclose(seen, [1, 0, -0.5, -0.5 - 1 / 3], rtol=1e-6, atol=1e-7)


def test_dims_fixes_a_dimension(backend: str) -> None:
    x = gx.input("x", ("N", 3))
    program = gx.Program("p", f=gx.function([x], x.mean(axis=0)))
    module = gx.compile(program, backend=backend, dims={"N": 2})
    np.testing.assert_allclose(module.f([[1, 2, 3], [3, 4, 5]]), [2, 3, 4])
    with pytest.raises(gx.errors.CallError, match="axis 0 has 3 elements instead of 2"):
        module.f(np.ones((3, 3)))


def test_a_dimension_that_no_input_fixes_is_passed_by_name(backend: str) -> None:
    x = gx.input("x", ())
    program = gx.Program("p", f=gx.function([x], x + gx.zeros(("T", 2))))
    module = gx.compile(program, backend=backend)
    assert module.f(3.0, T=4).tolist() == [[3, 3]] * 4


def test_dtype_retypes_a_program(backend: str) -> None:
    x = gx.input("x", ("N",))
    w = gx.parameter("w", (), 1 / 3)
    module = gx.compile(
        gx.Program("p", f=gx.function([x], x * w)), backend=backend, dtype="float64"
    )
    assert module.f([1.0]).dtype == "float64" and module.state["w"].dtype == "float64"
    assert module.f([1.0])[0] == 1 / 3


def test_gradients_have_the_structure_of_wrt(backend: str) -> None:
    x = gx.input("x", ("N", 3))
    w, b = gx.parameter("head.w", (3,), 2.0), gx.parameter("head.b", (), 1.0)
    h = (x @ w + b).named("h")
    loss = (h * h).sum()
    assert set(gx.grad(loss)) == {w, b}
    assert set(gx.grad(loss, "head.*")) == {w, b}
    nested = gx.grad(loss, {"h": "h", "rest": [w, ("head.b",)]})
    at = {"x": np.ones((1, 3))}
    numbers = gx.evaluate(nested, at=at, backend=backend)
    assert numbers["h"].tolist() == [14]
    assert numbers["rest"][0].tolist() == [14, 14, 14] and numbers["rest"][1][0] == 14


def test_a_gradient_can_be_derived_again(backend: str) -> None:
    x = gx.input("x", ())
    second = gx.grad(gx.grad(gx.tanh(x), x), x)
    y = np.tanh(0.7)
    got = gx.evaluate(second, at={"x": 0.7}, dtype="float64", backend=backend)
    np.testing.assert_allclose(got, -2 * y * (1 - y * y), rtol=1e-12)


def test_log_of_softmax_is_derived_without_loss_of_digits(backend: str) -> None:
    z = gx.input("z", (3,))
    loss = -gx.log(gx.exp(z) / gx.exp(z).sum())[2]
    wide = -gx.log(gx.softmax(z))[2]
    for made in (wide, gx.cross_entropy(z.reshape(1, 3), np.array([2]))):
        got = gx.evaluate(gx.grad(made, z), at={"z": [200.0, 0.0, -200.0]}, backend=backend)
        np.testing.assert_allclose(got, [1, 0, -1], atol=1e-6)
    small = gx.evaluate(gx.grad(loss, z), at={"z": [1.0, 2.0, 3.0]}, backend=backend)
    np.testing.assert_allclose(small, [0.09003057, 0.24472847, -0.33475904], rtol=1e-5)


def test_evaluate_takes_arrays_in_the_place_of_inner_tensors(backend: str) -> None:
    x = gx.input("x", ("N",))
    h = (x * 2).named("h")
    y = h + 1
    assert gx.evaluate(y, at={h: [10.0]}, backend=backend).tolist() == [11]
    assert gx.evaluate({"h": gx.find(y, "h")}, at={"x": [4.0]}, backend=backend)["h"][0] == 8


def test_replace_cuts_a_network(backend: str) -> None:
    x, z = gx.input("x", ("N",)), gx.input("z", ("N",))
    y = gx.tanh(x * 2) + 1
    swapped = gx.replace(y, {x: z - 1})
    assert gx.evaluate(swapped, at={"z": [1.0]}, backend=backend).tolist() == [1]


def test_saved_weights_come_back_with_the_random_stream(backend: str, tmp_path: Any) -> None:
    x = gx.input("x", ("N", 2))
    out = gx.dropout(gx.nn.Dense(2, name="d")(x), 0.5)
    program = gx.Program("p", train=gx.function([x], out, training=True))
    module = gx.compile(program, backend=backend)
    module.init(seed=3)
    module.train(np.ones((4, 2)))
    module.save(tmp_path / "w.safetensors", epoch=7, best={"loss": 0.5})
    expected = module.train(np.ones((4, 2)))
    other = gx.compile(program, backend=backend)
    assert other.load(tmp_path / "w.safetensors") == {"epoch": 7, "best": {"loss": 0.5}}
    np.testing.assert_array_equal(other.train(np.ones((4, 2))), expected)
    third = gx.compile(program, backend=backend)
    third.state.update(module.state)
    assert {k: v.tolist() for k, v in third.state.items()} == {
        k: v.tolist() for k, v in module.state.items()
    }


def test_initial_values_depend_on_seed_and_name_only() -> None:
    def weight(units: int, seed: int) -> np.ndarray:
        x = gx.input("x", ("N", 4))
        h = gx.nn.Dense(3, name="first")(x)
        out = gx.nn.Dense(units, name="second")(h)
        module = gx.compile(gx.Program("p", f=gx.function([x], out)), backend="numpy")
        module.init(seed)
        return np.array(module.state["first.weight"])

    np.testing.assert_array_equal(weight(2, 1), weight(5, 1))
    assert (weight(2, 1) != weight(2, 2)).all()


def test_a_layer_shares_its_parameters_between_calls(backend: str) -> None:
    x = gx.input("x", ("N", 3))
    layer = gx.nn.Dense(3, name="shared", init=gx.init.constant(0.5))
    y = layer(layer(x))
    assert list(gx.parameters(y)) == ["shared.weight", "shared.bias"]
    assert gx.evaluate(y, at={"x": np.ones((1, 3))}, backend=backend).tolist() == [[2.25] * 3]


def test_batches_shuffle_alike_and_cover_everything_once() -> None:
    a, b = np.arange(10), np.arange(10) * 2
    parts = list(gx.batches(a, b, size=4, seed=0))
    assert [len(p[0]) for p in parts] == [4, 4, 2]
    joined = np.concatenate([p[0] for p in parts])
    assert sorted(joined) == list(a) and list(joined) != list(a)
    assert all((2 * p == q).all() for p, q in parts)
    assert [len(p) for (p,) in gx.batches(a, size=4, drop_last=True)] == [4, 4]


def test_an_axis_that_may_be_empty_has_no_maximum_when_it_is(backend: str) -> None:
    x = gx.input("x", ("N", 2))
    for made in (x[1:].max(axis=0), x[1:].argmax(axis=0)):
        module = gx.compile(gx.Program("p", f=gx.function([x], made)), backend=backend)
        assert module.f(np.eye(2)).shape == (2,)
        with pytest.raises(gx.errors.SizeError, match="an axis has elements"):
            module.f(np.ones((1, 2)))


def test_numbers_alone_take_the_dtype_of_what_they_stand_beside(backend: str) -> None:
    scaled = gx.elementwise(
        "scaled", lambda c, x: gx.scalar.where(gx.scalar.less(c, 0), 1, 0.5) * x
    )
    got = run(backend, scaled, np.array([-1.0, 1.0]), np.array([3.0, 4.0]))
    assert got.dtype == "float64" and got.tolist() == [3, 2]


def test_a_fraction_does_not_stand_beside_integers() -> None:
    x = gx.input("x", (2,), dtype="int32")
    node = gx.ops.elementwise.formula("half", lambda v: gx.scalar.maximum(v, 0.5), 1)
    with pytest.raises(gx.errors.DtypeError, match=r"0.5 does not stand beside int32"):
        gx.ops.elementwise.apply(node, x.node)
