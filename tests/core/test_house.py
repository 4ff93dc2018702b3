"""The house: imports point one way, back ends keep to the protocol, core brings none."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import graphc

CORE = Path(graphc.__file__).parent
ROOT = CORE.parent
# Each layer imports from those above it and from its own.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "dims"),
    ("ir",),
    ("verify", "printer"),
    ("ops",),
    ("passes",),
    ("dsl",),
    ("analysis", "render", "backend"),
    ("module", "compiler"),
    ("cli",),
)
FOR_BACKENDS = (
    *("graphc.ir", "graphc.dims", "graphc.errors", "graphc.backend", "graphc.passes.rewrite"),
    "graphc.ops.scalar",
)


def _imports(path: Path) -> Iterator[str]:
    """Return the dotted names of all that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _unit(name: str) -> str:
    """Return the unit of the house that a file or a dotted name belongs to."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


FILES = sorted(CORE.rglob("*.py"))


def _ids(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()
