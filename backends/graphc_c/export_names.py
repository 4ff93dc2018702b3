"""Names of an exported module: the C face's identifiers, from what the user called things.

Program and function names are identifiers already; here they are kept apart from C's own words,
from each other, and from what the module itself declares.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from graphc import dims, ir
from graphc.ir import Function, Node, Program, Structure
from graphc_c.plan import Plan, ProgramPlan

FACE = (
    *("abi", "argument", "argument_at", "argument_shape", "find", "function", "function_at"),
    *("function_call", "function_find", "function_work_size", "get", "graph", "init", "load"),
    *("save", "save_size", "set", "state", "state_size", "status", "status_text", "tensor"),
    *("tensor_at", "work_init"),
)
MACROS = ("ABI", "ALIGN", "API", "FUNCTIONS", "GRAPH", "H", "KERNELS_H", "TENSORS")
STATUSES = (
    *("OK", "NULL", "ALIGNMENT", "STATE", "SIZE", "INDEX", "FILE", "OTHER", "NAME", "ROOM"),
    "WORK",
)
_WORDS = frozenset(
    (
        # C, C23 and C++ keep these words; the rest are macros of common platforms.
        *("alignas", "alignof", "and", "and_eq", "asm", "auto", "bitand", "bitor", "bool"),
        *("break", "case", "catch", "char", "class", "compl", "concept", "const", "consteval"),
        *("constexpr", "constinit", "const_cast", "continue", "co_await", "co_return", "co_yield"),
        *("decltype", "default", "delete", "do", "double", "dynamic_cast", "else", "enum"),
        *("explicit", "export", "extern", "false", "float", "for", "friend", "goto", "if"),
        *("inline", "int", "long", "mutable", "namespace", "new", "noexcept", "not", "not_eq"),
        *("nullptr", "operator", "or", "or_eq", "private", "protected", "public", "register"),
        *("reinterpret_cast", "requires", "restrict", "return", "short", "signed", "sizeof"),
        *("static", "static_assert", "static_cast", "struct", "switch", "template", "this"),
        *("thread_local", "throw", "true", "try", "typedef", "typeid", "typename", "typeof"),
        *("union", "unsigned", "using", "virtual", "void", "volatile", "wchar_t", "while"),
        *("xor", "xor_eq", "linux", "unix", "i386", "near", "far", "s", "work", "main"),
    )
)
_RISKY = re.compile(r"_.*|gx.*|GX.*|.*_t|[A-Z][A-Z0-9_]{2,}")


def argument(name: str, taken: Iterable[str] = ()) -> str:
    """Return a parameter's name in C: the user's, with ``_`` where C or another has it."""
    held = set(taken)
    made = f"{name}_" if name in _WORDS or _RISKY.fullmatch(name) else name
    while made in held or made in _WORDS:
        made += "_"
    return f"a{made}" if made.startswith("_") else made


def output_names(function: Function) -> list[str]:
    """Return a name for each output: the keys of dicts where they are, else ``out0``, ``out1``."""
    found = [f"out{i}" for i in range(len(function.outputs))]
    _name_outputs(function.structure, "", found)
    return found


def plain_key(key: object) -> object:
    """Return a key of a dict of outputs as plain data: a parameter becomes its name."""
    if type(key) in (type(None), bool, int, str):
        return key
    if isinstance(key, tuple):
        return tuple(plain_key(part) for part in key)
    return str(getattr(key, "name", None) or key)


def _name_outputs(structure: Structure, path: str, found: list[str]) -> None:
    if isinstance(structure, int):
        if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", path):
            found[structure] = path
        return
    if isinstance(structure, dict):
        parts = [(str(plain_key(k)), v) for k, v in structure.items()]
    else:
        parts = [(str(i), v) for i, v in enumerate(structure)] if path else []
    for key, part in parts:
        word = re.sub(r"[^A-Za-z0-9]", "_", key)
        _name_outputs(part, f"{path}_{word}" if path else word, found)


@dataclass(frozen=True)
class Face:
    """A function as C declares it."""

    number: int
    function: Function
    plan: Plan
    symbol: str

    @cached_property
    def sizes(self) -> list[str]:
        """The parameters of the open dimensions."""
        return _distinct(self.plan.sizes, [])

    @cached_property
    def inputs(self) -> list[str]:
        """The parameters of the inputs."""
        return _distinct([n.attrs["name"] for n in self.function.inputs], self.sizes)

    @cached_property
    def outputs(self) -> list[str]:
        """The parameters of the outputs."""
        return _distinct(output_names(self.function), [*self.sizes, *self.inputs])

    @property
    def shapes(self) -> str:
        """What it takes and gives, in words."""
        given = [
            f"{n} {node.type}" for n, node in zip(self.inputs, self.function.inputs, strict=True)
        ]
        made = [f"{n} {t}" for n, t in zip(self.outputs, self.plan.results, strict=True)]
        return f"{', '.join(given) or 'nothing'} -> {', '.join(made) or 'nothing'}"


def _distinct(names: Sequence[str], taken: Sequence[str]) -> list[str]:
    found: list[str] = []
    for name in names:
        found.append(argument(name, [*taken, *found]))
    return found


class Module:
    """All that the writers of an export share: names, faces, the plan."""

    def __init__(self, program: Program, plan: ProgramPlan, graph: str) -> None:
        self.program, self.plan, self.graph = program, plan, graph
        name = program.name
        self.name = name
        self.prefix = f"m_{name}_" if f"{name}_".lower().startswith("gx_") else f"{name}_"
        self.macro = self.prefix.upper()
        self.example = "example_main.c" if name == "example" else "example.c"
        self.faces = self._faces()

    def _faces(self) -> list[Face]:
        taken = {*FACE, *MACROS, *STATUSES, *(f"{f}_work_size" for f in FACE)}
        made = []
        for number, (f, p) in enumerate(zip(self.program.functions, self.plan.plans, strict=True)):
            name = f.name
            while name in taken or f"{name}_work_size" in taken:
                name += "_"
            taken |= {name, f"{name}_work_size"}
            made.append(Face(number, f, p, self.prefix + name))
        return made

    @property
    def updated(self) -> set[int]:
        """Positions of the states that some function updates."""
        return {i for p in self.plan.plans for i in p.updates}

    @property
    def state_names(self) -> list[str]:
        """Names of parameters and states, in order."""
        return [n.attrs["name"] for n in self.program.states]


def all_nodes(function: Function) -> list[Node]:
    """Return all that a function computes, the bodies of its loops too."""
    found: list[Node] = []
    graphs = [(*function.inputs, *function.roots)]
    while graphs:
        for node in ir.topological(graphs.pop()):
            found.append(node)
            bodies = [g for g in node.attrs.values() if isinstance(g, ir.Graph)]
            graphs += [(*g.inputs, *g.outputs) for g in bodies]
    return found


def nodes_shapes(function: Function) -> list[tuple[dims.Shape, str]]:
    """Return the distinct shapes and dtypes of all that a function computes."""
    found: dict[tuple[dims.Shape, str], None] = {}
    for node in all_nodes(function):
        for t in node.types:
            found[t.shape, t.dtype] = None
    return list(found)
