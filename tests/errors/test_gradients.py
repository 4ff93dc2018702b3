"""Derivatives that do not exist, and forms that do not fit together."""

from __future__ import annotations

import graphc as gx
from golden import mistake


def network() -> tuple[gx.Tensor, gx.Tensor]:
    """Return an input and a loss over parameters head.W and body.W."""
    x = gx.input("x", ("N", 3))
    with gx.scope("body"):
        h = gx.tanh(x @ gx.parameter("W", (3, 4))).named("h")
    with gx.scope("head"):
        y = h @ gx.parameter("W", (4, 2))
    return x, y.sum()  # sum


@mistake("""\
GradientError: the loss is no scalar: it has the shape [N, 3]
  at test_gradients.py:here
  tanh   float32[N, 3]
  try: reduce it with .sum() or .mean()
""")
def test_a_loss_that_is_no_scalar():
    x, _ = network()
    return gx.grad(gx.tanh(x))  # here


@mistake("""\
GradientError: the loss is int64: only floats have a derivative
  at test_gradients.py:here
""")
def test_a_loss_of_integers():
    i = gx.input("i", ("N",), dtype="int64")
    return gx.grad(i.sum(), i)  # here


@mistake("""\
GradientError: grad derives a tensor, not 0.5
  at test_gradients.py:here
""")
def test_a_loss_that_is_no_tensor():
    return gx.grad(0.5)  # here


@mistake("""\
GradientError: the loss depends on no parameter
  at test_gradients.py:here
  try: say wrt=
""")
def test_a_loss_without_parameters():
    x = gx.input("x", ("N",))
    return gx.grad(x.sum())  # here


@mistake("""\
GradientError: the loss has no gradient by b: no path leads there
  at test_gradients.py:here
  loss   float32[]    test_gradients.py:sum
  b      float32[2]   test_gradients.py:declared
  try: disconnected="zero" gives zeros
""")
def test_wrt_that_is_not_reached():
    _, loss = network()
    b = gx.parameter("b", (2,))  # declared
    return gx.grad(loss, b)  # here


@mistake("""\
GradientError: the loss has no gradient by w: each path passes integers or stop_gradient
  at test_gradients.py:here
  loss   float32[]    test_gradients.py:loss
  w      float32[2]   test_gradients.py:declared
  try: disconnected="zero" gives zeros
""")
def test_wrt_behind_stop_gradient():
    w = gx.parameter("w", (2,))  # declared
    loss = gx.stop_gradient(w).sum()  # loss
    return gx.grad(loss, w)  # here


@mistake("""\
GradientError: the loss has no gradient by w: each path passes integers or stop_gradient
  at test_gradients.py:here
  loss   float32[]    test_gradients.py:loss
  w      float32[2]   test_gradients.py:declared
  try: disconnected="zero" gives zeros
""")
def test_wrt_behind_integers():
    w = gx.parameter("w", (2,))  # declared
    loss = w.astype("int64").astype("float32").sum()  # loss
    return gx.grad(loss, w)  # here


@mistake("""\
DtypeError: i is int64: only floats have a derivative
  at test_gradients.py:here
""")
def test_wrt_of_integers():
    i = gx.input("i", ("N",), dtype="int64")
    loss = (i * 0.5).sum()
    return gx.grad(loss, i)  # here


@mistake("""\
NameClashError: there is nothing called 'head.w'
  at test_gradients.py:here
  try: known are x, body.W, body.h, head.W
""")
def test_wrt_by_a_name_that_there_is_not():
    _, loss = network()
    return gx.grad(loss, "head.w")  # here


@mistake("""\
NameClashError: no name matches 'tail.*'
  at test_gradients.py:here
  try: known are body.W, head.W
""")
def test_wrt_by_a_glob_without_a_match():
    _, loss = network()
    return gx.grad(loss, "tail.*")  # here


@mistake("""\
GradientError: wrt is a tensor, a name, a glob, or a nest of them, not 0
  at test_gradients.py:here
""")
def test_wrt_by_a_number():
    _, loss = network()
    return gx.grad(loss, 0)  # here


@mistake("""\
NameClashError: 'W' is the end of several names
  at test_gradients.py:here
  try: one of body.W, head.W
""")
def test_wrt_by_a_name_of_several():
    _, loss = network()
    return gx.grad(loss, "W")  # here


@mistake("""\
GradientError: disconnected is "raise" or "zero", not 'ignore'
  at test_gradients.py:here
""")
def test_disconnected_by_another_word():
    _, loss = network()
    return gx.grad(loss, disconnected="ignore")  # here


@mistake("""\
NameClashError: there is nothing called 'features'
  at test_gradients.py:here
  try: known are x, body.W, body.h, head.W
""")
def test_a_name_that_find_does_not_find():
    _, loss = network()
    return gx.find(loss, "features")  # here


@mistake("""\
ShapeError: replace: the replacement has another type
  at test_gradients.py:here
  replaced   float32[N, 3]
  by         float32[2, 4]
""")
def test_a_replacement_of_another_type():
    x, loss = network()
    return gx.replace(loss, {x: gx.ones((2, 4))})  # here


@mistake("""\
GraphError: replace: takes a dict with tensors as keys, not (<Tensor x: float32[N, 3]>, <Tensor x: float32[N, 3]>)
  at test_gradients.py:here
""")  # noqa: E501
def test_replacements_that_are_no_dict():
    x, loss = network()
    return gx.replace(loss, (x, x))  # here


@mistake("""\
FormError: function saliency: the test form reaches a derivative of the training form, through a phase
  at test_gradients.py:here
  the phase   float32[N, 3]   test_gradients.py:dropout
  try: write training=True, or derive gx.inference(loss)
""")  # noqa: E501
def test_a_gradient_through_dropout_in_the_test_form():
    x = gx.input("x", ("N", 3))
    w = gx.parameter("w", (3,))
    loss = (gx.dropout(x, 0.5) * w).sum()  # dropout
    return gx.Program("p", saliency=gx.function([x], gx.grad(loss, x)))  # here


@mistake("""\
GradientError: an optimiser takes a loss or gradients by parameter, not [<Tensor sum: float32[]>]
  at test_gradients.py:here
""")
def test_an_optimiser_of_a_list():
    _, loss = network()
    return gx.sgd([loss])  # here


@mistake("""\
GradientError: params= narrows a loss; a dict of gradients is narrow already
  at test_gradients.py:here
""")
def test_params_beside_gradients():
    _, loss = network()
    return gx.sgd(gx.grad(loss), params="head.*")  # here


@mistake("""\
DtypeError: sgd.lr is a number, not '1e-3'
  at test_gradients.py:here
""")
def test_a_learning_rate_that_is_a_text():
    _, loss = network()
    return gx.sgd(loss, lr="1e-3")  # here


@mistake("""\
GradientError: a gradient differs from central differences by 3.3e-01 (relative), more than 1.0e-06
  at test_gradients.py:here
  w   3.3e-01
  try: a kink beside the point (relu at 0) does that too: try another point
""")
def test_a_gradient_of_a_wrong_derivative():
    square = gx.elementwise("square3", lambda x: x * x, derivative=lambda x, y: 3 * x)
    w = gx.parameter("w", (2,), init=2.0)
    return gx.check_grads(square(w).sum(), backend="numpy")  # here


@mistake("""\
GradientError: check_grads moves parameters and inputs, and body.h is computed
  at test_gradients.py:here
  try: gx.replace puts an input in its place
""")
def test_a_check_of_a_computed_tensor():
    _, loss = network()
    return gx.check_grads(loss, gx.find(loss, "h"))  # here


@mistake("""\
CallError: check_grads: y is int64, so it cannot be drawn
  at test_gradients.py:here
  try: at={"y": …}
""")
def test_a_check_without_labels():
    y = gx.input("y", ("N",), dtype="int64")
    logits = gx.nn.Dense(3)(gx.input("x", ("N", 2)))
    return gx.check_grads(gx.cross_entropy(logits, y))  # here
