"""Batches of arrays that do not fit together."""

from __future__ import annotations

import numpy as np

import graphc as gx
from golden import mistake


@mistake("""\
CallError: batches: the arrays have different lengths: [60, 50]
  at test_data.py:here
""")
def test_arrays_of_different_lengths():
    return gx.batches(np.zeros(60), np.zeros(50), size=10)  # here


@mistake("""\
CallError: batches: needs arrays of at least one axis
  at test_data.py:here
""")
def test_no_arrays():
    return gx.batches(size=10)  # here


@mistake("""\
CallError: batches: needs arrays of at least one axis
  at test_data.py:here
""")
def test_scalars():
    return gx.batches(1.0, size=10)  # here


@mistake("""\
CallError: batches: takes arrays, not ([[1, 2], [3]],)
  at test_data.py:here
""")
def test_ragged_rows():
    return gx.batches([[1, 2], [3]], size=10)  # here


@mistake("""\
CallError: batches: a batch has at least 1 element, not 0
  at test_data.py:here
""")
def test_batches_of_nothing():
    return gx.batches(np.zeros(60), size=0)  # here


@mistake("""\
CallError: batches: a batch has at least 1 element, not 6.4
  at test_data.py:here
""")
def test_batches_of_half_a_sample():
    return gx.batches(np.zeros(60), size=6.4)  # here


@mistake("""\
CallError: batches: a seed is a whole number from 0 on, not -1
  at test_data.py:here
""")
def test_a_seed_that_is_negative():
    return gx.batches(np.zeros(60), size=6, seed=-1)  # here


@mistake("""\
CallError: batches: takes arrays, not (<Tensor x: float32[N]>,)
  at test_data.py:here
""")
def test_tensors():
    return gx.batches(gx.input("x", ("N",)), size=6)  # here
