"""Recorded calls: what the reference gives, for exports to check themselves by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import exported
import graphc as gx
import reference
from graphc import ir, slopes
from graphc.backend import PROTOCOL, Case, Executable, Options, find
from graphc.ir import Program


class Kept:
    """The NumPy back end, but that an export keeps what it is given."""

    name = "kept"
    protocol = PROTOCOL

    def __init__(self) -> None:
        self.cases: dict[str, Case] = {}
        self.program: Program | None = None

    def missing(self, program: Program) -> list[tuple[str, str]]:
        return []

    def build(self, program: Program, options: Options) -> Executable:
        made = find("numpy").build(program, options)
        self.program = program
        made.export = self._export  # type: ignore[method-assign]
        return made

    def _export(self, folder: Path, cases: Sequence[Case]) -> None:
        self.cases = {case.function: case for case in cases}

    def describe(self) -> dict[str, str]:
        return {}


def recorded(program: gx.Program, folder: Path, dtype: str | None = None) -> tuple[Kept, gx.Module]:
    """Return what an export of a program records, and the module."""
    kept = Kept()
    module = gx.compile(program, backend=kept, dtype=dtype)
    module.export(folder / "nothing")
    return kept, module


@pytest.mark.parametrize("name", [pytest.param("lenet5", marks=pytest.mark.slow), "lstm"])
def test_results_are_those_of_the_oracle(tmp_path: Path, name: str) -> None:
    kept, module = recorded(exported.PROGRAMS[name](), tmp_path)
    assert kept.program is not None and len(kept.cases) == len(kept.program.functions)
    for function in kept.program.functions:
        case = kept.cases[function.name]
        at = dict(zip(function.inputs, case.inputs, strict=True))
        at |= {n: module.state[n.attrs["name"]] for n in kept.program.states}
        wanted = reference.evaluate(function.roots, at, case.sizes)
        found = [*case.outputs, *case.states.values()]
        for value, other, tolerance in zip(found, wanted, case.tolerances, strict=True):
            np.testing.assert_allclose(value, other, rtol=0, atol=tolerance)
            assert tolerance <= 1e-3 * max(np.abs(other).max(), 1.0)


def test_an_export_leaves_all_states_as_they_were(tmp_path: Path) -> None:
    module = gx.compile(exported.lstm(), backend=Kept())
    before = {name: value.copy() for name, value in module.state.items()}
    module.export(tmp_path / "nothing")
    assert all(np.array_equal(module.state[n], v) for n, v in before.items())


def test_indices_stay_in_range_and_differ(tmp_path: Path) -> None:
    ids = gx.input("ids", ("N",), dtype="int32")
    table = gx.parameter("table", (4, 2))
    kept, _ = recorded(gx.Program("look", f=gx.function([ids], table[ids])), tmp_path)
    (found,) = kept.cases["f"].inputs
    assert found.min() >= 0 and found.max() < 4 and len(set(found.tolist())) > 1


def test_sizes_differ_where_they_may_and_keep_to_conditions(tmp_path: Path) -> None:
    x, w = gx.input("x", ("N", "M")), gx.input("w", ("K", "N"))
    square = gx.input("square", ("N", "M"))
    program = gx.Program(
        "sizes",
        free=gx.function([x, w], w @ x),
        same=gx.function([square], gx.reshape(square, (square.shape[1], square.shape[0])) + 1.0),
        tight=gx.function([x], x[:, 4:].sum() + gx.ones((x.shape[0] - 3, 2)).sum()),
    )
    cases = recorded(program, tmp_path)[0].cases
    assert cases["free"].sizes == {"K": 3, "M": 4, "N": 5}
    assert cases["tight"].sizes["N"] >= 4


def test_without_a_reference_nothing_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = gx.input("x", (2,))
    kept = Kept()
    module = gx.compile(gx.Program("plain", f=gx.function([x], x * 2.0)), backend=kept)
    monkeypatch.setattr("graphc.backend.installed", dict)
    module.export(tmp_path / "nothing")
    assert kept.cases == {}


# ---------------------------------------------------------------- gradients


def losses() -> tuple[gx.Tensor, gx.Tensor, gx.Tensor]:
    """Return an input and two losses of it and a parameter."""
    x = gx.input("x", ("N", 3))
    h = (x @ gx.parameter("w", (3, 2))).tanh()
    return x, (h * h).sum(), gx.exp(h).mean()


def test_each_gradient_finds_its_own_loss_and_leaf() -> None:
    x, first, second = losses()
    outputs = {
        "second": second,
        "first": first,
        "x_by_first": gx.grad(first, x),
        "w_by_second": gx.grad(second, "w"),
        "scaled": gx.grad(first, x) * 2.0,
    }
    program = gx.Program("two", f=gx.function([x], outputs))
    assert slopes.links(program.ir) == {
        "f": (slopes.Link(2, 1, "x"), slopes.Link(3, 0, "w")),
    }


def test_a_gradient_without_its_loss_is_linked_to_none() -> None:
    x, first, second = losses()
    program = gx.Program("one", f=gx.function([x], (second, gx.grad(first, x))))
    assert slopes.links(program.ir) == {"f": ()}


@pytest.mark.parametrize("dtype", ir.FLOATS)
@pytest.mark.parametrize("name", exported.PROGRAMS)
def test_all_gradients_of_smooth_networks_are_compared_along_themselves(
    tmp_path: Path, name: str, dtype: str
) -> None:
    case = recorded(exported.PROGRAMS[name](), tmp_path, dtype)[0].cases["gradients"]
    assert len(case.slopes) == len(case.outputs) - 1
    for slope in case.slopes:
        norm = float(np.linalg.norm(case.outputs[slope.gradient]))
        assert not slope.directions[0].signs
        assert all(d.tolerance <= 0.05 * norm for d in slope.directions), slope.leaf
        if dtype == "float64":
            assert all(d.tolerance <= 1e-5 * norm for d in slope.directions), slope.leaf


def test_a_gradient_that_was_stopped_is_not_compared(tmp_path: Path) -> None:
    x, w = gx.input("x", ("N", 3)), gx.parameter("w", (3,))
    loss = gx.exp(x * w * gx.stop_gradient(w)).sum()
    program = gx.Program("stopped", f=gx.function([x], {"loss": loss, "by": gx.grad(loss)}))
    (slope,) = recorded(program, tmp_path)[0].cases["f"].slopes
    assert slope.leaf == "w" and slope.directions == ()


def test_a_gradient_whose_neighbours_fall_out_of_a_table_is_not_compared(tmp_path: Path) -> None:
    w, table = gx.parameter("w", (1,), init=0.999), gx.parameter("table", (1,), init=2.0)
    loss = (table[gx.cast(w, "int32")] * w).sum()
    program = gx.Program("edge", f=gx.function([], {"loss": loss, "by": gx.grad(loss, w)}))
    (slope,) = recorded(program, tmp_path)[0].cases["f"].slopes
    assert slope.leaf == "w" and slope.directions == ()


def test_made_up_signs_are_the_top_bits_of_splitmix64() -> None:
    # Its first outputs from 0 are e220a839…, 6e789e6a…, 06c45d18…, f88bb8a8….
    np.testing.assert_array_equal(slopes.signs(4), [-1.0, 1.0, 1.0, -1.0])
