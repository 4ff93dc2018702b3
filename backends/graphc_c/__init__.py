"""The C back end: programs become C sources, compiled at run time and loaded.

`lower` ends the graph and makes a `plan`, op by op as `lowerings` say; `kernels` and `emit` write
it as C; `toolchain` and `cache` compile it; `build` loads it. The runtime's functions are real
files in ``runtime/``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphc.backend import PROTOCOL, Executable, Options
from graphc.errors import CompilerError
from graphc.ir import Program
from graphc_c import cache, lower, toolchain


class CBackend:
    """Protocol 1 over C."""

    name = "c"
    protocol = PROTOCOL

    def missing(self, program: Program) -> Sequence[tuple[str, str]]:
        """Return the ops of a program that have no lowering."""
        return [(name, "it has no lowering") for name in lower.missing(program)]

    def build(self, program: Program, options: Options) -> Executable:
        """Return a program's executable, compiled or from the cache.

        Errors: CompilerError
        """
        from graphc_c.build import build

        return build(program, options)

    def describe(self) -> Mapping[str, str]:
        """Return the compiler, its flags and the cache, or what to install."""
        found: dict[str, str] = {}
        try:
            compiler = toolchain.find_compiler()
            found["compiler"] = f"{' '.join(compiler.command)} ({compiler.version})"
            found["flags"] = " ".join(toolchain.compile_flags(compiler, contract=False))
        except CompilerError as error:
            found["compiler"] = f"none: {error}"
        try:
            held = cache.describe()
            found["cache"] = f"{held['root']}: {held['entries']} entries, {held['bytes']:,} bytes"
        except CompilerError as error:
            found["cache"] = f"unusable: {error}"
        found["threads"] = "1 (kernels run on the calling thread)"
        return found


backend = CBackend()
