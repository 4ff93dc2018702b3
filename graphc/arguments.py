"""From what a caller passes to arrays that fit a function's inputs, or a clear error."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from graphc import dims, ir
from graphc.dims import Condition, Dim
from graphc.errors import (
    ArgumentTypeError,
    CallError,
    GraphcError,
    IndexRangeError,
    SizeError,
)
from graphc.ir import Function, Node
from graphc.ops import indexing, leaf, linear

Array = npt.NDArray[Any]
_REMEMBERED = 64  # sets of sizes whose conditions are known to hold


@dataclass(frozen=True, slots=True)
class IndexCheck:
    """An input that is used as an index: its places stay below a length."""

    position: int
    length: Dim
    op: str
    where: str | None


class Signature:
    """What a function takes: checks and converts the arguments of its calls.

    Args:
        function: the canonical function.
        conditions: claims on sizes that only a call can decide.
    """

    def __init__(self, function: Function, conditions: Sequence[Condition]) -> None:
        self.function = function
        self.names = [n.attrs["name"] for n in function.inputs]
        self.conditions = conditions
        order = ir.topological(function.roots)
        self.sizes = _open_names(order, function)
        self.checks = _index_checks(function, order)
        self._order = order
        self._fitting: dict[Hashable, dict[str, int]] = {}

    @cached_property
    def _extents(self) -> list[tuple[Dim, int, Node]]:
        """Distinct sizes that occur, with bytes an element and one node that has each."""
        found: dict[tuple[Dim, int], Node] = {}
        for node in self._order:
            for t in node.types:
                found.setdefault((t.size, np.dtype(t.dtype).itemsize), node)
        return [(size, width, node) for (size, width), node in found.items()]

    @cached_property
    def _differences(self) -> list[tuple[Dim, Node]]:
        """Dimensions that are not positive for all sizes, each with one node that has it."""
        found: dict[Dim, Node] = {}
        for node in self._order:
            for dim in (d for t in node.types for d in t.shape if not isinstance(d, int)):
                if dim not in found and not dims.at_least(dim, 0):
                    found[dim] = node
        return list(found.items())

    def __str__(self) -> str:
        inputs = [f"{n.attrs['name']}: {n.type}" for n in self.function.inputs]
        return f"{self.function.name}({', '.join(inputs)})"

    def bind(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[list[Array], dict[str, int]]:
        """Return the arrays of a call in order, and the sizes of the named dimensions.

        Errors: CallError, ArgumentTypeError, SizeError, IndexRangeError
        """
        given, named_sizes = self._collected(args, kwargs)
        arrays = [
            converted(node, value, self.function.name)
            for node, value in zip(self.function.inputs, given, strict=True)
        ]
        sizes = self._fitted(arrays, named_sizes)
        for check in self.checks:
            _check_places(check, arrays[check.position], sizes, self.names[check.position])
        return arrays, sizes

    def _collected(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[list[Any], dict[str, int]]:
        if len(args) > len(self.names):
            raise CallError(
                f"{self.function.name}: {len(args)} arguments instead of {len(self.names)}",
                rows=[("it is", str(self))],
            )
        values = dict(zip(self.names, args, strict=False))
        sizes = {}
        for name, value in kwargs.items():
            if name in values:
                raise CallError(f"{self.function.name} got {name} twice")
            if name in self.names:
                values[name] = value
            elif name in self.sizes:
                sizes[name] = self._size(name, value)
            else:
                raise CallError(
                    f"{self.function.name} has no argument {name!r}", rows=[("it is", str(self))]
                )
        missing = [n for n in self.names if n not in values]
        if missing:
            raise CallError(
                f"{self.function.name} lacks {', '.join(missing)}", rows=[("it is", str(self))]
            )
        return [values[n] for n in self.names], sizes

    def _size(self, name: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise SizeError(
                f"{self.function.name}: the dimension {name} is a whole number from 1 on, not "
                f"{value!r:.60}"
            )
        return int(value)

    def _fitted(self, arrays: Sequence[Array], named: Mapping[str, int]) -> dict[str, int]:
        """Return the sizes of a call; shapes that fitted before are not looked at again."""
        key: Hashable = (*(a.shape for a in arrays), *named.items())
        sizes = self._fitting.get(key)
        if sizes is None:
            sizes = self._bound_sizes(arrays, named)
            self._check_sizes(sizes)
            if len(self._fitting) >= _REMEMBERED:
                self._fitting.clear()
            self._fitting[key] = sizes
        return sizes

    def _bound_sizes(self, arrays: Sequence[Array], named: Mapping[str, int]) -> dict[str, int]:
        sizes: dict[str, int] = {}
        sources: dict[str, str] = {}
        for name, value in named.items():
            sizes[name], sources[name] = value, f"{name}={value}"
        for direct in (True, False):
            for node, array in zip(self.function.inputs, arrays, strict=True):
                self._match(node, array, sizes, sources, direct)
        unknown = [n for n in self.sizes if n not in sizes]
        if unknown:
            raise CallError(
                f"{self.function.name}: no input fixes the dimension {', '.join(unknown)}",
                rows=[("it is", str(self))],
                hint=f"pass it by name, as in {self.function.name}(…, {unknown[0]}=8)",
            )
        return sizes

    def _match(
        self,
        node: Node,
        array: Array,
        sizes: dict[str, int],
        sources: dict[str, str],
        direct: bool,
    ) -> None:
        """Take sizes from plain names first (``direct``), then compare everything."""
        for axis, (dim, extent) in enumerate(zip(node.shape, array.shape, strict=True)):
            if not direct and not isinstance(dim, int):
                solved = dims.solve(dim, extent, sizes)
                if solved is not None:
                    sizes[solved[0]], sources[solved[0]] = solved[1], node.attrs["name"]
            if direct:
                if not isinstance(dim, int) and dim.is_Symbol and str(dim) not in sizes:
                    if extent < 1:
                        raise _misfit(self, node, array, f"the dimension {dim} is at least 1")
                    sizes[str(dim)], sources[str(dim)] = extent, node.attrs["name"]
                continue
            if any(n not in sizes for n in dims.names((dim,))):
                continue
            wanted = dims.evaluate(dim, sizes)
            if wanted != extent:
                by = {sources[n] for n in dims.names((dim,))} - {node.attrs["name"]}
                reason = f"axis {axis} has {extent} elements instead of {wanted}"
                if by:
                    reason += f" ({dims.text(dim)} is given by {', '.join(sorted(by))})"
                raise _misfit(self, node, array, reason)

    def _check_sizes(self, sizes: Mapping[str, int]) -> None:
        if max(sizes.values(), default=0) > dims.LARGEST:
            raise SizeError(f"{self.function.name}: a size is above 2**63 - 1: {dict(sizes)}")
        for dim, node in self._differences:
            if (extent := dims.evaluate(dim, sizes)) < 0:
                raise SizeError(
                    f"{self.function.name}: {node.label} would have {dims.text(dim)} = {extent} "
                    "elements along an axis",
                    where=node.note.where,
                    rows=[(node.label, str(node.type)), ("sizes", str(dict(sizes)))],
                )
        memory = machine_memory()
        for size, width, node in self._extents:
            nbytes = dims.evaluate(size, sizes) * width
            if nbytes > min(dims.LARGEST, memory):
                limit = "2**63 - 1" if nbytes > dims.LARGEST else f"{memory:,} (this machine)"
                raise SizeError(
                    f"{self.function.name}: {node.label} would take {nbytes:,} bytes, more than "
                    f"{limit}",
                    where=node.note.where,
                    rows=[
                        (node.label, ", ".join(map(str, node.types))),
                        ("sizes", str(dict(sizes))),
                    ],
                )
        for condition in self.conditions:
            if not condition.holds(sizes):
                left, right = (dims.evaluate(d, sizes) for d in (condition.left, condition.right))
                raise SizeError(
                    f"{self.function.name}: {condition.reason}: {dims.text(condition.left)} "
                    f"{condition.relation} {dims.text(condition.right)} does not hold: "
                    f"{left} and {right}",
                    where=condition.where,
                    rows=[("sizes", str(dict(sizes)))],
                )


def converted(leaf: Node, value: Any, call: str) -> Array:
    """Return what was passed as an array of a leaf's dtype and rank.

    Whatever NumPy casts within a kind is taken; lists and plain numbers too. Integers that the
    leaf's dtype does not hold are refused, since they would wrap.

    Errors: CallError, ArgumentTypeError
    """
    name = leaf.attrs["name"]
    try:
        array = np.asarray(value)
    except GraphcError as error:
        raise CallError(f"{call}: {name}: {error.message}") from None
    except (ValueError, TypeError) as error:
        why = "its rows differ in length" if "inhomogeneous" in str(error) else str(error)
        raise CallError(
            f"{call}: {name} is no array: {why}", rows=[(name, str(leaf.type))]
        ) from None
    if array.dtype.kind not in "biufc":
        shown = f"{value!r:.60}".partition("\n")[0]
        raise ArgumentTypeError(
            f"{call}: {name} is no array of numbers: {shown}", rows=[(name, str(leaf.type))]
        )
    wanted = np.dtype(leaf.dtype)
    # Plain numbers have no dtype of their own: 3 may become uint8, and [] anything.
    plain = not hasattr(value, "dtype") and (array.size == 0 or array.dtype.kind in "bi")
    if not np.can_cast(array.dtype, wanted, "same_kind") and not (plain and wanted.kind != "b"):
        raise ArgumentTypeError(
            f"{call}: {name} is {array.dtype}, which does not convert to {wanted}",
            rows=[(name, str(leaf.type))],
            hint=f'{name}.astype("{wanted}") if that is meant',
        )
    if array.ndim != len(leaf.shape):
        raise CallError(
            f"{call}: {name} is of rank {array.ndim} instead of {len(leaf.shape)}",
            rows=[(name, str(leaf.type)), ("got", f"{array.dtype}{list(array.shape)}")],
        )
    with np.errstate(over="ignore", invalid="ignore"):
        held = np.require(array, wanted, ["C", "A"])
    if held.dtype != array.dtype and held.dtype.kind in "iu" and not np.array_equal(held, array):
        lost = array[held != array].flat[0]
        raise ArgumentTypeError(
            f"{call}: {name} holds {lost}, which {wanted} does not", rows=[(name, str(leaf.type))]
        )
    return held


def _misfit(signature: Signature, node: Node, array: Array, reason: str) -> CallError:
    name = node.attrs["name"]
    return CallError(
        f"{signature.function.name}: {name}: {reason}",
        rows=[(name, str(node.type)), ("got", f"{array.dtype}{list(array.shape)}")],
    )


def _open_names(order: Sequence[Node], function: Function) -> tuple[str, ...]:
    shapes = [n.shape for n in function.inputs]
    found: set[str] = set(dims.names(*shapes))
    for node in order:
        for t in node.types:
            if any(not isinstance(d, int) for d in t.shape):
                found.update(dims.names(t.shape))
        found.update(dims.names([node.attrs[k] for k in ("dim", "length") if k in node.attrs]))
    return tuple(sorted(found))


_SAME_ELEMENTS = (linear.RESHAPE, linear.TRANSPOSE, linear.CAST, linear.FLIP, linear.BROADCAST_TO)


def _index_checks(function: Function, order: Sequence[Node]) -> list[IndexCheck]:
    """Return the checks of inputs that are used as indices, through movement or directly."""
    positions = {n: i for i, n in enumerate(function.inputs)}
    found: dict[tuple[int, Dim], IndexCheck] = {}
    for node in order:
        read = indexing.index_and_range(node)
        if read is None:
            continue
        index, length = read
        while index.op in _SAME_ELEMENTS and index.inputs[0].dtype in ir.INTEGERS:
            index = index.inputs[0]
        if index.op is leaf.INPUT:
            at = positions[index]
            check = IndexCheck(at, length, node.op.name, node.note.where)
            found.setdefault((at, length), check)
    return list(found.values())


def _check_places(check: IndexCheck, array: Array, sizes: Mapping[str, int], name: str) -> None:
    if array.size == 0:
        return
    length = dims.evaluate(check.length, sizes)
    low, high = int(array.min()), int(array.max())
    if low >= 0 and high < length:
        return
    bad = low if low < 0 else high
    place = np.unravel_index(int(np.argmax(array == bad)), array.shape)
    at = ", ".join(str(int(p)) for p in place)
    raise IndexRangeError(
        f"{name}[{at}] is {bad}, outside 0 … {length - 1}"
        if array.ndim
        else f"{name} is {bad}, outside 0 … {length - 1}",
        where=check.where,
        rows=[("read by", check.op), (name, f"{array.dtype}{list(array.shape)}")],
    )


def machine_memory() -> int:
    """Return the bytes of memory that this machine has."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return dims.LARGEST
