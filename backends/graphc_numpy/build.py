"""An executable from emitted source: the source is run, and its functions are called.

Holds the states. Knows no op.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from graphc import dims
from graphc.backend import Case, Options
from graphc.errors import IndexRangeError, InternalError, SizeError
from graphc.ir import Function, Program
from graphc_numpy.emit import Source, emit
from graphc_numpy.names import identifier

Array = npt.NDArray[Any]


def build(program: Program, options: Options) -> NumpyExecutable:
    """Return a program's executable.

    NumPy runs each op as it is, so ``options`` switch nothing.
    """
    return NumpyExecutable(program, emit(program))


class NumpyExecutable:
    """A program as a Python module of its own, and its states."""

    def __init__(self, program: Program, source: Source) -> None:
        self._program, self._source = program, source
        self._functions = {f.name: f for f in program.functions}
        self._state: dict[str, Array] = {}
        for leaf in program.states:
            shape = tuple(dims.evaluate(d, {}) for d in leaf.shape)
            self._state[leaf.attrs["name"]] = np.zeros(shape, leaf.dtype)
        self._module = _executed(program.name, source)

    def call(self, function: str, arrays: Sequence[Array], dims: Mapping[str, int]) -> list[Array]:
        """Run a function; states are exchanged when all that it gives is there.

        Errors: IndexRangeError, SizeError
        """
        entry = self._source.entries[function]
        run: Callable[..., tuple[Any, ...]] = self._module[entry.name]
        sizes = {keyword: dims[name] for name, keyword in entry.sizes}
        state = dict(self._state)
        try:
            with np.errstate(all="ignore"):
                given = run(state, *arrays, **sizes)
                results = [np.asarray(value, order="C") for value in given]
        except IndexError as error:
            raise self._index_error(error) from None
        except (MemoryError, OverflowError, ValueError) as error:
            raise _size_error(self._functions[function], error, dims) from error
        self._state = state
        return results

    def read(self, state: str) -> Array:
        """Return a copy of a state."""
        return np.array(self._state[state], order="C")

    def write(self, state: str, array: Array) -> None:
        """Set a state to a copy of an array."""
        self._state[state] = np.array(array, self._state[state].dtype, order="C")

    def export(self, folder: Path, cases: Sequence[Case]) -> None:
        """Write a standalone module that needs NumPy alone, with the states of now.

        Errors: UnsupportedError for outputs under keys that are no plain values
        """
        from graphc_numpy import export  # which a compile does without

        export.write(folder, self._program, self._source, self._state, cases)

    @property
    def report(self) -> Mapping[str, object]:
        """The source, and the number of arrays that are handed in beside it."""
        name = f"{identifier(self._program.name)}.py"
        return {
            "backend": "numpy",
            "source": {name: self._source.text},
            "constants": len(self._source.constants),
            "numpy": np.__version__,
        }

    def _index_error(self, error: IndexError) -> Exception:
        if not isinstance(error, self._module.get("OutOfRangeError", ())):
            return InternalError(f"{self._program.name}: {error}")
        op, index, length, where = error.args
        return IndexRangeError(f"{op}: an index is {index}, outside 0 … {length - 1}", where=where)


def _executed(name: str, source: Source) -> dict[str, Any]:
    """Run a source; tracebacks show its lines."""
    file = f"<graphc numpy {identifier(name)}>"
    lines = source.text.splitlines(keepends=True)
    linecache.cache[file] = (len(source.text), None, lines, file)
    module: dict[str, Any] = {"__name__": file, "constants": source.constants}
    exec(compile(source.text, file, "exec"), module)
    return module


# What NumPy's messages about arrays that cannot be say.
_TOO_LARGE = ("too big", "too large", "exceeded", "negative dimensions")


def _size_error(function: Function, error: Exception, sizes: Mapping[str, int]) -> Exception:
    if isinstance(error, ValueError) and not any(t in str(error) for t in _TOO_LARGE):
        return InternalError(f"{function.name}: {error}", where=function.where)
    rows = [(name, str(size)) for name, size in sorted(sizes.items())]
    rows += [(n.label, str(n.type)) for n in function.inputs]
    return SizeError(
        f"{function.name}: the arrays do not fit into memory: {error}",
        where=function.where,
        rows=rows,
        hint="call it with smaller sizes",
    )
