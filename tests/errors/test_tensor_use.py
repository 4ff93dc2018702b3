"""Tensors used as if they held numbers already."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
from golden import mistake

import graphc as gx

x = gx.input("x", ("N", 3))
u = gx.input("u", ("N", 3))
s = gx.input("s", ())


@mistake
def test_numpys_tanh():
    """TensorUseError: np.tanh takes arrays, and <x: input float32[N, 3]> is a tensor
      at test_tensor_use.py:here
      try: use gx.tanh
    """
    return np.tanh(x)  # here


@mistake
def test_numpys_arctan_has_another_name_here():
    """TensorUseError: np.arctan takes arrays, and <x: input float32[N, 3]> is a tensor
      at test_tensor_use.py:here
      try: use gx.atan
    """
    return np.arctan(x)  # here


@mistake
def test_numpys_sum():
    """TensorUseError: np.sum takes arrays, and <x: input float32[N, 3]> is a tensor
      at test_tensor_use.py:here
      try: use gx.sum
    """
    return np.sum(x)  # here


@mistake
def test_a_ufuncs_method():
    """TensorUseError: np.add.reduce takes arrays, and <x: input float32[N, 3]> is a tensor
      at test_tensor_use.py:here
      try: use gx.sum
    """
    return np.add.reduce(x)  # here


@mistake
def test_numpys_function_in_a_module():
    """TensorUseError: np.linalg.norm takes arrays, and <x: input float32[N, 3]> is a tensor
      at test_tensor_use.py:here
      try: use a function of graphc, or gx.elementwise
    """
    return np.linalg.norm(x)  # here


@mistake
def test_as_an_array():
    """TensorUseError: a tensor cannot become an array: it holds no numbers (<x: input float32[N, 3]>)
      at test_tensor_use.py:here
      try: use graphc's function of that name, as in gx.tanh(t), or gx.evaluate for numbers
    """
    return np.asarray(x)  # here


@mistake
def test_if_two_are_equal():
    """TensorUseError: a tensor has no truth value while the graph is declared (<equal: elementwise bool[N, 3]>)
      at test_tensor_use.py:here
      try: gx.where(condition, a, b) chooses by element; `a is b` compares identity; gx.evaluate gives numbers
    """
    if x == u:  # here
        pass


@mistake
def test_a_chained_comparison():
    """TensorUseError: a tensor has no truth value while the graph is declared (<greater: elementwise bool[N, 3]>)
      at test_tensor_use.py:here
      try: gx.where(condition, a, b) chooses by element; `a is b` compares identity; gx.evaluate gives numbers
    """
    return 0 < x < 1  # here


@mistake
def test_and():
    """TensorUseError: a tensor has no truth value while the graph is declared (<greater: elementwise bool[N, 3]>)
      at test_tensor_use.py:here
      try: gx.where(condition, a, b) chooses by element; `a is b` compares identity; gx.evaluate gives numbers
    """
    return x > 0 and u > 0  # here


@mistake
def test_in_a_list():
    """TensorUseError: a tensor has no truth value while the graph is declared (<equal: elementwise bool[N, 3]>)
      at test_tensor_use.py:here
      try: gx.where(condition, a, b) chooses by element; `a is b` compares identity; gx.evaluate gives numbers
    """
    return x in [u]  # here


@mistake
def test_pythons_max():
    """TensorUseError: a tensor has no truth value while the graph is declared (<greater: elementwise bool[N, 3]>)
      at test_tensor_use.py:here
      try: gx.where(condition, a, b) chooses by element; `a is b` compares identity; gx.evaluate gives numbers
    """
    return max(x, u)  # here


@mistake
def test_iteration_over_an_open_axis():
    """TensorUseError: cannot iterate over <x: input float32[N, 3]>: its first axis has no number of elements
      at test_tensor_use.py:here
      try: functions of whole tensors need no loop; t[0] reads the first row
    """
    for _ in x:  # here
        pass


@mistake
def test_iteration_over_a_scalar():
    """TensorUseError: cannot iterate over a scalar (<s: input float32[]>)
      at test_tensor_use.py:here
    """
    return list(s)  # here


@mistake
def test_length_of_an_open_axis():
    """TensorUseError: the length of <x: input float32[N, 3]> is not known while the graph is declared
      at test_tensor_use.py:here
      try: t.shape[0] is the dimension
    """
    return len(x)  # here


@mistake
def test_length_of_a_scalar():
    """TensorUseError: a scalar has no length (<s: input float32[]>)
      at test_tensor_use.py:here
    """
    return len(s)  # here


@mistake
def test_float_of_a_tensor():
    """TensorUseError: a tensor holds no number while the graph is declared (<s: input float32[]>)
      at test_tensor_use.py:here
      try: use graphc's functions, as in gx.exp(t); gx.evaluate(t, at={...}) gives numbers
    """
    return float(s)  # here


@mistake
def test_maths_exp():
    """TensorUseError: a tensor holds no number while the graph is declared (<s: input float32[]>)
      at test_tensor_use.py:here
      try: use graphc's functions, as in gx.exp(t); gx.evaluate(t, at={...}) gives numbers
    """
    return math.exp(s)  # here


@mistake
def test_a_range_of_a_tensor():
    """TensorUseError: a tensor holds no number while the graph is declared (<s: input float32[]>)
      at test_tensor_use.py:here
      try: use graphc's functions, as in gx.exp(t); gx.evaluate(t, at={...}) gives numbers
    """
    return range(s)  # here


@mistake
def test_assignment_to_elements():
    """TensorUseError: a tensor does not change (<x: input float32[N, 3]>)
      at test_tensor_use.py:here
      try: gx.where chooses by element, gx.concatenate joins parts, gx.scatter_add adds
    """
    x[0] = 1  # here


@mistake
def test_a_deep_copy():
    """TensorUseError: a tensor is neither copied nor pickled (<x: input float32[N, 3]>)
      at test_tensor_use.py:here
      try: share it: tensors never change; module.save writes weights
    """
    return copy.deepcopy(x)  # here


@mistake
def test_a_pickle():
    """TensorUseError: a tensor is neither copied nor pickled (<x: input float32[N, 3]>)
      at test_tensor_use.py:here
      try: share it: tensors never change; module.save writes weights
    """
    return pickle.dumps({"x": x})  # here
