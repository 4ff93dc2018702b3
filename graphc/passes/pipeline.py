"""The order in which a compile runs the passes: once, here.

``GRAPHC_DUMP=dir`` writes the program after each pass and verifies it; ``GRAPHC_VERIFY=1``
verifies only, as the tests do. The last program is always verified.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from graphc import dims, ir, printer, verify
from graphc.ir import Program
from graphc.passes.bind import bind
from graphc.passes.fold import fold
from graphc.passes.hoist import hoist
from graphc.passes.lookups import lookups
from graphc.passes.merge import merge
from graphc.passes.resolve import resolve
from graphc.passes.retype import retype
from graphc.passes.simplify import simplify
from graphc.passes.stabilise import stabilise
from graphc.passes.trim import trim
from graphc.passes.unite import unite

Pass = Callable[[Program], Program]

PASSES: tuple[Pass, ...] = (
    resolve,
    stabilise,
    fold,
    simplify,
    lookups,
    merge,
    unite,
    trim,
    hoist,
    merge,
    trim,
)
# Moves across ops that may change roundings or what becomes of NaN and infinity; each has its name.
MOVES: tuple[Pass, ...] = (lookups, hoist)


def canonical(
    program: Program,
    *,
    dtype: str | None = None,
    sizes: Mapping[str, int] | None = None,
    exact: bool = False,
) -> Program:
    """Return the program that back ends get; ``exact`` leaves out all ``MOVES``.

    Promises: forms resolved, broadcasts explicit, equal work shared, verified.
    Errors:   whatever a user's program can be wrong in; InternalError for a pass that is.
    """
    passes = [p for p in PASSES if not (exact and p in MOVES)]
    if dtype is not None:
        passes.insert(0, _called("retype", lambda p: retype(p, dtype)))
    if sizes:
        passes.insert(0, _called("bind", lambda p: bind(p, sizes)))
    _look(program, 0, "declared")
    for number, change in enumerate(passes, start=1):
        program = change(program)
        _look(program, number, change.__name__)
    verify.verify(program, after="the last pass")
    return program


def conditions(
    program: Program, sizes: Mapping[str, int] | None = None
) -> dict[str, list[dims.Condition]]:
    """Return, for each function, the claims on sizes that only a call can decide.

    They are those of the program as declared, in each function's form: a pass may take away the
    node that made a claim, and the claim must still hold.
    """
    resolved = resolve(bind(program, sizes) if sizes else program)
    found = {}
    for function in resolved.functions:
        with dims.collecting() as claims:
            for node in ir.with_bodies(ir.topological(function.roots)):
                with ir.noting_as(node.note):
                    node.op.infer(node.inputs, node.attrs)
        found[function.name] = list(dict.fromkeys(claims))
    return found


def _called(name: str, change: Pass) -> Pass:
    change.__name__ = name
    return change


def _look(program: Program, number: int, name: str) -> None:
    folder = os.environ.get("GRAPHC_DUMP")
    if folder:
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        path.joinpath(f"{number:02}-{name}.txt").write_text(
            printer.text(program, notes=True), encoding="utf-8"
        )
    if folder or os.environ.get("GRAPHC_VERIFY"):
        verify.verify(program, after=name)
