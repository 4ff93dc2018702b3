"""Calls of modules exported through NumPy: what they take, give back, and refuse."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc.errors import CallError, UnsupportedError
from numpy_exports import (
    PROGRAMS,
    contents,
    exported,
    lenet,
    loaded,
    same,
    stream,
)


@pytest.fixture(scope="module")
def streamed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the Python module of an exported stream."""
    _, folder = exported(tmp_path_factory.mktemp("exports"), stream())
    return loaded(folder, "stream")


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the Python module of an exported LeNet-5."""
    _, folder = exported(tmp_path_factory.mktemp("exports"), PROGRAMS["adam"]())
    return loaded(folder, "lenet")


X, Y = np.ones((3, 1, 12, 12), "float32"), [0, 1, 3]
TEXT = "train(x: float32[N, 1, 12, 12], y: int64[N]) -> float32[]"
REFUSED: dict[str, tuple[Callable[[Any], Any], type[Exception], str]] = {
    "index": (
        lambda m: m.train(X, [0, 1, 4]),
        IndexError,
        "train: pick: an index is 4, outside 0 … 3 (at HERE)",
    ),
    "rank": (
        lambda m: m.train(X[0], Y),
        ValueError,
        f"train: x is of rank 3 instead of 4: {TEXT}",
    ),
    "shape": (
        lambda m: m.train(X[:, :, 1:], Y),
        ValueError,
        "train: x has shape [3, 1, 11, 12] instead of [3, 1, 12, 12]",
    ),
    "sizes": (
        lambda m: m.train(X, Y[:2]),
        ValueError,
        "train: y has shape [2] instead of [3]",
    ),
    "none": (
        lambda m: m.train(X[:0], []),
        ValueError,
        "train: x has shape [0, 1, 12, 12]: N is at least 1",
    ),
    "dtype": (
        lambda m: m.train(X.astype("complex64"), Y),
        TypeError,
        "train: x is complex64, which does not convert to float32",
    ),
    "kind": (
        lambda m: m.train(X, np.float32(Y)),
        TypeError,
        "train: y is float32, which does not convert to int64",
    ),
    "ragged": (
        lambda m: m.train(X, [[0], [0, 1]]),
        ValueError,
        "train: y is no array: setting an array element with a sequence. The requested array has "
        "an inhomogeneous shape after 1 dimensions. The detected shape was (2,) + inhomogeneous "
        "part.",
    ),
    "words": (
        lambda m: m.train(X, ["a", "b", "c"]),
        TypeError,
        "train: y is <U1, which does not convert to int64",
    ),
    "overflow": (
        lambda m: m.train(X, np.uint64([0, 1, 2**63])),
        ValueError,
        "train: y holds numbers that int64 does not",
    ),
    "missing": (lambda m: m.train(X), TypeError, f"train lacks y: {TEXT}"),
    "many": (lambda m: m.train(X, Y, 3), TypeError, "train: 3 arguments instead of 2"),
    "twice": (lambda m: m.train(X, Y, x=X), TypeError, "train: 'x' is given twice or unknown"),
    "unknown": (lambda m: m.train(X, Y, z=X), TypeError, "train: 'z' is given twice or unknown"),
    "size": (
        lambda m: m.train(X, Y, N=True),
        ValueError,
        "train: the dimension N is a whole number from 1 on, not True",
    ),
    "size_of": (
        lambda m: m.train(X, Y, N=4),
        ValueError,
        "train: x has shape [3, 1, 12, 12] instead of [4, 1, 12, 12]",
    ),
    "state": (
        lambda m: m.state.update({"adam.lr": 3.0, "out.bias": [1, 2]}),
        ValueError,
        "out.bias is float32[4], not of shape [2]",
    ),
    "state_kind": (
        lambda m: m.state.update({"adam.lr": 3.0, "out.bias": np.ones(4, "complex64")}),
        TypeError,
        "out.bias is complex64, which does not convert to float32",
    ),
    "state_name": (lambda m: m.state.update({"adam.lr": 3.0, "no": 1}), KeyError, "'no'"),
    "state_gone": (
        lambda m: m.state.pop("adam.lr"),
        TypeError,
        "adam.lr belongs to the module and cannot be taken out",
    ),
    "no_file": (lambda m: m.load("nowhere"), FileNotFoundError, "NOWHERE"),
    "seed": (
        lambda m: m.init(-1),
        ValueError,
        "a seed is a whole number from 0 to 2**64 - 1, not -1",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_and_changes_nothing(nets: Any, case: str) -> None:
    attempt, kind, text = REFUSED[case]
    module = nets.Module()
    before = dict(module.state)
    with pytest.raises(kind) as caught:
        attempt(module)
    line = lenet.__code__.co_firstlineno + 9
    shown = str(caught.value).replace("[Errno 2] No such file or directory: 'nowhere'", "NOWHERE")
    at = shown[shown.index("(at ") + 4 : -1] if "(at " in shown else "HERE"
    assert shown.replace(at, "HERE") == text
    assert at == "HERE" or at.endswith(f"numpy_exports.py:{line}")
    assert same(module.state, before)


def test_calls_take_names_lists_and_scalars_as_in_process(tmp_path: Path) -> None:
    x, c = gx.input("x", ("N", 2)), gx.input("c", (), dtype="uint8")
    flag = gx.input("flag", (), dtype="bool")
    chosen = gx.where(flag, x.sum(), 0.0) + c.astype("float32")
    module, folder = exported(tmp_path, gx.Program("calls", f=gx.function([x, c, flag], chosen)))
    made = loaded(folder, "calls").Module()
    for give in (module, made):
        assert give.f([[1, 2], [3, 4]], 5, True) == 15
        assert give.f(np.ones((1, 2)), flag=np.False_, c=7) == 7
        assert give.f(np.ones((1, 2), "uint8"), c=0, flag=True).shape == ()


def test_results_are_fresh_and_inputs_stay(tmp_path: Path) -> None:
    x, w = gx.input("x", (3,)), gx.parameter("w", (3,), init=2.0)
    f = gx.function([x], (x, x.reshape(3, 1), w, x + 1.0), updates={w: x})
    _, folder = exported(tmp_path, gx.Program("fresh", f=f))
    made = loaded(folder, "fresh").Module()
    given = np.zeros(3, "float32")
    results = made.f(given)
    given[:] = 7
    for result in results[:3]:
        result[...] = 9
    assert made.state["w"].tolist() == [0, 0, 0] and given.tolist() == [7, 7, 7]
    assert made.f(given)[2].tolist() == [0, 0, 0]


def test_the_state_is_read_only_and_assigned_whole(nets: Any) -> None:
    module, other = nets.Module(), nets.Module()
    bias = module.state["out.bias"]
    with pytest.raises(ValueError, match="read-only"):
        bias[0] = 3
    mine = np.ones(4, "float32")
    module.state["out.bias"] = mine
    mine[:] = 5
    assert module.state["out.bias"].tolist() == [1, 1, 1, 1]
    assert module.state["out.bias"].dtype == np.float32 and not bias.any()
    other.state.update(module.state)
    assert same(other.state, module.state) and len(other.state) == len(list(module.state))


def test_calls_from_two_threads_take_turns(streamed: Any) -> None:
    module = streamed.Module()
    h, x = np.zeros((1, 4)), np.ones((1, 3))
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        runs = [lambda: [module.step(h, x) for _ in range(300)]] * 3
        threads = [threading.Thread(target=run) for run in runs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert module.state["steps"] == 900


def test_functions_get_aligned_contiguous_arrays(tmp_path: Path) -> None:
    x = gx.input("x", ("N", "M"))
    _, folder = exported(tmp_path, gx.Program("plain", f=gx.function([x], x + 1.0)))
    made = loaded(folder, "plain")
    seen = []
    made.FUNCTIONS["f"]["run"] = lambda state, x: (seen.append(x.flags.carray) or x,)
    crooked = np.frombuffer(bytes(33), np.uint8)[1:].view(np.float32)
    for given in (np.ones((2, 3), "float32").T, crooked.reshape(2, 4)):
        made.Module().f(given)
    assert seen == [True, True]


def test_floats_that_are_none_give_no_warning(tmp_path: Path) -> None:
    x = gx.input("x", (3,))
    _, folder = exported(tmp_path, gx.Program("quiet", f=gx.function([x], (gx.log(x), 1.0 / x))))
    logs, ratios = loaded(folder, "quiet").Module().f([0, -1, 1e300])
    assert str(logs.tolist()) == "[-inf, nan, inf]" and ratios.tolist() == [np.inf, -1, 0]


def test_init_zeroes_and_sets_the_random_stream(nets: Any) -> None:
    module = nets.Module()
    module.init(seed=2**64 - 1)
    assert module.state["random.key"].tolist() == [2**64 - 1, 0]
    assert not any(module.state[n].any() for n in module.state if n != "random.key")


def test_outputs_have_their_structure(tmp_path: Path) -> None:
    x = gx.input("x", ("N",))
    nest = {"a": (x, [x * 2.0, {"b": x * 3.0}]), 7: [x * 4.0], (1, "k"): (x * 5.0,)}
    _, folder = exported(tmp_path, gx.Program("nest", f=gx.function([x], nest)))
    made = loaded(folder, "nest").Module().f([1])
    assert repr(made).replace(", dtype=float32", "") == (
        "{'a': (array([1.]), [array([2.]), {'b': array([3.])}]), 7: [array([4.])], "
        "(1, 'k'): (array([5.]),)}"
    )


def test_gradients_by_parameter_come_by_name(tmp_path: Path) -> None:
    x, w = gx.input("x", ("N",)), gx.parameter('a "w"', (), init=2.0)
    loss = (x * w).sum()
    f = gx.function([x], (loss, gx.grad(loss)), training=True)
    module, folder = exported(tmp_path, gx.Program("by_name", f=f))
    assert module.f([1, 2])[1][w] == 3
    assert loaded(folder, "by_name").Module().f([1, 2]) == (6, {'a "w"': 3})


class Loud:
    """A key of a dict whose repr is code."""

    def __repr__(self) -> str:
        return "print('injected')"


def test_outputs_under_keys_that_no_text_holds_are_refused(tmp_path: Path) -> None:
    x = gx.input("x", ("N",))
    module = gx.compile(gx.Program("keys", f=gx.function([x], {Loud(): x})), backend="numpy")
    with pytest.raises(UnsupportedError) as caught:
        module.export(tmp_path / "out")
    assert (caught.value.message, caught.value.hint) == (
        "an exported module cannot name an output by print('injected')",
        "keys that are texts, numbers or parameters",
    )
    assert contents(tmp_path / "out") == {}


# ---------------------------------------------------------------- sizes


def test_a_size_that_no_input_fixes_is_passed_by_name(tmp_path: Path) -> None:
    h = gx.input("h", ("N", 2))
    _, hs = gx.scan(lambda c, _: (c * 2.0, c), h, None, length="T")
    module, folder = exported(tmp_path, gx.Program("free", sample=gx.function([h], hs)))
    made = loaded(folder, "free").Module()
    assert same({"": made.sample(np.ones((1, 2)), T=4)}, {"": module.sample(np.ones((1, 2)), T=4)})
    with pytest.raises(TypeError) as caught:
        made.sample(np.ones((1, 2)))
    assert str(caught.value) == (
        "sample: pass the dimension T by name: sample(h: float32[N, 2]) -> float32[T, N, 2]"
    )


def test_sizes_are_solved_for_and_claims_are_checked(tmp_path: Path) -> None:
    n = gx.input("a", ("N", "M")).shape[0]
    x = gx.input("x", (2 * n + 1, 3))
    y = gx.input("y", ("K", 3))
    program = gx.Program("sizes", f=gx.function([x, y], (x[1:] + 1.0).sum() + (x + y).sum()))
    module, folder = exported(tmp_path, program)
    made = loaded(folder, "sizes").Module()
    given = np.ones((5, 3), "float32")
    assert made.f(given, given) == module.f(given, given)
    for rows in (4, 6):
        wrong = np.ones((rows, 3), "float32")
        with pytest.raises(CallError):
            module.f(given, wrong)
        with pytest.raises(ValueError, match=rf"^f: .* with \{{'K': {rows}, 'N': 2\}}$"):
            made.f(given, wrong)
    with pytest.raises(TypeError, match="pass the dimension N by name"):
        made.f(given[:4], given[:4])


def test_an_axis_of_negative_size_is_refused(tmp_path: Path) -> None:
    x, w = gx.input("x", ("N", 1, "H", 9)), gx.parameter("w", (1, 1, 3, 3))
    made = gx.function([x], gx.conv2d(x, w))
    module, folder = exported(tmp_path, gx.Program("small", f=made))
    alone = loaded(folder, "small").Module()
    given = np.ones((1, 1, 2, 9), "float32")
    with pytest.raises(CallError):
        module.f(given)
    with pytest.raises(ValueError, match=r"^f: .* does not hold, with \{'N': 1, 'H': 2\}$"):
        alone.f(given)
    assert alone.f(np.ones((1, 1, 3, 9))).shape == (1, 1, 1, 7)


def test_a_slice_that_starts_behind_the_end_is_refused(tmp_path: Path) -> None:
    x = gx.input("x", ("N",))
    _, folder = exported(tmp_path, gx.Program("cut", f=gx.function([x], x[5:])))
    made = loaded(folder, "cut").Module()
    assert made.f(np.ones(5)).shape == (0,)
    wanted = (
        r"^f: slice has no axis of negative size \(at .*test_numpy_export_calls.py:\d+\): -1 >= 0 "
    )
    with pytest.raises(ValueError, match=wanted + r"does not hold, with \{'N': 4\}$"):
        made.f(np.ones(4))
