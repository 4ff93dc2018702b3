"""A wheel and an editable install work from outside the checkout and bring three packages."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"graphc", "graphc_numpy", "graphc_c"}
LEARNS = """
import numpy as np
import graphc as gx

x = gx.input("x", ("N", 2))
y = gx.input("y", ("N",))
out = gx.nn.Dense(1, name="out")(x)
loss = gx.mse(out.reshape(-1), y)
program = gx.Program("line", train=gx.function([x, y], loss, updates=gx.sgd(loss, lr=0.1)))
module = gx.compile(program, backend=BACKEND)
values = np.random.default_rng(0).standard_normal((64, 2)).astype("float32")
losses = [float(module.train(values, values @ [1, -2])) for _ in range(100)]
assert losses[-1] < 1e-3 < losses[0], losses
print(module.backend)
"""

pytestmark = pytest.mark.slow


def run(*command: str, folder: Path, **environment: str) -> str:
    """Run a command in a folder, away from the checkout's own paths, and return what it prints."""
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(
        command, cwd=folder, env=clean | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def importable(python: str, folder: Path) -> set[str]:
    """Return the top-level modules that a venv's own site-packages make importable."""
    code = (
        "import importlib.util as u; names = 'graphc graphc_numpy graphc_c backends samples tests "
        "reference digits'.split(); print(*[n for n in names if u.find_spec(n)])"
    )
    return set(run(python, "-c", code, folder=folder).split())


@pytest.fixture(params=["wheel", "editable"])
def python(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the interpreter of a new venv with graphc installed one way or the other."""
    venv = tmp_path / "a venv"
    run(sys.executable, "-m", "venv", str(venv), folder=tmp_path)
    made = str(venv / "bin" / "python")
    what = [str(ROOT)]
    if request.param == "editable":
        what = ["-e", str(ROOT)]
    run(made, "-m", "pip", "install", "-q", *what, folder=tmp_path)
    return made


def test_an_install_trains_from_outside_and_brings_three_packages(
    python: str, tmp_path: Path
) -> None:
    away = tmp_path / "somewhere else"
    away.mkdir()
    assert importable(python, away) == PACKAGES
    script = away / "learn.py"
    script.write_text(LEARNS.replace("BACKEND", "'numpy'"))
    assert run(python, str(script), folder=away).strip() == "numpy"
    script.write_text(LEARNS.replace("BACKEND", "None"))
    assert run(python, str(script), folder=away).strip() in ("c", "numpy")
    assert "back end c" in run(str(Path(python).with_name("graphc")), "doctor", folder=away)


def test_a_wheel_holds_three_packages_and_the_runtime(tmp_path: Path) -> None:
    run(
        sys.executable,
        "-m",
        "build",
        "-q",
        "--wheel",
        "-o",
        str(tmp_path),
        str(ROOT),
        folder=tmp_path,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {n.split("/")[0] for n in names if ".dist-info" not in n}
    assert tops == PACKAGES
    assert any(n.startswith("graphc_c/runtime/") and n.endswith(".h") for n in names)
    assert "graphc/py.typed" in names
