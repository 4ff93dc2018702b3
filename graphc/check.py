"""The user's own check: gradients against central differences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from graphc import compiler, dims, ir
from graphc.backend import Backend
from graphc.dsl import convert, graph, structure
from graphc.dsl.location import public
from graphc.dsl.program import program_of
from graphc.dsl.tensor import Tensor
from graphc.errors import CallError, GradientError
from graphc.module import Module
from graphc.ops import random, scan

Array = npt.NDArray[Any]
# The step that balances rounding against curvature for central differences: eps ** (1/3).
_STEP = float(np.finfo(np.float64).eps) ** (1 / 3)
_OPEN_SIZE = 2  # elements of a named dimension of an input that is drawn


@dataclass(frozen=True, slots=True)
class Checked:
    """How well one gradient agrees: the largest difference, relative to its largest entry."""

    name: str
    error: float
    elements: int


@dataclass(frozen=True, slots=True)
class Report:
    """All checked gradients; printing shows them."""

    rows: tuple[Checked, ...]

    @property
    def error(self) -> float:
        """The largest relative difference."""
        return float(np.max([r.error for r in self.rows])) if self.rows else 0.0

    def __str__(self) -> str:
        width = max((len(r.name) for r in self.rows), default=0)
        lines = [f"{r.name:{width}}  {r.elements:6d} checked  {r.error:.1e}" for r in self.rows]
        return "\n".join([*lines, f"largest relative difference {self.error:.1e}"])


@public
def check_grads(
    loss: Tensor,
    wrt: Any = None,
    at: Mapping[Any, Any] | None = None,
    *,
    tolerance: float = 1e-6,
    elements: int = 50,
    seed: int = 0,
    backend: str | Backend = "numpy",
) -> Report:
    """Compare gradients with central differences in float64, and raise where they differ.

    ``wrt`` is parameters and inputs (all parameters by default). Inputs that ``at`` leaves out are
    drawn from the standard normal distribution, named sizes then being 2. At most ``elements``
    entries of each gradient are tried. The training form is derived, and every point draws the
    same random numbers.

    Errors: GradientError that says which gradient differs and by how much
    """
    if not isinstance(loss, Tensor):
        raise GradientError(f"check_grads derives a tensor, not {loss!r:.60}")
    limit = convert.number("check_grads: the tolerance", tolerance)
    count = convert.whole("check_grads: the number of elements", elements)
    if count < 1:
        raise CallError(f"check_grads: at least one element is tried, not {count}")
    targets: list[Tensor] = structure.flatten(graph.wanted(loss, wrt))[0]
    for target in targets:
        if target.node.inputs:
            raise GradientError(
                f"check_grads moves parameters and inputs, and {target.node.label} is computed",
                hint="gx.replace puts an input in its place",
            )
    gradients = graph.grad(loss, targets)
    outputs = {"loss": loss} | {f"g{i}": g for i, g in enumerate(gradients)}
    program = program_of(outputs, training=True)
    module = compiler.compile_ir(program, backend, dtype="float64")
    module.init(seed)
    point = _Point(module, _arguments(program, module, {} if at is None else at, seed), seed)
    rows = tuple(
        point.compared(t.node.attrs["name"], f"g{i}", count) for i, t in enumerate(targets)
    )
    report = Report(rows)
    if not report.error <= limit:
        raise GradientError(
            f"a gradient differs from central differences by {report.error:.1e} (relative), "
            f"more than {limit:.1e}",
            rows=[(r.name, f"{r.error:.1e}") for r in rows],
            hint=_reason(loss),
        )
    return report


def _reason(loss: Tensor) -> str:
    """Return what else makes a gradient differ from central differences."""
    order = ir.with_bodies(ir.topological([loss.node]))
    if any(n.op is scan.SCAN and scan.walk_of(n.attrs).truncate for n in order):
        return "a loop is truncated, and what its borders cut the differences still see"
    return "a kink beside the point (relu at 0) does that too: try another point"


def _arguments(
    program: ir.Program, module: Module, at: Mapping[Any, Any], seed: int
) -> dict[str, Any]:
    """Return a value for each input; values of parameters go into the module."""
    given = _by_name(at)
    for name in given.keys() & module.state.keys():
        module.state[name] = given[name]
    generator = np.random.default_rng(seed)
    inputs = program.functions[0].inputs
    sizes: dict[str, int] = {}
    for node in inputs:
        value = given.get(node.attrs["name"])
        if value is not None:
            array = convert.array_of(value)
            for dim, extent in zip(node.shape, array.shape, strict=False):
                solved = dims.solve(dim, extent, sizes)
                sizes.update([solved] if solved else [])
    found: dict[str, Any] = {}
    for node in inputs:
        name = node.attrs["name"]
        if name in given:
            found[name] = convert.array_of(given[name])
            continue
        open_names = {n: sizes.get(n, _OPEN_SIZE) for n in dims.names(node.shape)}
        shape = [dims.evaluate(d, open_names) for d in node.shape]
        if not node.tensor.is_float:
            raise CallError(
                f"check_grads: {name} is {node.dtype}, so it cannot be drawn",
                hint=f'at={{"{name}": …}}',
            )
        found[name] = generator.standard_normal(shape)
    return found


def _by_name(at: Any) -> dict[str, Any]:
    """Return values by the names of their leaves.

    Errors: CallError
    """
    if not isinstance(at, Mapping):
        raise CallError(f"at= takes arrays by name or tensor, not {at!r:.60}")
    found = {}
    for key, value in at.items():
        name = key.node.attrs.get("name") if isinstance(key, Tensor) else key
        if not isinstance(name, str):
            raise CallError(f"at= has names, inputs or parameters as keys, not {key!r:.60}")
        found[name] = value
    return found


class _Point:
    """A module at one set of parameters and arguments, whose entries are moved one by one."""

    def __init__(self, module: Module, arguments: dict[str, Any], seed: int) -> None:
        self.module, self.arguments, self.seed = module, arguments, seed
        self.results = self._run()

    def _run(self) -> dict[str, Array]:
        if random.KEY_NAME in self.module.state:
            self.module.state[random.KEY_NAME] = np.array([self.seed, 0], "uint64")
        results: dict[str, Array] = self.module.functions["evaluate"](**self.arguments)
        return results

    def compared(self, name: str, gradient: str, elements: int) -> Checked:
        """Return how far one gradient is from central differences."""
        derived = self.results[gradient].ravel()
        generator = np.random.default_rng(self.seed)
        count = min(elements, derived.size)
        chosen = np.sort(generator.choice(derived.size, count, replace=False))
        scale = float(np.max(np.abs(derived))) if derived.size else 0.0
        worst = 0.0
        for place in chosen:
            slope = self._slope(name, int(place))
            worst = float(np.fmax(worst, abs(slope - derived[place])))
            if not np.isfinite(slope) or not np.isfinite(derived[place]):
                worst = np.inf
        return Checked(name, worst / max(scale, 1e-6), count)

    def _slope(self, name: str, place: int) -> float:
        base = self._get(name)
        step = _STEP * max(1.0, abs(float(base.flat[place])))
        losses = []
        for direction in (1, -1):
            moved = base.copy()
            moved.flat[place] += direction * step
            self._set(name, moved)
            losses.append(float(self._run()["loss"]))
        self._set(name, base)
        return float((losses[0] - losses[1]) / (2 * step))

    def _get(self, name: str) -> Array:
        held = self.arguments.get(name)
        value = self.module.state[name] if held is None else held
        return np.array(value, "float64")

    def _set(self, name: str, value: Array) -> None:
        if name in self.arguments:
            self.arguments[name] = value
        else:
            self.module.state[name] = value
