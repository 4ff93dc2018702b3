"""Without a C compiler everything works through NumPy, and one line says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import graphc as gx

x = gx.input("x", ("N",))
for _ in range(2):
    module = gx.compile(gx.Program("p", f=gx.function([x], x * 2)))
print(module.backend, module.f([1, 2]))
"""


def test_numpy_runs_the_program_and_one_line_says_so(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k not in ("CC", "GRAPHC_CC")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=environment | {"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    # The ziglang wheel, where it is installed, is a compiler too.
    if done.stdout.startswith("numpy"):
        assert done.stderr.splitlines() == [
            "graphc: no C compiler, so NumPy runs it: found no C compiler that works"
        ]
    assert done.stdout.split(maxsplit=1)[1] == "[2. 4.]\n"
