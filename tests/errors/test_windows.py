"""Convolutions and pools that do not fit their images."""

from __future__ import annotations

import graphc as gx
from golden import mistake


def images(channels: int = 1, size: int = 28) -> gx.Tensor:
    return gx.input("x", ("N", channels, size, size))


@mistake("""\
ShapeError: conv2d: the input has 3 channels, the filters expect 1
  at test_windows.py:here
  x           float32[N, 3, 28, 28]   N C H W
  c1.weight   float32[6, 1, 5, 5]     M C KH KW
  try: declare the filters with C = 3
""")
def test_channels_that_differ():
    x = gx.input("x", ("N", 3, 28, 28))
    w = gx.parameter("c1.weight", (6, 1, 5, 5))
    return gx.conv2d(x, w)  # here


@mistake("""\
ShapeError: conv2d: the input has 6 channels, the filters expect 4 (2 in each of 2 groups)
  at test_windows.py:here
  x   float32[N, 6, 28, 28]   N C H W
  w   float32[4, 2, 3, 3]     M C KH KW
  try: declare the filters with C = 3
""")
def test_channels_that_differ_in_groups():
    x, w = images(6), gx.parameter("w", (4, 2, 3, 3))
    return gx.conv2d(x, w, groups=2)  # here


@mistake("""\
ShapeError: conv2d: 5 filters do not divide into 2 groups
  at test_windows.py:here
  x   float32[N, 4, 28, 28]   N C H W
  w   float32[5, 2, 3, 3]     M C KH KW
""")
def test_filters_that_do_not_divide_into_groups():
    x, w = images(4), gx.parameter("w", (5, 2, 3, 3))
    return gx.conv2d(x, w, groups=2)  # here


@mistake("""\
ShapeError: Conv2d: 3 channels do not divide into 2 groups
  at test_windows.py:here
  x   float32[N, 3, 28, 28]   N C H W
""")
def test_channels_that_do_not_divide_into_groups():
    return gx.nn.Conv2d(6, 3, groups=2)(images(3))  # here


@mistake("""\
ShapeError: Conv2d: the number of groups is at least 1, not 0
  at test_windows.py:here
""")
def test_no_groups():
    return gx.nn.Conv2d(6, 3, groups=0)(images(3))  # here


@mistake("""\
ShapeError: conv2d: a kernel of 5 does not fit into 4 (axis H, padding included)
  at test_windows.py:here
  x    float32[N, 1, 4, 4]   N C H W
  w    float32[1, 1, 5, 5]   M C KH KW
  OH   floor((4 + 0 + 0 - (5 - 1) - 1) / 1) + 1 = 0
  try: add padding, or take a smaller kernel
""")
def test_a_kernel_larger_than_the_image():
    x, w = images(1, 4), gx.parameter("w", (1, 1, 5, 5))
    return gx.conv2d(x, w)  # here


@mistake("""\
ShapeError: conv2d: a kernel of 3, spread over 9, does not fit into 7 (axis H, padding included)
  at test_windows.py:here
  x    float32[N, 1, 7, 7]   N C H W
  w    float32[1, 1, 3, 3]   M C KH KW
  OH   floor((7 + 0 + 0 - 4*(3 - 1) - 1) / 1) + 1 = -1
  try: add padding, or take a smaller kernel
""")
def test_a_dilated_kernel_larger_than_the_image():
    x, w = images(1, 7), gx.parameter("w", (1, 1, 3, 3))
    return gx.conv2d(x, w, dilation=4)  # here


@mistake("""\
ShapeError: conv2d: doesn't fit: (7 + 0 + 0 - 3) / 3 leaves a remainder of 1
  at test_windows.py:here
  x   float32[N, 1, 7, 7]   N C H W
  w   float32[1, 1, 3, 3]   M C KH KW
  try: change padding or stride, or leave out exact=True to round down
""")
def test_a_stride_that_does_not_fit():
    x, w = images(1, 7), gx.parameter("w", (1, 1, 3, 3))
    return gx.conv2d(x, w, stride=3, exact=True)  # here


@mistake("""\
ShapeError: max_pool2d: doesn't fit: (7 + 0 + 0 - 2) / 2 leaves a remainder of 1
  at test_windows.py:here
  x   float32[N, 1, 7, 7]   N C H W
  try: change padding or stride, or leave out exact=True to round down
""")
def test_a_pool_that_does_not_fit():
    return gx.max_pool2d(images(1, 7), 2, exact=True)  # here


@mistake("""\
ShapeError: avg_pool2d: a window of 5 does not fit into 4 (axis H, padding included)
  at test_windows.py:here
  x   float32[N, 1, 4, 4]   N C H W
  try: add padding, or take a smaller window
""")
def test_a_pool_window_larger_than_the_image():
    return gx.avg_pool2d(images(1, 4), 5)  # here


@mistake("""\
ShapeError: Conv2d: takes images (N, C, H, W)
  at test_windows.py:here
  x   float32[N, 28, 28]
  try: x[:, None] adds the axis C
""")
def test_images_without_channels():
    return gx.nn.Conv2d(6, 5)(gx.input("x", ("N", 28, 28)))  # here


@mistake("""\
ShapeError: max_pool2d: takes images (N, C, H, W)
  at test_windows.py:here
  x   float32[N, 784]   N C H W
""")
def test_a_pool_of_a_matrix():
    return gx.max_pool2d(gx.input("x", ("N", 784)), 2, padding="same_upper")  # here


@mistake("""\
DtypeError: max_pool2d: does not take uint8
  at test_windows.py:here
  x   uint8[N, 1, 8, 8]   N C H W
  try: .astype("float32") first
""")
def test_images_of_integers():
    x = gx.input("x", ("N", 1, 8, 8), dtype="uint8")
    return gx.max_pool2d(x, 2)  # here


@mistake("""\
ShapeError: conv2d: the bias is [1], there are 6 filters
  at test_windows.py:here
  b   float32[1]
  w   float32[6, 1, 5, 5]
  try: declare the bias with the shape (6,)
""")
def test_a_bias_of_another_length():
    w, b = gx.parameter("w", (6, 1, 5, 5)), gx.parameter("b", (1,))
    return gx.conv2d(images(), w, b)  # here


@mistake("""\
ShapeError: conv2d: there is no padding 'same'
  at test_windows.py:here
  try: a number, pairs, "valid", "same_upper" or "same_lower"
""")
def test_a_padding_that_there_is_not():
    w = gx.parameter("w", (6, 1, 5, 5))
    return gx.conv2d(images(), w, padding="same")  # here


@mistake("""\
ShapeError: conv2d: padding -1 is negative
  at test_windows.py:here
""")
def test_a_negative_padding():
    w = gx.parameter("w", (6, 1, 5, 5))
    return gx.conv2d(images(), w, padding=-1)  # here


@mistake("""\
ShapeError: conv2d: padding is one number, two, or two pairs, not (1, 2, 3)
  at test_windows.py:here
""")
def test_a_padding_of_three_numbers():
    w = gx.parameter("w", (6, 1, 5, 5))
    return gx.conv2d(images(), w, padding=(1, 2, 3))  # here


@mistake("""\
ShapeError: conv2d: same_upper with stride 2 needs a size of numbers, not H
  at test_windows.py:here
  try: give the padding in numbers
""")
def test_same_padding_of_an_open_size_with_a_stride():
    x, w = gx.input("x", ("N", 1, "H", "H")), gx.parameter("w", (6, 1, 5, 5))
    return gx.conv2d(x, w, stride=2, padding="same_upper")  # here


@mistake("""\
ShapeError: conv2d: the stride is at least 1, not (1, 0)
  at test_windows.py:here
""")
def test_a_stride_of_zero():
    w = gx.parameter("w", (6, 1, 5, 5))
    return gx.conv2d(images(), w, stride=(1, 0))  # here


@mistake("""\
ShapeError: max_pool2d: the kernel is a whole number, not None
  at test_windows.py:here
""")
def test_a_kernel_of_none():
    return gx.max_pool2d(images(), None)  # here


@mistake("""\
ShapeError: Conv2d has no option strides
  at test_windows.py:here
  try: stride, padding, dilation, groups, exact are there
""")
def test_an_option_that_there_is_not():
    return gx.nn.Conv2d(6, 5, strides=2)  # here
