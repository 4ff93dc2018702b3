"""Nests of tensors: tuples, lists and dicts, taken apart and put together again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any


def flatten(nest: Any) -> tuple[list[Any], Any]:
    """Return the leaves of a nest in order, and its structure with positions in their place."""
    leaves: list[Any] = []

    def place(leaf: Any) -> int:
        leaves.append(leaf)
        return len(leaves) - 1

    return leaves, transform(place, nest)


def paths(nest: Any, root: str) -> list[str]:
    """Return how each leaf of a nest is reached, in order: ``carry["h"]``, ``carry[1]``."""
    if isinstance(nest, Mapping):
        pairs: Any = nest.items()
    elif isinstance(nest, tuple | list):
        pairs = enumerate(nest)
    else:
        return [root]
    return [path for key, part in pairs for path in paths(part, f"{root}[{_quoted(key)}]")]


def _quoted(key: Any) -> str:
    return f'"{key}"' if isinstance(key, str) else repr(key)


def transform(change: Callable[[Any], Any], nest: Any) -> Any:
    """Return a nest with each leaf changed."""
    if isinstance(nest, Mapping):
        return {key: transform(change, value) for key, value in nest.items()}
    if isinstance(nest, tuple):
        parts = [transform(change, value) for value in nest]
        return type(nest)(*parts) if hasattr(nest, "_fields") else tuple(parts)
    if isinstance(nest, list):
        return [transform(change, value) for value in nest]
    return change(nest)


def build(structure: Any, leaves: Sequence[Any]) -> Any:
    """Return the nest of a structure, with leaves in the place of positions."""
    return transform(lambda position: leaves[position], structure)
