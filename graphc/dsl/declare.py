"""Leaves that a user declares: inputs, parameters, states."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc import ir
from graphc.dims import Dim
from graphc.dsl import convert, initialisers
from graphc.dsl.initialisers import Initialiser
from graphc.dsl.location import public
from graphc.dsl.names import check_identifier, full_name
from graphc.dsl.tensor import Tensor
from graphc.errors import ShapeError
from graphc.ops import leaf


@public
def input(name: str, shape: Any, dtype: str | None = None) -> Tensor:
    """Declare what a call passes in.

    A string in the shape is a symbolic dimension: one name, one size in all of a program.

    Errors: NameClashError for a name that is no identifier; ShapeError, DtypeError
    """
    check_identifier("input", name)
    with ir.noting(name=name):
        return Tensor(leaf.input(name, convert.shape_of(shape), convert.float_or(dtype)))


@public
def parameter(
    name: str, shape: Any = None, init: Any = None, *, dtype: str | None = None
) -> Tensor:
    """Declare a tensor that learning changes.

    ``init`` is a number, an array (the shape may be left out) or one of ``gx.init``; left out, it
    is ``gx.init.glorot()`` for matrices and filters and 0 for vectors and scalars. The name is the
    address in files; the current scope stands before it.

    Errors: ShapeError for a named dimension (a parameter's size is a number)
    """
    return Tensor(_declared(leaf.parameter, name, shape, init, dtype))


@public
def state(name: str, shape: Any = (), init: Any = 0, *, dtype: str | None = None) -> Tensor:
    """Declare a state that is no parameter: updates change it, gradients do not ask for it.

    Errors: ShapeError for a named dimension: what is carried from call to call with a size that
        is open is an input and an output
    """
    return Tensor(_declared(leaf.state, name, shape, init, dtype))


def _declared(builder: Any, name: str, shape: Any, init: Any, dtype: str | None) -> ir.Node:
    made = initialisers.of(init, shape)
    if shape is None:
        shape = made.shape
    if shape is None:
        raise ShapeError(f"{name!r} needs a shape: its init has none")
    dimensions = convert.shape_of(shape)
    if any(not isinstance(d, int) for d in dimensions):
        raise ShapeError(
            f"{name!r} has a named dimension in {_shown(dimensions)}; "
            "parameters and states have sizes of numbers"
        )
    if made.shape is not None and made.shape != dimensions:
        raise ShapeError(
            f"{name!r} is declared {_shown(dimensions)}, its initial array is {_shown(made.shape)}"
        )
    full = full_name(name)
    with ir.noting(name=name):
        kind = _dtype_of(made) if dtype is None else convert.dtype_of(dtype)
        node: ir.Node = builder(full, dimensions, kind, made)
    return node


def _dtype_of(made: Initialiser) -> str:
    given = made.array
    if given is None or np.issubdtype(given.dtype, np.floating):
        return convert.float_dtype()
    return given.dtype.name


def _shown(shape: tuple[Dim, ...]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"
