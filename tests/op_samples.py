"""Small uses of every op, with the inputs that fit them; tests of ops are driven from here.

Sizes are 0, 1 and small primes, so that no two axes are confused; a new op without a sample fails
`tests/core/test_ops.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

import loop_samples
from fills import Array, Fill, by_dtype, places, repeated_specials, spaced, special, words
from graphc import dims, ir
from graphc.ir import Node, Op, TensorType
from graphc.ops import (
    conv,
    elementwise,
    indexing,
    leaf,
    linear,
    matmul,
    phase,
    pool,
    random,
    reduce,
    scan,
)
from graphc.ops.conv import Window
from graphc.ops.pool import Pool

FLOATS = ("float32", "float64")
NUMBERS = (*FLOATS, "int32", "int64", "uint8", "uint32", "uint64")
EVERY = (*NUMBERS, "bool")
NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Sample:
    """One use of an op.

    Attributes:
        name: the op's name, a dash, what is special.
        build: dtype -> the node; its leaves are the inputs.
        dtypes: what ``build`` takes.
        sizes: sizes of named dimensions, one mapping a run.
        fills: how to fill a leaf, by its name; else by its dtype.
        core_only: no back end sees the op.
    """

    name: str
    build: Callable[[str], Node]
    dtypes: tuple[str, ...] = FLOATS
    sizes: tuple[Mapping[str, int], ...] = (NONE,)
    fills: Mapping[str, Fill] = field(default_factory=dict)
    core_only: bool = False

    @property
    def op(self) -> str:
        return self.name.split("-")[0]

    def leaves(self, node: Node) -> list[Node]:
        """Return the leaves of a built sample, in the order of an argument list."""
        return [n for n in ir.topological([node]) if n.op.name in ("input", "parameter", "state")]

    def inputs(self, node: Node, sizes: Mapping[str, int], seed: int = 0) -> dict[Node, Array]:
        """Return arrays for the leaves: floats that are distinct, nowhere near 0."""
        generator = np.random.default_rng([seed, sum(self.name.encode())])
        found = {}
        for number, node_ in enumerate(self.leaves(node)):
            name = node_.attrs["name"]
            shape = tuple(dims.evaluate(d, sizes) for d in node_.shape)
            fill = self.fills.get(name, by_dtype(node_.dtype, number))
            found[node_] = np.array(
                fill(generator, shape, node_.dtype, sizes), node_.dtype, order="C"
            )
        return found


# ---------------------------------------------------------------- leaves

N, T = dims.symbol("N"), dims.symbol("T")
ANY_N = ({"N": 1}, {"N": 2}, {"N": 5})


def x_(dtype: str, *shape: dims.Dim, name: str = "x") -> Node:
    return leaf.input(name, shape, dtype)


def i_(*shape: dims.Dim, dtype: str = "int64", name: str = "i") -> Node:
    return leaf.input(name, shape, dtype)


LEAVES = (
    Sample("input-matrix", lambda t: x_(t, 2, 3), EVERY),
    Sample("input-symbolic", lambda t: x_(t, N, 3), sizes=ANY_N),
    Sample("parameter-vector", lambda t: leaf.parameter(f"theta_{t}", (3,), t, None)),
    Sample("state-matrix", lambda t: leaf.state(f"state_{t}", (2, 3), t, None), EVERY),
    Sample("constant-vector", lambda t: leaf.constant([0, 1, 3], t), EVERY),
    Sample("constant-special", lambda t: leaf.constant(special(t)), EVERY),
    Sample("constant-long", lambda t: leaf.constant(np.arange(100) * 0.25, t)),
    Sample("constant-empty", lambda t: leaf.constant(np.zeros((0, 3)), t)),
    Sample("size-symbolic", lambda t: leaf.size(N * T + 1, t), NUMBERS, ({"N": 3, "T": 5},)),
    Sample("iota-static", lambda t: leaf.iota(5, t), NUMBERS),
    Sample("iota-symbolic", lambda t: leaf.iota(2 * N, t), NUMBERS, ANY_N),
)

# ---------------------------------------------------------------- movement


def _move(name: str, build: Callable[[Node], Node], *shape: dims.Dim, **more: Any) -> Sample:
    return Sample(name, lambda t: build(x_(t, *shape)), more.pop("dtypes", FLOATS), **more)


MOVEMENT = (
    _move("reshape-merge", lambda x: linear.reshape(x, (6, 5)), 2, 3, 5, dtypes=EVERY),
    _move("reshape-split", lambda x: linear.reshape(x, (N, 2, 3)), N, 6, sizes=ANY_N),
    _move("reshape-symbolic", lambda x: linear.reshape(x, (3 * N,)), N, 3, sizes=ANY_N),
    _move("reshape-scalar", lambda x: linear.reshape(x, ()), 1, 1),
    _move("reshape-empty", lambda x: linear.reshape(x, (5, 0)), 0, 3),
    _move("transpose-matrix", lambda x: linear.transpose(x, (1, 0)), N, 3, sizes=ANY_N),
    _move("transpose-cycle", lambda x: linear.transpose(x, (2, 0, 1)), 2, 3, 5, dtypes=EVERY),
    _move("transpose-images", lambda x: linear.transpose(x, (0, 2, 3, 1)), 2, 3, 1, 5),
    _move("transpose-empty", lambda x: linear.transpose(x, (1, 0)), 0, 3),
    _move("broadcast_to-scalar", lambda x: linear.broadcast_to(x, (2, 3)), dtypes=EVERY),
    _move("broadcast_to-lead", lambda x: linear.broadcast_to(x, (N, 3)), 3, sizes=ANY_N),
    _move("broadcast_to-inner", lambda x: linear.broadcast_to(x, (2, 5, 3)), 2, 1, 3),
    _move("broadcast_to-both", lambda x: linear.broadcast_to(x, (2, N, 3)), 1, 3, sizes=ANY_N),
    _move("broadcast_to-empty", lambda x: linear.broadcast_to(x, (0, 3)), 1, 3),
    _move("slice-box", lambda x: linear.slice(x, (1, 0), (2, 3)), 5, 3, dtypes=EVERY),
    _move("slice-steps", lambda x: linear.slice(x, (1, 2), (3, 2), (2, 3)), 7, 7),
    _move("slice-tail", lambda x: linear.slice(x, (N - 1, 0), (1, 3)), N, 3, sizes=ANY_N),
    _move("slice-nothing", lambda x: linear.slice(x, (2, 0), (0, 3)), 5, 3),
    _move("slice-symbolic", lambda x: linear.slice(x, (0, 1), (N, 1)), 2 * N, 3, sizes=ANY_N),
    _move("pad-sides", lambda x: linear.pad(x, (1, 0), (2, 3)), 2, 3, dtypes=NUMBERS),
    _move("pad-value", lambda x: linear.pad(x, (1, 0), (2, 3), value=1.5), N, 3, sizes=ANY_N),
    _move("pad-infinity", lambda x: linear.pad(x, (1,), (1,), value=-math.inf), 3),
    _move("pad-interior", lambda x: linear.pad(x, (1, 0), (0, 2), (2, 1)), 3, 2),
    _move("pad-symbolic", lambda x: linear.pad(x, (N, 0), (1, 0), (1, 0)), N, 2, sizes=ANY_N),
    _move("pad-empty", lambda x: linear.pad(x, (1, 0), (2, 0), (3, 0)), 0, 2),
    _move("flip-rows", lambda x: linear.flip(x, (0,)), N, 3, sizes=ANY_N),
    _move("flip-both", lambda x: linear.flip(x, (0, 2)), 2, 3, 5, dtypes=EVERY),
    _move("flip-empty", lambda x: linear.flip(x, (0,)), 0, 3),
)


def _joined(t: str, axis: int, *shapes: tuple[dims.Dim, ...]) -> Node:
    parts = [x_(t, *shape, name=f"x{k}") for k, shape in enumerate(shapes)]
    return linear.concatenate(parts, axis)


def _twice(t: str) -> Node:
    x = x_(t, 2, 3)
    return linear.concatenate([x, x], 1)


JOINING = (
    Sample("concatenate-rows", lambda t: _joined(t, 0, (2, 3), (5, 3), (1, 3)), EVERY),
    Sample("concatenate-symbolic", lambda t: _joined(t, 1, (2, N), (2, 3)), sizes=ANY_N),
    Sample("concatenate-symbols", lambda t: _joined(t, 0, (N, 2), (N, 2)), sizes=ANY_N),
    Sample("concatenate-middle", lambda t: _joined(t, 1, (2, 1, 3), (2, 2, 3))),
    Sample("concatenate-empty", lambda t: _joined(t, 0, (0, 3), (2, 3))),
    Sample("concatenate-itself", _twice),
)


CASTS = (
    *(
        Sample(
            f"cast-{source}",
            lambda t, source=source: linear.cast(x_(source, 32), t),
            tuple(t for t in EVERY if t != source),
            fills={"x": repeated_specials},
        )
        for source in EVERY
    ),
    Sample("cast-narrow", lambda t: linear.cast(x_("float64", N, 3), t), ("float32",), ANY_N),
    Sample("cast-wide", lambda t: linear.cast(x_("float32", N, 3), t), ("float64",), ANY_N),
)

# ---------------------------------------------------------------- elementwise

_POSITIVE = spaced(0.2, 3.0)
_DOMAINS: dict[str, dict[str, Fill]] = {
    "log": {"x": _POSITIVE},
    "log1p": {"x": spaced(-0.8, 3.0)},
    "sqrt": {"x": _POSITIVE},
    "pow": {"x0": _POSITIVE},
    "reciprocal": {"x": _POSITIVE},
    "divide": {"x1": _POSITIVE},
    "remainder": {"x1": spaced(2.1, 3.0)},
    "floor_divide": {"x1": spaced(2.1, 3.0)},
}
_WHOLE = (
    *("add", "subtract", "multiply", "negative", "square", "floor_divide", "remainder"),
    *("equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "where"),
    *("maximum", "minimum", "abs", "sign", "relu"),
)
_CLAIMS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
_LOGICAL = ("logical_and", "logical_or", "logical_not")


def dtypes_of(name: str) -> tuple[str, ...]:
    """Return the dtypes that a formula's (last) arguments may have."""
    if name in _LOGICAL:
        return ("bool",)
    if name in (*_CLAIMS, "where"):
        return EVERY
    return NUMBERS if name in _WHOLE else FLOATS


def applied(made: elementwise.Formula, dtype: str, shape: tuple[dims.Dim, ...]) -> Node:
    """Return a formula applied to leaves of its own; the first of ``where`` is a condition."""
    chooses = made.name == "where"
    arguments = [
        x_("bool" if chooses and k == 0 else dtype, *shape, name=str(symbol))
        for k, symbol in enumerate(made.arguments)
    ]
    return elementwise.apply(made, *arguments)


def _formula_sample(made: elementwise.Formula, shape: tuple[dims.Dim, ...], more: str) -> Sample:
    return Sample(
        f"elementwise-{made.name}{more}",
        lambda t: applied(made, t, shape),
        dtypes_of(made.name),
        sizes=ANY_N if N in shape else (NONE,),
        fills=_DOMAINS.get(made.name, {}),
    )


FORMULAS = (
    *(_formula_sample(f, (2, 7), "") for f in elementwise.FORMULAS.values()),
    *(
        _formula_sample(elementwise.FORMULAS[f], shape, more)
        for f in ("add", "where", "gelu", "less")
        for shape, more in (((N, 3), "-symbolic"), ((), "-scalar"), ((0, 3), "-empty"))
    ),
)

# ---------------------------------------------------------------- reductions


def _reduce(name: str, make: Any, axes: Any, *shape: dims.Dim, **more: Any) -> Sample:
    return _move(name, lambda x: make(x, axes), *shape, **more)


REDUCTIONS = (
    _reduce("sum-all", linear.sum, (0, 1), 3, 5, dtypes=NUMBERS),
    _reduce("sum-last", linear.sum, (1,), N, 7, sizes=ANY_N),
    _reduce("sum-first", linear.sum, (0,), N, 3, sizes=ANY_N),
    _reduce("sum-outer", linear.sum, (0, 2), 2, 3, 5),
    _reduce("sum-images", linear.sum, (0, 2, 3), 2, 3, 2, 5),
    _reduce("sum-unit", linear.sum, (1,), 3, 1),
    _reduce("sum-empty", linear.sum, (0,), 0, 3),
    _reduce("sum-long", linear.sum, (0,), 257),
    _reduce("mean-all", reduce.mean, (0, 1), 3, 5),
    _reduce("mean-symbolic", reduce.mean, (0,), N, 3, sizes=ANY_N),
    _reduce("mean-middle", reduce.mean, (1,), 2, 7, 3),
    _reduce("mean-nothing", reduce.mean, (0,), 0, 3),
    _reduce("max-all", reduce.max, (0, 1), 3, 5, dtypes=NUMBERS),
    _reduce("max-last", reduce.max, (1,), N, 7, sizes=ANY_N),
    _reduce("max-first", reduce.max, (0,), 7, 3),
    _reduce("max-outer", reduce.max, (0, 2), 2, 3, 5),
    _reduce("max-no_rows", reduce.max, (1,), 0, 3),
    _reduce("argmax-last", reduce.argmax, 1, N, 7, sizes=ANY_N),
    _reduce("argmax-first", reduce.argmax, 0, 5, 3, dtypes=NUMBERS),
    _reduce("argmax-middle", reduce.argmax, 1, 2, 5, 3),
    _reduce("argmax-no_rows", reduce.argmax, 1, 0, 3),
    _reduce("logsumexp-last", reduce.logsumexp, (1,), N, 7, sizes=ANY_N),
    _reduce("logsumexp-all", reduce.logsumexp, (0, 1), 3, 5),
    _reduce("logsumexp-first", reduce.logsumexp, (0,), 5, 3),
    _reduce("logsumexp-no_axis", reduce.logsumexp, (), 5),
    _reduce("logsumexp-nothing", reduce.logsumexp, (0,), 0, 3),
    _reduce("logsumexp-large", reduce.logsumexp, (1,), 2, 5, fills={"x": spaced(-900, 900)}),
)

# ---------------------------------------------------------------- products


def _product(name: str, a: Any, b: Any, **more: Any) -> Sample:
    def build(t: str) -> Node:
        return matmul.matmul(x_(t, *a, name="a"), x_(t, *b, name="b"))

    return Sample(f"matmul-{name}", build, **more)


def _square(t: str) -> Node:
    x = x_(t, 3, 3)
    return matmul.matmul(x, x)


PRODUCTS = (
    _product("matrices", (2, 3), (3, 5), dtypes=NUMBERS),
    _product("symbolic", (N, 7), (7, 3), sizes=ANY_N),
    _product("inner", (3, N), (N, 2), sizes=ANY_N),
    _product("row", (1, 5), (5, 3)),
    _product("column", (5, 3), (3, 1)),
    _product("outer", (3, 1), (1, 5)),
    _product("stack", (2, 2, 3), (2, 3, 5)),
    _product("stacks", (2, N, 2, 3), (2, N, 3, 1), sizes=ANY_N),
    _product("no_inner", (2, 0), (0, 3)),
    _product("no_rows", (0, 3), (3, 2)),
    _product("tile", (17, 19), (19, 37)),
    Sample("matmul-itself", _square),
)

_WINDOWS: tuple[tuple[str, tuple[dims.Dim, ...], tuple[int, ...], Window], ...] = (
    ("plain", (2, 2, 5, 4), (3, 2, 3, 2), Window()),
    ("one", (1, 1, 1, 1), (1, 1, 1, 1), Window()),
    ("pointwise", (2, 3, 2, 3), (5, 3, 1, 1), Window()),
    ("padding", (N, 1, 3, 4), (2, 1, 3, 3), Window(padding=((1, 1), (1, 1)))),
    ("uneven", (1, 2, 3, 3), (1, 2, 2, 3), Window(padding=((0, 1), (2, 0)))),
    ("stride", (1, 2, 7, 6), (2, 2, 3, 2), Window(stride=(2, 3))),
    ("remainder", (1, 1, 6, 8), (2, 1, 3, 3), Window(stride=(2, 2), padding=((0, 1), (1, 0)))),
    ("dilation", (1, 2, 6, 5), (2, 2, 2, 3), Window(dilation=(3, 2), padding=((0, 0), (1, 1)))),
    ("groups", (2, 4, 3, 3), (6, 2, 2, 2), Window(groups=2)),
    ("depthwise", (1, 3, 4, 4), (3, 1, 3, 3), Window(groups=3, padding=((1, 1), (1, 1)))),
    (
        "everything",
        (N, 4, 7, 8),
        (4, 2, 2, 3),
        Window((2, 3), ((1, 0), (2, 1)), (2, 2), 2),
    ),
    ("width", (1, 1, 3, N + 2), (1, 1, 2, 3), Window(stride=(1, 2))),
    ("skips", (1, 1, 7, 7), (1, 1, 1, 1), Window(stride=(3, 2))),
    ("no_images", (0, 1, 3, 3), (2, 1, 2, 2), Window()),
)


def _conv_samples() -> list[Sample]:
    found = []
    for name, x_shape, w_shape, win in _WINDOWS:
        sizes = ANY_N if dims.names(x_shape) else (NONE,)

        def output(t: str, x_shape: Any = x_shape, w_shape: Any = w_shape, win: Any = win) -> Node:
            return conv.conv2d(x_(t, *x_shape), x_(t, *w_shape, name="w"), win)

        def images(
            t: str,
            x_shape: Any = x_shape,
            w_shape: Any = w_shape,
            win: Any = win,
            output: Any = output,
        ) -> Node:
            g = x_(t, *output(t).shape, name="g")
            return conv.conv2d_input_adjoint(g, x_(t, *w_shape, name="w"), x_shape[2:], win)

        def filters(
            t: str,
            x_shape: Any = x_shape,
            w_shape: Any = w_shape,
            win: Any = win,
            output: Any = output,
        ) -> Node:
            g = x_(t, *output(t).shape, name="g")
            return conv.conv2d_filter_adjoint(x_(t, *x_shape), g, w_shape[2:], win)

        found.append(Sample(f"conv2d-{name}", output, sizes=sizes))
        found.append(Sample(f"conv2d_input_adjoint-{name}", images, sizes=sizes))
        found.append(Sample(f"conv2d_filter_adjoint-{name}", filters, sizes=sizes))
    return found


CONVOLUTIONS = tuple(_conv_samples())

# ---------------------------------------------------------------- pools

_P = ((1, 1), (1, 1))
_POOLS: tuple[tuple[str, tuple[dims.Dim, ...], Pool], ...] = (
    ("plain", (2, 2, 4, 6), Pool((2, 2), (2, 2))),
    ("one", (1, 1, 1, 1), Pool((1, 1), (1, 1))),
    ("overlap", (1, 2, 5, 4), Pool((3, 2), (1, 1))),
    ("global", (N, 3, 3, 2), Pool((3, 2), (3, 2))),
    ("remainder", (1, 1, 5, 7), Pool((2, 2), (2, 2))),
    ("padding", (N, 1, 4, 3), Pool((3, 3), (2, 2), _P)),
    ("uneven", (1, 1, 4, 3), Pool((3, 3), (2, 1), ((0, 2), (1, 0)))),
    ("ceil", (1, 2, 5, 6), Pool((2, 3), (2, 2), ceil_mode=True)),
    ("ceil_padding", (1, 1, 4, 6), Pool((3, 3), (2, 3), _P, ceil_mode=True)),
    ("ceil_drops", (1, 1, 3, 4), Pool((2, 2), (3, 3), ((0, 1), (0, 1)), ceil_mode=True)),
    ("real", (1, 2, 4, 3), Pool((3, 3), (2, 2), _P, count_include_pad=False)),
    ("real_ceil", (1, 1, 4, 6), Pool((3, 3), (2, 3), _P, True, False)),
    ("gaps", (1, 1, 7, 5), Pool((1, 2), (3, 3))),
    ("width", (1, 1, 3, N + 3), Pool((2, 3), (1, 2), ((0, 0), (1, 1)))),
    ("ceil_width", (1, 1, 3, N + 2), Pool((2, 2), (1, 3), ((0, 0), (0, 1)), ceil_mode=True)),
    ("ceil_symbolic", (1, 1, 2, N), Pool((1, 1), (1, 3), ceil_mode=True)),
    ("no_images", (0, 1, 3, 3), Pool((2, 2), (1, 1))),
)


def _pool_samples() -> list[Sample]:
    found = []
    for name, shape, window in _POOLS:
        sizes = ({"N": 1}, {"N": 2}, {"N": 3}, {"N": 4}) if dims.names(shape) else (NONE,)

        def add(
            op: str,
            build: Callable[[Node, Node, Node], Node],
            shape: Any = shape,
            window: Any = window,
            name: str = name,
            sizes: Any = sizes,
        ) -> None:
            def made(t: str) -> Node:
                x = x_(t, *shape)
                g = x_(t, *pool.max_pool2d(x, window).shape, name="g")
                return build(x, g, x_(t, *shape, name="v"))

            found.append(Sample(f"{op}-{name}", made, sizes=sizes))

        add("max_pool2d", lambda x, g, v, p=window: pool.max_pool2d(x, p))
        add("max_pool2d_adjoint", lambda x, g, v, p=window: pool.max_pool2d_adjoint(x, g, p))
        add("max_pool2d_select", lambda x, g, v, p=window: pool.max_pool2d_select(x, v, p))
        add("avg_pool2d", lambda x, g, v, p=window: pool.avg_pool2d(x, p))
        add(
            "avg_pool2d_adjoint",
            lambda x, g, v, p=window: pool.avg_pool2d_adjoint(g, x.shape[2:], p),
        )
    return found


POOLS = tuple(_pool_samples())

# ---------------------------------------------------------------- places


def _scattered(t: str, base: Any, index: Any, axis: int, dtype: str = "int64") -> Node:
    values = (*base[:axis], *index, *base[axis + 1 :])
    x, v = x_(t, *base), x_(t, *values, name="v")
    return indexing.scatter_add(x, i_(*index, dtype=dtype), v, axis)


def _empty_table(t: str) -> Node:
    return indexing.take(x_(t, 0, 3), i_(0), 0)


PLACES = (
    Sample("take-rows", lambda t: indexing.take(x_(t, 5, 3), i_(7)), EVERY, fills={"i": places(5)}),
    Sample(
        "take-axis",
        lambda t: indexing.take(x_(t, 2, 5, 3), i_(2, 2, dtype="int32"), 1),
        fills={"i": places(5)},
    ),
    Sample("take-scalar", lambda t: indexing.take(x_(t, 3, 2), i_(), 1), fills={"i": places(2)}),
    Sample(
        "take-symbolic",
        lambda t: indexing.take(x_(t, N, 2), i_(T)),
        sizes=({"N": 1, "T": 3}, {"N": 5, "T": 2}),
        fills={"i": places("N")},
    ),
    Sample("take-nothing", _empty_table, fills={"i": places(1)}),
    Sample(
        "take-bytes",
        lambda t: indexing.take(x_(t, 5), i_(3, dtype="uint8")),
        fills={"i": places(5)},
    ),
    Sample(
        "scatter_add-rows",
        lambda t: _scattered(t, (5, 3), (7,), 0),
        NUMBERS,
        fills={"i": places(5)},
    ),
    Sample(
        "scatter_add-axis",
        lambda t: _scattered(t, (2, 5, 3), (2, 2), 1, "int32"),
        fills={"i": places(5)},
    ),
    Sample("scatter_add-scalar", lambda t: _scattered(t, (3, 2), (), 1), fills={"i": places(2)}),
    Sample(
        "scatter_add-symbolic",
        lambda t: _scattered(t, (N, 2), (3,), 0),
        sizes=ANY_N,
        fills={"i": places("N")},
    ),
    Sample("scatter_add-nothing", lambda t: _scattered(t, (3, 2), (0,), 0)),
    Sample(
        "pick-rows",
        lambda t: indexing.pick(x_(t, N, 5), i_(N)),
        sizes=ANY_N,
        fills={"i": places(5)},
    ),
    Sample(
        "pick-sequences",
        lambda t: indexing.pick(x_(t, 2, 3, 5), i_(2, 3, dtype="int32")),
        EVERY,
        fills={"i": places(5)},
    ),
    Sample("pick-vector", lambda t: indexing.pick(x_(t, 7), i_()), fills={"i": places(7)}),
    Sample("pick-nothing", lambda t: indexing.pick(x_(t, 0, 3), i_(0))),
    Sample(
        "one_hot-rows",
        lambda t: indexing.one_hot(i_(N), 5, t),
        EVERY,
        ANY_N,
        {"i": places(5)},
    ),
    Sample(
        "one_hot-deep",
        lambda t: indexing.one_hot(i_(2, 3, dtype="uint8"), 2, t),
        fills={"i": places(2)},
    ),
    Sample(
        "one_hot-symbolic",
        lambda t: indexing.one_hot(i_(3), N, t),
        sizes=ANY_N,
        fills={"i": places("N")},
    ),
)

# ---------------------------------------------------------------- random bits


def _bits(shape: tuple[dims.Dim, ...], *, streams: int = 1) -> Callable[[str], Node]:
    def build(t: str) -> Node:
        key = leaf.input("key", (2,), "uint64")
        drawn = [random.random_bits(key, 3 * k, shape, t) for k in range(streams)]
        return drawn[0] if streams == 1 else linear.concatenate(drawn, 0)

    return build


_BITS = ("uint32", "uint64")
DRAWS = (
    Sample("random_bits-block", _bits((4,)), _BITS, fills={"key": words}),
    Sample("random_bits-odd", _bits((7, 3)), _BITS, fills={"key": words}),
    Sample("random_bits-symbolic", _bits((N, 3)), _BITS, ANY_N, {"key": words}),
    Sample("random_bits-scalar", _bits(()), _BITS, fills={"key": words}),
    Sample("random_bits-empty", _bits((0, 2)), _BITS, fills={"key": words}),
    Sample("random_bits-streams", _bits((5,), streams=3), _BITS, fills={"key": words}),
)

# ---------------------------------------------------------------- what core alone sees


def _two_types(inputs: Sequence[Node], attrs: ir.Attrs) -> tuple[TensorType, ...]:
    return (inputs[0].tensor, inputs[0].tensor)


def _two_derivative(
    node: Node, cotangents: ir.Cotangents, differentiate: ir.Differentiate
) -> tuple[Node | None, ...]:
    total, difference = cotangents
    if total is None and difference is None:
        return (None, None)
    if total is None:
        assert difference is not None
        return (difference, elementwise.apply(elementwise.NEGATIVE, difference))
    if difference is None:
        return (total, total)
    return (
        elementwise.apply(elementwise.ADD, total, difference),
        elementwise.apply(elementwise.SUBTRACT, total, difference),
    )


TWO = Op("toy_two", _two_types, _two_derivative, ir.Floats.EXACT, "s = a + b, d = a − b")


def two(a: Node, b: Node) -> Node:
    """Return a toy node of two results: sum and difference."""
    return ir.apply(TWO, (a, b))


TOYS: dict[str, Any] = {
    "toy_two": lambda context, node, inputs: (inputs[0] + inputs[1], inputs[0] - inputs[1])
}


def _updated(t: str) -> Node:
    value, held = x_(t, 2, 3), leaf.state(f"held_{t}", (3,), t, None)
    return phase.with_update(value, held, elementwise.apply(elementwise.NEGATIVE, held))


def _difference(t: str) -> Node:
    return scan.result(two(x_(t, 2, 3, name="a"), x_(t, 2, 3, name="b")), 1)


def _both_results(t: str) -> Node:
    pair = two(x_(t, 2, 3, name="a"), x_(t, 2, 3, name="b"))
    return elementwise.apply(elementwise.MULTIPLY, scan.result(pair, 0), scan.result(pair, 1))


RESOLVED = (
    Sample("phase-forms", lambda t: phase.phase(x_(t, 2, 3), x_(t, 2, 3, name="v")), EVERY),
    Sample("training_only-mark", lambda t: phase.training_only(x_(t, 2, 3))),
    Sample("with_update-state", _updated),
    Sample("stop_gradient-tensor", lambda t: phase.stop_gradient(x_(t, 2, 3)), EVERY),
    Sample("result-one", _difference, core_only=True),
    Sample("result-both", _both_results, core_only=True),
)

ANY_T = ({"T": 1}, {"T": 2}, {"T": 5})
LOOPS = (
    Sample("scan-elman", lambda t: loop_samples.elman(t, 3)),
    Sample("scan-open", lambda t: loop_samples.elman(t, T), sizes=ANY_T),
    Sample("scan-no_steps", lambda t: loop_samples.elman(t, 0)),
    Sample("scan-reverse", lambda t: loop_samples.elman(t, T, reverse=True), sizes=ANY_T),
    Sample("scan-two_carries", lambda t: loop_samples.two_carries(t, T), sizes=ANY_T),
    Sample("scan-nested", lambda t: loop_samples.nested(t, T), sizes=ANY_T),
    Sample("scan-counting", lambda t: loop_samples.counting(T), ("int64",), ANY_T),
)

SAMPLES: tuple[Sample, ...] = (
    *(*LEAVES, *MOVEMENT, *JOINING, *CASTS, *FORMULAS, *REDUCTIONS, *PRODUCTS, *CONVOLUTIONS),
    *(*POOLS, *PLACES, *DRAWS, *RESOLVED, *LOOPS),
)


def label(value: object) -> str | None:
    """Return the test id of a sample."""
    return value.name if isinstance(value, Sample) else None
