"""Anything in the place of anything: either it works, or a GraphcError names the user's line."""

# ruff: noqa: PLW0108  (each lambda is the user's line)

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gx
from stub_backend import STUB

x = gx.input("x", ("N", 3))
c = gx.input("c", (3,), dtype="int64")
im = gx.input("im", ("N", 3, 8, 8))
w = gx.parameter("w", (2, 3, 3, 3))
W = gx.parameter("W", (3, 4))
y = gx.input("y", ("N",), dtype="int64")
LOSS = gx.cross_entropy(x @ W, y)
PROGRAM = gx.Program(
    "p",
    predict=gx.function([x], x @ W),
    train=gx.function([x, y], LOSS, updates=gx.sgd(LOSS)),
    sized=gx.function([x], gx.zeros(("T",)) + 1.0),
)
MODULE = gx.compile(PROGRAM, backend=STUB)

ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 10**30, 1.5, float("nan"), 1j, "abc", "", b"x", ..., slice(2)),
    *([], [1, [2, 3]], (1, 2, 3), {"a": 1}, {1, 2}, range(3), [x, x], x, c, im),
    *(np.array(["a"]), np.zeros((2, 3)), np.zeros(0), np.float32(2), np.array(None), np.int64(1)),
    *(object(), len, lambda q: q, int, gx.nn.Dense(2), PROGRAM, MODULE),
)

CALLS: dict[str, Callable[[Any], Any]] = {
    "add": lambda o: x + o,
    "subtract_from": lambda o: o - x,
    "power": lambda o: x**o,
    "matmul": lambda o: x @ o,
    "equal": lambda o: x == o,
    "tanh": lambda o: gx.tanh(o),
    "where": lambda o: gx.where(o, x, o),
    "clip": lambda o: gx.clip(x, o, 1),
    "getitem": lambda o: x[o],
    "getitem_second": lambda o: x[:, o],
    "slice_start": lambda o: x[o:],
    "slice_stop": lambda o: x[:, :o],
    "slice_step": lambda o: x[:, ::o],
    "reshape": lambda o: x.reshape(o),
    "reshape_part": lambda o: x.reshape(3, o),
    "transpose": lambda o: x.transpose(o),
    "flatten": lambda o: x.flatten(o),
    "squeeze": lambda o: x.squeeze(o),
    "astype": lambda o: x.astype(o),
    "named": lambda o: gx.tanh(x).named(o),
    "with_update": lambda o: x.with_update(o),
    "sum": lambda o: x.sum(o),
    "argmax": lambda o: x.argmax(o),
    "softmax": lambda o: x.softmax(o),
    "concatenate": lambda o: gx.concatenate(o),
    "concatenate_axis": lambda o: gx.concatenate([x, x], o),
    "concatenate_item": lambda o: gx.concatenate([x, o]),
    "stack": lambda o: gx.stack(o),
    "split": lambda o: gx.split(x, o, axis=1),
    "pad": lambda o: gx.pad(x, o),
    "pad_width": lambda o: gx.pad(x, (0, o)),
    "pad_value": lambda o: gx.pad(x, (0, 1), o),
    "flip": lambda o: gx.flip(x, o),
    "take": lambda o: gx.take(x, o),
    "one_hot": lambda o: gx.one_hot(c, o),
    "scatter_add": lambda o: gx.scatter_add(x, o, o),
    "arange": lambda o: gx.arange(o),
    "full": lambda o: gx.full((3,), o),
    "zeros": lambda o: gx.zeros(o),
    "zeros_dtype": lambda o: gx.zeros((3,), o),
    "broadcast_to": lambda o: gx.broadcast_to(c, o),
    "conv2d": lambda o: gx.conv2d(o, w),
    "conv2d_bias": lambda o: gx.conv2d(im, w, o),
    "conv2d_stride": lambda o: gx.conv2d(im, w, stride=o),
    "conv2d_padding": lambda o: gx.conv2d(im, w, padding=o),
    "conv2d_paddings": lambda o: gx.conv2d(im, w, padding=(o, 1)),
    "conv2d_dilation": lambda o: gx.conv2d(im, w, dilation=o),
    "conv2d_groups": lambda o: gx.conv2d(im, w, groups=o),
    "max_pool2d": lambda o: gx.max_pool2d(o, 2),
    "max_pool2d_kernel": lambda o: gx.max_pool2d(im, o),
    "avg_pool2d_stride": lambda o: gx.avg_pool2d(im, 2, o),
    "cross_entropy": lambda o: gx.cross_entropy(x, o),
    "cross_entropy_weights": lambda o: gx.cross_entropy(x, y, weights=o),
    "mse": lambda o: gx.mse(x, o),
    "reduction": lambda o: gx.mse(x, x, reduction=o),
    "dropout": lambda o: gx.dropout(x, o),
    "uniform": lambda o: gx.uniform((3,), o, o),
    "normal_shape": lambda o: gx.normal(o),
    "random_bits": lambda o: gx.random_bits((3,), o),
    "dense": lambda o: gx.nn.Dense(o)(x),
    "dense_name": lambda o: gx.nn.Dense(3, name=o)(x),
    "dense_init": lambda o: gx.nn.Dense(3, init=o)(x),
    "dense_input": lambda o: gx.nn.Dense(3)(o),
    "conv2d_layer": lambda o: gx.nn.Conv2d(o, o)(im),
    "conv2d_layer_groups": lambda o: gx.nn.Conv2d(6, 3, groups=o)(im),
    "input": lambda o: gx.input(o, (3,)),
    "input_shape": lambda o: gx.input("a", o),
    "input_dtype": lambda o: gx.input("a", (3,), o),
    "parameter": lambda o: gx.parameter(o, (3,)),
    "parameter_shape": lambda o: gx.parameter("a", o),
    "parameter_init": lambda o: gx.parameter("a", (3,), o),
    "init_constant": lambda o: gx.init.constant(o),
    "init_array": lambda o: gx.init.array(o),
    "init_normal": lambda o: gx.init.normal(o),
    "init_uniform": lambda o: gx.init.uniform(o, o),
    "scope": lambda o: gx.scope(o),
    "default_dtype": lambda o: gx.default_dtype(o),
    "elementwise": lambda o: gx.elementwise("f", o),
    "elementwise_name": lambda o: gx.elementwise(o, lambda q: q),
    "elementwise_value": lambda o: gx.elementwise("f", lambda q: o),
    "elementwise_derivative": lambda o: gx.elementwise("f", lambda q: q * q, o),
    "elementwise_partial": lambda o: gx.elementwise("f", lambda q: q * q, lambda q, v: o),
    "grad": lambda o: gx.grad(o),
    "grad_wrt": lambda o: gx.grad(LOSS, o),
    "grad_disconnected": lambda o: gx.grad(LOSS, disconnected=o),
    "sgd": lambda o: gx.sgd(o),
    "sgd_rate": lambda o: gx.sgd(LOSS, lr=o),
    "sgd_params": lambda o: gx.sgd(LOSS, params=o),
    "sgd_gradient": lambda o: gx.sgd({W: o}),
    "updates": lambda o: gx.sgd(LOSS) | o,
    "find": lambda o: gx.find(o, "x"),
    "find_name": lambda o: gx.find(LOSS, o),
    "replace": lambda o: gx.replace(LOSS, o),
    "replace_by": lambda o: gx.replace(LOSS, {x: o}),
    "inference": lambda o: gx.inference(o),
    "parameters": lambda o: gx.parameters(o),
    "function": lambda o: gx.function(o, x),
    "function_input": lambda o: gx.function([o], x),
    "function_output": lambda o: gx.function([x], o),
    "function_updates": lambda o: gx.function([x], x, o),
    "function_new_value": lambda o: gx.function([x], x, {W: o}),
    "program": lambda o: gx.Program(o, f=gx.function([x], x)),
    "program_functions": lambda o: gx.Program("p", o),
    "program_function": lambda o: gx.Program("p", f=o),
    "compile": lambda o: gx.compile(o, STUB),
    "compile_backend": lambda o: gx.compile(PROGRAM, STUB if o is None else o),
    "compile_dtype": lambda o: gx.compile(PROGRAM, STUB, dtype=o),
    "compile_dims": lambda o: gx.compile(PROGRAM, STUB, dims=o),
    "compile_dim": lambda o: gx.compile(PROGRAM, STUB, dims={"N": o}),
    "compile_tune_for": lambda o: gx.compile(PROGRAM, STUB, tune_for={"N": o}),
    "call": lambda o: MODULE.predict(o),
    "call_index": lambda o: MODULE.train(np.zeros((3, 3)), o),
    "call_dimension": lambda o: MODULE.sized(np.zeros((3, 3)), T=o),
    "state": lambda o: MODULE.state[o],
    "state_value": lambda o: MODULE.state.update({"W": o}),
    "state_update": lambda o: MODULE.state.update(o),
    "init": lambda o: MODULE.init(o),
    "load_only": lambda o: MODULE.load("no-such-file", only=o),
    "evaluate": lambda o: gx.evaluate(o, backend=STUB),
    "evaluate_at": lambda o: gx.evaluate(x, o, backend=STUB),
    "evaluate_value": lambda o: gx.evaluate(x, {"x": o}, backend=STUB),
    "evaluate_seed": lambda o: gx.evaluate(W, seed=o, backend=STUB),
    "check_grads": lambda o: gx.check_grads(o, backend=STUB),
    "check_grads_at": lambda o: gx.check_grads(x.sum(), x, o, backend=STUB),
    "check_grads_value": lambda o: gx.check_grads(LOSS, None, {"y": o}, backend=STUB),
    "check_grads_elements": lambda o: gx.check_grads(x.sum(), x, elements=o, backend=STUB),
    "check_grads_tolerance": lambda o: gx.check_grads(x.sum(), x, tolerance=o, backend=STUB),
    "batches": lambda o: gx.batches(o, size=2),
    "batches_size": lambda o: gx.batches(np.zeros(3), size=o),
    "batches_seed": lambda o: list(gx.batches(np.zeros(3), size=2, seed=o)),
}


def error_of(call: Callable[[Any], Any], odd: Any) -> gx.errors.GraphcError | None:
    """Return the error of a call; what is none of graphc's goes through."""
    try:
        call(odd)
    except gx.errors.GraphcError as error:
        return error
    return None


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_wrong_argument_works_or_is_an_error_at_the_users_line(
    call: Callable[[Any], Any],
) -> None:
    for odd in ODD:
        error = error_of(call, odd)
        if error is not None:
            assert not isinstance(error, gx.errors.InternalError), f"{odd!r:.60}: {error}"
            assert "test_wrong_types.py:" in str(error.where), f"{odd!r:.60}: {error}"
            assert len(error.message) < 200, f"{odd!r:.60}: {error}"
