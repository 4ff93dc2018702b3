"""A standalone module: a C project that builds, tests itself and trains where graphc is not.

Puts the files together; what is in them is written by the other ``export_`` files. Equal programs
and states give equal bytes, and none of them names a place, a time or a user.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from graphc.backend import Case
from graphc.errors import UnsupportedError
from graphc.ir import Program
from graphc_c import (
    export_c,
    export_checks,
    export_example,
    export_python,
    export_tables,
    export_training,
)
from graphc_c.export_c import filled
from graphc_c.export_names import Module
from graphc_c.plan import Array, ProgramPlan

Read = Callable[[str], Array]


def write(
    folder: Path, program: Program, plan: ProgramPlan, read: Read, cases: Sequence[Case]
) -> None:
    """Write a program's project into a folder that exists.

    Errors: UnsupportedError for a function of more buffers than a C stack should hold tables of,
        or a name that no text in C holds
    """
    _check_names(program)
    for name, content in project(program, plan, read, cases).items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))


def project(
    program: Program, plan: ProgramPlan, read: Read, cases: Sequence[Case]
) -> dict[str, str | bytes]:
    """Return the files of a program's project: path to content."""
    _check(plan)
    module = Module(program, plan, export_c.graph_hash(plan))
    name = module.name
    made = export_c.sources(module)
    recorded = {case.function: case for case in cases}
    test, golden = export_checks.test_files(module, recorded)
    arrays = {n: read(n) for n in module.state_names}
    return {
        "Makefile": _makefile(module, made),
        "README.txt": _readme(module),
        f"{name}.h": export_c.header(module),
        f"{name}_kernels.h": export_c.shared_header(module),
        **{n: text for n, (text, _) in made.items()},
        **_runtime(module),
        f"{name}.safetensors": _weights(module, arrays),
        f"{name}_test.c": test,
        f"{name}_test.bin": golden,
        module.example: export_example.example(module, recorded),
        f"{name}.py": export_python.wrapper(module),
    }


def _check_names(program: Program) -> None:
    for node in program.states:
        name: str = node.attrs["name"]
        if "\0" in name:
            raise UnsupportedError(
                f"{name!r:.60} ends, in C, at its character 0",
                where=node.note.where,
                hint="another name, or export with the back end 'numpy'",
            )


def _check(plan: ProgramPlan) -> None:
    for part in plan.plans:
        if len(part.arena) > export_c.MOST_BUFFERS:
            raise UnsupportedError(
                f"{part.name} has {len(part.arena):,} buffers, and an exported function at most "
                f"{export_c.MOST_BUFFERS:,}",
                hint="keep the loop as gx.scan, or export with the back end 'numpy'",
            )


def _makefile(module: Module, made: Mapping[str, tuple[str, bool]]) -> str:
    headers = [f"{module.name}.h", f"{module.name}_kernels.h", *_runtime(module)]
    rules = [
        f"{n[:-2]}.o: {n} $(HEADERS)\n"
        f"\t$(CC) $(FLAGS) -ffp-contract={'fast' if contract else 'off'} $(EXTRA) -c -o $@ {n}\n"
        for n, (_, contract) in made.items()
    ]
    return filled(
        "Makefile.in",
        name=module.name,
        headers=" ".join(headers),
        objects=" ".join(f"{n[:-2]}.o" for n in made),
        example=module.example,
        rules="\n".join(rules),
    )


def _readme(module: Module) -> str:
    lines = [
        textwrap.fill(
            f"{f.symbol}: {f.shapes}",
            78,
            initial_indent="    ",
            subsequent_indent="        ",
            break_long_words=False,
        )
        for f in module.faces
    ]
    title = f"{module.name}: a standalone module in C"
    return filled(
        "README.txt.in",
        name=module.name,
        rule="=" * len(title),
        functions="\n".join(lines),
        graph=module.graph,
        example=export_training.usage(export_training.find(module)).replace("\n", "\n    "),
    )


def _runtime(module: Module) -> dict[str, str]:
    """Return the headers of the runtime that the library reads, and those that they read."""
    runtime = files("graphc_c") / "runtime"
    found: dict[str, str] = {}
    for name in ("gx_module.h", "gx_weights.h"):
        found[f"runtime/{name}"] = (runtime / "export" / name).read_text("utf-8")
    todo = export_c.runtime_headers(module.plan)
    while todo:
        name = todo.pop()
        if f"runtime/{name}" not in found:
            text = (runtime / name).read_text("utf-8")
            found[f"runtime/{name}"] = text
            todo += export_c.included(text)
    return dict(sorted(found.items()))


def _weights(module: Module, arrays: Mapping[str, Array]) -> bytes:
    """Return a weights file, byte for byte as the library saves the same values."""
    places, total = export_tables.file_places(module.program.states)
    pieces = [export_tables.metadata(module)]
    data = bytearray(total)
    for node, begin in zip(module.program.states, places, strict=True):
        pieces.append(export_tables.file_entry(node, begin))
        array = arrays[node.attrs["name"]]
        plain = array.astype(array.dtype.newbyteorder("<")).tobytes()
        data[begin : begin + len(plain)] = plain
    header = ("".join(pieces) + "}").encode("ascii")
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + bytes(data)
