"""A program as a loaded library: binds memory once and passes one pointer a call."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from graphc import dims
from graphc.backend import Case, Options
from graphc.errors import IndexRangeError, InternalError, SizeError
from graphc.ir import Program
from graphc_c import cache, emit, toolchain
from graphc_c.lower import lower
from graphc_c.plan import Buffer, Plan, ProgramPlan

Array = npt.NDArray[Any]
_POINTERS = np.uintp


def build(program: Program, options: Options) -> CExecutable:
    """Return a program's executable, compiled or from the cache.

    Every kernel is exact within its op's class, so ``options.exact`` switches nothing off yet.

    Errors: CompilerError
    """
    compiler = toolchain.find_compiler()
    plan = lower(program)
    sources, headers = emit.sources(plan), emit.headers(plan)
    entry = cache.load_or_build(sources, headers, compiler)
    report = {
        "backend": "c",
        "source": {name: text for name, (text, _) in sources.items()},
        "cache": "hit" if entry.hit else "miss",
        "library": str(entry.path),
        "compiler": " ".join(compiler.command),
        "version": compiler.version,
        "flags": " ".join(toolchain.compile_flags(compiler, contract=False)),
    }
    return CExecutable(program, plan, entry.path, report)


class CExecutable:
    """A loaded library with states of its own."""

    def __init__(
        self, program: Program, plan: ProgramPlan, path: Path, report: Mapping[str, object]
    ) -> None:
        # The library stays loaded for as long as the process lives: unloading code is never safe.
        library = ctypes.CDLL(str(path))
        self._program, self._plan = program, plan
        self._report = MappingProxyType(dict(report))
        names = [n.attrs["name"] for n in program.states]
        self._states = {
            n: _State(b, i) for i, (n, b) in enumerate(zip(names, plan.states, strict=True))
        }
        held = self._states.values()
        self._current = np.array([s.pair[0].ctypes.data for s in held] or [0], _POINTERS)
        self._next = np.array([s.pair[1].ctypes.data for s in held] or [0], _POINTERS)
        self._constants = [np.ascontiguousarray(c) for c in plan.constants]
        constants = np.array([c.ctypes.data for c in self._constants] or [0], _POINTERS)
        shared = _Shared(constants, self._current, self._next)
        self._functions = {
            p.name: _Function(library, number, p, shared) for number, p in enumerate(plan.plans)
        }

    def call(self, function: str, arrays: Sequence[Array], dims: Mapping[str, int]) -> list[Array]:
        """Run a function; see `graphc.backend.Executable`."""
        return self._functions[function].run(arrays, dims)

    def read(self, state: str) -> Array:
        """Return a state as a fresh array in the logical layout."""
        return self._states[state].read(int(self._current[self._states[state].index]))

    def write(self, state: str, array: Array) -> None:
        """Set a state from an array in the logical layout."""
        held = self._states[state]
        held.write(int(self._current[held.index]), array)

    def export(self, folder: Path, cases: Sequence[Case]) -> None:
        """Write a standalone C project; see `graphc.backend.Executable`.

        Errors: UnsupportedError
        """
        from graphc_c import export  # which a compile does without

        export.write(folder, self._program, self._plan, self.read, cases)

    @property
    def report(self) -> Mapping[str, object]:
        """Sources, compiler, flags, whether the library came from the cache; bytes of work so far.

        ``work`` has the memory of each function beside its arguments, results and states: what the
        largest sizes of its calls needed.
        """
        work = {name: f.work for name, f in self._functions.items()}
        return MappingProxyType({**self._report, "work": work})


class _State:
    """Two buffers of one state: its value, and room for the next one."""

    def __init__(self, buffer: Buffer, index: int) -> None:
        self.index, self.layout = index, buffer.layout
        self.shape = tuple(int(d) for d in buffer.type.shape)
        size = int(buffer.layout.size(buffer.type.shape))
        self.pair = [_aligned(size, buffer.type.dtype) for _ in range(2)]

    def read(self, address: int) -> Array:
        return self.layout.unpack(self._at(address), self.shape)

    def write(self, address: int, array: Array) -> None:
        self._at(address)[...] = self.layout.pack(array)

    def _at(self, address: int) -> Array:
        first, second = self.pair
        return first if first.ctypes.data == address else second


class _Shared:
    """Pointer tables that all functions of a module share."""

    def __init__(self, constants: Array, states: Array, following: Array) -> None:
        self.constants, self.states, self.following = constants, states, following


class _Call(ctypes.Structure):
    """The ``gx_call`` of ``gx_call.h``."""

    _fields_ = (
        ("dims", ctypes.c_void_p),
        ("arena", ctypes.c_void_p),
        ("offsets", ctypes.c_void_p),
        ("arguments", ctypes.c_void_p),
        ("results", ctypes.c_void_p),
        ("constants", ctypes.c_void_p),
        ("states", ctypes.c_void_p),
        ("next", ctypes.c_void_p),
        ("bad", ctypes.c_int64),
    )


class _Function:
    """One function of a library, with an arena that grows when dimensions do."""

    def __init__(self, library: ctypes.CDLL, number: int, plan: Plan, shared: _Shared) -> None:
        self._plan, self._shared = plan, shared
        self._place = library[f"gx_f{number}_plan"]
        self._place.argtypes = (ctypes.c_void_p,) * 4
        self._place.restype = ctypes.c_int64
        self._run = library[f"gx_f{number}_call"]
        self._run.argtypes = (ctypes.c_void_p,)
        self._run.restype = ctypes.c_int32
        count = max(len(plan.arena), 1)
        self._dims = np.zeros(max(len(plan.sizes), 1), np.int64)
        self._bytes, self._offsets = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self._arguments = np.zeros(max(plan.arguments, 1), _POINTERS)
        self._results = np.zeros(max(len(plan.results), 1), _POINTERS)
        self._arena = _aligned(0, "uint8")
        self._shapes: list[tuple[int, ...]] = []
        self._sizes: tuple[int, ...] | None = None
        self._call = _Call(
            self._dims.ctypes.data,
            self._arena.ctypes.data,
            self._offsets.ctypes.data,
            self._arguments.ctypes.data,
            self._results.ctypes.data,
            shared.constants.ctypes.data,
            shared.states.ctypes.data,
            shared.following.ctypes.data,
            0,
        )
        self._pointer = ctypes.addressof(self._call)

    def run(self, arrays: Sequence[Array], sizes: Mapping[str, int]) -> list[Array]:
        """Run the function on arrays that fit.

        Errors: IndexRangeError, SizeError
        """
        wanted = tuple(sizes[n] for n in self._plan.sizes)
        if wanted != self._sizes:
            self._resize(wanted, sizes)
        for i, array in enumerate(arrays):
            self._arguments[i] = array.__array_interface__["data"][0]
        results = self._fresh()
        for i, array in enumerate(results):
            self._results[i] = array.__array_interface__["data"][0]
        status = self._run(self._pointer)
        if status:
            raise self._index_error(status, sizes)
        return results

    @property
    def work(self) -> int:
        """The bytes of the arena."""
        return self._arena.nbytes

    def _fresh(self) -> list[Array]:
        types = zip(self._shapes, self._plan.results, strict=True)
        try:
            return [np.empty(shape, t.dtype) for shape, t in types]
        except (MemoryError, ValueError) as error:
            raise SizeError(f"{self._plan.name}: no memory for its results: {error}") from None

    def _resize(self, wanted: tuple[int, ...], sizes: Mapping[str, int]) -> None:
        self._sizes = None
        self._dims[: len(wanted)] = wanted
        order = np.empty(len(self._bytes), np.int32)
        total = self._place(
            self._dims.ctypes.data,
            self._bytes.ctypes.data,
            self._offsets.ctypes.data,
            order.ctypes.data,
        )
        if total < 0:
            raise SizeError(
                f"{self._plan.name}: its buffers overflow 63 bits",
                rows=[("sizes", str(dict(sizes)))],
            )
        if total > self._arena.nbytes:
            try:
                self._arena = _aligned(total, "uint8")
            except (MemoryError, ValueError):
                raise SizeError(
                    f"{self._plan.name}: no memory for {total:,} bytes of work",
                    rows=[("sizes", str(dict(sizes)))],
                ) from None
            self._call.arena = self._arena.ctypes.data
        self._shapes = [tuple(dims.evaluate(d, sizes) for d in t.shape) for t in self._plan.results]
        self._sizes = wanted

    def _index_error(self, status: int, sizes: Mapping[str, int]) -> Exception:
        kernel = self._plan.kernels[status - 1]
        if kernel.below is None:
            return InternalError(f"{self._plan.name}: kernel {status} stopped the call")
        length = dims.evaluate(kernel.below, sizes)
        return IndexRangeError(
            f"{kernel.node.op.name}: an index is {self._call.bad}, outside 0 … {length - 1}",
            where=kernel.node.note.where,
        )


def _aligned(size: int, dtype: str) -> Array:
    """Return zeros whose first element lies at a multiple of the alignment."""
    width = np.dtype(dtype).itemsize
    held = np.zeros(size * width + emit.ALIGNMENT, np.uint8)
    start = -held.ctypes.data % emit.ALIGNMENT
    return held[start : start + size * width].view(dtype)
