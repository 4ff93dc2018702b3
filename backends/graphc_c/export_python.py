"""The Python face of an exported C module: a file of tables and ctypes that needs NumPy alone.

The code is a real file of the runtime; what is written here are its tables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from graphc import dims
from graphc.dims import Dim, Shape
from graphc.ir import Structure
from graphc_c.export_c import filled
from graphc_c.export_names import Face, Module, plain_key

_TABLES = re.compile(r"# --- tables.*?# --- end of tables\n", re.DOTALL)


def wrapper(module: Module) -> str:
    """Return ``name.py``."""
    text = filled("wrapper.py", title=f"{module.name}: a module that graphc wrote, over its C")
    return _TABLES.sub(lambda _: _tables(module), text, count=1)


def _tables(module: Module) -> str:
    lines = [
        f"NAME = {_text(module.name)}",
        f"PREFIX = {_text(module.prefix)}",
        f"GRAPH = {_text(module.graph)}",
        "STATES: list[tuple[str, str, tuple[int, ...]]] = [",
        *(
            f"    ({_text(n.attrs['name'])}, {_text(n.dtype)}, {_shape(n.shape)}),"
            for n in module.program.states
        ),
        "]",
        "FUNCTIONS: dict[str, dict[str, Any]] = {",
    ]
    for face in module.faces:
        lines += _function(face)
    return "\n".join([*lines, "}"]) + "\n"


def _function(face: Face) -> list[str]:
    nodes = face.function.inputs
    inputs = [f"({_text(n.attrs['name'])}, {_text(n.dtype)}, {_shape(n.shape)})," for n in nodes]
    outputs = [f"({_text(t.dtype)}, {_shape(t.shape)})," for t in face.plan.results]
    sizes = "".join(f"{_text(n)}, " for n in face.plan.sizes)
    return [
        f"    {_text(face.function.name)}: {{",
        f'        "symbol": {_text(face.symbol)},',
        f'        "text": {_text(f"{face.function.name}: {face.shapes}")},',
        f'        "sizes": ({sizes}),',
        '        "inputs": [',
        *(f"            {line}" for line in inputs),
        "        ],",
        '        "outputs": [',
        *(f"            {line}" for line in outputs),
        "        ],",
        f'        "structure": {_structure(face.function.structure)},',
        "    },",
    ]


def _text(text: str) -> str:
    """Return a Python string of any text, in ASCII."""
    return ascii(text)


def _shape(shape: Shape) -> str:
    return "(" + "".join(f"{_dim(d)}, " for d in shape).rstrip(" ") + ")"


def _dim(dim: Dim) -> str:
    """Return a size: a number, a name, or a function of the sizes by name."""
    if isinstance(dim, int):
        return str(dim)
    text = dims.render(dim, lambda n: f"d[{_text(n)}]", lambda top, below: f"({top} // {below})")
    return _text(str(dim)) if (str(dim),) == dims.names((dim,)) else f"lambda d: {text}"


def _structure(structure: Structure) -> str:
    if isinstance(structure, int):
        return str(structure)
    if isinstance(structure, Mapping):
        return "{" + ", ".join(f"{_key(k)}: {_structure(v)}" for k, v in structure.items()) + "}"
    parts = [_structure(v) for v in structure]
    if isinstance(structure, list):
        return f"[{', '.join(parts)}]"
    return "(" + "".join(f"{p}, " for p in parts) + ")"


def _key(key: object) -> str:
    plain = plain_key(key)
    return _text(plain) if isinstance(plain, str) else repr(plain)
