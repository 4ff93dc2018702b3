"""Sizes, axes and dtypes that do not fit together, at the line that joins them."""

from __future__ import annotations

import numpy as np

import graphc as gx
from golden import mistake


@mistake("""\
ShapeError: add: 3 and 4 elements do not fit together at axis -1
  at test_shapes.py:here
  a   float32[3]
  b   float32[4]
  try: shapes align at their last axes; only axes of length 1 repeat
""")
def test_add_of_different_lengths():
    a, b = gx.input("a", (3,)), gx.input("b", (4,))
    return a + b  # here


@mistake("""\
ShapeError: add: 3 and 4 elements do not fit together at axis -2
  at test_shapes.py:here
  a   float32[3, 4]
  b   float32[4, 3]
  try: transpose one of them with .T
""")
def test_add_of_a_transposed_matrix():
    a, b = gx.input("a", (3, 4)), gx.input("b", (4, 3))
    return a + b  # here


@mistake("""\
ShapeError: broadcast_to: [3] does not broadcast to [N, 4]
  at test_shapes.py:here
  a   float32[3]
""")
def test_broadcast_that_does_not_fit():
    a = gx.input("a", (3,))
    return gx.broadcast_to(a, ("N", 4))  # here


@mistake("""\
ShapeError: matmul: the left has 784 columns, the right 28 rows
  at test_shapes.py:here
  x   float32[N, 784]   … M K
  W   float32[28, 10]   … K N
""")
def test_matmul_of_inner_sizes_that_differ():
    x, w = gx.input("x", ("N", 784)), gx.parameter("W", (28, 10))
    return x @ w  # here


@mistake("""\
ShapeError: matmul: takes no scalars
  at test_shapes.py:here
  try: use * to multiply by a number
""")
def test_matmul_of_a_scalar():
    x, s = gx.input("x", ("N", 3)), gx.input("s", ())
    return x @ s  # here


@mistake("""\
ShapeError: matmul: 2 and 5 elements do not fit together at axis -3
  at test_shapes.py:here
  a   float32[2, 3, 4]
  b   float32[5, 4, 3]
  try: shapes align at their last axes; only axes of length 1 repeat
""")
def test_matmul_of_stacks_that_differ():
    a, b = gx.input("a", (2, 3, 4)), gx.input("b", (5, 4, 3))
    return a @ b  # here


@mistake("""\
ShapeError: Dense: the last axis has no number of elements, so the weight has no shape
  at test_shapes.py:here
  x   float32[N, D]
  try: declare it as a number, or .reshape to one
""")
def test_dense_on_an_open_width():
    x = gx.input("x", ("N", "D"))
    return gx.nn.Dense(10)(x)  # here


@mistake("""\
ShapeError: matmul: the left has 6 columns, the right 5 rows
  at test_shapes.py:here
  y            float32[N, 6]    … M K
  out.weight   float32[5, 10]   … K N
""")
def test_dense_called_again_on_another_width():
    layer = gx.nn.Dense(10, name="out")
    layer(gx.input("x", ("N", 5)))
    return layer(gx.input("y", ("N", 6)))  # here


@mistake("""\
ShapeError: concatenate: 3 and 4 elements do not fit together at axis 1; only axis 0 may differ
  at test_shapes.py:here
  a   float32[N, 3]
  b   float32[N, 4]
  try: axis= says along which axis they are joined
""")
def test_concatenate_of_other_axes():
    a, b = gx.input("a", ("N", 3)), gx.input("b", ("N", 4))
    return gx.concatenate([a, b], axis=0)  # here


@mistake("""\
GraphError: concatenate: takes a list of tensors, not <Tensor a: float32[N, 3]>
  at test_shapes.py:here
""")
def test_concatenate_of_a_tensor():
    return gx.concatenate(gx.input("a", ("N", 3)))  # here


@mistake("""\
ShapeError: concatenate: there is nothing to join
  at test_shapes.py:here
""")
def test_concatenate_of_nothing():
    return gx.concatenate([])  # here


@mistake("""\
ShapeError: reshape: 784*N elements do not fill the shape [N, 28, 27] of 756*N
  at test_shapes.py:here
  x   float32[N, 28, 28]
  try: -1 stands for the dimension that fits
""")
def test_reshape_to_another_size():
    x = gx.input("x", ("N", 28, 28))
    return x.reshape(x.shape[0], 28, 27)  # here


@mistake("""\
ShapeError: reshape: 7*N elements do not divide by 2
  at test_shapes.py:here
  x   float32[N, 7]
""")
def test_reshape_that_leaves_a_remainder():
    x = gx.input("x", ("N", 7))
    return x.reshape(-1, 2)  # here


@mistake("""\
ShapeError: reshape: only one dimension can be -1, not 2 of (-1, -1)
  at test_shapes.py:here
""")
def test_reshape_with_two_open_dimensions():
    return gx.input("x", ("N", 7)).reshape(-1, -1)  # here


@mistake("""\
DtypeError: where: the condition is float32, not bool
  at test_shapes.py:here
  x   float32[N]
  try: compare, as in x > 0
""")
def test_where_on_a_float_condition():
    x = gx.input("x", ("N",))
    return gx.where(x, x, 0)  # here


@mistake("""\
ShapeError: where: 3 and 4 elements do not fit together at axis -1
  at test_shapes.py:here
  greater    bool[3]
  constant   float32[4]
  constant   float32[]
  try: shapes align at their last axes; only axes of length 1 repeat
""")
def test_where_of_shapes_that_differ():
    x = gx.input("x", (3,))
    return gx.where(x > 0, np.zeros(4), 0)  # here


@mistake("""\
ShapeError: transpose: (1, 0) is no order of the 3 axes
  at test_shapes.py:here
  x   float32[2, 3, 4]
""")
def test_transpose_by_too_few_axes():
    return gx.input("x", (2, 3, 4)).transpose(1, 0)  # here


@mistake("""\
ShapeError: sum: there is no axis 2 in a tensor of 2 axes
  at test_shapes.py:here
""")
def test_sum_along_an_axis_that_there_is_not():
    return gx.input("x", (2, 3)).sum(axis=2)  # here


@mistake("""\
ShapeError: sum: an axis is a whole number, not 1.0
  at test_shapes.py:here
""")
def test_sum_along_an_axis_that_is_no_number():
    return gx.input("x", (2, 3)).sum(axis=1.0)  # here


@mistake("""\
ShapeError: sum: an axis occurs twice in (1, -1)
  at test_shapes.py:here
""")
def test_sum_along_an_axis_twice():
    return gx.input("x", (2, 3)).sum(axis=(1, -1))  # here


@mistake("""\
ShapeError: squeeze: axes (1,) are not all of length 1
  at test_shapes.py:here
  x   float32[2, 3]
""")
def test_squeeze_of_a_long_axis():
    return gx.input("x", (2, 3)).squeeze(1)  # here


@mistake("""\
ShapeError: split: 7 elements do not divide into 3 parts
  at test_shapes.py:here
  x   float32[7]
""")
def test_split_that_leaves_a_remainder():
    return gx.split(gx.input("x", (7,)), 3)  # here


@mistake("""\
ShapeError: split: 7 elements do not divide into 0 parts
  at test_shapes.py:here
  x   float32[7]
""")
def test_split_into_no_parts():
    return gx.split(gx.input("x", (7,)), 0)  # here


@mistake("""\
ShapeError: split: parts of 6 elements do not make 7
  at test_shapes.py:here
  x   float32[7]
""")
def test_split_into_sizes_that_do_not_add_up():
    return gx.split(gx.input("x", (7,)), [3, 3])  # here


@mistake("""\
ShapeError: pad: 2 widths are wanted, one for each axis, not [1]
  at test_shapes.py:here
  x   float32[2, 3]
  try: a width is a number, or a pair (before, after)
""")
def test_pad_with_too_few_widths():
    return gx.pad(gx.input("x", (2, 3)), [1])  # here


@mistake("""\
ShapeError: index 3 lies outside axis 1 of 3 elements
  at test_shapes.py:here
""")
def test_index_outside_its_axis():
    return gx.input("x", (2, 3))[0, 3]  # here


@mistake("""\
ShapeError: 3 indices for a tensor of 2 axes
  at test_shapes.py:here
  x   float32[2, 3]
""")
def test_too_many_indices():
    return gx.input("x", (2, 3))[0, 0, 0]  # here


@mistake("""\
DtypeError: an index holds integers, not float32
  at test_shapes.py:here
""")
def test_index_of_floats():
    x, i = gx.input("x", (2, 3)), gx.input("i", ("N",))
    return x[i]  # here


@mistake("""\
UnsupportedError: an index of bools gives a result whose size depends on values
  at test_shapes.py:here
  try: gx.where(mask, x, 0) keeps the size
""")
def test_index_of_bools():
    x = gx.input("x", ("N",))
    return x[x > 0]  # here


@mistake("""\
ShapeError: the step of a slice is a whole number, not 0.5
  at test_shapes.py:here
""")
def test_slice_with_a_step_of_half():
    return gx.input("x", (8,))[::0.5]  # here


@mistake("""\
DtypeError: take: an index tensor holds integers, not float32
  at test_shapes.py:here
  i   float32[N]
  try: declare it with dtype="int64"
""")
def test_take_of_an_index_that_is_float():
    table, i = gx.parameter("E", (5, 2)), gx.input("i", ("N",))
    return gx.take(table, i)  # here


@mistake("""\
ShapeError: max: an empty axis has no maximum
  at test_shapes.py:here
  x   float32[0, 3]
""")
def test_maximum_of_an_empty_axis():
    return gx.input("x", (0, 3)).max(axis=0)  # here


@mistake("""\
ShapeError: mse: prediction and target have one shape
  at test_shapes.py:here
  p   float32[N, 1]
  t   float32[N]
  try: reshape one of them; a loss does not broadcast
""")
def test_mse_of_shapes_that_would_broadcast():
    p, t = gx.input("p", ("N", 1)), gx.input("t", ("N",))
    return gx.mse(p, t)  # here


@mistake("""\
ShapeError: cross_entropy: the targets should be [N]
  at test_shapes.py:here
  x   float32[N, 10]   … V
  y   int64[N, 10]     one class for each row
  try: one-hot rows: .argmax(1) gives the classes, .astype("float32") makes them probabilities
""")
def test_cross_entropy_of_one_hot_integers():
    x, y = gx.input("x", ("N", 10)), gx.input("y", ("N", 10), dtype="int64")
    return gx.cross_entropy(x, y)  # here


@mistake("""\
DtypeError: cross_entropy: logits are floats, not int64
  at test_shapes.py:here
  x   int64[N, 10]
""")
def test_cross_entropy_of_integer_logits():
    x, y = gx.input("x", ("N", 10), dtype="int64"), gx.input("y", ("N",), dtype="int64")
    return gx.cross_entropy(x, y)  # here


@mistake("""\
GraphError: mse: reduction is "mean", "sum" or "none", not 'average'
  at test_shapes.py:here
""")
def test_a_reduction_that_there_is_not():
    p = gx.input("p", ("N",))
    return gx.mse(p, p, reduction="average")  # here


@mistake("""\
GraphError: dropout: the rate is the part dropped, from 0 to below 1, not 1.0
  at test_shapes.py:here
""")
def test_dropout_of_everything():
    return gx.dropout(gx.input("x", ("N",)), 1.0)  # here


@mistake("""\
GraphError: dropout: the rate is the part dropped, from 0 to below 1, not 40
  at test_shapes.py:here
""")
def test_dropout_in_percent():
    return gx.dropout(gx.input("x", ("N",)), 40)  # here


@mistake("""\
DtypeError: dropout: the rate is a number, not '0.4'
  at test_shapes.py:here
""")
def test_dropout_at_a_rate_that_is_no_number():
    return gx.dropout(gx.input("x", ("N",)), "0.4")  # here


@mistake("""\
DtypeError: dropout: scales floats, and i is int64
  at test_shapes.py:here
  i   int64[N]
""")
def test_dropout_of_integers():
    return gx.dropout(gx.input("i", ("N",), dtype="int64"), 0.4)  # here


@mistake("""\
DtypeError: there is no dtype 'float16'
  at test_shapes.py:here
  try: use one of bool, uint8, int32, int64, uint32, uint64, float32, float64
""")
def test_a_dtype_that_there_is_not():
    return gx.input("x", ("N",), dtype="float16")  # here


@mistake("""\
DtypeError: the default dtype is one of float32, float64, not int64
  at test_shapes.py:here
""")
def test_a_default_dtype_that_is_no_float():
    with gx.default_dtype("int64"):  # here
        pass


@mistake("""\
DtypeError: logical_not does not take float32
  at test_shapes.py:here
  x   float32[N]
  try: cast to bool
""")
def test_not_of_floats():
    return ~gx.input("x", ("N",))  # here


@mistake("""\
DtypeError: add: no integer dtype holds both int64 and uint64
  at test_shapes.py:here
  a   uint64[2]
  b   int64[2]
  try: cast one of them with .astype
""")
def test_integers_without_a_common_dtype():
    a, b = gx.input("a", (2,), dtype="uint64"), gx.input("b", (2,), dtype="int64")
    return a + b  # here


@mistake("""\
DtypeError: the number 300 does not fit into uint8
  at test_shapes.py:here
  try: cast the tensor beside it
""")
def test_a_number_that_the_dtype_does_not_hold():
    return gx.input("a", (2,), dtype="uint8") + 300  # here


@mistake("""\
DtypeError: [[1, 2], [3]] is no array: its rows differ in length
  at test_shapes.py:here
""")
def test_a_ragged_list():
    return gx.add(gx.input("a", (2, 2)), [[1, 2], [3]])  # here


@mistake("""\
DtypeError: a tensor, an array or a number is wanted, not '2'
  at test_shapes.py:here
""")
def test_a_text_for_a_tensor():
    return gx.input("a", (2,)) * "2"  # here


@mistake("""\
DtypeError: a tensor, an array or a number is wanted, not None
  at test_shapes.py:here
""")
def test_none_for_a_tensor():
    return gx.tanh(None)  # here


@mistake("""\
DtypeError: a list of tensors is no tensor: [<Tensor a: float32[2]>, <Tensor b: float32[2]>]
  at test_shapes.py:here
  try: gx.stack joins tensors along a new axis, gx.concatenate along one they have
""")
def test_a_list_of_tensors_for_a_tensor():
    a, b = gx.input("a", (2,)), gx.input("b", (2,))
    return gx.sum([a, b])  # here


@mistake("""\
ShapeError: a shape is made of numbers and names, not of <Tensor x: float32[N]>
  at test_shapes.py:here
  try: t.shape is a tensor's shape, t.shape[0] its first dimension
""")
def test_a_tensor_for_a_shape():
    x = gx.input("x", ("N",))
    return gx.zeros(x)  # here


@mistake("""\
ShapeError: the dimension N/2 is not a whole number for all sizes
  at test_shapes.py:here
  try: // divides and rounds down
""")
def test_half_a_dimension():
    x = gx.input("x", ("N", 2))
    return x.reshape(x.shape[0] / 2, 4)  # here


@mistake("""\
ShapeError: 1/N is not a whole number for all sizes, so it is no size
  at test_shapes.py:here
  try: divide the tensor instead, as in t / x.shape[0], or round down with //
""")
def test_a_fraction_of_a_dimension_as_a_number():
    x = gx.input("x", ("N",))
    return x * (1 / x.shape[0])  # here


@mistake("""\
ShapeError: the dimension name '2*N' is not an identifier
  at test_shapes.py:here
  try: write arithmetic on dimensions, as in 2 * x.shape[0], not inside the string
""")
def test_arithmetic_inside_a_dimensions_name():
    return gx.input("x", ("2*N",))  # here


@mistake("""\
ShapeError: a dimension lies between 0 and 2**63 - 1, not at -1
  at test_shapes.py:here
""")
def test_a_negative_dimension():
    return gx.input("x", (-1, 3))  # here


@mistake("""\
ShapeError: a dimension is a number or a name, not None
  at test_shapes.py:here
""")
def test_a_dimension_of_none():
    return gx.input("x", (None, 3))  # here


@mistake("""\
SizeError: x would take 4,835,703,278,458,516,698,824,704 bytes, more than 2**63 - 1
  at test_shapes.py:here
  x   float32[N, 1099511627776, 1099511627776]
""")
def test_an_input_of_more_than_63_bits():
    return gx.input("x", ("N", 2**40, 2**40))  # here


@mistake("""\
SizeError: W would take 18,446,744,073,709,551,616 bytes, more than 2**63 - 1
  at test_shapes.py:here
  W   float32[2147483648, 2147483648]
""")
def test_a_parameter_of_more_than_63_bits():
    return gx.parameter("W", (2**31, 2**31))  # here


@mistake("""\
ShapeError: 'W' has a named dimension in [N, 3]; parameters and states have sizes of numbers
  at test_shapes.py:here
""")
def test_a_parameter_of_an_open_size():
    return gx.parameter("W", ("N", 3))  # here


@mistake("""\
ShapeError: 'W' needs a shape: its init has none
  at test_shapes.py:here
""")
def test_a_parameter_without_a_shape():
    return gx.parameter("W", init=gx.init.he())  # here


@mistake("""\
ShapeError: 'W' is declared [2, 3], its initial array is [3, 2]
  at test_shapes.py:here
""")
def test_a_parameter_of_another_shape_than_its_array():
    return gx.parameter("W", (2, 3), np.zeros((3, 2)))  # here


@mistake("""\
DtypeError: init is a number, an array or a gx.init, not 'zeros'
  at test_shapes.py:here
""")
def test_an_init_that_is_no_number():
    return gx.parameter("W", (2, 3), init="zeros")  # here


@mistake("""\
ShapeError: phase: 3 and 4 elements do not fit together at axis -1
  at test_shapes.py:here
  x              float32[3]
  broadcast_to   float32[4]
  try: shapes align at their last axes; only axes of length 1 repeat
""")
def test_phase_of_two_types():
    x = gx.input("x", (3,))
    return gx.phase(x, gx.ones((4,)))  # here
