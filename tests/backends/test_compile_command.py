"""The command ``graphc compile``: it writes a standalone module, and says which files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import graphc as gx
from graphc import cli
from numpy_exports import contents, loaded

FILE = """
import graphc as gx

x = gx.input("x", ("N", 2))
w = gx.parameter("w", (2,), init=1.0)
y = (x * w).sum()
program = gx.Program("line", f=gx.function([x], y, updates={w: w * 2.0}))
"""
WRITTEN = ["README.txt", "line.py", "line.safetensors", "line_test.npz", "line_test.py"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a user's file."""
    made = tmp_path / "model.py"
    made.write_text(FILE)
    return made


def command(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Run ``graphc compile`` through NumPy; return its status, and what it writes out and err."""
    status = cli.main(["compile", "--backend", "numpy", *map(str, words)])
    told = capsys.readouterr()
    return status, told.out, told.err


def test_it_writes_a_module_that_runs_and_prints_its_files(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "a folder"
    printed = "".join(f"{out / name}\n" for name in WRITTEN)
    assert command(capsys, file, "-o", out) == (0, printed, "")
    assert sorted(contents(out)) == WRITTEN
    assert loaded(out, "line").Module().f([[1, 2]]) == 3
    test = [sys.executable, "-I", str(out / "line_test.py")]
    assert subprocess.run(test, capture_output=True, check=True).stdout == b"OK: 1 recorded calls\n"


def test_it_takes_weights(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(capsys, file, "-o", tmp_path / "one")[0] == 0
    made = loaded(tmp_path / "one", "line").Module()
    made.f([[1, 2]])
    made.save(tmp_path / "trained")
    words = [file, "-o", tmp_path / "two", "--weights", tmp_path / "trained"]
    assert command(capsys, *words)[0] == 0
    assert loaded(tmp_path / "two", "line").Module().f([[1, 2]]) == 6


def test_a_folder_that_is_not_empty_is_refused_and_stays(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "line.py").write_text("mine")
    refused = (
        f"CallError: {out} is not empty: it holds line.py\n"
        "  try: another folder, or --force to write over files of the same names\n"
    )
    assert command(capsys, file, "-o", out) == (1, "", refused)
    assert contents(out) == {"line.py": b"mine"}


def test_force_writes_over_files_of_its_names_and_keeps_others(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "line.py").write_text("old")
    (out / "mine.txt").write_text("mine")
    printed = "".join(f"{out / name}\n" for name in WRITTEN)
    assert command(capsys, file, "-o", out, "--force") == (0, printed, "")
    assert contents(out)["mine.txt"] == b"mine"
    assert loaded(out, "line").Module().f([[1, 2]]) == 3


def test_weights_of_another_program_write_nothing(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    v = gx.parameter("v", (3,))
    other = gx.Program("other", f=gx.function([], v))
    gx.compile(other, backend="numpy").save(tmp_path / "w")
    refused = (
        f"WeightsError: {tmp_path / 'w'} belongs to another program\n"
        "  missing in the file   w   float32[2]\n"
        "  unknown here          v   [3]\n"
    )
    words = [file, "-o", tmp_path / "out", "--weights", tmp_path / "w"]
    assert command(capsys, *words) == (1, "", refused)
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_place_of_the_folder_is_refused(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = f"CallError: export: {file} is no folder to write into: File exists\n"
    assert command(capsys, file, "-o", file) == (1, "", refused)
    assert file.read_text() == FILE


@pytest.mark.cc
def test_it_writes_a_c_project_through_the_c_back_end(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["compile", str(file), "-o", str(tmp_path / "c"), "--backend", "c"]) == 0
    printed = capsys.readouterr().out.splitlines()
    found = [str(p) for p in sorted((tmp_path / "c").rglob("*")) if p.is_file()]
    assert printed == found and str(tmp_path / "c" / "Makefile") in found
