"""Golden error texts: a test is a user's mistake, and the text is all that the user reads.

Holds no tests. A comment of one word at the end of a line names that line, so that the text can
say ``at test_shapes.py:here`` and stay true when lines move.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from graphc.errors import GraphcError

_LABEL = re.compile(r"#\s(\w+)$")


def mistake(text: str) -> Callable[[Callable[..., Any]], Callable[..., None]]:
    """Turn a function into a test that it raises an error of this text, word for word."""

    def wrap(function: Callable[..., Any]) -> Callable[..., None]:
        @wraps(function)
        def test(*args: Any, **kwargs: Any) -> None:
            with pytest.raises(GraphcError) as caught:
                function(*args, **kwargs)
            folders = [str(v) for v in kwargs.values() if isinstance(v, Path)]
            assert shown(function, caught.value, folders) + "\n" == text

        return test

    return wrap


def shown(function: Callable[..., Any], error: GraphcError, folders: list[str]) -> str:
    """Return an error with lines by their labels and temporary folders as TMP."""
    text = f"{type(error).__name__}: {error}"
    for folder in folders:
        text = text.replace(folder, "TMP")
    file = Path(inspect.getsourcefile(function) or "")
    lines = file.read_text(encoding="utf-8").splitlines()

    def labelled(place: re.Match[str]) -> str:
        label = _LABEL.search(lines[int(place[1]) - 1])
        return f"{file.name}:{label[1] if label else place[1]}"

    return re.sub(rf"[^\s]*{re.escape(file.name)}:(\d+)", labelled, text)
