"""Names and scopes of what a user declares."""

from __future__ import annotations

import difflib
import fnmatch
import keyword
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

from graphc import ir
from graphc.dsl.location import public
from graphc.errors import NameClashError

T = TypeVar("T")

RESERVED = ("init", "state", "save", "load", "export", "backend", "report", "functions")
_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
_FEW = 8  # names that an error lists in full
_SHOWN = 60  # characters of a name in an error
_LONGEST = 100  # characters; C compilers need to tell apart no more than 31 to 63
# A name that Python or C reads as a word of its own cannot stand in a signature.
_C_KEYWORDS = frozenset(
    (
        *("auto", "break", "case", "char", "const", "continue", "default", "do"),
        *("double", "else", "enum", "extern", "float", "for", "goto", "if"),
        *("inline", "int", "long", "register", "restrict", "return", "short", "signed"),
        *("sizeof", "static", "struct", "switch", "typedef", "union", "unsigned", "void"),
        *("volatile", "while"),
    )
)


@public
def scope(name: str) -> AbstractContextManager[None]:
    """Prefix names declared inside with ``name.``; a block in diagrams and summaries."""
    if not isinstance(name, str) or not name:
        raise NameClashError(f"a scope's name is a text of one character or more, not {name!r:.60}")
    return _scoped(name)


@contextmanager
def _scoped(name: str) -> Iterator[None]:
    with ir.noting(scope=(*ir.current_note().scope, name)):
        yield


def full_name(name: str) -> str:
    """Return a name with the current scope before it."""
    if not isinstance(name, str) or not name:
        raise NameClashError(f"a name is a text of at least one character, not {name!r:.60}")
    if name == "__metadata__" or not _is_unicode(name):
        raise NameClashError(f"{_shown(name)} cannot name a tensor in a weights file")
    return ".".join((*ir.current_note().scope, name))


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def check_identifier(kind: str, name: Any) -> None:
    """Raise unless a name can be an identifier in generated code.

    Errors: NameClashError
    """
    if not isinstance(name, str) or not _IDENTIFIER.match(name) or len(name) > _LONGEST:
        raise NameClashError(
            f"{kind} names are a letter, then letters, digits or _ (ASCII, {_LONGEST} at most), "
            f"not {_shown(name)}"
        )
    if kind != "output" and (keyword.iskeyword(name) or name in _C_KEYWORDS):
        language = "Python" if keyword.iskeyword(name) else "C"
        raise NameClashError(
            f"{kind} names are no keywords, and {name!r} is one of {language}",
            hint=f"{name}_ would do",
        )
    if kind == "function" and name in RESERVED:
        raise NameClashError(
            f"a function may not be called {name!r}: a module has that attribute itself",
            hint="taken are " + ", ".join(RESERVED),
        )


def matching(pattern: str, known: Mapping[str, T]) -> dict[str, T]:
    """Return what a name or a glob (``"head.*"``) stands for.

    Errors: NameClashError that lists names near to it
    """
    if pattern in known:
        return {pattern: known[pattern]}
    found = {n: v for n, v in known.items() if fnmatch.fnmatchcase(n, pattern)}
    if not found:
        raise unknown(pattern, known, "no name matches")
    return found


def unknown(
    name: str, known: Iterable[str], claim: str = "there is nothing called"
) -> NameClashError:
    """Return the error for a name that there is not; it lists names near to it, or a few."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    listed = near if len(known) > _FEW else known
    return NameClashError(
        f"{claim} {_shown(name)}",
        hint="known are " + ", ".join(listed or known[:_FEW]) if known else None,
    )


def _shown(name: Any) -> str:
    text = repr(name)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
