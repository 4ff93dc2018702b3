"""Tensors used as if they held numbers already."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np

import graphc as gx
from golden import mistake

x = gx.input("x", ("N", 3))
u = gx.input("u", ("N", 3))
s = gx.input("s", ())


@mistake("""\
TensorUseError: np.tanh takes arrays, and <x: input float32[N, 3]> is a tensor
  at test_tensor_use.py:here
  try: use gx.tanh
""")
def test_numpys_tanh():
    return np.tanh(x)  # here


@mistake("""\
TensorUseError: np.arctan takes arrays, and <x: input float32[N, 3]> is a tensor
  at test_tensor_use.py:here
  try: use gx.atan
""")
def test_numpys_arctan_has_another_name_here():
    return np.arctan(x)  # here


@mistake("""\
TensorUseError: np.sum takes arrays, and <x: input float32[N, 3]> is a tensor
  at test_tensor_use.py:here
  try: use gx.sum
""")
def test_numpys_sum():
    return np.sum(x)  # here


@mistake("""\
TensorUseError: np.add.reduce takes arrays, and <x: input float32[N, 3]> is a tensor
  at test_tensor_use.py:here
  try: use gx.sum
""")
def test_a_ufuncs_method():
    return np.add.reduce(x)  # here


@mistake("""\
TensorUseError: np.linalg.norm takes arrays, and <x: input float32[N, 3]> is a tensor
  at test_tensor_use.py:here
  try: use a function of graphc, or gx.elementwise
""")
def test_numpys_function_in_a_module():
    return np.linalg.norm(x)  # here


@mistake("""\
TensorUseError: a tensor is no array: it holds no numbers yet (<x: input float32[N, 3]>)
  at test_tensor_use.py:here
  try: use graphc's functions, as in gx.tanh(t); gx.evaluate(t, at={...}) gives numbers
""")
def test_as_an_array():
    return np.asarray(x)  # here


@mistake("""\
TensorUseError: a tensor has no truth value: it holds no numbers yet (<equal: elementwise bool[N, 3]>)
  at test_tensor_use.py:here
  try: gx.where chooses by element, `is` compares identity, gx.evaluate gives numbers
""")  # noqa: E501
def test_if_two_are_equal():
    if x == u:  # here
        pass


@mistake("""\
TensorUseError: a tensor has no truth value: it holds no numbers yet (<greater: elementwise bool[N, 3]>)
  at test_tensor_use.py:here
  try: gx.where chooses by element, `is` compares identity, gx.evaluate gives numbers
""")  # noqa: E501
def test_a_chained_comparison():
    return 0 < x < 1  # here


@mistake("""\
TensorUseError: a tensor has no truth value: it holds no numbers yet (<greater: elementwise bool[N, 3]>)
  at test_tensor_use.py:here
  try: gx.where chooses by element, `is` compares identity, gx.evaluate gives numbers
""")  # noqa: E501
def test_and():
    return x > 0 and u > 0  # here


@mistake("""\
TensorUseError: a tensor has no truth value: it holds no numbers yet (<equal: elementwise bool[N, 3]>)
  at test_tensor_use.py:here
  try: gx.where chooses by element, `is` compares identity, gx.evaluate gives numbers
""")  # noqa: E501
def test_in_a_list():
    return x in [u]  # here


@mistake("""\
TensorUseError: a tensor has no truth value: it holds no numbers yet (<greater: elementwise bool[N, 3]>)
  at test_tensor_use.py:here
  try: gx.where chooses by element, `is` compares identity, gx.evaluate gives numbers
""")  # noqa: E501
def test_pythons_max():
    return max(x, u)  # here


@mistake("""\
TensorUseError: cannot iterate over <x: input float32[N, 3]>: its first axis is open
  at test_tensor_use.py:here
  try: functions of whole tensors need no loop; t[0] reads the first row
""")
def test_iteration_over_an_open_axis():
    for _ in x:  # here
        pass


@mistake("""\
TensorUseError: cannot iterate over a scalar (<s: input float32[]>)
  at test_tensor_use.py:here
""")
def test_iteration_over_a_scalar():
    return list(s)  # here


@mistake("""\
TensorUseError: the length of <x: input float32[N, 3]> is not known while the graph is declared
  at test_tensor_use.py:here
  try: t.shape[0] is the dimension
""")
def test_length_of_an_open_axis():
    return len(x)  # here


@mistake("""\
TensorUseError: a scalar has no length (<s: input float32[]>)
  at test_tensor_use.py:here
""")
def test_length_of_a_scalar():
    return len(s)  # here


@mistake("""\
TensorUseError: a tensor is no number: it holds none yet (<s: input float32[]>)
  at test_tensor_use.py:here
  try: use graphc's functions, as in gx.exp(t); gx.evaluate(t, at={...}) gives numbers
""")
def test_float_of_a_tensor():
    return float(s)  # here


@mistake("""\
TensorUseError: a tensor is no number: it holds none yet (<s: input float32[]>)
  at test_tensor_use.py:here
  try: use graphc's functions, as in gx.exp(t); gx.evaluate(t, at={...}) gives numbers
""")
def test_maths_exp():
    return math.exp(s)  # here


@mistake("""\
TensorUseError: a tensor is no number: it holds none yet (<s: input float32[]>)
  at test_tensor_use.py:here
  try: use graphc's functions, as in gx.exp(t); gx.evaluate(t, at={...}) gives numbers
""")
def test_a_range_of_a_tensor():
    return range(s)  # here


@mistake("""\
TensorUseError: a tensor does not change (<x: input float32[N, 3]>)
  at test_tensor_use.py:here
  try: gx.where chooses by element, gx.concatenate joins parts, gx.scatter_add adds
""")
def test_assignment_to_elements():
    x[0] = 1  # here


@mistake("""\
TensorUseError: a tensor is neither copied nor pickled (<x: input float32[N, 3]>)
  at test_tensor_use.py:here
  try: share it: tensors never change; module.save writes weights
""")
def test_a_deep_copy():
    return copy.deepcopy(x)  # here


@mistake("""\
TensorUseError: a tensor is neither copied nor pickled (<x: input float32[N, 3]>)
  at test_tensor_use.py:here
  try: share it: tensors never change; module.save writes weights
""")
def test_a_pickle():
    return pickle.dumps({"x": x})  # here
