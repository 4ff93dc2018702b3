"""Elementwise functions of the user's own that are no formulas, or formulas that lose the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sympy

import graphc as gx
from golden import mistake


@mistake("""\
FormulaError: f: the formula is a function, not 3.0
  at test_formulas.py:here
""")
def test_a_number_for_a_formula():
    return gx.elementwise("f", 3.0)  # here


@mistake("""\
FormulaError: elementwise: the name is a text, not None
  at test_formulas.py:here
""")
def test_a_formula_without_a_name():
    return gx.elementwise(None, lambda x: x)  # here


@mistake("""\
FormulaError: f: the formula gives None, which is no expression
  at test_formulas.py:here
  try: write it with + - * / ** and gx.scalar: exp, log, tanh, sigmoid, where, maximum, …
""")
def test_a_formula_that_gives_nothing():
    return gx.elementwise("f", lambda x: None)  # here


@mistake("""\
FormulaError: f: the formula does not take symbols: x is an expression of a formula, not a tensor
  at test_formulas.py:here
  try: in a formula use gx.scalar, as in gx.scalar.tanh(x)
  at test_formulas.py:here
  try: write it with + - * / ** and gx.scalar: exp, log, tanh, sigmoid, where, maximum, …
""")
def test_a_formula_of_tensors():
    return gx.elementwise("f", lambda x: 2 * gx.tanh(x))  # here


@mistake("""\
FormulaError: f: the formula does not take symbols: Cannot convert expression to float
  at test_formulas.py:here
  try: write it with + - * / ** and gx.scalar: exp, log, tanh, sigmoid, where, maximum, …
""")
def test_a_formula_of_maths_functions():
    return gx.elementwise("f", lambda x: math.exp(-x))  # here


@mistake("""\
FormulaError: f: the formula does not take symbols: loop of ufunc does not support argument 0 of type Mul which has no callable exp method
  at test_formulas.py:here
  try: write it with + - * / ** and gx.scalar: exp, log, tanh, sigmoid, where, maximum, …
""")  # noqa: E501
def test_a_formula_of_numpys_functions():
    return gx.elementwise("f", lambda x: np.exp(-x))  # here


@mistake("""\
FormulaError: f: the formula uses gamma, which is no scalar primitive
  at test_formulas.py:here
  try: write it with + - * / ** and gx.scalar: exp, log, tanh, sigmoid, where, maximum, …
""")
def test_a_function_that_is_no_primitive():
    return gx.elementwise("f", lambda x: x * sympy.gamma(x))  # here


@mistake("""\
FormulaError: f: the formula holds the unknown symbol a
  at test_formulas.py:here
""")
def test_a_symbol_that_is_no_argument():
    return gx.elementwise("f", lambda x: x + sympy.Symbol("a"))  # here


@mistake("""\
FormulaError: a Piecewise needs a last piece for all other values
  at test_formulas.py:here
""")
def test_a_piecewise_without_a_last_piece():
    return gx.elementwise("f", lambda x: sympy.Piecewise((x, x > 0)))  # here


@mistake("""\
FormulaError: f: the formula takes tensors by position, and has the argument *xs
  at test_formulas.py:here
  try: lambda x: …, one name an argument; write fixed numbers into the formula
""")
def test_any_number_of_arguments():
    return gx.elementwise("f", lambda *xs: xs[0])  # here


@mistake("""\
FormulaError: f: the formula takes tensors by position, and has the argument slope=0.1
  at test_formulas.py:here
  try: lambda x: …, one name an argument; write fixed numbers into the formula
""")
def test_an_argument_with_a_default():
    return gx.elementwise("f", lambda x, slope=0.1: x * slope)  # here


@mistake("""\
FormulaError: f: the formula takes tensors by position, and has the argument slope
  at test_formulas.py:here
  try: lambda x: …, one name an argument; write fixed numbers into the formula
""")
def test_an_argument_by_keyword_only():
    return gx.elementwise("f", lambda x, *, slope: x * slope)  # here


@mistake("""\
FormulaError: f: the formula takes tensors by position, and has no argument
  at test_formulas.py:here
  try: lambda x: …, one name an argument; write fixed numbers into the formula
""")
def test_no_arguments():
    return gx.elementwise("f", lambda: 1)  # here


@mistake("""\
FormulaError: swish: 2 arguments instead of 1
  at test_formulas.py:here
""")
def test_too_many_arguments_of_a_call():
    swish = gx.elementwise("swish", lambda x: x * gx.scalar.sigmoid(x))
    return swish(gx.input("x", ("N",)), 1.0)  # here


@mistake("""\
FormulaError: swish: its derivative is nan in float32 at x = -90, and the truth is -7.29267e-38
  at test_formulas.py:here
  its derivative   x*exp(-x)/(exp(-x) + 1)**2 + 1/(exp(-x) + 1)
  try: write it with gx.scalar.sigmoid, softplus, tanh, expm1 or where, which do not overflow, or give derivative=
""")  # noqa: E501
def test_a_derivative_that_is_nan():
    return gx.elementwise("swish", lambda x: x / (1 + gx.scalar.exp(-x)))  # here


@mistake("""\
FormulaError: f: the formula is nan in float32 at x = 90, and the truth is 1.0
  at test_formulas.py:here
  the formula   exp(x)/(exp(x) + 1)
  try: write it with gx.scalar.sigmoid, softplus, tanh, expm1 or where, which do not overflow, or give derivative=
""")  # noqa: E501
def test_a_formula_that_overflows():
    exp = gx.scalar.exp
    return gx.elementwise("f", lambda x: exp(x) / (1 + exp(x)))  # here


@mistake("""\
FormulaError: f: derivative= takes 1 arguments instead of 2: x, y
  at test_formulas.py:here
""")
def test_a_derivative_that_does_not_take_the_value():
    return gx.elementwise("f", lambda x: x * x, derivative=lambda x: 2 * x)  # here


@mistake("""\
FormulaError: f: 1 derivatives for 2 arguments
  at test_formulas.py:here
""")
def test_too_few_derivatives():
    return gx.elementwise("f", lambda a, b: a * b, derivative=lambda a, b, y: b)  # here


@mistake("""\
FormulaError: f: derivative= gives '2x', which is no expression
  at test_formulas.py:here
  try: write it with + - * / ** and gx.scalar: exp, log, tanh, sigmoid, where, maximum, …
""")
def test_a_derivative_that_is_no_expression():
    return gx.elementwise("f", lambda x: x * x, derivative=lambda x, y: "2x")  # here


def test_a_primitive_is_a_formula() -> None:
    squash = gx.elementwise("squash", gx.scalar.tanh)
    assert gx.evaluate(squash(0.5)) == pytest.approx(np.tanh(0.5))
