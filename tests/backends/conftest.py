"""Fixtures of the tests that run through both back ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import graphc as gx
import worked


@pytest.fixture(params=["numpy", pytest.param("c", marks=pytest.mark.cc)])
def backend(request: pytest.FixtureRequest) -> str:
    """Return the name of each back end in turn."""
    return str(request.param)


@pytest.fixture
def compiled(backend: str) -> worked.Compiled:
    """Return what turns a definition into a module at its initial values."""

    def module_of(define: Callable[[], worked.Functions]) -> gx.Module:
        made = worked.module(define, backend)
        made.init()
        return made

    return module_of
