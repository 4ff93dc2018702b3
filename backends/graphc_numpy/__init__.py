"""The NumPy back end: programs become readable Python sources that import NumPy only.

`emit` writes a module, with an emitter an op in `table`; `build` runs it. Functions that the
source calls stand in `runtime` and are copied into it. `export` puts the same text into a
standalone module, between `tables` of what it takes and the face that stands in `standalone`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from graphc import ir
from graphc.backend import PROTOCOL, Executable, Options
from graphc.ir import Program
from graphc_numpy.emit import BOUND
from graphc_numpy.table import TABLE


class NumpyBackend:
    """Protocol 1 over NumPy."""

    name = "numpy"
    protocol = PROTOCOL

    def missing(self, program: Program) -> Sequence[tuple[str, str]]:
        """Return the ops of a program that have no emitter."""
        names = {n.op.name for n in ir.topological(program.roots)}
        return [(n, "it has no emitter") for n in sorted(names - TABLE.keys() - set(BOUND))]

    def build(self, program: Program, options: Options) -> Executable:
        """Return a program's executable."""
        from graphc_numpy.build import build

        return build(program, options)

    def describe(self) -> Mapping[str, str]:
        """Return NumPy's version."""
        return {"numpy": np.__version__, "threads": "those of NumPy's BLAS"}


backend = NumpyBackend()
