"""The words on a picture: ops, shapes and numbers, short and safe to print.

Knows single nodes, and nothing of layout.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Shape
from graphc.ir import Node
from graphc.ops import elementwise, leaf, linear
from graphc.render import formulas
from graphc.render.formulas import PRETTY, Term

LONGEST = 44  # characters of a name or of words on a picture
_ELEMENTS = 6  # numbers of an array that are written out
_LETTERS = "abcdefgh"
_SIGNS = {"add": "+", "subtract": "−", "multiply": "×", "divide": "÷"}
_COMMUTATIVE = ("add", "multiply", "equal", "not_equal", "maximum", "minimum")


def printable(text: str) -> str:
    """Return text with all that does not print, line ends too, written as in Python."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def shortened(text: str, longest: int = LONGEST) -> str:
    """Return printable text; of a long one the beginning and the end."""
    head = longest * 2 // 3
    if len(text) > longest:
        text = f"{text[:head]}…{text[head - longest + 1 :]}"
    text = printable(text)
    return text if len(text) <= 2 * longest else text[: 2 * longest] + "…"


def shape_words(shape: Shape) -> str:
    """Return a shape as it is spoken: ``N × 6 × 28 × 28``."""
    return " × ".join(shortened(dims.text(d)) for d in shape) if shape else "scalar"


def type_words(node: Node, usual: str) -> str:
    """Return a node's shape, with the dtype where it is not the usual one."""
    if isinstance(node.type, tuple):
        return f"{len(node.type)} results"
    words = shape_words(node.shape)
    return words if node.dtype == usual else f"{words}  {node.dtype}"


def usual_dtype(order: Iterable[Node]) -> str:
    """Return the float dtype that most nodes have."""
    found = Counter(t.dtype for n in order if not isinstance(t := n.type, tuple) and t.is_float)
    return min(found, key=lambda d: (-found[d], d), default="float32")


def value_words(value: Any) -> str:
    """Return a small array's numbers, or a large one's range."""
    array = np.asarray(value)
    if array.size == 0:
        return "empty"
    if array.size <= _ELEMENTS:
        return array_text(array)
    low, high = array.min(), array.max()
    return f"{_number(low)} … {_number(high)}"


def array_text(array: np.ndarray[Any, Any], longest: int = 400) -> str:
    """Return an array's numbers on one line; of a long one the beginning."""
    text = np.array2string(
        array,
        separator=", ",
        threshold=32,
        edgeitems=2,
        max_line_width=1_000_000,
        formatter={"float_kind": _number},
    )
    text = " ".join(text.split())
    return text if len(text) <= longest else text[:longest] + "…"


def _number(value: Any) -> str:
    return f"{float(value):.4g}" if isinstance(value, float | np.floating) else str(value)


def op_words(node: Node) -> str:
    """Return an op in readable words: ``conv2d 5×5, padding 2``."""
    write = _WORDS.get(node.op.name)
    return write(node) if write is not None else node.op.name.replace("_", " ")


def elementwise_words(node: Node, folded: Sequence[str | None]) -> tuple[str, list[str]]:
    """Return the words of an elementwise node, and the letter of each input that is not folded.

    Args:
        node: the node.
        folded: for each input the number that stands for it, or None for one that enters.
    """
    made: elementwise.Formula = node.attrs["formula"]
    entering = [i for i, text in enumerate(folded) if text is None]
    if len(entering) == len(folded):
        commutes = len(folded) == 1 or made.name in _COMMUTATIVE
        letters = [""] * len(folded) if commutes else list(_LETTERS[: len(folded)])
        if commutes and "'" not in made.name:
            return _SIGNS.get(made.name, made.name.replace("_", " ")), letters
    else:
        letters = ["x"] if len(entering) == 1 else list(_LETTERS[: len(entering)])
    names = iter(letters)
    args = [Term(text if text is not None else next(names) or "x") for text in folded]
    words = formulas.elementwise_term(node, args, PRETTY).text
    return shortened(words), [""] * len(letters) if len(letters) == 1 else letters


def _kernel(node: Node, sizes: Sequence[object]) -> str:
    return "×".join(map(str, sizes))


def _conv_words(node: Node) -> str:
    kernel = node.inputs[1].shape[2:] if node.op.name != "conv2d_filter_adjoint" else node.shape[2:]
    name = node.op.name.removeprefix("conv2d_").replace("_", " ")
    name = "conv2d" if name == "conv2d" else f"conv2d {name}"
    return ", ".join([f"{name} {_kernel(node, kernel)}", *formulas.window_options(node, " ")])


def _pool_words(node: Node) -> str:
    kernel = _kernel(node, node.attrs["pool"].kernel)
    return ", ".join([f"{node.op.name} {kernel}", *formulas.window_options(node, " ")])


def _reduction_words(node: Node) -> str:
    return " ".join(part for part in (node.op.name, formulas.axes_text(node, "over axis ")) if part)


def _reshape_words(node: Node) -> str:
    before, after = node.inputs[0].shape, node.shape
    if before == after:
        return "the same"
    kept = len(after) - 1
    return "flatten" if 0 <= kept < len(before) and before[:kept] == after[:kept] else "reshape"


def _transpose_words(node: Node) -> str:
    axes: tuple[int, ...] = node.attrs["axes"]
    return "transpose" if axes == (1, 0) else f"transpose {axes}"


def _constant_words(node: Node) -> str:
    return formulas.literal_text(node) or "constant"


_WORDS: dict[str, Any] = {
    "elementwise": lambda n: elementwise_words(n, [None] * len(n.inputs))[0],
    **{n: _conv_words for n in ("conv2d", "conv2d_input_adjoint", "conv2d_filter_adjoint")},
    **{n: _pool_words for n in ("max_pool2d", "max_pool2d_adjoint", "max_pool2d_select")},
    **{n: _pool_words for n in ("avg_pool2d", "avg_pool2d_adjoint")},
    **{n: _reduction_words for n in ("sum", "mean", "max", "logsumexp", "argmax")},
    linear.RESHAPE.name: _reshape_words,
    linear.TRANSPOSE.name: _transpose_words,
    linear.CAST.name: lambda n: f"to {n.dtype}",
    linear.SLICE.name: lambda n: shortened(f"slice [{formulas.slice_text(n)}]"),
    linear.CONCATENATE.name: lambda n: f"concatenate, axis {n.attrs['axis']}",
    "take": lambda n: "take rows" if n.attrs["axis"] == 0 else f"take along axis {n.attrs['axis']}",
    "phase": lambda n: "train | test",
    "one_hot": lambda n: f"one hot of {dims.text(n.attrs['depth'])}",
    "last": lambda n: "after the last step",
    "stack_t": lambda n: "all steps, stacked",
    "sum_t": lambda n: "sum over the steps",
    leaf.CONSTANT.name: _constant_words,
    leaf.SIZE.name: _constant_words,
    leaf.IOTA.name: lambda n: f"0, 1, … ({dims.text(n.attrs['length'])})",
}
