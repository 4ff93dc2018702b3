"""Calls of a compiled function with arguments that do not fit; states stay as they were."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gx
from golden import mistake
from stub_backend import STUB


def classifier() -> gx.Module:
    """Return predict(x) and train(x, y) over float32[N, 3] and int64[N]."""
    x, y = gx.input("x", ("N", 3)), gx.input("y", ("N",), dtype="int64")
    logits = gx.nn.Dense(4, name="out")(x)
    loss = gx.cross_entropy(logits, y)  # loss
    predict, train = gx.function([x], logits), gx.function([x, y], loss, updates=gx.sgd(loss))
    return gx.compile(gx.Program("p", predict=predict, train=train), backend=STUB)


X = np.zeros((2, 3), "float32")


@mistake("""\
ArgumentTypeError: train: y is float64, which does not convert to int64
  at test_calls.py:here
  y   int64[N]
  try: y.astype("int64") if that is meant
""")
def test_a_float_for_a_label():
    classifier().train(X, [0.0, 1.0])  # here


@mistake("""\
ArgumentTypeError: predict: x is complex64, which does not convert to float32
  at test_calls.py:here
  x   float32[N, 3]
  try: x.astype("float32") if that is meant
""")
def test_complex_numbers():
    classifier().predict(X + 1j)  # here


@mistake("""\
CallError: predict: x is of rank 1 instead of 2
  at test_calls.py:here
  x     float32[N, 3]
  got   float32[3]
""")
def test_too_few_axes():
    classifier().predict(X[0])  # here


@mistake("""\
CallError: predict: x: axis 1 has 4 elements instead of 3
  at test_calls.py:here
  x     float32[N, 3]
  got   float32[2, 4]
""")
def test_another_size():
    classifier().predict(np.zeros((2, 4)))  # here


@mistake("""\
CallError: train: y: axis 0 has 3 elements instead of 2 (N is given by x)
  at test_calls.py:here
  y     int64[N]
  got   int64[3]
""")
def test_two_inputs_that_disagree():
    classifier().train(X, [0, 1, 2])  # here


@mistake("""\
CallError: predict: x: the dimension N is at least 1
  at test_calls.py:here
  x     float32[N, 3]
  got   float32[0, 3]
""")
def test_no_samples():
    classifier().predict(X[:0])  # here


@mistake("""\
CallError: train lacks y
  at test_calls.py:here
  it is   train(x: float32[N, 3], y: int64[N])
""")
def test_a_missing_argument():
    classifier().train(X)  # here


@mistake("""\
CallError: predict: 2 arguments instead of 1
  at test_calls.py:here
  it is   predict(x: float32[N, 3])
""")
def test_one_argument_too_many():
    classifier().predict(X, X)  # here


@mistake("""\
CallError: predict has no argument 'images'
  at test_calls.py:here
  it is   predict(x: float32[N, 3])
""")
def test_an_argument_that_there_is_not():
    classifier().predict(images=X)  # here


@mistake("""\
CallError: predict got x twice
  at test_calls.py:here
""")
def test_an_argument_given_twice():
    classifier().predict(X, x=X)  # here


@mistake("""\
CallError: predict: x is no array: its rows differ in length
  at test_calls.py:here
  x   float32[N, 3]
""")
def test_ragged_rows():
    classifier().predict([[1, 2, 3], [4, 5]])  # here


@mistake("""\
ArgumentTypeError: predict: x is no array of numbers: 'images.png'
  at test_calls.py:here
  x   float32[N, 3]
""")
def test_a_text():
    classifier().predict("images.png")  # here


@mistake("""\
ArgumentTypeError: predict: x is no array of numbers: None
  at test_calls.py:here
  x   float32[N, 3]
""")
def test_none():
    classifier().predict(None)  # here


@mistake("""\
CallError: predict: x: a tensor is no array: it holds no numbers yet (<x: input float32[2, 3]>)
  at test_calls.py:here
""")
def test_a_tensor():
    classifier().predict(gx.input("x", (2, 3)))  # here


@mistake("""\
ArgumentTypeError: predict: x is no array of numbers: array([[1, 2, None]], dtype=object)
  at test_calls.py:here
  x   float32[N, 3]
""")
def test_an_array_of_objects():
    classifier().predict(np.array([[1, 2, None]]))  # here


@mistake("""\
ArgumentTypeError: f: x holds 300, which uint8 does not
  at test_calls.py:here
  x   uint8[N]
""")
def test_a_number_that_the_dtype_does_not_hold():
    x = gx.input("x", ("N",), dtype="uint8")
    module = gx.compile(gx.Program("p", f=gx.function([x], x)), backend=STUB)
    module.f([1, 300])  # here


@mistake("""\
ArgumentTypeError: f: y holds 4294967297, which int32 does not
  at test_calls.py:here
  y   int32[N]
""")
def test_a_label_that_would_wrap():
    y = gx.input("y", ("N",), dtype="int32")
    module = gx.compile(gx.Program("p", f=gx.function([y], y)), backend=STUB)
    module.f(np.array([1, 2**32 + 1]))  # here


@mistake("""\
IndexRangeError: y[1] is 4, outside 0 … 3
  at test_calls.py:loss
  read by   pick
  y         int64[2]
""")
def test_a_label_out_of_range():
    classifier().train(X, [1, 4])


@mistake("""\
IndexRangeError: y[0] is -1, outside 0 … 3
  at test_calls.py:loss
  read by   pick
  y         int64[2]
""")
def test_a_negative_label():
    classifier().train(X, [-1, 0])


def generator() -> gx.Module:
    """Return sample(seed) of float32[T, N], where no input says what T is."""
    seed = gx.input("seed", ("N",))
    y = gx.zeros(("T", seed.shape[0])) + seed  # zeros
    return gx.compile(gx.Program("p", sample=gx.function([seed], y)), backend=STUB)


@mistake("""\
CallError: sample: no input fixes the dimension T
  at test_calls.py:here
  it is   sample(seed: float32[N])
  try: pass it by name, as in sample(…, T=8)
""")
def test_a_dimension_that_no_input_fixes():
    generator().sample([1.0])  # here


@mistake("""\
SizeError: sample: the dimension T is a whole number from 1 on, not 0
  at test_calls.py:here
""")
def test_a_dimension_of_zero():
    generator().sample([1.0], T=0)  # here


@mistake("""\
SizeError: sample: broadcast_to would take 18,446,744,073,709,551,616 bytes, more than 2**63 - 1
  at test_calls.py:zeros
  broadcast_to   float32[T, N]
  sizes          {'T': 4611686018427387904, 'N': 1}
""")
def test_a_dimension_that_overflows():
    generator().sample([1.0], T=2**62)  # here


@mistake("""\
SizeError: sample: a size is above 2**63 - 1: {'T': 18446744073709551616, 'N': 1}
  at test_calls.py:here
""")
def test_a_dimension_beyond_63_bits():
    generator().sample([1.0], T=2**64)  # here


@mistake("""\
SizeError: f: add: y and x have one shape: M == N does not hold: 4 and 3
  at test_calls.py:sum
  sizes   {'N': 3, 'M': 4}
""")
def test_a_condition_that_only_a_call_decides():
    x, y = gx.input("x", ("N",)), gx.input("y", ("M",))
    z = x + y  # sum
    module = gx.compile(gx.Program("p", f=gx.function([x, y], z)), backend=STUB)
    module.f([1, 2, 3], [1, 2, 3, 4])


@mistake("""\
SizeError: f: conv2d: exact=True leaves no remainder: H - 2*floor(H/2 - 3/2) - 3 == 0 does not hold: 1 and 0
  at test_calls.py:conv
  sizes   {'H': 8}
""")  # noqa: E501
def test_windows_that_leave_a_remainder_at_a_call():
    x, w = gx.input("x", (1, 1, "H", "H")), gx.parameter("w", (1, 1, 3, 3))
    y = gx.conv2d(x, w, stride=2, exact=True)  # conv
    module = gx.compile(gx.Program("p", f=gx.function([x], y)), backend=STUB)
    module.f(np.zeros((1, 1, 8, 8)))


@mistake("""\
SizeError: f: conv2d: the kernel fits the image: H >= 3 does not hold: 2 and 3
  at test_calls.py:conv
  sizes   {'H': 2}
""")
def test_a_kernel_larger_than_the_image_at_a_call():
    x, w = gx.input("x", (1, 1, "H", "H")), gx.parameter("w", (1, 1, 3, 3))
    y = gx.conv2d(x, w)  # conv
    module = gx.compile(gx.Program("p", f=gx.function([x], y)), backend=STUB)
    module.f(np.zeros((1, 1, 2, 2)))


@mistake("""\
SizeError: f: broadcast_to would have N - 5 = -2 elements along an axis
  at test_calls.py:zeros
  broadcast_to   float32[N - 5, N - 5]
  sizes          {'N': 3}
""")
def test_a_size_below_zero():
    x = gx.input("x", ("N",))
    y = gx.zeros((x.shape[0] - 5, x.shape[0] - 5))  # zeros
    module = gx.compile(gx.Program("p", f=gx.function([x], y)), backend=STUB)
    module.f([1, 2, 3])


@pytest.fixture(params=["numpy", pytest.param("c", marks=pytest.mark.cc)])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


TAKEN: dict[str, Any] = {
    "list": [[1, 2, 3], [4, 5, 6]],
    "ints": np.arange(1, 7).reshape(2, 3),
    "float64": np.arange(1.0, 7).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(1, 7, dtype="float32").reshape(2, 3)),
    "strided": np.repeat(np.arange(1, 7, dtype="float32"), 2).reshape(2, 6)[:, ::2],
    "backwards": np.arange(6, 0, -1, dtype="float32").reshape(2, 3)[::-1, ::-1],
    "swapped": np.arange(1, 7, dtype=">f4").reshape(2, 3),
    "bools": np.ones((2, 3), bool),
    "unaligned": np.frombuffer(
        b"\0" + np.arange(1, 7, dtype="float32").tobytes(), "float32", 6, 1
    ).reshape(2, 3),
}


@pytest.mark.parametrize("array", TAKEN.values(), ids=TAKEN)
def test_an_argument_of_any_layout_is_taken_and_left_alone(backend: str, array: Any) -> None:
    x, k = gx.input("x", ("N", 3)), gx.input("k", ())
    module = gx.compile(gx.Program("p", f=gx.function([x, k], x * k)), backend=backend)
    before = np.array(array)
    given = np.asarray(array)
    writeable = given.flags.writeable
    given.flags.writeable = False
    got = module.f(array, 2)
    assert np.array_equal(got, np.array(before, "float32") * 2)
    assert np.array_equal(np.asarray(array), before)
    got[...] = 0  # the caller's own
    if writeable:
        given.flags.writeable = True
    assert np.array_equal(np.asarray(array), before)


def test_an_identity_gives_a_copy(backend: str) -> None:
    x = gx.input("x", (3,))
    module = gx.compile(gx.Program("p", f=gx.function([x], x)), backend=backend)
    given = np.ones(3, "float32")
    got = module.f(given)
    got[0] = 5
    assert given[0] == 1


def learner(backend: str) -> tuple[gx.Module, dict[str, np.ndarray]]:
    """Return a module whose calls read rows of a table by computed and by given places."""
    i, x = gx.input("i", ("N",), dtype="int64"), gx.input("x", ("N",))
    table = gx.parameter("table", (5, 2), init=1.0)
    count = gx.state("count", dtype="int64")
    updates = gx.sgd(table[i].sum()) | {count: count + 1}
    given = gx.function([i], table[i], updates=updates)
    computed = gx.function([x], table[(x * 2).astype("int64")], updates={count: count + 1})
    module = gx.compile(gx.Program("p", given=given, computed=computed), backend=backend)
    module.given([0, 4])
    return module, {n: a.copy() for n, a in module.state.items()}


@pytest.mark.parametrize("call", [("given", [0, 5]), ("given", [-1]), ("computed", [2.0, 2.5])])
def test_nothing_is_updated_by_a_call_with_a_place_out_of_range(
    backend: str, call: tuple[str, Any]
) -> None:
    module, before = learner(backend)
    name, argument = call
    with pytest.raises(gx.errors.IndexRangeError):
        module.functions[name](argument)
    assert all(module.state[n].tobytes() == a.tobytes() for n, a in before.items())
    module.given([1])
    assert module.state["count"] == before["count"] + 1


@mistake("""\
IndexRangeError: take: an index is 5, outside 0 … 4
  at test_calls.py:take
""")
def test_a_computed_place_out_of_range(backend):
    x, table = gx.input("x", ("N",)), gx.parameter("table", (5, 2))
    row = table[(x * 2).astype("int64")]  # take
    module = gx.compile(gx.Program("p", f=gx.function([x], row)), backend=backend)
    module.f([2.0, 2.5])
