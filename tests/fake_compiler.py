"""Small scripts that act as C compilers, for tests of the compiler's discovery and of the cache.

Holds no tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from graphc_c import toolchain
from graphc_c.toolchain import Compiler

SOURCES = {"a.c": ("int answer(void) { return 42; }\n", False)}

# Answers a probe, logs its arguments beside itself, and writes what it is told to write.
FAKE = """\
case "$*" in
  *--version*) echo "fake 1.0"; exit 0 ;;
  *-dM*) echo "#define INFINITY 1"; exit 0 ;;
esac
echo "$*" >> "$0.log"
while [ $# -gt 0 ]; do
  if [ "$1" = -o ]; then echo "built" > "$2"; fi
  shift
done
"""


def script(path: Path, body: str) -> str:
    """Write an executable shell script and return its path."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}")
    path.chmod(0o700)
    return str(path)


def find(**environ: str) -> Compiler:
    """Find a compiler with these variables set and the usual PATH."""
    return toolchain.find_compiler({"PATH": os.environ["PATH"], **environ})


def log(compiler: Compiler) -> list[str]:
    """Return the arguments of each run of a fake compiler, probes excepted."""
    file = Path(compiler.command[0] + ".log")
    return file.read_text().splitlines() if file.exists() else []


def run_python(code: str, *arguments: str, environ: Mapping[str, str] = os.environ) -> str:
    """Run Python code in another process with the same import path; return what it prints."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
