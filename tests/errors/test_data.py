"""Batches of arrays that do not fit together."""

from __future__ import annotations

import numpy as np
from golden import mistake

import graphc as gx


@mistake
def test_arrays_of_different_lengths():
    """CallError: batches: the arrays have different lengths: [60, 50]
      at test_data.py:here
    """
    return gx.batches(np.zeros(60), np.zeros(50), size=10)  # here


@mistake
def test_no_arrays():
    """CallError: batches: needs arrays of at least one axis
      at test_data.py:here
    """
    return gx.batches(size=10)  # here


@mistake
def test_scalars():
    """CallError: batches: needs arrays of at least one axis
      at test_data.py:here
    """
    return gx.batches(1.0, size=10)  # here


@mistake
def test_ragged_rows():
    """CallError: batches: takes arrays: setting an array element with a sequence. The requested array has an inhomogeneous shape after 1 dimensions. The detected shape was (2,) + inhomogeneous part.
      at test_data.py:here
    """
    return gx.batches([[1, 2], [3]], size=10)  # here


@mistake
def test_batches_of_nothing():
    """CallError: batches: a batch has at least 1 element, not 0
      at test_data.py:here
    """
    return gx.batches(np.zeros(60), size=0)  # here


@mistake
def test_batches_of_half_a_sample():
    """CallError: batches: a batch has at least 1 element, not 6.4
      at test_data.py:here
    """
    return gx.batches(np.zeros(60), size=6.4)  # here


@mistake
def test_a_seed_that_is_negative():
    """CallError: batches: a seed is a whole number from 0 on, not -1
      at test_data.py:here
    """
    return gx.batches(np.zeros(60), size=6, seed=-1)  # here


@mistake
def test_tensors():
    """CallError: batches: takes arrays: a tensor cannot become an array: it holds no numbers (<x: input float32[N]>)
      at test_data.py:here
      try: use graphc's function of that name, as in gx.tanh(t), or gx.evaluate for numbers
      at test_data.py:here
    """
    return gx.batches(gx.input("x", ("N",)), size=6)  # here
