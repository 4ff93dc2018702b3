"""Identifiers, strings and comments for source text that holds names which users chose.

A user's text appears in source only as a quoted string or in a comment of one line; what becomes
an identifier is made of ASCII letters, digits and underscores. Knows no node.
"""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterable

_LONGEST = 40  # characters of an identifier made from a user's name
_SHOWN = 100  # characters of a user's text in a comment
_TAKEN = frozenset((*keyword.kwlist, *keyword.softkwlist, *dir(builtins), "np", "state"))


class Names:
    """Gives out identifiers, each once."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = {*_TAKEN, *taken}
        self._counts: dict[str, int] = {}

    def fresh(self, wanted: str) -> str:
        """Return an identifier like a user's name that is not taken yet."""
        base = identifier(wanted)
        return self.numbered(base) if base in self._taken else self._take(base)

    def numbered(self, base: str) -> str:
        """Return an identifier with a number behind it: ``conv2d_3``."""
        while True:
            number = self._counts[base] = self._counts.get(base, 0) + 1
            name = f"{base}_{number}"
            if name not in self._taken:
                return self._take(name)

    def _take(self, name: str) -> str:
        self._taken.add(name)
        return name


def identifier(text: str) -> str:
    """Return a user's text as an identifier: ``features.c1`` becomes ``features_c1``."""
    words = re.findall(r"[A-Za-z0-9_]+", text[: 2 * _LONGEST])
    name = "_".join(words)[:_LONGEST].strip("_")
    return f"v{name}" if not name or name[0].isdigit() else name


def quoted(text: str) -> str:
    """Return a user's text as a string literal on one line."""
    plain = text.isascii() and text.isprintable() and not set(text) & {'"', "\\"}
    return f'"{text}"' if plain else ascii(text)


def comment(text: str) -> str:
    """Return a user's text for a comment: on one line, and not too long."""
    shown = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
    return "".join(c if c.isprintable() else "?" for c in shown)
