"""The texts of the runtime functions, which emitted source carries with it."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable
from functools import cache

from graphc_numpy import runtime

NAMES = tuple(
    name
    for name, value in vars(runtime).items()
    if getattr(value, "__module__", None) == runtime.__name__
)
_TOOLS = re.compile(r"  # (noqa|fmt|type).*$", re.MULTILINE)


def texts(used: Iterable[str]) -> list[str]:
    """Return the texts of functions and of all that they call, in the order of their file."""
    needed: set[str] = set()
    waiting = list(used)
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += _calls(name)
    return [_text(name) for name in NAMES if name in needed]


@cache
def _text(name: str) -> str:
    return _TOOLS.sub("", inspect.getsource(getattr(runtime, name))).rstrip()


@cache
def _calls(name: str) -> tuple[str, ...]:
    found = (n.id for n in ast.walk(ast.parse(_text(name))) if isinstance(n, ast.Name))
    return tuple(dict.fromkeys(n for n in found if n in NAMES))
