"""From a program to a module: the pipeline, a back end, and the module over it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from graphc import backend as backends
from graphc import dims, ir, slopes
from graphc.arguments import Signature, machine_memory
from graphc.backend import Backend, Executable, Options
from graphc.dsl import structure
from graphc.dsl.convert import dtype_of, node_of
from graphc.dsl.location import public
from graphc.dsl.program import Program, program_of
from graphc.dsl.tensor import Tensor
from graphc.errors import (
    CallError,
    DtypeError,
    NameClashError,
    NoCompilerError,
    SizeError,
    UnsupportedError,
)
from graphc.ir import Node
from graphc.module import Module
from graphc.ops import leaf, scan
from graphc.passes import pipeline

_told: set[str] = set()


@public
def compile(
    program: Program,
    backend: str | Backend | None = None,
    *,
    dtype: str | None = None,
    dims: Mapping[str, int] | None = None,
    tune_for: Mapping[str, int] | None = None,
    exact: bool = False,
) -> Module:
    """Turn a program into a module with initial values of seed 0.

    Args:
        program: what to compile.
        backend: ``"c"``, ``"numpy"``, the name of an installed plug-in, or an object; left out, C
            where a compiler is found and else NumPy, which one line on stderr says.
        dtype: retype all floats to ``"float32"`` or ``"float64"``.
        dims: sizes that fix named dimensions; those left open serve all sizes from 1 on.
        tune_for: sizes that only guide choices.
        exact: switch off every move across ops that changes rounding.

    Errors: BackendError, CompilerError, UnsupportedError, SizeError
    """
    if not isinstance(program, Program):
        raise CallError(f"compile takes a gx.Program, not {program!r:.60}")
    _check_bound(program.ir, tune_for, "tune_for")
    options = Options(exact=exact, tune_for=dict(tune_for or {}))
    return compile_ir(program.ir, backend, dtype=dtype, sizes=dims, options=options)


def compile_ir(
    program: ir.Program,
    backend: str | Backend | None = None,
    *,
    dtype: str | None = None,
    sizes: Mapping[str, int] | None = None,
    options: Options | None = None,
) -> Module:
    """Turn a program of nodes into a module; see `compile`."""
    if dtype is not None and (dtype := dtype_of(dtype)) not in ir.FLOATS:
        raise DtypeError(f"dtype is one of {', '.join(ir.FLOATS)}, not {dtype}")
    _check_bound(program, sizes, "dims")
    options = options or Options()
    canonical = pipeline.canonical(program, dtype=dtype, sizes=sizes, exact=options.exact)
    _check_static_sizes(canonical)
    executable, name = _built(canonical, backend, options)
    conditions = pipeline.conditions(program, sizes or {})
    signatures = {f.name: Signature(f, conditions[f.name]) for f in canonical.functions}
    links = slopes.links(program)
    module = Module(canonical, executable, name, signatures, links=links)
    module.init(seed=0)
    return module


def _check_bound(program: ir.Program, sizes: Mapping[str, int] | None, keyword: str) -> None:
    if sizes is not None and not isinstance(sizes, Mapping):
        raise SizeError(f"{keyword}= takes sizes by name, not {sizes!r:.60}")
    order = [n for f in program.functions for n in ir.topological((*f.inputs, *f.roots))]
    known = dims.names(*(t.shape for n in order for t in n.types), scan.lengths(order))
    for name, size in (sizes or {}).items():
        if name not in known:
            raise NameClashError(
                f"{keyword}: nothing has the dimension {name!r:.60}",
                hint="known are " + ", ".join(known) if known else None,
            )
        if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
            raise SizeError(f"{keyword}: {name} is a whole number from 1 on, not {size!r:.60}")
        if size > dims.LARGEST:
            raise SizeError(f"{keyword}: {name} is {size}, above 2**63 - 1")


def _check_static_sizes(program: ir.Program) -> None:
    """Raise for tensors of fixed size that no machine holds, before any code is written."""
    for node in ir.topological(program.roots):
        for t in node.types:
            leaf.check_bytes(node.label, t, node.note.where)
    total = sum(leaf.fixed_bytes(n.tensor) for n in program.states)
    if total > machine_memory():
        largest = max(program.states, key=lambda n: leaf.fixed_bytes(n.tensor))
        raise SizeError(
            f"the parameters and states take {total:,} bytes, more than the {machine_memory():,} "
            "of this machine",
            where=largest.note.where,
            rows=[("the largest", largest.label, str(largest.type))],
        )


def _built(
    program: ir.Program, backend: str | Backend | None, options: Options
) -> tuple[Executable, str]:
    if backend is not None:
        chosen = backends.find(backend)
        return _build(chosen, program, options), chosen.name
    installed = backends.installed()
    if "c" in installed:
        chosen = backends.find("c")
        try:
            return _build(chosen, program, options), chosen.name
        except NoCompilerError as error:
            _tell_once(f"graphc: no C compiler, so NumPy runs it: {error.message}")
    chosen = backends.find("numpy")
    return _build(chosen, program, options), chosen.name


def _build(backend: Backend, program: ir.Program, options: Options) -> Executable:
    missing = backend.missing(program)
    if missing:
        op, why = missing[0]
        raise UnsupportedError(
            f"the back end {backend.name!r} does not run {op}: {why}",
            rows=[(o, w) for o, w in missing],
            hint="another back end: " + ", ".join(n for n in backends.installed()),
        )
    return backend.build(program, options)


def _tell_once(line: str) -> None:
    if line not in _told:
        _told.add(line)
        print(line, file=sys.stderr)


@public
def evaluate(
    nest: Any,
    at: Mapping[Any, Any] | None = None,
    *,
    training: bool = False,
    seed: int = 0,
    dtype: str | None = None,
    backend: str | Backend = "numpy",
) -> Any:
    """Return the numbers of a tensor, or of a nest of them, without a program.

    ``at`` gives arrays by name or tensor: of inputs, and of any others in place of what they
    would be. Parameters left out have their initial values. The test form is computed unless
    ``training``.

    Errors: CallError for an input without a value, and whatever a call raises
    """
    leaves, shape = structure.flatten(nest)
    tensors = [t if isinstance(t, Tensor) else Tensor(node_of(t)) for t in leaves]
    tensors, values = _placed(tensors, {} if at is None else at)
    program = program_of({f"t{i}": t for i, t in enumerate(tensors)}, training=training)
    module = compile_ir(program, backend, dtype=dtype)
    module.init(seed)
    module.state.update({k: v for k, v in values.items() if k in module.state})
    inputs = [n.attrs["name"] for n in program.functions[0].inputs]
    for name in (n for n in inputs if n not in values):
        raise CallError(f"evaluate: the input {name} has no value", hint=f'at={{"{name}": …}}')
    # Other names are let pass, so that at={**module.state, "x": x} serves any part of a network.
    types = [t for n in ir.topological(program.roots) for t in n.types]
    sizes = dims.names(*(t.shape for t in types), scan.lengths(ir.topological(program.roots)))
    fixed = dims.names(*(n.shape for n in program.functions[0].inputs))
    for name in (n for n in sizes if n not in fixed and n not in values):
        raise CallError(f"evaluate: nothing fixes the size {name}", hint=f'at={{"{name}": 8}}')
    arguments = {k: v for k, v in values.items() if k in inputs or k in sizes}
    results = module.functions["evaluate"](**arguments)
    return structure.build(shape, [results[f"t{i}"] for i in range(len(tensors))])


def _placed(tensors: list[Tensor], at: Mapping[Any, Any]) -> tuple[list[Tensor], dict[str, Any]]:
    """Return the tensors with given inner ones made inputs, and all values by name."""
    holes: dict[Node, Node] = {}
    values: dict[str, Any] = {}
    if not isinstance(at, Mapping):
        raise CallError(f"at= takes arrays by name or tensor, not {at!r:.60}")
    for key, value in at.items():
        if isinstance(key, str):
            values[key] = value
        elif isinstance(key, Tensor) and key.node.op in (leaf.INPUT, *leaf.LEAVES_WITH_STATE):
            values[key.node.attrs["name"]] = value
        elif isinstance(key, Tensor):
            name = f"given {len(holes)}"  # no identifier, so that it is nobody's name
            holes[key.node] = leaf.input(name, key.node.shape, key.node.dtype)
            values[name] = value
        else:
            raise CallError(f"at= has names or tensors as keys, not {key!r:.60}")
    if not holes:
        return tensors, values
    mapping = ir.substitute([t.node for t in tensors], holes)
    return [Tensor(mapping[t.node]) for t in tensors], values
