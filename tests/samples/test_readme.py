"""The README's Python runs from top to bottom, and its pictures and files are there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def test_its_python_runs_and_says_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(block, names)
    assert capsys.readouterr().out == "[0 1 1 0]\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["steps.svg", "xor.svg"]
    assert list(names["flow"].norms) == ["U", "W"]


def test_what_it_names_is_there() -> None:
    named = re.findall(r"samples/[\w/]+\.(?:py|png)", README)
    named += [
        f"samples/{name}" for name in re.findall(r"`(\w+\.py)`", README) if name != "pipeline.py"
    ]
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_it_names_every_sample() -> None:
    runnable = {p.name for p in (ROOT / "samples").glob("*.py")} - {"digits.py", "notes.py"}
    assert {name for name in runnable if name not in README} == set()
