"""``graphc draw`` with the views of loops."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphc import cli

LOOP = """
import graphc as gx

xs = gx.input("xs", ("T", "N", 2))
hs = gx.nn.RNN(3, name="l1")(xs)[1]
program = gx.Program("net", run=gx.function([xs], gx.square(hs).mean()))
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that defines a program with a loop."""
    path = tmp_path / "net.py"
    path.write_text(LOOP, encoding="utf-8")
    return path


def test_draw_unrolls_to_the_size_that_is_given(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "net.dot"
    words = [str(file), "--view", "unrolled", "--size", "T=4", "-o", str(out)]
    assert cli.main(["draw", *words]) == 0
    text = out.read_text("utf-8")
    assert "h[3]" in text
    assert "h[4]" not in text


@pytest.mark.parametrize("view", ["graph", "gradient", "unrolled"])
def test_draw_knows_each_view_of_a_loop(view: str, file: Path, tmp_path: Path) -> None:
    out = tmp_path / "net.dot"
    assert cli.main(["draw", str(file), "--view", view, "-o", str(out)]) == 0
    assert out.read_text("utf-8").startswith("digraph")


@pytest.mark.parametrize("size", ["T", "T=", "=5", "T=five", "T=-1"])
def test_draw_says_how_sizes_are_written(
    size: str, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "net.dot"
    assert cli.main(["draw", str(file), "--view", "unrolled", "--size", size, "-o", str(out)]) == 1
    assert capsys.readouterr().err == (
        f"CallError: --size takes NAME=N, such as T=5, not {size!r}\n"
    )
    assert not out.exists()
