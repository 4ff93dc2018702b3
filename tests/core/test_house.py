"""The house: imports point one way, back ends keep to the protocol, core brings none."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "graphc"
# Each layer imports from itself and from those before it.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "dims"),
    ("ir",),
    ("verify", "printer"),
    ("ops",),
    ("passes",),
    ("dsl",),
    ("analysis", "render", "backend"),
    ("arguments", "weights", "data", "slopes", "recording", "module", "compiler"),
    ("check", "views"),
    ("cli", "__init__"),
)
RANK = {unit: rank for rank, units in enumerate(LAYERS) for unit in units}
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


def _within(name: str, *packages: str) -> bool:
    return any(name == p or name.startswith(f"{p}.") for p in packages)


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


FILES = sorted(CORE.rglob("*.py"))
BACKEND_FILES = sorted((ROOT / "backends").rglob("*.py"))


def test_every_file_of_core_has_its_layer() -> None:
    units = {p.relative_to(CORE).with_suffix("").parts[0] for p in FILES}
    assert units - {"__main__"} == set(RANK)


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_imports_point_one_way(path: Path) -> None:
    rank = RANK[path.relative_to(CORE).with_suffix("").parts[0]]
    own = [name.split(".")[1] for name in _imports(path) if _within(name, "graphc")]
    assert [unit for unit in own if RANK[unit] > rank] == []


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_core_imports_no_back_end(path: Path) -> None:
    assert [n for n in _imports(path) if n.startswith(("graphc_", "backends"))] == []


@pytest.mark.parametrize("path", BACKEND_FILES, ids=_name)
def test_back_end_imports_the_protocol_and_no_more(path: Path) -> None:
    own = path.relative_to(ROOT / "backends").parts[0]
    names = [n for n in _imports(path) if n.startswith(("graphc", "backends"))]
    assert [n for n in names if not _within(n, own, *FOR_BACKENDS)] == []


@pytest.mark.parametrize("path", sorted((ROOT / "tests").glob("reference/*.py")), ids=_name)
def test_reference_shares_no_code_with_what_it_judges(path: Path) -> None:
    names = [n for n in _imports(path) if n.startswith("graphc")]
    kept = ("graphc.dims", "graphc.ir", "graphc.ops.scalar.Argument", "graphc.ops.scalar.Number")
    assert [n for n in names if not _within(n, *kept, "graphc.ops.scalar.Tree")] == []
