"""Each sample runs from any folder, in a path with a space, and leaves what it promises."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLES = Path(__file__).parents[2] / "samples"
NO_COMPILER = "graphc: no C compiler"
PNG = b"\x89PNG\r\n\x1a\n"


def _start(
    folder: Path, name: str, *arguments: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a sample in a folder with a space in its path."""
    place = folder / "a folder"
    place.mkdir()
    return subprocess.run(
        [sys.executable, SAMPLES / name, *arguments],
        cwd=place,
        env={**os.environ, "COLUMNS": "100", "PYTHONIOENCODING": "utf-8", **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )


def _run(folder: Path, name: str, *arguments: str) -> str:
    """Run a sample, which shall succeed, and return what it printed."""
    done = _start(folder, name, *arguments)
    assert done.returncode == 0, done.stderr
    assert not done.stderr or done.stderr.startswith(NO_COMPILER)
    return done.stdout


def _rows(printed: str) -> list[list[str]]:
    """Return the lines of tables as cells, which stand two spaces apart or more."""
    return [re.split(r"\s{2,}", line.strip()) for line in printed.splitlines() if line.strip()]


@pytest.mark.parametrize("backend", ["numpy", pytest.param("c", marks=pytest.mark.cc)])
def test_lenet5_draws_derives_trains_and_saves(tmp_path: Path, backend: str) -> None:
    printed = _run(tmp_path, "lenet5.py", "--epochs", "1", "--backend", backend)
    assert re.search(r"^total .*61,706", printed, re.MULTILINE)
    assert f"1 epochs through {backend} in " in printed
    assert "rows: actual, columns: predicted" in printed
    right = re.search(r"right: (\d+) of 1000", printed)
    assert right is not None and int(right[1]) > 800

    written = tmp_path / "a folder" / "build" / "lenet5"
    names = ["features.c1.weight.txt", "forward.png", "forward.svg", "gradient.png"]
    names += ["gradient.svg", "lenet5.safetensors"]
    assert sorted(path.name for path in written.iterdir()) == names
    for name in ("forward", "gradient"):
        assert "</svg>" in (written / f"{name}.svg").read_text(encoding="utf-8")
        assert (written / f"{name}.png").read_bytes().startswith(PNG)
    derivation = (written / "features.c1.weight.txt").read_text(encoding="utf-8")
    assert "conv2d_filter_adjoint(x, " in derivation


def test_lenet5_says_which_idx_files_a_folder_lacks(tmp_path: Path) -> None:
    done = _start(tmp_path, "lenet5.py", "--data", str(tmp_path))
    assert done.returncode != 0
    assert "train-images-idx3-ubyte or train-images-idx3-ubyte.gz" in done.stderr


@pytest.mark.skipif(
    importlib.util.find_spec("ziglang") is not None, reason="ziglang is a compiler, PATH or not"
)
def test_without_a_compiler_a_sample_says_so_in_one_line_and_runs(tmp_path: Path) -> None:
    nowhere = {"PATH": str(tmp_path), "GRAPHC_CC": "", "CC": ""}
    done = _start(tmp_path, "mlp.py", **nowhere)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(NO_COMPILER) and done.stderr.count("\n") == 1
    assert "XOR learned" in done.stdout


def test_perceptron_prints_the_notes_beside_the_computed(tmp_path: Path) -> None:
    rows = _rows(_run(tmp_path, "perceptron.py"))
    assert ["1. w", "(-1, 1)", "(-1, 1)"] in rows
    assert ["rate 0.01, epoch 1", "-", "(1.01, 1.0076, 1.003169, 1.00413731)"] in rows
    assert ["all points, rate 0.001", "-", "1.004690831557", "300 steps"] in rows
    assert ["(w1, w2, b)", "-", "(2, 1, -3)"] in rows


def test_perceptron_names_the_slips(tmp_path: Path) -> None:
    printed = _run(tmp_path, "perceptron.py")
    assert printed.count("slip:") == 5
    assert "'w = w + (y_n - ŷ) x_i' mixes the indices n and i" in printed


def test_perceptron_learns_and_and_not_xor(tmp_path: Path) -> None:
    rows = _rows(_run(tmp_path, "perceptron.py"))
    found = {row[0]: row[1:3] for row in rows}
    assert found["AND"] == ["converges", "converges, epoch 6"]
    assert found["XOR"] == ["cannot", "does not"]


def test_mlp_prints_the_notes_beside_the_computed(tmp_path: Path) -> None:
    rows = _rows(_run(tmp_path, "mlp.py"))
    cells = [row[:3] for row in rows]
    wrong, right = "(0.02, -0.05, -0.12)", "(-0.06979222483, -0.080903708241, -0.014159088934)"
    assert ["dE/dΘ2", wrong, right, "slip: δ2 Θ2 instead of δ2 h1"] in rows
    assert ["δ1, δ2", "(-0.002406, -0.007916)", "(-0.002654489031, -0.008171645064)"] in cells
    assert ["the notes' way", "(-0.002409620957, -0.007926480849)"] in [r[:2] for r in rows]
    assert ["dL/dθ1", "-0.000700506227", "0.011964672623"] in cells


def test_mlp_learns_xor(tmp_path: Path) -> None:
    printed = _run(tmp_path, "mlp.py")
    rows = _rows(printed[printed.index("XOR learned") :])
    answers = {row[0]: round(float(row[2])) for row in rows if " XOR " in row[0]}
    assert answers == {"0 XOR 0": 0, "0 XOR 1": 1, "1 XOR 0": 1, "1 XOR 1": 0}


@pytest.mark.parametrize("backend", ["numpy", pytest.param("c", marks=pytest.mark.cc)])
def test_hello_learns_its_letters_and_draws_them(tmp_path: Path, backend: str) -> None:
    printed = _run(tmp_path, "hello.py", "--backend", backend)
    rows = re.findall(r"^(h|he|hel|hell) +([elo]) +(\d\.\d+)$", printed, re.MULTILINE)
    assert [(a, b) for a, b, _ in rows] == [("h", "e"), ("he", "l"), ("hel", "l"), ("hell", "o")]
    assert all(float(p) > 0.9 for _, _, p in rows)
    assert re.search(r"drawn letter by letter:( hello){10}$", printed, re.MULTILINE)
    written = tmp_path / "a folder" / "build" / "hello"
    names = [f"{view}.{suffix}" for view in ("gradient", "graph") for suffix in ("png", "svg")]
    names += ["hello.safetensors", "unrolled.png", "unrolled.svg"]
    assert sorted(path.name for path in written.iterdir()) == names


def test_bptt_by_hand_agrees_with_the_derived_in_every_digit(tmp_path: Path) -> None:
    printed = _run(tmp_path, "bptt_by_hand.py")
    pairs = re.findall(r"(-?\d\.\d{12}) +(-?\d\.\d{12})$", printed, re.MULTILINE)
    assert len(pairs) == 7 + 12 + 14 + 3
    assert all(a == b for a, b in pairs)
    assert ("-0.064774271117", "-0.064774271117") in pairs  # dL/dw
    assert ("-0.011131840970", "-0.011131840970") in pairs  # dL/dw, truncated


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_char_rnn_trains_measures_writes_and_saves(tmp_path: Path, cell: str) -> None:
    small = ["--units", "32", "--steps", "30", "--rows", "8", "--length", "32"]
    printed = _run(tmp_path, "char_rnn.py", "--cell", cell, *small)
    assert "89,860 letters to train on, 9,984 held out, 61 different" in printed
    held = re.search(r"step +30: loss [\d.]+, held out ([\d.]+)", printed)
    assert held is not None and float(held[1]) < 3.6
    assert (tmp_path / "a folder" / "build" / "char_rnn" / f"{cell}.safetensors").is_file()


@pytest.mark.parametrize("name", ["digits.py", "notes.py"])
def test_what_samples_share_runs_too(tmp_path: Path, name: str) -> None:
    assert _run(tmp_path, name)
