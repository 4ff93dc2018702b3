"""Weights files: missing, damaged, foreign or unwritable; on any error all is as before."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import graphc as gx
from golden import mistake
from stub_backend import STUB


def module(rows: int = 3, name: str = "W") -> gx.Module:
    """Return a module with a parameter float32[rows, 2] and a state count int64[]."""
    x, w = gx.input("x", ("N", rows)), gx.parameter(name, (rows, 2))
    count = gx.state("count", dtype="int64")
    f = gx.function([x], x @ w, updates={count: count + 1})
    return gx.compile(gx.Program("p", f=f), backend=STUB)


def state_of(made: gx.Module) -> dict[str, bytes]:
    return {n: a.tobytes() for n, a in made.state.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the weights of a module as w.safetensors."""
    module().save(tmp_path / "w.safetensors", epoch=3)
    return tmp_path


@mistake("""\
WeightsError: TMP/v.safetensors cannot be read: No such file or directory
  at test_weights.py:here
""")
def test_a_missing_file(folder):
    module().load(folder / "v.safetensors")  # here


@mistake("""\
WeightsError: TMP cannot be read: Is a directory
  at test_weights.py:here
""")
def test_a_folder(folder):
    module().load(folder)  # here


@mistake("""\
WeightsError: TMP/v.safetensors is damaged or no safetensors file: Error while deserializing: header too small
  at test_weights.py:here
""")  # noqa: E501
def test_an_empty_file(folder):
    (folder / "v.safetensors").touch()
    module().load(folder / "v.safetensors")  # here


@mistake("""\
WeightsError: TMP/v.pt is damaged or no safetensors file: Error while deserializing: invalid header length
  at test_weights.py:here
""")  # noqa: E501
def test_a_pickle(folder):
    (folder / "v.pt").write_bytes(b"\x80\x04\x95" + bytes(200))
    module().load(folder / "v.pt")  # here


@mistake("""\
WeightsError: TMP/w.safetensors belongs to another program
  at test_weights.py:here
  missing in the file   V   float32[3, 2]
  unknown here          W   [3, 2]
  try: only= reads the names that both have
""")
def test_weights_of_another_model(folder):
    module(name="V").load(folder / "w.safetensors")  # here


@mistake("""\
WeightsError: TMP/w.safetensors holds W of another shape
  at test_weights.py:here
  file      [3, 2]
  program   float32[4, 2]
""")
def test_weights_of_another_shape(folder):
    module(rows=4).load(folder / "w.safetensors")  # here


@mistake("""\
WeightsError: TMP/v.safetensors holds count as float32, the program as int64
  at test_weights.py:here
""")
def test_weights_of_another_dtype(folder):
    arrays = {"W": np.zeros((3, 2), "float32"), "count": np.zeros((), "float32")}
    save_file(arrays, folder / "v.safetensors")
    module().load(folder / "v.safetensors")  # here


@mistake("""\
WeightsError: TMP/v.safetensors belongs to another program
  at test_weights.py:here
  unknown here   V   [3, 2]
  try: only= reads the names that both have
""")
def test_a_file_with_one_name_too_many(folder):
    arrays = {n: np.zeros((3, 2), "float32") for n in ("W", "V")} | {"count": np.zeros((), "int64")}
    save_file(arrays, folder / "v.safetensors")
    module().load(folder / "v.safetensors")  # here


@mistake("""\
WeightsError: only='head.*' stands for no state
  at test_weights.py:here
  try: known are W, count
""")
def test_only_a_pattern_that_matches_nothing(folder):
    module().load(folder / "w.safetensors", only="head.*")  # here


@mistake("""\
WeightsError: only= takes names or globs, not 3
  at test_weights.py:here
""")
def test_only_a_number(folder):
    module().load(folder / "w.safetensors", only=3)  # here


@mistake("""\
CallError: save: the note 'mean' is no JSON: Object of type float32 is not JSON serializable
  at test_weights.py:here
""")
def test_notes_that_are_no_json(folder):
    module().save(folder / "v.safetensors", epoch=3, mean=np.float32(0.5))  # here


@mistake("""\
WeightsError: TMP/v.safetensors holds damaged notes: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)
  at test_weights.py:here
""")  # noqa: E501
def test_notes_that_are_damaged(folder):
    arrays = {"W": np.zeros((3, 2), "float32"), "count": np.zeros((), "int64")}
    save_file(arrays, folder / "v.safetensors", {"notes": "{"})
    module().load(folder / "v.safetensors")  # here


@mistake("""\
WeightsError: TMP/runs/w.safetensors cannot be written: No such file or directory
  at test_weights.py:here
  try: make the folder first
""")
def test_a_folder_that_there_is_not(folder):
    module().save(folder / "runs" / "w.safetensors")  # here


@mistake("""\
WeightsError: TMP cannot be written: Is a directory
  at test_weights.py:here
""")
def test_a_place_that_is_a_folder(folder):
    module().save(folder)  # here


@mistake("""\
WeightsError: a path is wanted, not None
  at test_weights.py:here
""")
def test_a_path_that_is_none():
    module().save(None)  # here


def test_a_damaged_file_changes_no_state(folder: Path) -> None:
    whole = (folder / "w.safetensors").read_bytes()
    noise = np.random.default_rng(0)
    damaged = [whole[:n] for n in range(0, len(whole), 7)]
    damaged += [noise.bytes(n) for n in (1, 8, 9, 100, 1000)]
    damaged += [whole[:8] + noise.bytes(len(whole) - 8), bytes([255]) * 8 + whole[8:]]
    damaged += [whole + b"\0", (10**6).to_bytes(8, "little") + whole[8:]]
    made = module()
    before = state_of(made)
    for content in damaged:
        (folder / "v.safetensors").write_bytes(content)
        with pytest.raises(gx.errors.WeightsError, match="is damaged or no safetensors file"):
            made.load(folder / "v.safetensors")
    assert state_of(made) == before


def test_a_header_with_any_byte_changed_is_an_error_or_harmless(folder: Path) -> None:
    whole = bytearray((folder / "w.safetensors").read_bytes())
    made = module()
    before = state_of(made)
    for place in range(8 + int.from_bytes(whole[:8], "little")):
        changed = whole.copy()
        changed[place] ^= 1
        (folder / "v.safetensors").write_bytes(changed)
        try:
            made.load(folder / "v.safetensors")
        except gx.errors.WeightsError:
            assert state_of(made) == before
        made.init()


def test_a_foreign_file_changes_no_state(folder: Path) -> None:
    made = module(rows=4)
    before = state_of(made)
    with pytest.raises(gx.errors.WeightsError):
        made.load(folder / "w.safetensors")
    assert state_of(made) == before


def test_only_leaves_the_rest_as_it_is(folder: Path) -> None:
    made = module()
    made.state.update({"W": np.ones((3, 2)), "count": 5})
    assert made.load(folder / "w.safetensors", only="W") == {"epoch": 3}
    assert made.state["count"] == 5
    assert made.state["W"].tobytes() == module().state["W"].tobytes()


def test_a_failed_save_leaves_the_old_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "w.safetensors"
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(gx.errors.WeightsError, match="cannot be written: No space left on device"):
        module().save(path)
    assert path.read_bytes() == before
    assert [p.name for p in folder.iterdir()] == ["w.safetensors"]


_KILLED = """
import os, sys
from pathlib import Path
from graphc import weights
os.replace = lambda a, b: os._exit(9)
weights.replace(Path(sys.argv[1]), b"new")
"""


def test_a_process_killed_before_the_rename_leaves_the_old_file(folder: Path) -> None:
    path = folder / "w.safetensors"
    before = path.read_bytes()
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", _KILLED, str(path)], env=environ, check=False)
    assert ended.returncode == 9
    assert path.read_bytes() == before


@pytest.mark.skipif(os.name == "nt", reason="modes are of POSIX")
def test_a_file_has_the_mode_that_the_user_asks_for(folder: Path) -> None:
    mask = os.umask(0o027)
    try:
        module().save(folder / "v.safetensors")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((folder / "v.safetensors").stat().st_mode) == 0o640


def test_a_link_stays_a_link(folder: Path) -> None:
    link = folder / "latest.safetensors"
    link.symlink_to(folder / "w.safetensors")
    module().save(link, epoch=4)
    assert link.is_symlink()
    assert module().load(folder / "w.safetensors") == {"epoch": 4}


def test_notes_come_back_as_json_gives_them(folder: Path) -> None:
    notes = {"epoch": 3, "losses": [0.5, None], "name": "größe \N{BRAIN}", "nest": {"a": True}}
    module().save(folder / "v.safetensors", **notes)
    assert module().load(folder / "v.safetensors") == json.loads(json.dumps(notes))
