"""State of a module: assignments and seeds that do not fit, and what stays as it was."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gx
from golden import mistake
from stub_backend import STUB


def module() -> gx.Module:
    """Return a module with W float32[3, 4], count int64[] and f(x)."""
    x, w = gx.input("x", ("N", 3)), gx.parameter("W", (3, 4))
    count = gx.state("count", dtype="int64")
    f = gx.function([x], x @ w, updates={count: count + 1})
    return gx.compile(gx.Program("p", f=f), backend=STUB)


@mistake("""\
CallError: state: W is float32[3, 4], the array is float32[4, 3]
  at test_state.py:here
""")
def test_another_shape():
    module().state["W"] = np.zeros((4, 3))  # here


@mistake("""\
CallError: state: W is of rank 0 instead of 2
  at test_state.py:here
  W     float32[3, 4]
  got   float64[]
""")
def test_another_rank():
    module().state["W"] = 0.0  # here


@mistake("""\
ArgumentTypeError: state: count is float64, which does not convert to int64
  at test_state.py:here
  count   int64[]
  try: count.astype("int64") if that is meant
""")
def test_another_dtype():
    module().state["count"] = 0.5  # here


@mistake("""\
UnknownNameError: there is no state 'w'
  at test_state.py:here
  try: known are W, count
""")
def test_a_name_that_there_is_not():
    module().state["w"] = np.zeros((3, 4))  # here


@mistake("""\
UnknownNameError: there is no state 'w'
  at test_state.py:here
  try: known are W, count
""")
def test_reading_a_name_that_there_is_not():
    return module().state["w"]  # here


@mistake("""\
ArgumentTypeError: state: W is no array of numbers: 'zeros'
  at test_state.py:here
  W   float32[3, 4]
""")
def test_a_text():
    module().state["W"] = "zeros"  # here


@mistake("""\
CallError: W belongs to the program and cannot be taken out
  at test_state.py:here
""")
def test_deletion():
    del module().state["W"]  # here


@mistake("""\
CallError: W belongs to the program and cannot be taken out
  at test_state.py:here
""")
def test_emptying():
    module().state.clear()  # here


@mistake("""\
CallError: state: takes arrays by name, not ([1, 2],)
  at test_state.py:here
""")
def test_an_update_by_a_list():
    module().state.update([1, 2])  # here


@mistake("""\
CallError: a seed is a whole number from 0 to 2**64 - 1, not -1
  at test_state.py:here
""")
def test_a_negative_seed():
    module().init(-1)  # here


@mistake("""\
CallError: a seed is a whole number from 0 to 2**64 - 1, not 18446744073709551616
  at test_state.py:here
""")
def test_a_seed_beyond_64_bits():
    module().init(2**64)  # here


@mistake("""\
CallError: a seed is a whole number from 0 to 2**64 - 1, not 0.5
  at test_state.py:here
""")
def test_a_seed_that_is_a_float():
    module().init(0.5)  # here


def test_a_state_that_is_read_is_read_only() -> None:
    array = module().state["W"]
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


def test_an_update_with_one_wrong_array_changes_nothing() -> None:
    made = module()
    before = made.state["count"]
    with pytest.raises(gx.errors.CallError):
        made.state.update({"count": 7, "W": np.zeros(3)})
    assert made.state["count"] == before == 0


def test_an_array_that_is_assigned_is_not_kept() -> None:
    made, given = module(), np.ones((3, 4), "float32")
    made.state["W"] = given
    given[...] = 2
    assert np.all(made.state["W"] == 1)


@mistake("""\
ShapeError: w: init <lambda> gives an array of shape [4], wanted is [3]
  at test_state.py:declared
""")
def test_an_init_of_another_shape():
    x = gx.input("x", ("N",))
    w = gx.parameter("w", (3,), init=lambda shape, generator: np.zeros(4))  # declared
    gx.compile(gx.Program("p", f=gx.function([x], w)), backend=STUB)


@mistake("""\
DtypeError: n: init constant(0.5) gives numbers that int64 does not hold
  at test_state.py:declared
""")
def test_an_init_that_the_dtype_does_not_hold():
    x = gx.input("x", ("N",))
    n = gx.state("n", (), 0.5, dtype="int64")  # declared
    gx.compile(gx.Program("p", f=gx.function([x], n)), backend=STUB)


@mistake("""\
DtypeError: init is a number, an array or a gx.init, not <Tensor broadcast_to: float32[3]>
  at test_state.py:here
""")
def test_an_init_that_is_a_tensor():
    return gx.parameter("w", (3,), init=gx.ones((3,)))  # here


@mistake("""\
DtypeError: init uniform: low is 1, above high, -1
  at test_state.py:here
""")
def test_a_uniform_init_upside_down():
    return gx.init.uniform(1, -1)  # here
