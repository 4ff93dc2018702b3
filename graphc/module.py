"""A compiled program as the user has it: calls, state, saving; the same for every back end."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from graphc import printer, recording, weights
from graphc.arguments import Signature, converted
from graphc.backend import Executable
from graphc.dsl.location import placed, user_line
from graphc.errors import CallError, GraphcError, UnknownNameError
from graphc.ir import Node, Program, Structure
from graphc.ops import random
from graphc.slopes import Link

Array = npt.NDArray[Any]


class State(MutableMapping[str, Array]):
    """The parameters and states of a module, by name, in the logical layout.

    Reading gives a read-only copy; assignment writes; ``update`` takes another module's.
    """

    def __init__(self, executable: Executable, leaves: Mapping[str, Node], lock: Any) -> None:
        self._executable, self._leaves, self._lock = executable, leaves, lock

    @placed
    def __getitem__(self, name: str) -> Array:
        self._check(name)
        with self._lock:
            array = self._executable.read(name)
        array.flags.writeable = False
        return array

    @placed
    def __setitem__(self, name: str, value: Any) -> None:
        self.update({name: value})

    @placed
    def update(self, *others: Any, **more: Any) -> None:
        """Write the arrays of mappings, or of ``(name, array)`` pairs: all of them or none."""
        try:
            given = dict(*others, **more)
        except (TypeError, ValueError):
            raise CallError(f"state: takes arrays by name, not {others!r:.60}") from None
        arrays = {name: self._fitting(name, value) for name, value in given.items()}
        with self._lock:
            for name, array in arrays.items():
                self._executable.write(name, array)

    @placed
    def __delitem__(self, name: str) -> None:
        raise CallError(f"{name} belongs to the program and cannot be taken out")

    def __iter__(self) -> Iterator[str]:
        return iter(self._leaves)

    def __len__(self) -> int:
        return len(self._leaves)

    def __repr__(self) -> str:
        return "State(" + ", ".join(f"{n}: {leaf.type}" for n, leaf in self._leaves.items()) + ")"

    def _fitting(self, name: str, value: Any) -> Array:
        self._check(name)
        leaf = self._leaves[name]
        array = converted(leaf, value, "state")
        if array.shape != leaf.shape:
            raise CallError(
                f"state: {name} is {leaf.type}, the array is {array.dtype}{list(array.shape)}"
            )
        return array

    def _check(self, name: str) -> None:
        if not isinstance(name, str) or name not in self._leaves:
            raise UnknownNameError(
                f"there is no state {name!r:.80}", hint="known are " + ", ".join(self._leaves)
            )


class Module:
    """An instance of a compiled program, with a state of its own.

    Its functions are attributes: ``module.train(images, labels)``. A call completes or leaves
    every state as it was; calls of one module take turns.
    """

    def __init__(
        self,
        program: Program,
        executable: Executable,
        backend: str,
        signatures: Mapping[str, Signature],
        *,
        links: Mapping[str, Sequence[Link]] | None = None,
    ) -> None:
        self._program, self._executable, self._backend = program, executable, backend
        self._signatures, self._links = signatures, links or {}
        self._lock = threading.RLock()
        self._leaves = {n.attrs["name"]: n for n in program.states}
        self._state = State(executable, self._leaves, self._lock)
        self.functions: dict[str, Callable[..., Any]] = {}
        for function in program.functions:
            call = self._caller(signatures[function.name], function.structure)
            self.functions[function.name] = call
            setattr(self, function.name, call)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        # Functions are set in the instance; only a name that there is not comes here.
        known = ", ".join(self.__dict__.get("functions", {}))
        raise AttributeError(f"this module has no function {name!r}; it has {known}")

    def __repr__(self) -> str:
        return f"<Module {self._program.name} ({self._backend}): {', '.join(self.functions)}>"

    @property
    def state(self) -> State:
        """Parameters and states by name."""
        return self._state

    @property
    def backend(self) -> str:
        """The name of the back end that runs it."""
        return self._backend

    @property
    def report(self) -> Mapping[str, Any]:
        """What the back end has to tell: source files, cache, compiler."""
        return self._executable.report

    @placed
    def init(self, seed: int = 0) -> None:
        """Give all parameters and states their initial values, and the random stream the seed.

        A parameter's values depend on the seed and its name only.
        """
        check_seed(seed)
        values = {n: initial_value(leaf, seed) for n, leaf in self._leaves.items()}
        self._write_all(values)

    @placed
    def save(self, path: str | Path, **notes: Any) -> None:
        """Write parameters, states, the random stream and notes as safetensors.

        The file is complete or not there: it is written beside its place, synced, and renamed.

        Errors: CallError for notes that are no JSON; WeightsError for a place that cannot be
            written, where the old file stays
        """
        with self._lock:
            arrays = {name: self._executable.read(name) for name in self._leaves}
        digest = printer.digest(self._program)
        weights.write(weights.path_of(path), arrays, notes, self._program.name, digest)

    @placed
    def load(self, path: str | Path, only: Any = None) -> dict[str, Any]:
        """Read what ``save`` wrote and return its notes.

        Names and shapes match both ways; ``only`` (names or globs) reads those and leaves the
        rest. On any error the state is as before.

        Errors: WeightsError
        """
        arrays, notes = weights.read(weights.path_of(path), self._leaves, only)
        self._write_all(arrays)
        return notes

    @placed
    def export(self, folder: str | Path, *, force: bool = False) -> None:
        """Write a standalone module that needs no graphc into a folder, made if need be.

        The weights beside it are those of now. It comes with recorded calls to check itself by,
        whose results are the NumPy back end's. With ``force`` the folder may hold files; those of
        the same names are written over, others stay.

        Errors: CallError for a folder that is not empty or cannot be made; UnsupportedError where
            the back end cannot write the program
        """
        path = _empty_folder(weights.path_of(folder), force)
        with self._lock:
            cases = recording.record(self._program, self._executable, self._signatures, self._links)
            self._executable.export(path, cases)

    def _write_all(self, arrays: Mapping[str, Array]) -> None:
        with self._lock:
            for name, array in arrays.items():
                self._executable.write(name, array)

    def _caller(self, signature: Signature, structure: Structure) -> Callable[..., Any]:
        name, executable, lock = signature.function.name, self._executable, self._lock

        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                arrays, sizes = signature.bind(args, kwargs)
                with lock:
                    results = executable.call(name, arrays, sizes)
            except GraphcError as error:
                raise error.located(user_line()) from error.__cause__
            return _structured(structure, results)

        call.__name__ = call.__qualname__ = name
        call.__doc__ = f"{signature} -> {_shown(structure, signature)}"
        return call


def _empty_folder(path: Path, force: bool) -> Path:
    """Return a folder that may be written into, made if need be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        held = sorted(p.name for p in path.iterdir())
    except OSError as error:
        raise CallError(f"export: {path} is no folder to write into: {error.strerror}") from None
    if held and not force:
        raise CallError(
            f"export: {path} is not empty: it holds {', '.join(held[:3])}"
            + (", …" if len(held) > 3 else ""),
            hint="another folder, or force=True to write over its files",
        )
    return path


def check_seed(seed: Any) -> None:
    """Raise unless a seed is a whole number of 64 bits.

    Errors: CallError
    """
    whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
    if not whole or not 0 <= seed < 2**64:
        raise CallError(f"a seed is a whole number from 0 to 2**64 - 1, not {seed!r:.60}")


def initial_value(leaf: Node, seed: int) -> Array:
    """Return what a parameter or state begins with.

    Values come from Philox keyed by the seed and the SHA-256 of the name.

    Errors: CallError for a seed that is no whole number of 64 bits, or an init of another shape
    """
    check_seed(seed)
    if leaf is random.KEY or leaf.attrs["name"] == random.KEY_NAME:
        return np.array([seed, 0], "uint64")
    name: str = leaf.attrs["name"]
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
    key = np.array([seed, int.from_bytes(digest[:8], "little")], "uint64")
    generator = np.random.Generator(np.random.Philox(key=key))
    try:
        array: Array = leaf.attrs["init"](leaf.shape, leaf.dtype, generator)
    except GraphcError as error:
        error.message = f"{name}: {error.message}"
        raise error.located(leaf.note.where) from None
    return array


def _structured(structure: Structure, results: list[Array]) -> Any:
    if isinstance(structure, int):
        return results[structure]
    if isinstance(structure, Mapping):
        return {key: _structured(part, results) for key, part in structure.items()}
    parts = [_structured(part, results) for part in structure]
    if isinstance(structure, list):
        return parts
    return type(structure)(*parts) if hasattr(structure, "_fields") else tuple(parts)


def _shown(structure: Structure, signature: Signature) -> str:
    outputs = signature.function.outputs
    if isinstance(structure, int):
        return str(outputs[structure].type)
    if isinstance(structure, Mapping):
        return "{" + ", ".join(f"{k}: {_shown(v, signature)}" for k, v in structure.items()) + "}"
    return "(" + ", ".join(_shown(part, signature) for part in structure) + ")"
