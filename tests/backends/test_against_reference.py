"""Every op on every installed back end against the reference evaluator.

All samples of a back end and a family of ops are functions of one program, since a compile costs
far more than a call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pytest

import fills
import op_samples
import precise
import reference
import tolerances
from graphc import backend, dims, ir
from graphc.errors import NoCompilerError
from graphc.ir import Floats, Function, Node, Program
from graphc.ops import elementwise
from graphc.passes import pipeline
from op_samples import SAMPLES, Sample

BACKENDS = ["numpy", pytest.param("c", marks=pytest.mark.cc)]
SPECIALS = 500  # combinations of special values at which a formula is tried


@dataclass(frozen=True)
class Case:
    """One op, and the arrays it is run on.

    Attributes:
        function: the name of its function in the program.
        node: what is computed.
        truth: the same node in float64, where a sum of float32 is judged by it.
        sizes: sizes of named dimensions, one mapping a run.
        sample: where ordinary inputs come from; None for special values only.
    """

    function: str
    node: Node
    truth: Node
    sizes: Sequence[Mapping[str, int]]
    sample: Sample | None

    @property
    def leaves(self) -> list[Node]:
        return _leaves(self.node)


def _leaves(node: Node) -> list[Node]:
    return [n for n in ir.topological([node]) if n.op.name in ("input", "parameter", "state")]


def _samples() -> list[tuple[str, Case]]:
    found = []
    for sample in SAMPLES:
        # Roundings of a loop's steps add up: test_loops judges loops as a whole.
        judged = not sample.core_only and sample.op != "scan"
        for dtype in sample.dtypes if judged else ():
            node = sample.build(dtype)
            wide = sample.build("float64") if dtype == "float32" else node
            name = "".join(c if c.isalnum() else "_" for c in f"{sample.name}_{dtype}")
            found.append((sample.op, Case(name, node, wide, sample.sizes, sample)))
    return found


def _formulas() -> list[tuple[str, Case]]:
    found = []
    for name, made in elementwise.FORMULAS.items():
        for dtype in op_samples.dtypes_of(name):
            probe = op_samples.applied(made, dtype, (1,))
            columns = fills.product_of_specials([n.dtype for n in _leaves(probe)], SPECIALS)
            node = op_samples.applied(made, dtype, (len(columns[0]),))
            case = Case(f"special_{name}_{dtype}", node, node, ({},), None)
            found.append(("elementwise", case))
    return found


CASES = [*_samples(), *_formulas()]


@dataclass(frozen=True)
class Built:
    """The executables of a back end, one for each family of ops, built when first asked for."""

    name: str
    found: dict[str, backend.Executable] = field(default_factory=dict)

    def program(self, family: str) -> backend.Executable:
        if family not in self.found:
            self.found[family] = _built(self.name, _program(family))
        return self.found[family]


@cache
def _executables(name: str) -> Built:
    return Built(name)


def _program(family: str) -> Program:
    functions, states = [], []
    for op, case in CASES:
        if op == family:
            held = [n for n in case.leaves if n.op.name != "input"]
            inputs = [n for n in case.leaves if n.op.name == "input"]
            functions.append(Function(case.function, tuple(inputs), (case.node,), training=True))
            states += held
    return Program(family, tuple(functions), tuple(states))


def _built(name: str, program: Program) -> backend.Executable:
    """Build a program; skip where there is no compiler, and only there."""
    found = backend.find(name)
    ready = pipeline.canonical(program)
    assert list(found.missing(ready)) == []
    try:
        return found.build(ready, backend.Options())
    except NoCompilerError as error:
        pytest.skip(error.message)


def _run(name: str, family: str, case: Case, at: Mapping[Node, Any], sizes: Any) -> Any:
    """Return what a back end gives; inputs may not change, nor the result share their memory."""
    executable = _executables(name).program(family)
    arrays = []
    for leaf in case.leaves:
        if leaf.op.name == "input":
            arrays.append(at[leaf])
        else:
            executable.write(leaf.attrs["name"], at[leaf])
    before = [a.copy() for a in arrays]
    (got,) = executable.call(case.function, arrays, dict(sizes))
    for array, kept in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, kept)
        assert not np.shares_memory(array, got)
    assert (got.dtype.name, got.flags.c_contiguous) == (case.node.dtype, True)
    return got


# ---------------------------------------------------------------- judging


def _same_bits(got: Any, expected: Any, *, open_zeros: bool = False) -> None:
    np.testing.assert_array_equal(got, expected)
    if got.dtype.name in reference.FLOATS and not open_zeros:
        zeros = got == 0
        np.testing.assert_array_equal(np.signbit(got)[zeros], np.signbit(expected)[zeros])


def _op_name(node: Node) -> str:
    made = node.attrs.get("formula")
    return made.name if made is not None else node.op.name


def _expect(case: Case, at: Mapping[Node, Any], sizes: Any, got: Any) -> None:
    node = case.node
    (expected,) = reference.evaluate([node], at, sizes)
    assert got.shape == expected.shape
    if not node.tensor.is_float or _class(node) is Floats.EXACT:
        _same_bits(got, expected, open_zeros=_op_name(node) in tolerances.OPEN_ZEROS)
    elif _class(node) is Floats.ROUNDED:
        _near_formula(node, [at[n] for n in node.inputs], got, expected)
    else:
        _near_sum(case, at, sizes, got)


def _class(node: Node) -> Floats:
    made = node.attrs.get("formula")
    return node.op.floats if made is None else elementwise.floats_of(made)[0]


def _near_formula(node: Node, columns: Sequence[Any], got: Any, expected: Any) -> None:
    tree = node.attrs["formula"].tree
    largest = float(np.finfo(node.dtype).max)
    rows = zip(*(c.ravel().tolist() for c in columns), strict=True)
    for row, value, normal in zip(rows, got.ravel(), expected.ravel(), strict=True):
        true = precise.truth(tree, row) if np.isfinite(row).all() else None
        if true is None and _open_product(row, node.dtype):
            continue
        if true is None or abs(true) > largest or normal == 0:
            np.testing.assert_array_equal(value, normal, err_msg=str(row))
            assert np.isnan(normal) or np.signbit(value) == np.signbit(normal), row
        elif value != normal:
            missed = abs(float(value) - true)
            assert missed <= precise.tolerance(tree, row, node.dtype), (row, value, normal)


def _open_product(row: Sequence[float], dtype: str) -> bool:
    """Tell whether an infinity meets a subnormal, which a rounded primitive may make 0."""
    tiny = float(np.finfo(dtype).tiny)
    return bool(np.isinf(row).any()) and any(0 < abs(v) < tiny for v in row)


def _near_sum(case: Case, at: Mapping[Node, Any], sizes: Any, got: Any) -> None:
    node, wide = case.node, case.truth
    exact = {w: at[n].astype(w.dtype) for n, w in zip(case.leaves, _leaves(wide), strict=True)}
    (true,) = reference.evaluate([wide], exact, sizes)
    if node.op.name == "logsumexp":
        bound = tolerances.logsumexp_bound(node, true, sizes)
    else:
        chooses = [wide.inputs[i] for i in tolerances.CHOOSES.get(node.op.name, ())]
        sizes_of = {
            w: v if w in chooses or v.dtype.name not in reference.FLOATS else np.abs(v)
            for w, v in exact.items()
        }
        (magnitudes,) = reference.evaluate([wide], sizes_of, sizes)
        bound = tolerances.sum_bound(node, magnitudes, sizes)
    plain = np.isfinite(true)
    np.testing.assert_array_equal(got[~plain], true[~plain])
    missed = np.abs(got[plain].astype("float64") - true[plain])
    assert (missed <= bound[plain]).all(), (missed / np.maximum(bound[plain], 1e-300)).max()


# ---------------------------------------------------------------- tests


def _ids(pair: object) -> str | None:
    return pair[1].function if isinstance(pair, tuple) else None


@pytest.mark.parametrize("pair", [p for p in CASES if p[1].sample is not None], ids=_ids)
@pytest.mark.parametrize("name", BACKENDS)
def test_op_agrees_with_the_reference(name: str, pair: tuple[str, Case]) -> None:
    family, case = pair
    assert case.sample is not None
    for sizes in case.sizes:
        at = case.sample.inputs(case.node, sizes)
        _expect(case, at, sizes, _run(name, family, case, at, sizes))


@pytest.mark.parametrize("pair", [p for p in CASES if p[1].sample is None], ids=_ids)
@pytest.mark.parametrize("name", BACKENDS)
def test_formula_agrees_with_numpy_at_special_values(name: str, pair: tuple[str, Case]) -> None:
    family, case = pair
    columns = fills.product_of_specials([n.dtype for n in case.leaves], SPECIALS)
    at = dict(zip(case.leaves, columns, strict=True))
    _expect(case, at, {}, _run(name, family, case, at, {}))


def _exact_with_floats(pair: tuple[str, Case]) -> bool:
    family, case = pair
    floats = [n for n in case.leaves if n.tensor.is_float]
    return family != "elementwise" and _class(case.node) is Floats.EXACT and bool(floats)


@pytest.mark.parametrize("pair", [p for p in CASES if _exact_with_floats(p)], ids=_ids)
@pytest.mark.parametrize("name", BACKENDS)
def test_exact_op_keeps_special_values(name: str, pair: tuple[str, Case]) -> None:
    family, case = pair
    assert case.sample is not None
    for sizes in case.sizes:
        at = case.sample.inputs(case.node, sizes)
        for k, leaf in enumerate(n for n in case.leaves if n.tensor.is_float):
            values = np.roll(fills.special(leaf.dtype), 5 * k + 3)
            at[leaf] = np.resize(values, at[leaf].shape)
        _expect(case, at, sizes, _run(name, family, case, at, sizes))


def _sums_floats(pair: tuple[str, Case]) -> bool:
    case = pair[1]
    return case.node.tensor.is_float and _class(case.node) is Floats.SUM


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf], ids=str)
@pytest.mark.parametrize("pair", [p for p in CASES if _sums_floats(p)], ids=_ids)
@pytest.mark.parametrize("name", BACKENDS)
def test_sum_of_a_special_term_is_not_finite(
    name: str, pair: tuple[str, Case], special: float
) -> None:
    """Padding with zeros may spoil more sums (0 * inf is NaN), but none may hide its term."""
    family, case = pair
    assert case.sample is not None
    sizes = case.sizes[-1]
    at = case.sample.inputs(case.node, sizes)
    leaf = [n for n in case.leaves if n.tensor.is_float][-1]
    if at[leaf].size == 0:
        assert _run(name, family, case, at, sizes).size >= 0
        return
    at[leaf] = at[leaf].copy()
    at[leaf].ravel()[at[leaf].size // 2] = special
    with np.errstate(all="ignore"):
        (expected,) = reference.evaluate([case.node], at, sizes)
    got = _run(name, family, case, at, sizes)
    assert not np.isfinite(got[~np.isfinite(expected)]).any()


def test_every_case_is_a_function_of_its_own() -> None:
    names = [case.function for _, case in CASES]
    assert len(names) == len(set(names)) and all(n.isidentifier() for n in names)


def test_sizes_of_dimensions_are_those_of_the_arrays() -> None:
    for _, case in CASES:
        for sizes in case.sizes:
            assert set(dims.names(*(n.shape for n in case.leaves))) <= set(sizes)
