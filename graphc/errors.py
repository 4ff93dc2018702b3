"""The errors of graphc, in three families: the user's, a known limit, our own bug.

Holds no checks: who knows a fact raises the error.
"""

from __future__ import annotations

from collections.abc import Iterable

Row = tuple[str, ...]


class GraphcError(Exception):
    """An error whose text says what is wrong, where, with which values, and what to try.

    Args:
        message: what is wrong, with the actual numbers, on one line.
        where: ``file:line`` of the user's code, if it is known.
        rows: values that explain the message, as columns of one small table.
        hint: one thing to try.
    """

    def __init__(
        self,
        message: str,
        *,
        where: str | None = None,
        rows: Iterable[Row] = (),
        hint: str | None = None,
    ) -> None:
        self.message = message
        self.where = where
        self.rows = tuple(rows)
        self.hint = hint
        super().__init__(message)

    def __str__(self) -> str:
        lines = [self.message]
        if self.where:
            lines.append(f"  at {self.where}")
        lines += [f"  {line}" for line in _columns(self.rows)]
        if self.hint:
            lines.append(f"  try: {self.hint}")
        return "\n".join(lines)

    def located(self, where: str | None) -> GraphcError:
        """Return self, told its place if it has none yet."""
        self.where = self.where or where
        return self


class ShapeError(GraphcError):
    """Sizes that do not fit together."""


class DtypeError(GraphcError, TypeError):
    """Element types that do not fit together."""


class NameClashError(GraphcError):
    """A name that is taken, reserved, missing or not an identifier where it must be one."""


class UnknownNameError(NameClashError, KeyError):
    """A name that there is not, where a mapping is asked for it."""


class GradientError(GraphcError):
    """A derivative that does not exist: of a tensor that is no scalar, or by one not reached."""


class FormError(GraphcError):
    """The training form met where the test form is computed, or the reverse."""


class GraphError(GraphcError):
    """A graph or program that is put together in a way that has no meaning."""


class TensorUseError(GraphcError, TypeError):
    """A tensor used as if it held numbers already (truth value, iteration, NumPy functions)."""


class FormulaError(GraphcError):
    """An elementwise formula that is no formula of scalar primitives, or fails its probe."""


class CallError(GraphcError):
    """A call of a compiled function with arguments that do not fit."""


class ArgumentTypeError(CallError, TypeError):
    """An argument of a call whose dtype cannot be taken without loss."""


class SizeError(CallError):
    """Sizes at a call that overflow 63 bits or the machine's memory."""


class IndexRangeError(CallError, IndexError):
    """An index tensor that holds a position outside its axis."""


class WeightsError(GraphcError):
    """A weights file that cannot be read or belongs to another program."""


class CompilerError(GraphcError):
    """A C compiler that fails, or takes too long."""


class NoCompilerError(CompilerError):
    """No C compiler at all, so that another back end may run instead."""


class RenderError(GraphcError):
    """A picture that cannot be drawn: no Graphviz engine, one that fails, or no such form."""


class BackendError(GraphcError):
    """A back end that is not installed, is not one, or speaks another protocol."""


class UnsupportedError(GraphcError):
    """A known limit: which op, which back end, and what else would do."""


class InternalError(GraphcError):
    """A bug of graphc itself, never of the user's."""

    def __str__(self) -> str:
        return f"{super().__str__()}\n  this is a bug in graphc; GRAPHC_DUMP=dir writes every pass"


def _columns(rows: tuple[Row, ...]) -> list[str]:
    widths: dict[int, int] = {}
    for row in rows:
        for i, cell in enumerate(row[:-1]):
            widths[i] = max(widths.get(i, 0), len(cell))
    return [
        "   ".join(cell.ljust(widths.get(i, 0)) for i, cell in enumerate(row)).rstrip()
        for row in rows
    ]
