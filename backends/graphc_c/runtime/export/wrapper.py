"""@title@."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import numpy as np

# --- tables: what there is, as the library has it
NAME = ""
PREFIX = ""
GRAPH = ""
STATES: list[tuple[str, str, tuple[int, ...]]] = []
FUNCTIONS: dict[str, dict[str, Any]] = {}
# --- end of tables

_ALIGN = 64
_SIZE_STATUS, _INDEX_STATUS = 4, 5


class Module:
    """An instance with a state of its own; its functions are attributes.

    ``m = Module("weights.safetensors"); m.predict(x); m.state[name]; m.save(path)``; without a path
    it takes the weights beside this file. A call completes or leaves every state as it was; calls
    of one instance take turns.
    """

    def __init__(self, weights: str | Path | None = None, *, library: str | Path | None = None):
        self._library = _loaded(Path(library) if library else None)
        self._lock = threading.RLock()
        self._held, self._block = _aligned(self._face("state_size")())
        self.functions: dict[str, Callable[..., Any]] = {}
        for name in FUNCTIONS:
            self.functions[name] = self._caller(name)
            setattr(self, name, self.functions[name])
        self.state = State(self)
        self.init(0)
        self.load(Path(__file__).with_name(f"{NAME}.safetensors") if weights is None else weights)

    def init(self, seed: int = 0) -> None:
        """Set all parameters and states to zero, and the random stream to a seed."""
        with self._lock:
            self._check(self._face("init")(self._block, ctypes.c_uint64(seed)))

    def load(self, path: str | Path) -> None:
        """Read a weights file; on any error the state is as before."""
        content = Path(path).read_bytes()
        with self._lock:
            self._check(self._face("load")(self._block, content, len(content)))

    def save(self, path: str | Path) -> None:
        """Write parameters, states and the random stream as safetensors."""
        content = ctypes.create_string_buffer(self._face("save_size")())
        with self._lock:
            self._check(self._face("save")(self._block, content, len(content)))
        Path(path).write_bytes(content.raw)

    def _face(self, name: str) -> Any:
        return getattr(self._library, PREFIX + name)

    def _check(self, status: int) -> None:
        if status:
            text = self._face("status_text")(status).decode()
            raise (IndexError if status == _INDEX_STATUS else ValueError)(f"{NAME}: {text}")

    def _caller(self, name: str) -> Callable[..., Any]:
        table = FUNCTIONS[name]
        run = getattr(self._library, table["symbol"])
        work_size = getattr(self._library, table["symbol"] + "_work_size")
        work_size.restype = ctypes.c_size_t
        run.restype = ctypes.c_int

        def call(*args: Any, **kwargs: Any) -> Any:
            arrays, sizes = _bound(name, table, args, kwargs)
            numbers = [ctypes.c_int64(sizes[n]) for n in table["sizes"]]
            needed = work_size(*numbers)
            if not needed:
                self._check(_SIZE_STATUS)
            held, work = _aligned(needed)
            self._check(self._face("work_init")(work, needed))
            results = [
                np.empty([_extent(d, sizes) for d in shape], dtype)
                for dtype, shape in table["outputs"]
            ]
            pointers = [ctypes.c_void_p(a.ctypes.data) for a in (*arrays, *results)]
            with self._lock:
                status = run(self._block, work, *numbers, *pointers)
            del held
            self._check(status)
            return _structured(table["structure"], results)

        call.__name__ = call.__qualname__ = name
        call.__doc__ = table["text"]
        return call


class State(MutableMapping[str, Any]):
    """Parameters and states by name; reading gives a read-only copy, assignment writes."""

    def __init__(self, module: Module) -> None:
        self._module = module
        self._numbers = {name: i for i, (name, _, _) in enumerate(STATES)}

    def __getitem__(self, name: str) -> Any:
        number = self._numbers[name]
        _, dtype, shape = STATES[number]
        array = np.empty(shape, dtype)
        self._copy("get", number, array)
        array.flags.writeable = False
        return array

    def __setitem__(self, name: str, value: Any) -> None:
        number = self._numbers[name]
        _, dtype, shape = STATES[number]
        array = _converted(name, value, dtype)
        if array.shape != shape:
            raise ValueError(f"{name} is {dtype}{list(shape)}, not of shape {list(array.shape)}")
        self._copy("set", number, array)

    def __delitem__(self, name: str) -> None:
        raise TypeError(f"{name} belongs to the module and cannot be taken out")

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def _copy(self, word: str, number: int, array: Any) -> None:
        module = self._module
        with module._lock:
            address = ctypes.c_void_p(array.ctypes.data)
            copy = module._face(word)
            module._check(copy(module._block, ctypes.c_int(number), address, array.nbytes))


def _loaded(path: Path | None) -> ctypes.CDLL:
    path = path or Path(__file__).resolve().parent / f"lib{NAME}.so"
    if not path.exists():
        raise OSError(f"{path} is not there: run make in {path.parent}")
    library = ctypes.CDLL(str(path))
    pointer, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    faces: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "graph": (ctypes.c_char_p, ()),
        "status_text": (ctypes.c_char_p, (number,)),
        "state_size": (size, ()),
        "save_size": (size, ()),
        "init": (number, (pointer, ctypes.c_uint64)),
        "work_init": (number, (pointer, size)),
        "load": (number, (pointer, ctypes.c_char_p, size)),
        "save": (number, (pointer, pointer, size)),
        "get": (number, (pointer, number, pointer, size)),
        "set": (number, (pointer, number, pointer, size)),
    }
    for name, (result, arguments) in faces.items():
        face = getattr(library, PREFIX + name)
        face.restype, face.argtypes = result, arguments
    if getattr(library, PREFIX + "graph")().decode() != GRAPH:
        raise OSError(f"{path} was built from other sources: run make again")
    return library


def _aligned(size: int) -> tuple[Any, ctypes.c_void_p]:
    held = np.zeros(size + _ALIGN, np.uint8)
    return held, ctypes.c_void_p(held.ctypes.data + -held.ctypes.data % _ALIGN)


def _bound(
    name: str, table: Mapping[str, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[list[Any], dict[str, int]]:
    """Return the arrays of a call in order, and the sizes of the named dimensions."""
    inputs = table["inputs"]
    values, sizes = _given(name, table, args, kwargs)
    arrays = [_converted(f"{name}: {n}", values[n], dtype) for n, dtype, _ in inputs]
    for array, (_, _, shape) in zip(arrays, inputs, strict=True):
        for dim, extent in zip(shape, array.shape, strict=False):
            if isinstance(dim, str):
                sizes.setdefault(dim, extent)
    unknown = [n for n in table["sizes"] if n not in sizes]
    if unknown:
        raise TypeError(f"{name}: pass the dimension {unknown[0]} by name")
    for array, (n, _, shape) in zip(arrays, inputs, strict=True):
        wanted = [_extent(d, sizes) for d in shape]
        if list(array.shape) != wanted:
            raise ValueError(f"{name}: {n} has shape {list(array.shape)} instead of {wanted}")
    return arrays, sizes


def _given(
    name: str, table: Mapping[str, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, int]]:
    """Return what a call passes by name: inputs, and sizes."""
    names = [n for n, _, _ in table["inputs"]]
    if len(args) > len(names):
        raise TypeError(f"{name}: {len(args)} arguments instead of {len(names)}")
    values = dict(zip(names, args, strict=False))
    again = [n for n in kwargs if n in values]
    other = [n for n in kwargs if n not in names and n not in table["sizes"]]
    if again or other:
        raise TypeError(f"{name}: {(again or other)[0]!r} is given twice or unknown")
    values |= {n: v for n, v in kwargs.items() if n in names}
    missing = [n for n in names if n not in values]
    if missing:
        raise TypeError(f"{name} lacks {', '.join(missing)}: {table['text']}")
    return values, {n: int(v) for n, v in kwargs.items() if n not in names}


def _converted(name: str, value: Any, dtype: str) -> Any:
    array = np.asarray(value)
    # Plain numbers have no dtype of their own: 3 may become uint8, and [] anything.
    free = array.size == 0 or array.dtype.kind in "bi"
    plain = not hasattr(value, "dtype") and free and dtype != "bool"
    if array.dtype.kind not in "biuf" or not (
        plain or np.can_cast(array.dtype, dtype, "same_kind")
    ):
        raise TypeError(f"{name} is {array.dtype}, which does not convert to {dtype}")
    held = np.require(array, dtype, ["C", "A"])
    if held.dtype.kind in "iu" and not np.array_equal(held, array):
        raise ValueError(f"{name} holds numbers that {dtype} does not")
    return held


def _extent(dim: Any, sizes: Mapping[str, int]) -> int:
    if isinstance(dim, str):
        return sizes[dim]
    return int(dim(sizes) if callable(dim) else dim)


def _structured(structure: Any, results: list[Any]) -> Any:
    if isinstance(structure, int):
        return results[structure]
    if isinstance(structure, dict):
        return {key: _structured(part, results) for key, part in structure.items()}
    return type(structure)(_structured(part, results) for part in structure)
