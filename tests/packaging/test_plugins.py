"""A third back end works as an object, and as a plug-in that is installed for real."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import graphc as gx
from graphc import backend as backends
from graphc.errors import BackendError, UnsupportedError

PLUGIN = '''
"""A back end that passes everything on to NumPy's, and says so."""
from graphc import backend

class Passing:
    name = "passing"
    protocol = {protocol}
    def missing(self, program):
        return []
    def build(self, program, options):
        return backend.find("numpy").build(program, options)
    def describe(self):
        return {{"what": "passes on to numpy"}}

backend_object = Passing()
'''


def twice() -> gx.Program:
    """Return the program x -> 2 x."""
    x = gx.input("x", ("N",))
    return gx.Program("twice", run=gx.function([x], x * 2))


class Passing:
    """A back end as an object, which knows no op called ``hidden``."""

    name = "passing"
    protocol = backends.PROTOCOL

    def __init__(self, *hidden: str) -> None:
        self.hidden = hidden

    def missing(self, program: object) -> list[tuple[str, str]]:
        return [(op, "it is not written yet") for op in self.hidden]

    def build(self, program: object, options: backends.Options) -> backends.Executable:
        return backends.find("numpy").build(program, options)  # type: ignore[arg-type]

    def describe(self) -> dict[str, str]:
        return {}


def test_an_object_is_a_back_end() -> None:
    module = gx.compile(twice(), backend=Passing())
    assert module.backend == "passing"
    np.testing.assert_array_equal(module.run([1, 2]), np.array([2, 4], "float32"))


def test_what_a_back_end_lacks_is_said_with_the_op_and_what_else_would_do() -> None:
    with pytest.raises(UnsupportedError, match="'passing' does not run tan: it is not written yet"):
        gx.compile(twice(), backend=Passing("tan"))


def test_another_protocol_is_refused_with_both_numbers() -> None:
    other = Passing()
    other.protocol = 7
    with pytest.raises(BackendError, match="speaks protocol 7, this graphc speaks 1"):
        gx.compile(twice(), backend=other)


@pytest.mark.parametrize(("protocol", "expected"), [(1, "passing [2. 4.]"), (2, "protocol 2")])
def test_an_installed_plugin_is_found(tmp_path: Path, protocol: int, expected: str) -> None:
    # A distribution on the path is what an installer leaves: a module and its entry points.
    (tmp_path / "passing.py").write_text(PLUGIN.format(protocol=protocol))
    info = tmp_path / "passing-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: passing\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[graphc.backends]\npassing = passing:backend_object\n")
    script = textwrap.dedent(
        """
        import graphc as gx
        x = gx.input("x", ("N",))
        program = gx.Program("twice", run=gx.function([x], x * 2))
        try:
            module = gx.compile(program, backend="passing")
            print(module.backend, module.run([1, 2]))
        except gx.errors.BackendError as error:
            print(error)
        """
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert expected in done.stdout
