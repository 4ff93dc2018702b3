"""How each op becomes kernels: a table by op name.

Movement of elements costs nothing where the reader can walk over the source with other strides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphc import dims, ir
from graphc.dims import Dim, Shape
from graphc.ir import Graph, Node, TensorType
from graphc_c import descriptors as d
from graphc_c import expressions
from graphc_c.expressions import Group
from graphc_c.lowering import Lowering, Value, collapsed
from graphc_c.plan import Buffer, Names, View, Work, row_major, whole

# ---------------------------------------------------------------- leaves and movement


def _constant(low: Lowering, node: Node) -> View | Group:
    value = node.attrs["value"]
    if value.ndim == 0:
        return Group(expressions.number(value.item(), node.dtype))
    return low.constant(value)


def _size(low: Lowering, node: Node) -> Group:
    return Group(d.Extent(node.attrs["dim"], node.dtype))


def _iota(low: Lowering, node: Node) -> View:
    out, names = whole(Buffer(node.tensor)), Names()
    low.add(node, d.Iota(node.dtype, names.own(node.shape[0])), names, (), (out,))
    return out


def _moving(move: Callable[[Lowering, Node], View]) -> Callable[[Lowering, Node], View | Group]:
    """Let movement of one repeated number be that number."""

    def lowered(low: Lowering, node: Node) -> View | Group:
        value = low.group(node.inputs[0])
        return move(low, node) if value.views else value

    return lowered


def _reshape(low: Lowering, node: Node) -> View:
    view = low.contiguous(node.inputs[0])
    return View(view.buffer, view.offset, node.shape, row_major(node.shape))


def _transpose(low: Lowering, node: Node) -> View:
    view = low.view(node.inputs[0])
    strides = tuple(view.strides[a] for a in node.attrs["axes"])
    return View(view.buffer, view.offset, node.shape, strides)


def _broadcast_to(low: Lowering, node: Node) -> View:
    view = low.view(node.inputs[0])
    lead = len(node.shape) - len(view.shape)
    strides: list[Dim] = [0] * lead
    for extent, stride in zip(view.shape, view.strides, strict=True):
        strides.append(0 if extent == 1 else stride)
    return View(view.buffer, view.offset, node.shape, tuple(strides))


def _slice(low: Lowering, node: Node) -> View:
    view = low.view(node.inputs[0])
    return _box(view, node.attrs["start"], node.shape, node.attrs["step"])


def _box(view: View, start: Sequence[Dim], shape: Shape, step: Sequence[int]) -> View:
    moved = [dims.multiply(a, s) for a, s in zip(start, view.strides, strict=True)]
    strides = tuple(dims.multiply(k, s) for k, s in zip(step, view.strides, strict=True))
    return View(view.buffer, dims.add(view.offset, *moved), shape, strides)


def _flip(low: Lowering, node: Node) -> View:
    view = low.view(node.inputs[0])
    offset, strides = view.offset, list(view.strides)
    for axis in node.attrs["axes"]:
        last = dims.add(view.shape[axis], -1) if view.shape[axis] != 0 else 0
        offset = dims.add(offset, dims.multiply(last, strides[axis]))
        strides[axis] = dims.multiply(-1, strides[axis])
    return View(view.buffer, offset, view.shape, tuple(strides))


def _pad(low: Lowering, node: Node) -> View:
    out = whole(Buffer(node.tensor))
    fill = Group(expressions.number(node.attrs["value"], node.dtype))
    low.compute(node, fill, out)
    x = node.inputs[0]
    steps = [i + 1 for i in node.attrs["interior"]]
    low.compute(node, low.group(x), _box(out, node.attrs["low"], x.shape, steps))
    return out


def _concatenate(low: Lowering, node: Node) -> View:
    out = whole(Buffer(node.tensor))
    axis, offset = node.attrs["axis"], dims.add(0)
    for x in node.inputs:
        start = [offset if i == axis else 0 for i in range(len(x.shape))]
        low.compute(node, low.group(x), _box(out, start, x.shape, [1] * len(x.shape)))
        offset = dims.add(offset, x.shape[axis])
    return out


# ---------------------------------------------------------------- elementwise and reductions


def _elementwise(low: Lowering, node: Node) -> View | Group:
    made = expressions.grouped(node, [low.group(n) for n in node.inputs])
    if made is not None:
        return made
    return expressions.over(node, [expressions.read(low.view(n)) for n in node.inputs])


def _reduction(low: Lowering, node: Node) -> View:
    view = low.view(node.inputs[0])
    axes = node.attrs["axes"] if "axes" in node.attrs else (node.attrs["axis"],)
    kept = [i for i in range(len(view.shape)) if i not in axes]
    reduced = _walk(view, axes)
    if len(reduced[0]) > 1 and node.op.name not in ("sum", "mean"):
        order = (*kept, *axes)
        shape = tuple(view.shape[a] for a in order)
        turned = View(view.buffer, view.offset, shape, tuple(view.strides[a] for a in order))
        view = low.copied(node, turned)
        kept = list(range(len(kept)))
        reduced = _walk(view, tuple(range(len(kept), len(shape))))
    space = _walk(view, kept)
    out, names = whole(Buffer(node.tensor)), Names()
    descriptor = d.Reduction(
        node.op.name,
        view.dtype,
        names.owns(space[0]),
        names.owns(space[1]),
        names.owns(reduced[0]),
        names.owns(reduced[1]),
    )
    low.add(node, descriptor, names, (view,), (out,))
    return out


def _walk(view: View, axes: Sequence[int]) -> tuple[Shape, tuple[Dim, ...]]:
    """Return extents and strides of some axes, joined where they are one walk."""
    shape = tuple(view.shape[a] for a in axes)
    extents, walks = collapsed(shape, [tuple(view.strides[a] for a in axes)])
    return extents, walks[0]


# ---------------------------------------------------------------- contractions


def _matmul(low: Lowering, node: Node) -> View:
    a, b = (low.view(n) for n in node.inputs)
    out, names = whole(Buffer(node.tensor)), Names()
    m, n, k = node.shape[-2], node.shape[-1], a.shape[-1]
    descriptor = d.Matmul(
        node.dtype,
        names.owns(node.shape[:-2]),
        (names.own(m), names.own(n), names.own(k)),
        names.owns(a.strides),
        names.owns(b.strides),
    )
    writes = [out]
    if node.tensor.is_float:
        writes.append(_work(node, Work(f"gemm_work_{_suffix(node)}", (m, n, k))))
    low.add(node, descriptor, names, (a, b), writes)
    return out


def _work(node: Node, work: Work) -> View:
    return whole(Buffer(TensorType(node.dtype, ()), work=work))


def _suffix(node: Node) -> str:
    return {"float32": "f32", "float64": "f64"}[node.dtype]


def _convolution(low: Lowering, node: Node) -> View:
    images, filters, result = {
        "conv2d": (node.inputs[0], node.inputs[-1], node),
        "conv2d_input_adjoint": (node, node.inputs[-1], node.inputs[0]),
        "conv2d_filter_adjoint": (node.inputs[0], node, node.inputs[-1]),
    }[node.op.name]
    win = node.attrs["window"]
    shape: dict[str, Dim] = dict(zip("nchw", images.shape, strict=True))
    shape |= {"m": filters.shape[0], "kh": filters.shape[2], "kw": filters.shape[3]}
    shape |= {"oh": result.shape[2], "ow": result.shape[3]}
    shape |= {"sh": win.stride[0], "sw": win.stride[1]}
    shape |= {"pt": win.padding[0][0], "pl": win.padding[1][0]}
    shape |= {"dh": win.dilation[0], "dw": win.dilation[1], "groups": win.groups}
    reads = [low.contiguous(n) for n in node.inputs]
    out, names = whole(Buffer(node.tensor)), Names()
    descriptor = d.Convolution(
        node.op.name, node.dtype, tuple((k, names.own(v)) for k, v in shape.items())
    )
    work = Work(f"conv2d_work_{_suffix(node)}", tuple(shape.values()), "gx_conv2d_shape")
    low.add(node, descriptor, names, reads, (out, _work(node, work)))
    return out


def _pooling(low: Lowering, node: Node) -> View:
    pool = node.attrs["pool"]
    adjoint = node.op.name.endswith("_adjoint")
    images = node if node.op.name == "avg_pool2d_adjoint" else node.inputs[0]
    windows = node.inputs[-1] if adjoint else node
    shape: dict[str, Dim] = {"n": dims.multiply(*images.shape[:2])}
    shape |= {"h": images.shape[2], "w": images.shape[3]}
    shape |= {"kh": pool.kernel[0], "kw": pool.kernel[1]}
    shape |= {"oh": windows.shape[2], "ow": windows.shape[3]}
    shape |= {"sh": pool.stride[0], "sw": pool.stride[1]}
    (top, bottom), (left, right) = pool.padding
    shape |= {"pt": top, "pl": left, "pb": bottom, "pr": right, "dh": 1, "dw": 1}
    shape |= {"include_pad": int(pool.count_include_pad)}
    reads = [low.contiguous(n) for n in node.inputs]
    out, names = whole(Buffer(node.tensor)), Names()
    descriptor = d.Pooling(
        node.op.name, node.dtype, tuple((k, names.own(v)) for k, v in shape.items())
    )
    low.add(node, descriptor, names, reads, (out,))
    return out


# ---------------------------------------------------------------- indices and random numbers


def _take(low: Lowering, node: Node) -> View:
    x, index = node.inputs
    axis = node.attrs["axis"]
    out = whole(Buffer(node.tensor))
    reads = (low.contiguous(x), low.contiguous(index))
    _gather(low, node, index, x.shape, axis, reads, out)
    return out


def _scatter_add(low: Lowering, node: Node) -> View:
    base, index, values = node.inputs
    out = whole(Buffer(node.tensor))
    low.compute(node, low.group(base), out)
    reads = (low.contiguous(values), low.contiguous(index))
    _gather(low, node, index, base.shape, node.attrs["axis"], reads, out)
    return out


def _pick(low: Lowering, node: Node) -> View:
    x, index = node.inputs
    out = whole(Buffer(node.tensor))
    reads = (low.contiguous(x), low.contiguous(index))
    _gather(low, node, index, x.shape, len(x.shape) - 1, reads, out)
    return out


def _one_hot(low: Lowering, node: Node) -> View:
    (index,) = node.inputs
    out = whole(Buffer(node.tensor))
    _gather(low, node, index, node.shape, len(node.shape) - 1, (low.contiguous(index),), out)
    return out


def _gather(
    low: Lowering,
    node: Node,
    index: Node,
    shape: Shape,
    axis: int,
    reads: Sequence[View],
    out: View,
) -> None:
    """Add a kernel that walks over the places of an index along an axis of a shape."""
    names, length = Names(), shape[axis]
    descriptor = d.Gather(
        node.op.name,
        node.dtype,
        index.dtype,
        names.own(dims.size(shape[:axis])),
        names.own(index.tensor.size),
        names.own(length),
        names.own(dims.size(shape[axis + 1 :])),
    )
    low.add(node, descriptor, names, reads, (out,), below=length)


def _random_bits(low: Lowering, node: Node) -> View:
    out, names = whole(Buffer(node.tensor)), Names()
    descriptor = d.RandomBits(node.dtype, node.attrs["stream"], names.own(node.tensor.size))
    low.add(node, descriptor, names, (low.contiguous(node.inputs[0]),), (out,))
    return out


# ---------------------------------------------------------------- loops


def _scan(low: Lowering, node: Node) -> tuple[View, ...]:
    body: Graph = node.attrs["body"]
    c, s, y = (node.attrs[k] for k in ("carries", "sequences", "stacked"))
    results = tuple(whole(Buffer(t)) for t in node.types)
    sequences = [low.view(n) for n in node.inputs[c : c + s]]
    for n, out in zip(node.inputs[:c], results, strict=False):
        low.compute(n, low.group(n), out)
    for out in results[c + y :]:
        low.compute(node, Group(expressions.number(0, out.dtype)), out)
    with low.loop(node, node.attrs["length"], node.attrs["reverse"], body) as position:
        steps = [_step(v, position) for v in sequences]
        low.enter(body.inputs, [*results[:c], *steps], node.inputs[c + s :], position)
        for inner in ir.topological(body.outputs):
            if not low.knows(inner):
                low.keep(inner, LOWERINGS[inner.op.name](low, inner))
        # Every new carry stands beside the old ones before any takes its place.
        new = [low.stored(n, low.group(n)) for n in body.outputs[:c]]
        for n, out in zip(body.outputs[c:], results[c : c + y], strict=False):
            low.compute(n, low.group(n), _step(out, position))
        for n, out in zip(body.outputs[c + y :], results[c + y :], strict=True):
            _accumulate(low, n, out)
        for n, value, out in zip(body.outputs, new, results, strict=False):
            low.compute(n, expressions.read(value), out)
    return results


def _step(view: View, position: Dim) -> View:
    """Return one position of a tensor's first axis."""
    offset = dims.add(view.offset, dims.multiply(position, view.strides[0]))
    return View(view.buffer, offset, view.shape[1:], view.strides[1:])


def _accumulate(low: Lowering, node: Node, total: View) -> None:
    """Add a value to a total, by way of a buffer: a kernel reads nothing that it writes."""
    added = expressions.sum_of(expressions.read(total), low.group(node))
    low.compute(node, expressions.read(low.stored(node, added)), total)


def _result(low: Lowering, node: Node) -> View:
    return low.results(node.inputs[0])[node.attrs["index"]]


LOWERINGS: dict[str, Callable[[Lowering, Node], Value]] = {
    "constant": _constant,
    "size": _size,
    "iota": _iota,
    "reshape": _moving(_reshape),
    "transpose": _moving(_transpose),
    "broadcast_to": _moving(_broadcast_to),
    "slice": _moving(_slice),
    "flip": _moving(_flip),
    "pad": _pad,
    "concatenate": _concatenate,
    "elementwise": _elementwise,
    "cast": _elementwise,
    "sum": _reduction,
    "mean": _reduction,
    "max": _reduction,
    "argmax": _reduction,
    "logsumexp": _reduction,
    "matmul": _matmul,
    "conv2d": _convolution,
    "conv2d_input_adjoint": _convolution,
    "conv2d_filter_adjoint": _convolution,
    "max_pool2d": _pooling,
    "max_pool2d_adjoint": _pooling,
    "max_pool2d_select": _pooling,
    "avg_pool2d": _pooling,
    "avg_pool2d_adjoint": _pooling,
    "take": _take,
    "scatter_add": _scatter_add,
    "pick": _pick,
    "one_hot": _one_hot,
    "random_bits": _random_bits,
    "scan": _scan,
    "result": _result,
}
