"""C text: types, literals, comments, dimensions, and a writer that indents.

Identifiers in generated code are generated; a user's words appear in escaped comments only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from graphc import dims
from graphc.dims import Dim

CTYPES = {
    "bool": "uint8_t",
    "uint8": "uint8_t",
    "int32": "int32_t",
    "int64": "int64_t",
    "uint32": "uint32_t",
    "uint64": "uint64_t",
    "float32": "float",
    "float64": "double",
}
SUFFIXES = {
    "bool": "b",
    "uint8": "u8",
    "int32": "i32",
    "int64": "i64",
    "uint32": "u32",
    "uint64": "u64",
    "float32": "f32",
    "float64": "f64",
}
_WIDTH = 76
_LONGEST = 200  # characters of one user's text that a comment shows


class Writer:
    """Collects lines at a depth of blocks."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._depth = 0

    def line(self, text: str = "") -> None:
        """Add a line at the current depth."""
        self.lines.append("  " * self._depth + text if text else "")

    def lines_of(self, *texts: str) -> None:
        """Add several lines."""
        for text in texts:
            self.line(text)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Open braces after a head, and close them."""
        self.open(head)
        yield
        self.close()

    def open(self, head: str) -> None:
        """Open braces after a head; `close` closes them."""
        self.line(head + " {")
        self._depth += 1

    def close(self) -> None:
        """Close the braces opened last."""
        self._depth -= 1
        self.line("}")

    @contextmanager
    def loop(self, variable: str, count: str) -> Iterator[None]:
        """Count a variable from 0."""
        head = f"for (int64_t {variable} = 0; {variable} < {count}; {variable}++)"
        with self.block(head):
            yield

    @property
    def text(self) -> str:
        """Everything, as text."""
        return "\n".join(self.lines) + "\n"


def comment(*parts: str) -> str:
    """Return a comment of texts that may hold anything."""
    return "/* " + "   ".join(escaped(p) for p in parts if p) + " */"


def escaped(text: str) -> str:
    """Return text that can end no comment, break no line and splice none: plain ASCII."""
    if len(text) > _LONGEST:
        text = text[: _LONGEST - 3] + "..."
    plain = [c if " " <= c <= "~" and c != "\\" else _code(c) for c in text]
    return "".join(plain).replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?")


def _code(character: str) -> str:
    # Words of the field keep a readable spelling; anything else is shown by its number.
    return _ASCII.get(character, f"<U+{ord(character):04X}>")


_ASCII = {
    **{"Σ": "sum", "θ": "theta", "·": "*", "−": "-", "⊙": "*", "ᵀ": "'", "⊗": "(x)", "∂": "d"},
    **{"ₖ": "_k", "ᵢ": "_i", "…": "...", "²": "^2", "∈": "in", "≥": ">=", "×": "x"},
}


def literal(text: str, dtype: str) -> str:
    """Return a number of a dtype, exactly; floats come as ``float.hex`` or inf, -inf, nan."""
    if dtype in ("float32", "float64"):
        value = float.fromhex(text)
        if math.isnan(value):
            return f"(({CTYPES[dtype]})NAN)"
        if math.isinf(value):
            return f"(({CTYPES[dtype]}){'-' if value < 0 else ''}INFINITY)"
        return text + ("f" if dtype == "float32" else "")
    if dtype == "bool":
        return "1" if text not in ("0", "False") else "0"
    if dtype == "int64" and int(text) == -(2**63):
        return "INT64_MIN"
    macro = {"int64": "INT64_C", "uint64": "UINT64_C", "uint32": "UINT32_C"}.get(dtype)
    if macro is None:
        return f"(({CTYPES[dtype]}){text})" if text.startswith("-") else text
    return f"{macro}({text})"


def size(dim: Dim, name: Callable[[str], str] = str) -> str:
    """Return a dimension as a C expression of type int64_t."""
    if isinstance(dim, int):
        return str(dim) if dim < 2**31 else f"INT64_C({dim})"
    return dims.render(dim, name, lambda top, bottom: f"gx_floor_divide_i64({top}, {bottom})")


def index(terms: list[tuple[str, Dim]], offset: Dim = 0) -> str:
    """Return ``i0 * stride0 + i1 * stride1 + … + offset`` without what is zero."""
    parts = [v if s == 1 else f"{v} * {size(s)}" for v, s in terms if s != 0]
    if offset != 0:
        parts.append(size(offset))
    return " + ".join(parts) or "0"
