"""Weights files: safetensors, written whole or not at all, read whole or not at all."""

from __future__ import annotations

import fnmatch
import json
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from graphc.errors import CallError, WeightsError
from graphc.ir import Node

Array = npt.NDArray[Any]


def write(
    path: Path, arrays: Mapping[str, Array], notes: Mapping[str, Any], program: str, digest: str
) -> None:
    """Write arrays and notes: beside the place, synced, then renamed into it.

    Errors: CallError for notes that are no JSON, WeightsError for a place that cannot be written
    """
    for name, note in notes.items():
        try:
            json.dumps(note)
        except (TypeError, ValueError) as error:
            raise CallError(f"save: the note {name!r} is no JSON: {error}") from None
    metadata = {"program": program, "graph": digest, "notes": json.dumps(dict(notes))}
    content = _in_order(safetensors.numpy.save(dict(arrays), metadata))
    try:
        replace(path, content)
    except OSError as error:
        raise WeightsError(
            f"{path} cannot be written: {error.strerror}",
            hint=None if path.parent.exists() else "make the folder first",
        ) from None


def _in_order(content: bytes) -> bytes:
    """Return a file with its metadata in the order of their names; the library's is by chance."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    return content[:8] + text.ljust(end - 8) + content[end:]


def replace(path: Path, content: bytes) -> None:
    """Put a file in its place in one step; a reader sees the old one or the whole new one.

    Errors: OSError; the old file stays
    """
    place = Path(os.path.realpath(path))  # a link stays one
    temporary = place.parent / f".{place.name[:40]}.{secrets.token_hex(8)}"
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, place)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def path_of(path: Any) -> Path:
    """Return the path that a user wrote.

    Errors: WeightsError
    """
    if not isinstance(path, str | os.PathLike) or "\0" in os.fspath(path):
        raise WeightsError(f"a path is wanted, not {path!r:.60}")
    return Path(path)


def read(
    path: Path, leaves: Mapping[str, Node], only: Any = None
) -> tuple[dict[str, Array], dict[str, Any]]:
    """Return the arrays of a file that a program wants, checked, and its notes.

    Errors: WeightsError for a file that is missing, damaged, or of another program
    """
    try:
        content = path.read_bytes()
        held = safetensors.numpy.load(content)
        # The library has checked the header, which holds eight bytes of length and JSON.
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from None
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise WeightsError(f"{path} is damaged or no safetensors file: {error}") from None
    wanted = _wanted(path, held, leaves, only)
    return {n: _fitting(path, n, held[n], leaves[n]) for n in wanted}, _notes(path, header)


def _wanted(
    path: Path, held: Mapping[str, Array], leaves: Mapping[str, Node], only: Any
) -> list[str]:
    if only is not None:
        patterns = [only] if isinstance(only, str) else only
        if not isinstance(patterns, Iterable) or not all(isinstance(p, str) for p in patterns):
            raise WeightsError(f"only= takes names or globs, not {only!r:.60}")
        patterns = list(patterns)
        for pattern in patterns:
            if not any(fnmatch.fnmatchcase(n, pattern) or n == pattern for n in leaves):
                raise WeightsError(
                    f"only={pattern!r} stands for no state", hint="known are " + ", ".join(leaves)
                )
        leaves = {
            n: leaf
            for n, leaf in leaves.items()
            if any(n == p or fnmatch.fnmatchcase(n, p) for p in patterns)
        }
    missing = [n for n in leaves if n not in held]
    extra = [n for n in held if n not in leaves] if only is None else []
    if missing or extra:
        raise WeightsError(
            f"{path} belongs to another program",
            rows=[
                *(("missing in the file", n, str(leaves[n].type)) for n in missing[:5]),
                *(("unknown here", n, str(list(held[n].shape))) for n in extra[:5]),
            ],
            hint="only= reads the names that both have" if len(missing) < len(leaves) else None,
        )
    return list(leaves)


def _fitting(path: Path, name: str, array: Array, leaf: Node) -> Array:
    if array.shape != leaf.shape:
        raise WeightsError(
            f"{path} holds {name} of another shape",
            rows=[("file", str(list(array.shape))), ("program", str(leaf.type))],
        )
    if not np.can_cast(array.dtype, leaf.dtype, "same_kind"):
        raise WeightsError(f"{path} holds {name} as {array.dtype}, the program as {leaf.dtype}")
    return np.require(array, leaf.dtype, ["C", "A"])


def _notes(path: Path, header: Mapping[str, Any]) -> dict[str, Any]:
    try:
        notes = json.loads(header.get("__metadata__", {}).get("notes", "{}"))
    except json.JSONDecodeError as error:
        raise WeightsError(f"{path} holds damaged notes: {error}") from None
    return notes if isinstance(notes, dict) else {}
