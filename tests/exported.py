"""Programs that the tests of exports write out, and how the projects are built.

Holds no tests.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import graphc as gx

SAMPLES = Path(__file__).parents[1] / "samples"
STRICT = "-Wall -Wextra -pedantic -Werror"
TOOLS = ("make", "sh", "rm", "ar", "as", "ld", "gcc", "cc")


@functools.cache
def sample(name: str = "lenet5") -> ModuleType:
    """Return a sample as a module, whose own imports beside it work."""
    spec = importlib.util.spec_from_file_location(name, SAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(SAMPLES))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(SAMPLES))
    return module


def lenet5() -> gx.Program:
    """Return LeNet-5 of the samples."""
    program: gx.Program = sample().program
    return program


def hello() -> gx.Program:
    """Return the four letters' network of the samples."""
    program: gx.Program = sample("hello").program
    return program


def lstm() -> gx.Program:
    """Return a recurrent program: training with Adam and dropout, streaming, gradients, drawing.

    ``stream`` is the same for any number of steps; ``draw`` has a length that no input fixes.
    """
    xs, y = gx.input("xs", ("T", "N", 3)), gx.input("y", ("N",), dtype="int64")
    size = 4
    u, v = gx.parameter("U", (3, 4 * size)), gx.parameter("V", (size, 4 * size))
    b = gx.parameter("b", (4 * size,), init=0.1)

    def cell(
        carry: tuple[gx.Tensor, gx.Tensor], x: gx.Tensor
    ) -> tuple[tuple[gx.Tensor, gx.Tensor], gx.Tensor]:
        h, c = carry
        z = x @ u + h @ v + b
        i, f, g, o = (z[:, k * size : (k + 1) * size] for k in range(4))
        c = gx.sigmoid(f) * c + gx.sigmoid(i) * gx.tanh(g)
        h = gx.sigmoid(o) * gx.tanh(c)
        return (h, c), h

    h0, c0 = gx.input("h0", ("N", size)), gx.input("c0", ("N", size))
    (h, c), hs = gx.scan(cell, (h0, c0), xs)
    zeros = gx.zeros((xs.shape[1], size))
    (last, _), _ = gx.scan(cell, (zeros, zeros), xs)
    loss = gx.cross_entropy(gx.nn.Dense(5, name="out")(gx.dropout(last, 0.3)), y)

    def grown(carry: gx.Tensor, _: None) -> tuple[gx.Tensor, gx.Tensor]:
        new = gx.tanh(carry @ v[:, :size] + carry)
        return new, new

    _, drawn = gx.scan(grown, h0, length="L")
    updates = gx.adam(gx.clip_norm(gx.grad(loss), 5.0), lr=0.01)
    return gx.Program(
        "lstm",
        train=gx.function([xs, y], loss, updates=updates),
        stream=gx.function([xs, h0, c0], {"h": h, "c": c, "hs": hs}),
        gradients=gx.function(
            [xs, y],
            {"loss": loss, "by": gx.grad(loss), "by_xs": gx.grad(loss, xs)},
            training=True,
        ),
        draw=gx.function([h0], drawn),
    )


PROGRAMS = {"lenet5": lenet5, "hello": hello, "lstm": lstm}


def export(folder: Path, program: gx.Program) -> gx.Module:
    """Compile a program, export it into a folder, and return the module."""
    module = gx.compile(program, backend="c")
    module.export(folder)
    return module


def make(folder: Path, *words: str, path: Path | None = None) -> str:
    """Run make, with no other tools than those of a folder if given; return what it prints."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "CC"))}
    done = subprocess.run(
        ["make" if path is None else str(path / "make"), "-C", str(folder), *words],
        env={**environment, **({"PATH": str(path)} if path else {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a program of a project in its folder."""
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def bare_path(folder: Path) -> Path:
    """Return a folder with links to what a build needs, and nothing else: no Python."""
    folder.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        if found is not None:
            (folder / tool).symlink_to(Path(found).resolve())
    clang = clang_command()
    if clang is not None:
        script = folder / "clang"
        script.write_text(f'#!{shutil.which("sh")}\nexec "{clang[0]}" {" ".join(clang[1:])} "$@"\n')
        script.chmod(0o755)
    return folder


def clang_command() -> list[str] | None:
    """Return how clang is called here: by its name, or as a part of the ziglang wheel."""
    found = shutil.which("clang")
    if found is not None:
        return [found]
    wheel = importlib.util.find_spec("ziglang")
    if wheel is None or wheel.origin is None:
        return None
    return [str(Path(wheel.origin).parent / "zig"), "cc"]
