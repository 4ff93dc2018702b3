"""Recorded calls, by which an exported module checks itself: inputs, results, tolerances.

Results are those of a reference, the NumPy back end, at small sizes on made-up inputs, from the
states of now. It writes no file and changes no module.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from graphc import backend as backends
from graphc import dims, slopes
from graphc.arguments import Signature
from graphc.backend import Case, Executable, Options
from graphc.errors import BackendError, CallError
from graphc.ir import Program

Array = npt.NDArray[Any]
REFERENCE = "numpy"
# Tried in this order: sizes that differ first, which tell axes apart, then equal ones.
_FIRST, _EQUAL = 3, (3, 4, 5, 2, 8, 16, 32, 1, 64)
_HEAVY = 5e8  # multiply-adds of a call above which sizes of 1 come first: 0.2 s of NumPy
_POINTS = 2  # made-up inputs that are tried at given sizes
_MOVES = 3
# Sums in another order differ by a few hundred roundings; the change that one rounding of inputs
# and states makes is added eight times, for results that are steep where they were recorded.
_RELATIVE = {"float32": 1e-4, "float64": 1e-11}
_ROUNDING = {"float32": 2.0**-22, "float64": 2.0**-51}
_STEEP = 8
_SMALLEST = 1e-6  # results below are compared as if they were as large


def record(
    program: Program,
    executable: Executable,
    signatures: Mapping[str, Signature],
    links: Mapping[str, Sequence[slopes.Link]],
) -> tuple[Case, ...]:
    """Return a case for each function that runs at one of the sizes and inputs tried.

    Without a reference back end there are none.

    Args:
        program: the canonical program.
        executable: whose states the calls begin from; it is only read.
        signatures: of the functions, by name.
        links: the gradients among the outputs of functions, by name.
    """
    reference = _reference(program)
    if reference is None:
        return ()
    states = {n.attrs["name"]: executable.read(n.attrs["name"]) for n in program.states}
    found = []
    for name, signature in signatures.items():
        case = _case(_Caller(reference, signature, states), links.get(name, ()))
        found += [case] if case is not None else []
    return tuple(found)


def _reference(program: Program) -> Executable | None:
    try:
        found = backends.find(REFERENCE)
    except BackendError:
        return None
    return None if found.missing(program) else found.build(program, Options())


@dataclass(frozen=True, slots=True)
class _Caller:
    """A function of the reference, whose every call begins from the same states."""

    reference: Executable
    signature: Signature
    states: Mapping[str, Array]

    @property
    def updated(self) -> list[str]:
        return [state.attrs["name"] for state, _ in self.signature.function.updates]

    def run(
        self, inputs: Sequence[Array], sizes: Mapping[str, int], changed: Mapping[str, Array]
    ) -> list[Array]:
        """Return the outputs, then the updated states."""
        for name, array in {**self.states, **changed}.items():
            self.reference.write(name, array)
        results = self.reference.call(self.signature.function.name, inputs, sizes)
        return [*results, *(self.reference.read(n) for n in self.updated)]


def _case(caller: _Caller, links: Sequence[slopes.Link]) -> Case | None:
    for sizes, inputs in _attempts(caller.signature):
        try:
            results = caller.run(inputs, sizes, {})
            moved = [_moved_run(caller, inputs, sizes, seed) for seed in range(_MOVES)]
        except CallError:
            continue
        if not all(_same_choices(results, other) for other in moved):
            continue
        tolerances = [_tolerance(r, [m[i] for m in moved]) for i, r in enumerate(results)]
        count = len(caller.signature.function.outputs)
        case = Case(
            caller.signature.function.name,
            sizes,
            tuple(inputs),
            tuple(results[:count]),
            dict(zip(caller.updated, results[count:], strict=True)),
            tuple(tolerances),
        )
        return slopes.measured(case, links, caller.signature, caller.states, caller.run)
    return None


# ---------------------------------------------------------------- sizes and inputs


def _attempts(signature: Signature) -> Iterator[tuple[dict[str, int], list[Array]]]:
    """Yield sizes and made-up inputs that the signature lets pass."""
    for sizes in _sizes(signature):
        for spread in (True, False):
            for seed in range(_POINTS):
                try:
                    inputs = _made_up(signature, sizes, seed, spread)
                    named = {n: s for n, s in sizes.items() if n not in signature.names}
                    yield sizes, signature.bind(inputs, named)[0]
                except CallError:
                    continue


def _sizes(signature: Signature) -> Iterator[dict[str, int]]:
    names = signature.sizes
    different = {name: _FIRST + i for i, name in enumerate(names)}
    if names and slopes.cost(signature, different) > _HEAVY:
        yield dict.fromkeys(names, 1)
    yield different
    for size in _EQUAL if names else ():
        yield dict.fromkeys(names, size)


def _made_up(
    signature: Signature, sizes: Mapping[str, int], seed: int, spread: bool
) -> list[Array]:
    """Return floats of both signs, and integers that can be indices: 0 alone without ``spread``.

    Errors: CallError for sizes at which an input has a negative one
    """
    generator = np.random.default_rng(seed)
    limits = _limits(signature, sizes)
    made: list[Array] = []
    for i, node in enumerate(signature.function.inputs):
        shape = [dims.evaluate(d, sizes) for d in node.shape]
        if min(shape, default=0) < 0:
            raise CallError(f"{signature.function.name}: {node.label} would have {min(shape)}")
        if node.tensor.is_float:
            array: Array = generator.uniform(-1, 1, shape)
        else:
            below = limits.get(i, 2) if spread or node.dtype == "bool" else 1
            array = generator.integers(0, below, shape)
        made.append(np.require(array, node.dtype, ["C", "A"]))
    return made


def _limits(signature: Signature, sizes: Mapping[str, int]) -> dict[int, int]:
    """Return what the inputs that are used as indices stay below, by position."""
    found: dict[int, int] = {}
    for check in signature.checks:
        length = dims.evaluate(check.length, sizes)
        found[check.position] = max(1, min(length, found.get(check.position, length)))
    return found


# ---------------------------------------------------------------- tolerances


def _moved_run(
    caller: _Caller, inputs: Sequence[Array], sizes: Mapping[str, int], seed: int
) -> list[Array]:
    """Return a call's results where each float of inputs and states is one rounding off."""
    generator = np.random.default_rng(seed)
    moved = [_moved(a, generator) for a in inputs]
    states = {n: _moved(a, generator) for n, a in caller.states.items()}
    return caller.run(moved, sizes, states)


def _moved(array: Array, generator: np.random.Generator) -> Array:
    step = _ROUNDING.get(array.dtype.name)
    if step is None:
        return array
    signs = 1 - 2 * generator.integers(0, 2, array.shape, dtype="int8")
    with np.errstate(all="ignore"):
        return np.require(array * (1 + step * signs), array.dtype, ["C", "A"])


def _same_choices(first: Sequence[Array], second: Sequence[Array]) -> bool:
    """Return whether what is no float is equal: no comparison there hangs on a rounding."""
    pairs = zip(first, second, strict=True)
    return all(a.dtype.name in _ROUNDING or np.array_equal(a, b) for a, b in pairs)


def _tolerance(first: Array, others: Sequence[Array]) -> float:
    relative = _RELATIVE.get(first.dtype.name)
    if relative is None:
        return 0.0
    value = first.astype("float64")
    with np.errstate(all="ignore"):
        apart = [np.abs(value - other.astype("float64")) for other in others]
    steep = max((float(a[np.isfinite(a)].max(initial=0.0)) for a in apart), default=0.0)
    largest = float(np.abs(value[np.isfinite(value)]).max(initial=0.0))
    return relative * max(largest, _SMALLEST) + _STEEP * steep
