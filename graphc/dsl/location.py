"""The line of the user's code that a call comes from."""

from __future__ import annotations

import contextlib
import copy
import os
import sys
from collections.abc import Callable, MutableMapping
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from types import FrameType
from typing import ParamSpec, TypeVar

from graphc import ir
from graphc.errors import GraphcError

P = ParamSpec("P")
R = TypeVar("R")

_PACKAGE = str(Path(__file__).resolve().parent.parent) + os.sep
# Python's own files that stand between us and the user: with, deepcopy, clear of a mapping.
_PYTHONS = (contextlib.__file__, copy.__file__, MutableMapping.clear.__code__.co_filename)
_BETWEEN = (_PACKAGE, *_PYTHONS)


# Identifies the user's frame whose call is under way; it lives as long as that call.
_calling: ContextVar[int] = ContextVar("graphc_calling", default=0)


def user_line() -> str:
    """Return ``file:line`` of the nearest caller outside this package.

    The file is relative to the working folder if it lies there, else its bare name: no absolute
    path reaches generated code.
    """
    return _line(_outside(sys._getframe(1)))


def public(function: Callable[P, R]) -> Callable[P, R]:
    """Let nodes made and errors raised by a user-facing function carry the user's line."""

    @wraps(function)
    def located(*args: P.args, **kwargs: P.kwargs) -> R:
        # A call by graphc itself belongs to the user's line; what the user's own function (a
        # cell, a schedule) writes stands in a line of its own, also where graphc called it.
        caller = sys._getframe(1)
        frame = _outside(caller)
        held = ir.current_note().where
        if held is not None and caller is not frame and (id(frame) == _calling.get() or not held):
            return function(*args, **kwargs)
        where = _line(frame)
        token = _calling.set(id(frame))
        try:
            with ir.noting(where=where):
                return function(*args, **kwargs)
        except GraphcError as error:
            raise error.located(where) from error.__cause__
        finally:
            _calling.reset(token)

    return located


def _outside(frame: FrameType) -> FrameType:
    """Return the nearest frame that is the user's, from one on."""
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_BETWEEN):
        frame = frame.f_back
    return frame


def _line(frame: FrameType) -> str:
    return f"{_short(frame.f_code.co_filename)}:{frame.f_lineno}"


def placed(function: Callable[P, R]) -> Callable[P, R]:
    """Let errors raised by a function carry the user's line, at no cost to calls that succeed."""

    @wraps(function)
    def located(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except GraphcError as error:
            raise error.located(user_line()) from error.__cause__

    return located


_names: dict[tuple[str, str], str] = {}


def _short(filename: str) -> str:
    key = (filename, os.getcwd())
    if key not in _names:
        inside = filename.startswith(key[1] + os.sep)
        _names[key] = os.path.relpath(filename, key[1]) if inside else os.path.basename(filename)
    return _names[key].replace(os.sep, "/")
