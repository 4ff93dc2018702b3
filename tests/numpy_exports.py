"""Programs to export through NumPy, and an interpreter that finds NumPy and nothing else.

Holds no tests.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import graphc as gx

Array = np.ndarray


def lenet(optimiser: Any) -> gx.Program:
    """Return a small LeNet-5 with both pools, dropout, and a table of many constants."""
    x, y = gx.input("x", ("N", 1, 12, 12)), gx.input("y", ("N",), dtype="int64")
    with gx.scope("features"):
        h = gx.max_pool2d(gx.nn.Conv2d(3, 3, padding=1, name="c1")(x).tanh(), 2)
        h = gx.avg_pool2d(gx.nn.Conv2d(4, 3, name="c2")(h).relu(), 2).flatten(1)
    scale = np.linspace(0.5, 1.5, 16 * 8, dtype="float32").reshape(16, 8)
    h = gx.dropout(gx.tanh(h @ scale), 0.4)
    logits = gx.nn.Dense(4, name="out")(h)
    loss = gx.cross_entropy(logits, y)
    hits = (logits.argmax(axis=1) == y).sum()
    return gx.Program(
        "lenet",
        predict=gx.function([x], gx.softmax(logits)),
        evaluate=gx.function([x, y], {"loss": loss, "hits": hits}),
        train=gx.function([x, y], loss, updates=optimiser(loss)),
    )


def recurrent() -> gx.Program:
    """Return a recurrence over sequences of any length, its gradients, and a training step."""
    xs, y = gx.input("xs", ("T", "N", 3)), gx.input("y", ("N", 4))
    u, w = gx.parameter("U", (3, 4)), gx.parameter("W", (4, 4))

    def cell(h: Any, x: Any) -> Any:
        h = gx.tanh(x @ u + h @ w)
        return h, h

    last, hs = gx.scan(cell, gx.zeros((xs.shape[1], 4)), xs)
    loss = gx.mse(last, y) + (hs * hs).mean()
    grads = gx.grad(loss)
    return gx.Program(
        "recurrent",
        run=gx.function([xs], (last, [hs])),
        gradients=gx.function([xs, y], {"loss": loss, "U": grads[u], "W": grads[w]}, training=True),
        train=gx.function([xs, y], loss, updates=gx.momentum(loss, lr=0.1)),
    )


def stream() -> gx.Program:
    """Return one step of a recurrence, whose carry goes in and out, with a count of the steps."""
    h, x = gx.input("h", ("N", 4)), gx.input("x", ("N", 3))
    u, w = gx.parameter("U", (3, 4)), gx.parameter("W", (4, 4))
    count = gx.state("steps", dtype="int64")
    new = gx.tanh(x @ u + h @ w)
    step = gx.function([h, x], (new, count), updates={count: count + 1})
    return gx.Program("stream", step=step)


def exported(tmp_path: Path, program: gx.Program) -> tuple[gx.Module, Path]:
    """Return a module, and the folder that it was written into: one with a space."""
    module = gx.compile(program, backend="numpy")
    folder = tmp_path / "a folder"
    module.export(folder)
    return module, folder


def numpy_alone(folder: Path) -> Path:
    """Make a folder that holds NumPy alone, for an interpreter without site-packages."""
    place = folder / "numpy alone"
    if not place.exists():
        place.mkdir()
        package = Path(np.__file__).parent
        for found in (package, package.with_name("numpy.libs")):
            if found.exists():
                (place / found.name).symlink_to(found)
    return place


_HEAD = """
import sys
sys.path[:0] = sys.argv[1:3]
del sys.argv[1:3]
try:
    import graphc
except ImportError:
    pass
else:
    sys.exit("graphc is there")
import json
import numpy as np
"""


def run_alone(folder: Path, script: str, *words: object) -> str:
    """Run a script where there is NumPy and the exported module, and return what it prints."""
    text = _HEAD + textwrap.dedent(script)
    places = [str(numpy_alone(folder.parent)), str(folder)]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", text, *places, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def loaded(folder: Path, name: str) -> Any:
    """Return an exported module's Python module, imported here under a name of its own."""
    import importlib.util

    spec = importlib.util.spec_from_file_location(f"exported_{name}", folder / f"{name}.py")
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files of a folder."""
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.is_file()}


def same(first: Any, second: Any) -> bool:
    """Tell whether two mappings of arrays have equal names, types, shapes and bits."""
    return list(first) == list(second) and all(
        first[n].dtype == second[n].dtype
        and first[n].shape == second[n].shape
        and first[n].tobytes() == second[n].tobytes()
        for n in first
    )


def check_linted(folder: Path) -> None:
    """Check that ruff finds no syntax error, unused or undefined name."""
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache"]
    done = subprocess.run(
        [*command, "--select", "E9,F", str(folder)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "All checks passed!\n")


def replayed(folder: Path, name: str) -> tuple[int, str]:
    """Run a module's own test, and return its exit status and what it prints."""
    command = [sys.executable, "-I", str(folder / f"{name}_test.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.stderr
    return done.returncode, done.stdout


PROGRAMS: dict[str, Callable[[], gx.Program]] = {
    "sgd": lambda: lenet(lambda loss: gx.sgd(loss, lr=0.1)),
    "adam": lambda: lenet(lambda loss: gx.adam(gx.clip_norm(gx.grad(loss), 1.0), lr=0.01)),
    "recurrent": recurrent,
    "stream": stream,
}
