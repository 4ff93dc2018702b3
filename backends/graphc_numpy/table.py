"""How each op reads in NumPy: one emitter an op, keyed by the op's name.

An emitter takes a node and the body that it stands in and returns an expression. Elementwise
formulas stand in `expression`, what the runtime functions do in `runtime`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache

from graphc import dims
from graphc.dims import Dim, Shape
from graphc.ir import FLOATS, INTEGERS, Node
from graphc.ops.scalar import Tree, number_dtype
from graphc_numpy import loops
from graphc_numpy.body import Body, Emitter
from graphc_numpy.expression import (
    ATOM,
    PRODUCT,
    Formula,
    Text,
    dtype_text,
    formula_text,
    literal,
    shared,
    strong,
)
from graphc_numpy.names import quoted


def _of(text: str, *parts: Text, level: int = ATOM, view: bool = False) -> Text:
    """Return a text that holds some expressions."""
    return Text(text, level, depth=1 + max((p.depth for p in parts), default=0), view=view)


def _method(node: Node, body: Body, call: str) -> Text:
    """Return a method's call on a node's first input."""
    x = body.text(node.inputs[0])
    return _of(f"{x.at(ATOM)}.{call}", x)


# ---------------------------------------------------------------- leaves


def _constant(node: Node, body: Body) -> Text:
    value = node.attrs["value"]
    return (
        literal(value.item(), node.dtype) if value.ndim == 0 else Text(body.module.constant(node))
    )


def _size(node: Node, body: Body) -> Text:
    n = body.size(node.attrs["dim"])
    if node.dtype in (*FLOATS, "int64"):
        return Text(f"({n})" if " " in n else n, weak=True)
    return Text(f"np.int64({n}).astype({dtype_text(node.dtype)})", depth=1)


def _iota(node: Node, body: Body) -> Text:
    n = body.size(node.attrs["length"])
    if node.dtype == "int64":
        return Text(f"np.arange({n}, dtype=np.int64)", depth=1)
    return Text(f"np.arange({n}).astype({dtype_text(node.dtype)})", depth=1)


# ---------------------------------------------------------------- movement and casts


def _reshape(node: Node, body: Body) -> Text:
    x = body.text(node.inputs[0])
    index = _unit_axes(node.inputs[0].shape, node.shape)
    if index is not None:
        return _of(f"{x.at(ATOM)}[{index}]", x, view=x.is_name)
    sizes = ", ".join(body.size(d) for d in node.shape) or "()"
    return _of(f"{x.at(ATOM)}.reshape({sizes})", x)


def _unit_axes(source: Shape, target: Shape) -> str | None:
    """Return the index that puts axes of length 1 in, or takes them out; None for all else."""
    if len(target) > len(source):
        rest, parts = list(source), []
        for d in target:
            if rest and rest[0] == d:
                parts.append(":")
                rest.pop(0)
            elif d == 1:
                parts.append("None")
            else:
                return None
        return None if rest else _trimmed(parts)
    if target and target == tuple(d for d in source if d != 1):
        return _trimmed(["0" if d == 1 else ":" for d in source])
    return None


def _trimmed(parts: list[str]) -> str:
    while parts[-1] == ":":
        parts.pop()
    return ", ".join(parts)


def _transpose(node: Node, body: Body) -> Text:
    x = body.text(node.inputs[0])
    axes: tuple[int, ...] = node.attrs["axes"]
    rank = len(axes)
    if axes == (1, 0):
        call = "T"
    elif axes == (*range(rank - 2), rank - 1, rank - 2):
        call = "swapaxes(-1, -2)"
    else:
        call = f"transpose{axes}"
    return _of(f"{x.at(ATOM)}.{call}", x, view=x.is_name)


def _broadcast_to(node: Node, body: Body) -> Text:
    x = body.text(node.inputs[0])
    return _of(f"np.broadcast_to({x.text}, {body.shape(node.shape)})", x)


def _slice(node: Node, body: Body) -> Text:
    x = body.text(node.inputs[0])
    rows = zip(
        node.inputs[0].shape, node.attrs["start"], node.shape, node.attrs["step"], strict=True
    )
    parts = [_range(body, *row) for row in rows]
    index = _trimmed(parts) if any(p != ":" for p in parts) else "..."
    return _of(f"{x.at(ATOM)}[{index}]", x, view=x.is_name)


def _range(body: Body, extent: Dim, start: Dim, count: Dim, step: int) -> str:
    # Ending a whole step behind the last element is right for no elements, too.
    stop = dims.add(start, dims.multiply(count, step))
    low = "" if start == 0 else body.size(start)
    high = body.size(stop) if count == 0 or not dims.at_least(stop, extent) else ""
    return f"{low}:{high}" + (f":{step}" if step != 1 else "")


def _pad(node: Node, body: Body) -> Text:
    x = body.text(node.inputs[0])
    low, high = body.shape(node.attrs["low"]), body.shape(node.attrs["high"])
    value = literal(node.attrs["value"], node.dtype).text
    return body.call("pad", x.text, low, high, str(node.attrs["interior"]), value)


def _flip(node: Node, body: Body) -> Text:
    x = body.text(node.inputs[0])
    return _of(f"np.flip({x.text}, {_axes(node.attrs['axes'])})", x)


def _concatenate(node: Node, body: Body) -> Text:
    parts = [body.text(x) for x in node.inputs]
    joined = ", ".join(p.text for p in parts)
    return _of(f"np.concatenate([{joined}], axis={node.attrs['axis']})", *parts)


def _cast(node: Node, body: Body) -> Text:
    if node.inputs[0].dtype in FLOATS and node.dtype in INTEGERS:
        return body.call("to_integer", body.text(node.inputs[0]).text, dtype_text(node.dtype))
    return _method(node, body, f"astype({dtype_text(node.dtype)})")


# ---------------------------------------------------------------- elementwise


def _elementwise(node: Node, body: Body) -> Text:
    made = _shared(node.attrs["formula"].tree)
    reads = [made.reads(i) for i in range(len(node.inputs))]
    sources = [_unrepeated(x) for x in node.inputs]
    read = [i for i, count in enumerate(reads) if count]
    if not _fill([sources[i].shape for i in read], node.shape):
        for i in read[:1]:
            sources[i] = node.inputs[i]
    arguments: list[Text | None] = [None] * len(reads)
    for i in read:
        shares = sources[i] is not node.inputs[i] and body.is_shared(node.inputs[i])
        operand = body.repeatable if reads[i] > 1 or shares else body.operand
        arguments[i] = operand(sources[i])
    dtypes = [x.dtype for x in node.inputs]
    alone = number_dtype(node.dtype, tuple(dtypes))
    text = formula_text(made, arguments, dtypes, alone, body)
    if read:
        return text
    return _of(f"np.full({body.shape(node.shape)}, {strong(text, node.dtype).text})", text)


@cache
def _shared(tree: Tree) -> Formula:
    return shared(tree)


def _unrepeated(x: Node) -> Node:
    """Return what a node repeats, since NumPy repeats it as well."""
    return x.inputs[0] if x.op.name == "broadcast_to" else x


def _fill(shapes: Sequence[Shape], target: Shape) -> bool:
    """Tell whether NumPy broadcasts tensors of these shapes to all of the target."""
    if max((len(s) for s in shapes), default=-1) < len(target):
        return False
    return all(
        extent == 1 or any(len(s) >= back and s[-back] != 1 for s in shapes)
        for back, extent in enumerate(reversed(target), start=1)
    )


# ---------------------------------------------------------------- reductions and products


def _axes(axes: tuple[int, ...]) -> str:
    return str(axes[0]) if len(axes) == 1 else str(axes)


def _axis(node: Node) -> str:
    """Return the argument that names the axes of a reduction; all need no naming."""
    axes = node.attrs["axes"]
    return "" if len(axes) == len(node.inputs[0].shape) else f"axis={_axes(axes)}"


def _sum(node: Node, body: Body) -> Text:
    # NumPy adds small integers up in a larger type.
    dtype = "" if node.dtype in FLOATS else f"dtype={dtype_text(node.dtype)}"
    return _method(node, body, f"sum({', '.join(filter(None, (_axis(node), dtype)))})")


def _mean(node: Node, body: Body) -> Text:
    count = dims.size([node.inputs[0].shape[a] for a in node.attrs["axes"]])
    if dims.at_least(count, 1):
        return _method(node, body, f"mean({_axis(node)})")
    total = _method(node, body, f"sum({_axis(node)})")  # NumPy warns of the mean of nothing
    return _of(f"{total.text} / ({body.size(count)})", total, level=PRODUCT)


def _max(node: Node, body: Body) -> Text:
    return _method(node, body, f"max({_axis(node)})")


def _argmax(node: Node, body: Body) -> Text:
    return _method(node, body, f"argmax(axis={node.attrs['axis']})")


def _logsumexp(node: Node, body: Body) -> Text:
    x = body.text(node.inputs[0])
    return body.call("logsumexp", x.text, axis=_axes(node.attrs["axes"]))


def _matmul(node: Node, body: Body) -> Text:
    a, b = (body.text(x) for x in node.inputs)
    return _of(f"{a.at(PRODUCT)} @ {b.at(PRODUCT + 1)}", a, b, level=PRODUCT)


# ---------------------------------------------------------------- windows over images

_ONES, _NO_PADDING = (1, 1), ((0, 0), (0, 0))


def _convolution(*more: str) -> Emitter:
    """Return the emitter of a convolution, whose other attributes are ``more``."""

    def emit(node: Node, body: Body) -> Text:
        win = node.attrs["window"]
        inputs = [body.text(x).text for x in node.inputs]
        options = {k: body.shape(node.attrs[k]) for k in more}
        given = {
            "stride": (win.stride, _ONES),
            "padding": (win.padding, _NO_PADDING),
            "dilation": (win.dilation, _ONES),
            "groups": (win.groups, 1),
        }
        options |= {k: str(v) for k, (v, plain) in given.items() if v != plain}
        return body.call(node.op.name, *inputs, **options)

    return emit


def _pool(size: Callable[[Node], Shape] | None) -> Emitter:
    """Return the emitter of a pooling op; ``size`` reads H and W of what it gives, if asked."""

    def emit(node: Node, body: Body) -> Text:
        pool = node.attrs["pool"]
        inputs = [body.text(x).text for x in node.inputs]
        options = {"kernel": str(pool.kernel), "stride": str(pool.stride)}
        if size is not None:
            options["size"] = body.shape(size(node))
        if pool.padding != _NO_PADDING:
            options["padding"] = str(pool.padding)
        if node.op.name.startswith("avg") and not pool.count_include_pad:
            options["count_include_pad"] = "False"
        return body.call(node.op.name, *inputs, **options)

    return emit


def _extent(node: Node) -> Shape:
    return node.shape[2:]


# ---------------------------------------------------------------- indexing and random bits


def _index(node: Node, index: Node, length: Dim, body: Body) -> str:
    """Write the check of an index and return the index as NumPy takes it."""
    text = body.name(index).text
    body.use("check_index")
    where = "None" if node.note.where is None else quoted(node.note.where)
    body.check(f"check_index({text}, {body.size(length)}", f', "{node.op.name}", {where})')
    return f"{text}.astype(np.int64)" if index.dtype == "uint64" else text


def _take(node: Node, body: Body) -> Text:
    x, index = node.inputs
    axis = node.attrs["axis"]
    places = _index(node, index, x.shape[axis], body)
    read = body.text(x)
    return _of(f"np.take({read.text}, {places}, axis={axis})", read)


def _scatter_add(node: Node, body: Body) -> Text:
    base, index, values = node.inputs
    axis = node.attrs["axis"]
    places = _index(node, index, base.shape[axis], body)
    texts = body.text(base).text, places, body.text(values).text
    return body.call("scatter_add", *texts, axis=str(axis))


def _pick(node: Node, body: Body) -> Text:
    x, index = node.inputs
    places = _index(node, index, x.shape[-1], body)
    return body.call("pick", body.text(x).text, places)


def _one_hot(node: Node, body: Body) -> Text:
    depth = node.attrs["depth"]
    places = _index(node, node.inputs[0], depth, body)
    hot = f"({places}[..., None] == np.arange({body.size(depth)}))"
    return Text(f"{hot}.astype({dtype_text(node.dtype)})", depth=1)


def _random_bits(node: Node, body: Body) -> Text:
    key = body.text(node.inputs[0]).text
    shape, dtype = body.shape(node.shape), dtype_text(node.dtype)
    return body.call("random_bits", key, str(node.attrs["stream"]), shape, dtype)


TABLE: Mapping[str, Emitter] = {
    "constant": _constant,
    "size": _size,
    "iota": _iota,
    "reshape": _reshape,
    "transpose": _transpose,
    "broadcast_to": _broadcast_to,
    "slice": _slice,
    "pad": _pad,
    "flip": _flip,
    "concatenate": _concatenate,
    "cast": _cast,
    "elementwise": _elementwise,
    "sum": _sum,
    "mean": _mean,
    "max": _max,
    "argmax": _argmax,
    "logsumexp": _logsumexp,
    "matmul": _matmul,
    "conv2d": _convolution(),
    "conv2d_input_adjoint": _convolution("size"),
    "conv2d_filter_adjoint": _convolution("kernel"),
    "max_pool2d": _pool(_extent),
    "max_pool2d_adjoint": _pool(None),
    "max_pool2d_select": _pool(_extent),
    "avg_pool2d": _pool(_extent),
    "avg_pool2d_adjoint": _pool(_extent),
    "take": _take,
    "scatter_add": _scatter_add,
    "pick": _pick,
    "one_hot": _one_hot,
    "random_bits": _random_bits,
    "scan": loops.scan,
    "result": loops.result,
}
