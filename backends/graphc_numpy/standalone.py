"""The Python face of exported modules: the text that `export` puts behind a program's functions.

Knows NumPy and the standard library, and no graphc. A module's own tables stand between the marks;
what the file holds behind them is the same in every module.
"""

from __future__ import annotations

import json
import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import numpy as np

# --- tables
NAME = ""
WEIGHTS = ""
GRAPH = ""
STATES: dict[str, tuple[str, tuple[int, ...]]] = {}
FUNCTIONS: dict[str, dict[str, Any]] = {}
# --- end of tables


class Module:
    """An instance with a state of its own; its functions are attributes.

    ``Module(path)`` reads a weights file, ``Module()`` the one beside this file. ``m.state[name]``
    reads and writes, ``m.save(path)`` saves. A call completes or leaves every state as it was;
    calls of one instance take turns.
    """

    def __init__(self, weights: str | Path | None = None) -> None:
        self._lock = threading.RLock()
        self._arrays: dict[str, Any] = {}
        self.functions: dict[str, Callable[..., Any]] = {}
        for name in FUNCTIONS:
            self.functions[name] = self._caller(name)
            setattr(self, name, self.functions[name])
        self.state = State(self)
        self.load(Path(__file__).with_name(WEIGHTS) if weights is None else weights)

    def init(self, seed: int = 0) -> None:
        """Set all parameters and states to zero, and the random stream to a seed.

        Initial values come from a weights file; how they were drawn is not part of this module.
        """
        if not _is_whole(seed) or not 0 <= seed < 2**64:
            raise ValueError(f"a seed is a whole number from 0 to 2**64 - 1, not {seed!r:.60}")
        arrays = {name: np.zeros(shape, dtype) for name, (dtype, shape) in STATES.items()}
        if "random.key" in arrays:
            arrays["random.key"] = np.array([seed, 0], "uint64")
        with self._lock:
            self._arrays = arrays

    def load(self, path: str | Path) -> dict[str, Any]:
        """Read a weights file and return its notes; on any error the state is as before."""
        content = Path(path).read_bytes()
        try:
            arrays, metadata = _unpacked(content)
            notes = json.loads(metadata.get("notes", "{}"))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise ValueError(f"{path} is damaged or no safetensors file") from None
        _check_weights(path, arrays)
        with self._lock:
            self._arrays = {name: arrays[name] for name in STATES}
        return notes if isinstance(notes, dict) else {}

    def save(self, path: str | Path, **notes: Any) -> None:
        """Write parameters, states, the random stream and notes as safetensors.

        The file is written beside its place and renamed: it is whole, or the old one stays.
        """
        with self._lock:
            arrays = dict(self._arrays)  # calls exchange arrays, and change none in place
        metadata = {"graph": GRAPH, "notes": json.dumps(notes), "program": NAME}
        _replace(Path(path), _packed(arrays, metadata))

    def _caller(self, name: str) -> Callable[..., Any]:
        table = FUNCTIONS[name]
        run, keywords = table["run"], table["keywords"].items()

        def call(*args: Any, **kwargs: Any) -> Any:
            arrays, sizes = _bound(name, table, args, kwargs)
            given = {keyword: sizes[n] for n, keyword in keywords}
            with self._lock:
                state = dict(self._arrays)
                try:
                    with np.errstate(all="ignore"):
                        values = run(state, *arrays, **given)
                        results = [np.asarray(value, order="C") for value in values]
                except IndexError as error:
                    raise _index_error(name, error) from None
                self._arrays = state
            return _structured(table["structure"], results)

        call.__name__ = call.__qualname__ = name
        call.__doc__ = table["text"]
        return call


class State(MutableMapping[str, Any]):
    """Parameters and states by name; reading gives a read-only copy, assignment writes."""

    def __init__(self, module: Module) -> None:
        self._module = module

    def __getitem__(self, name: str) -> Any:
        array = np.array(self._module._arrays[name], order="C")
        array.flags.writeable = False
        return array

    def __setitem__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def update(self, *others: Any, **more: Any) -> None:
        """Write the arrays of mappings, or of ``(name, array)`` pairs: all of them or none."""
        arrays = {n: self._fitting(n, value) for n, value in dict(*others, **more).items()}
        with self._module._lock:
            self._module._arrays = self._module._arrays | arrays

    def __delitem__(self, name: str) -> None:
        raise TypeError(f"{name} belongs to the module and cannot be taken out")

    def __iter__(self) -> Iterator[str]:
        return iter(STATES)

    def __len__(self) -> int:
        return len(STATES)

    def _fitting(self, name: str, value: Any) -> Any:
        dtype, shape = STATES[name]
        array = _converted(name, value, dtype)
        if array.shape != shape:
            raise ValueError(f"{name} is {dtype}{list(shape)}, not of shape {list(array.shape)}")
        return np.array(array, order="C")


# ---------------------------------------------------------------- what a call passes


def _bound(
    name: str, table: Mapping[str, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[list[Any], dict[str, int]]:
    """Return the arrays of a call in order, and the sizes of the named dimensions."""
    values, sizes = _given(name, table, args, kwargs)
    arrays = [_converted(f"{name}: {n}", values[n], dtype) for n, dtype, _ in table["inputs"]]
    for array, (n, _, shape) in zip(arrays, table["inputs"], strict=True):
        if array.ndim != len(shape):
            ranks = f"rank {array.ndim} instead of {len(shape)}"
            raise ValueError(f"{name}: {n} is of {ranks}: {table['text']}")
    _find_sizes(name, table, arrays, sizes)
    for array, (n, _, shape) in zip(arrays, table["inputs"], strict=True):
        wanted = [_extent(d, sizes) for d in shape]
        if list(array.shape) != wanted:
            raise ValueError(f"{name}: {n} has shape {list(array.shape)} instead of {wanted}")
    for left, relation, right, why in table["claims"]:
        a, b = _extent(left, sizes), _extent(right, sizes)
        if a < b or (relation == "==" and a != b):
            raise ValueError(f"{name}: {why}: {a} {relation} {b} does not hold, with {sizes}")
    return arrays, sizes


def _given(
    name: str, table: Mapping[str, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, int]]:
    """Return what a call passes by name: inputs, and sizes."""
    names = [n for n, _, _ in table["inputs"]]
    if len(args) > len(names):
        raise TypeError(f"{name}: {len(args)} arguments instead of {len(names)}")
    values = dict(zip(names, args, strict=False))
    wrong = [n for n in kwargs if n in values or n not in (*names, *table["sizes"])]
    if wrong:
        raise TypeError(f"{name}: {wrong[0]!r} is given twice or unknown")
    values |= {n: value for n, value in kwargs.items() if n in names}
    missing = [n for n in names if n not in values]
    if missing:
        raise TypeError(f"{name} lacks {', '.join(missing)}: {table['text']}")
    sizes = {n: value for n, value in kwargs.items() if n not in names}
    for n, value in sizes.items():
        if not _is_whole(value) or value < 1:
            raise ValueError(
                f"{name}: the dimension {n} is a whole number from 1 on, not {value!r}"
            )
    return values, {n: int(value) for n, value in sizes.items()}


def _find_sizes(
    name: str, table: Mapping[str, Any], arrays: list[Any], sizes: dict[str, int]
) -> None:
    """Add the sizes that inputs fix: those that stand alone, then those to be solved for."""
    for array, (n, _, shape) in zip(arrays, table["inputs"], strict=True):
        for dim, extent in zip(shape, array.shape, strict=True):
            if isinstance(dim, str) and sizes.setdefault(dim, extent) < 1:
                shown = list(array.shape)
                raise ValueError(f"{name}: {n} has shape {shown}: {dim} is at least 1")
    for size, place, axis, needs, solve in table["solved"]:
        if size not in sizes and all(n in sizes for n in needs):
            rest, step = solve(sizes)
            count, left = divmod(arrays[place].shape[axis] - rest, step) if step else (0, 0)
            if count >= 1 and not left:
                sizes[size] = count
    unknown = [n for n in table["sizes"] if n not in sizes]
    if unknown:
        raise TypeError(f"{name}: pass the dimension {unknown[0]} by name: {table['text']}")


def _converted(name: str, value: Any, dtype: str) -> Any:
    """Return an argument as an array of a dtype, aligned and C-contiguous."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} is no array: {error}") from None
    # Plain numbers have no dtype of their own: 3 may become uint8, and [] anything.
    free = array.size == 0 or array.dtype.kind in "bi"
    plain = not hasattr(value, "dtype") and free and dtype != "bool"
    if array.dtype.kind not in "biuf" or not (
        plain or np.can_cast(array.dtype, dtype, "same_kind")
    ):
        raise TypeError(f"{name} is {array.dtype}, which does not convert to {dtype}")
    with np.errstate(over="ignore", invalid="ignore"):
        held = np.require(array, dtype, ["C", "A"])
    if held.dtype.kind in "iu" and not np.array_equal(held, array):
        raise ValueError(f"{name} holds numbers that {dtype} does not")
    return held


def _extent(dim: Any, sizes: Mapping[str, int]) -> int:
    """Return a size: a number, a name, or a function of the sizes by name."""
    if isinstance(dim, str):
        return sizes[dim]
    return int(dim(sizes) if callable(dim) else dim)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _index_error(name: str, error: IndexError) -> IndexError:
    """Return the error of an index outside its axis, as text."""
    if len(error.args) != 4:
        return error
    op, index, length, where = error.args
    place = f" (at {where})" if where else ""
    return IndexError(f"{name}: {op}: an index is {index}, outside 0 … {length - 1}{place}")


def _structured(structure: Any, results: list[Any]) -> Any:
    """Return results in the structure that the program declares."""
    if isinstance(structure, int):
        return results[structure]
    if isinstance(structure, dict):
        return {key: _structured(part, results) for key, part in structure.items()}
    return type(structure)(_structured(part, results) for part in structure)


# ---------------------------------------------------------------- weights files: safetensors

# The format's names of dtypes, in the order in which its own writer places arrays.
_KINDS = {
    **{"U64": "uint64", "I64": "int64", "F64": "float64", "F32": "float32"},
    **{"U32": "uint32", "I32": "int32", "U8": "uint8", "BOOL": "bool"},
}
_LONGEST_HEADER = 100_000_000  # bytes, as the format's own reader


def _packed(arrays: Mapping[str, Any], metadata: Mapping[str, str]) -> bytes:
    """Return a file: eight bytes of length, a header in JSON, then the arrays."""
    kinds = {dtype: kind for kind, dtype in _KINDS.items()}
    rank = {dtype: i for i, dtype in enumerate(_KINDS.values())}
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    data, at = [], 0
    for name, array in sorted(arrays.items(), key=lambda a: (rank[a[1].dtype.name], a[0])):
        data.append(array.astype(array.dtype.newbyteorder("<")).tobytes())
        offsets = [at, at + len(data[-1])]
        kind, at = kinds[array.dtype.name], offsets[1]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": offsets}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *data])


def _unpacked(content: bytes) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a file's arrays and metadata; ValueError unless every byte is accounted for."""
    length = int.from_bytes(content[:8], "little")
    if length > min(len(content) - 8, _LONGEST_HEADER):
        raise ValueError("no room for the header")
    header = json.loads(content[8 : 8 + length].decode(), object_pairs_hook=_once)
    metadata = header.pop("__metadata__", {})
    arrays, at = {}, 8 + length
    for name, entry in sorted(header.items(), key=lambda e: e[1]["data_offsets"]):
        kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if len(entry) != 3 or not all(type(n) is int and n >= 0 for n in (*shape, *offsets)):
            raise ValueError("an entry that the format does not have")
        dtype = np.dtype(_KINDS[kind]).newbyteorder("<")
        count = math.prod(shape)
        end = at + count * dtype.itemsize
        if [n + 8 + length for n in offsets] != [at, end]:
            raise ValueError("arrays that overlap or leave holes")
        held = np.frombuffer(content[at:end], dtype)
        if kind == "BOOL" and held.view(np.uint8).max(initial=0) > 1:
            raise ValueError("a truth value that is neither 0 nor 1")
        arrays[name], at = held.reshape(shape).astype(_KINDS[kind]), end
    if at != len(content):
        raise ValueError("bytes behind the last array")
    return arrays, metadata


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object that has no name twice."""
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a name that stands twice")
    return dict(pairs)


def _check_weights(path: str | Path, arrays: Mapping[str, Any]) -> None:
    """Raise ValueError unless names, shapes and dtypes are those of this module's states."""
    missing = [n for n in STATES if n not in arrays]
    unknown = [n for n in arrays if n not in STATES]
    if missing or unknown:
        told = [f"it lacks {n!r}" for n in missing[:3]] + [f"{n!r} is unknown" for n in unknown[:3]]
        raise ValueError(f"{path} holds weights of another program: {', '.join(told)}")
    for name, (dtype, shape) in STATES.items():
        array = arrays[name]
        if array.shape != shape or array.dtype != dtype:
            held = f"{array.dtype}{list(array.shape)}"
            raise ValueError(f"{path} holds {name!r} as {held} instead of {dtype}{list(shape)}")


def _replace(path: Path, content: bytes) -> None:
    """Put a file in its place in one step; a reader sees the old one or the whole new one."""
    place = Path(os.path.realpath(path))  # a link stays one
    temporary = place.with_name(f".{place.name[:40]}.{os.getpid()}-{threading.get_ident()}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, place)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
