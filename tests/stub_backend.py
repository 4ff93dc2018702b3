"""A back end that computes nothing: for tests of all that happens before a program runs.

Holds no tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graphc import dims
from graphc.backend import PROTOCOL, Case, Options
from graphc.ir import Program


class StubExecutable:
    """States in a dict; calls give zeros."""

    def __init__(self, program: Program) -> None:
        self.functions = {f.name: f for f in program.functions}
        self.states = {
            n.attrs["name"]: np.zeros([int(d) for d in n.shape], n.dtype) for n in program.states
        }

    def call(
        self, function: str, arrays: Sequence[np.ndarray], sizes: Mapping[str, int]
    ) -> list[np.ndarray]:
        outputs = self.functions[function].outputs
        return [np.zeros([dims.evaluate(d, sizes) for d in n.shape], n.dtype) for n in outputs]

    def read(self, state: str) -> np.ndarray:
        return self.states[state].copy()

    def write(self, state: str, array: np.ndarray) -> None:
        self.states[state] = array.copy()

    def export(self, folder: Path, cases: Sequence[Case]) -> None:
        raise NotImplementedError

    @property
    def report(self) -> Mapping[str, object]:
        return {}


class StubBackend:
    """Protocol 1 over nothing."""

    name = "stub"
    protocol = PROTOCOL

    def missing(self, program: Program) -> Sequence[tuple[str, str]]:
        return []

    def build(self, program: Program, options: Options) -> Any:
        return StubExecutable(program)

    def describe(self) -> Mapping[str, str]:
        return {}


STUB = StubBackend()
