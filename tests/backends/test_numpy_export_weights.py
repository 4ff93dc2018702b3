"""Weights of modules exported through NumPy: byte for byte as saved, read strictly."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gx
from numpy_exports import (
    PROGRAMS,
    exported,
    loaded,
    same,
    stream,
)


def test_weights_are_the_bytes_that_save_writes(tmp_path: Path) -> None:
    module, folder = exported(tmp_path, PROGRAMS["adam"]())
    module.save(tmp_path / "saved.safetensors")
    saved = (tmp_path / "saved.safetensors").read_bytes()
    assert (folder / "lenet.safetensors").read_bytes() == saved
    loaded(folder, "lenet").Module().save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == saved


def test_saving_again_gives_the_same_bytes(tmp_path: Path) -> None:
    module = gx.compile(stream(), backend="numpy")
    digests = set()
    for i in range(12):
        module.save(tmp_path / f"{i}", epoch=3, word='é"\n')
        digests.add(hashlib.sha256((tmp_path / f"{i}").read_bytes()).hexdigest())
    assert len(digests) == 1
    assert module.load(tmp_path / "0") == {"epoch": 3, "word": 'é"\n'}


def test_notes_go_both_ways(tmp_path: Path) -> None:
    module, folder = exported(tmp_path, stream())
    made = loaded(folder, "stream").Module()
    made.save(tmp_path / "a", epoch=2)
    assert module.load(tmp_path / "a") == {"epoch": 2}
    module.save(tmp_path / "b", word="é")
    assert made.load(tmp_path / "b") == {"word": "é"}
    with pytest.raises(TypeError, match="not JSON serializable"):
        made.save(tmp_path / "b", word=object())
    assert made.load(tmp_path / "b") == {"word": "é"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "a folder", "b"]


def packed(header: Any, data: bytes = b"") -> bytes:
    """Return a weights file of a header, or of the text of one."""
    text = header.encode() if isinstance(header, str) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(kind: str, shape: list[Any], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}


GOOD = {
    "steps": entry("I64", [], 0, 8),
    "U": entry("F32", [3, 4], 8, 56),
    "W": entry("F32", [4, 4], 56, 120),
}
DATA = bytes(120)
DAMAGED = {
    "empty": b"",
    "short": b"\x08\0\0\0",
    "no_header": bytes(8),
    "header_too_long": (2**63).to_bytes(8, "little") + bytes(100),
    "truncated": packed(GOOD, DATA[:-1]),
    "trailing": packed(GOOD, DATA + b"\0"),
    "hole": packed(GOOD | {"W": entry("F32", [4, 4], 57, 121)}, DATA + b"\0"),
    "overlap": packed(GOOD | {"W": entry("F32", [4, 4], 8, 72)}, DATA[:72]),
    "no_json": packed("{", DATA),
    "list": packed([GOOD], DATA),
    "number": packed("3"),
    "deep": packed("[" * 100_000 + "]" * 100_000),
    "twice": packed(f'{json.dumps(GOOD)[:-1]}, "U": {json.dumps(GOOD["U"])}}}', DATA),
    "no_utf8": (2).to_bytes(8, "little") + b"\xff\xff",
    "pickle": b"\x80\x04\x95" + bytes(200),
    "unknown_kind": packed(GOOD | {"U": entry("F8", [3, 4], 8, 56)}, DATA),
    "kind_is_a_list": packed(GOOD | {"U": entry([], [3, 4], 8, 56)}, DATA),  # type: ignore[arg-type]
    "negative": packed(GOOD | {"U": entry("F32", [-3, -4], 8, 56)}, DATA),
    "fraction": packed(GOOD | {"U": entry("F32", [3.0, 4], 8, 56)}, DATA),
    "truth": packed(GOOD | {"U": entry("F32", [True, 12], 8, 56)}, DATA),
    "more": packed(GOOD | {"U": entry("F32", [3, 4], 8, 56) | {"more": 1}}, DATA),
    "less": packed(GOOD | {"U": {"dtype": "F32", "shape": [3, 4]}}, DATA),
    "no_entry": packed(GOOD | {"U": None}, DATA),
    "three_offsets": packed(
        GOOD | {"U": entry("F32", [3, 4], 8, 56) | {"data_offsets": [8, 56, 56]}}, DATA
    ),
    "metadata": packed(GOOD | {"__metadata__": 3}, DATA),
    "notes": packed(GOOD | {"__metadata__": {"notes": "{"}}, DATA),
}
FOREIGN = {
    "another": (
        {"steps": GOOD["steps"], "V\n": GOOD["U"], "W": GOOD["W"]},
        "holds weights of another program: it lacks 'U', 'V\\n' is unknown",
    ),
    "more": (
        GOOD | {"b": entry("F32", [0], 120, 120)},
        "holds weights of another program: 'b' is unknown",
    ),
    "shape": (
        GOOD | {"U": entry("F32", [4, 3], 8, 56)},
        "holds 'U' as float32[4, 3] instead of float32[3, 4]",
    ),
    "dtype": (
        GOOD | {"U": entry("U32", [3, 4], 8, 56)},
        "holds 'U' as uint32[3, 4] instead of float32[3, 4]",
    ),
}


@pytest.fixture(scope="module")
def streamed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the Python module of an exported stream."""
    _, folder = exported(tmp_path_factory.mktemp("exports"), stream())
    return loaded(folder, "stream")


def check_refused(made: Any, content: bytes, text: str, place: Path) -> None:
    """Check that a file is refused in these words, and that the state stays."""
    module = made.Module()
    before = dict(module.state)
    place.write_bytes(content)
    with pytest.raises(ValueError, match=r".") as caught:
        module.load(place)
    assert str(caught.value) == f"{place} {text}"
    assert same(module.state, before)


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_file_is_refused(streamed: Any, tmp_path: Path, case: str) -> None:
    text = "is damaged or no safetensors file"
    check_refused(streamed, DAMAGED[case], text, tmp_path / "w")


@pytest.mark.parametrize("case", FOREIGN)
def test_weights_of_another_program_are_refused(streamed: Any, tmp_path: Path, case: str) -> None:
    header, text = FOREIGN[case]
    check_refused(streamed, packed(header, DATA), text, tmp_path / "w")


def test_a_plain_file_without_metadata_is_read(streamed: Any, tmp_path: Path) -> None:
    module = streamed.Module()
    numbers = np.arange(28, dtype="<f4").tobytes()
    (tmp_path / "w").write_bytes(packed(GOOD, (9).to_bytes(8, "little") + numbers))
    assert module.load(tmp_path / "w") == {}
    assert module.state["steps"] == 9 and module.state["W"][3, 3] == 27


def test_truth_values_of_a_file_are_0_or_1(tmp_path: Path) -> None:
    flag = gx.state("flag", (2,), dtype="bool")
    _, folder = exported(tmp_path, gx.Program("flags", f=gx.function([], flag)))
    made = loaded(folder, "flags").Module()
    (tmp_path / "w").write_bytes(packed({"flag": entry("BOOL", [2], 0, 2)}, b"\1\0"))
    made.load(tmp_path / "w")
    assert made.f().tolist() == [True, False]
    (tmp_path / "w").write_bytes(packed({"flag": entry("BOOL", [2], 0, 2)}, b"\1\2"))
    with pytest.raises(ValueError, match="is damaged or no safetensors file"):
        made.load(tmp_path / "w")
    assert made.f().tolist() == [True, False]
