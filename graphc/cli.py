"""The command line: ``graphc compile | draw | explain | summary | check | doctor``.

A FILE is a Python file that defines ``program``, and for commands that need numbers ``example``, a
dict of arrays by input name. Building stands at its top level, training under
``if __name__ == "__main__"``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import runpy
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from graphc import backend as backends
from graphc import ir
from graphc.dsl.location import user_line
from graphc.errors import BackendError, CallError, GraphcError

_FAILED = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status; errors of the user's go to stderr as text."""
    options = _parser().parse_args(arguments)
    try:
        file = _File(options.file) if "file" in options else None
        # What a command itself calls has no line of the user's.
        with ir.noting(where=""):
            options.run(file, options)
        sys.stdout.flush()
    except GraphcError as error:
        if error.where == user_line():
            error.where = None  # the line that runs the command is none of the user's
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return _FAILED
    except BrokenPipeError:  # the reader, as in `graphc summary FILE | head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FAILED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="graphc", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Any, words: str, *, file: bool = True) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=words, description=words)
        made.set_defaults(run=run)
        if file:
            made.add_argument("file", metavar="FILE", help="a Python file that defines `program`")
        return made

    made = command("compile", _compile, "compile a program; write it as a standalone module")
    made.add_argument(
        "-o", "--output", metavar="DIR", required=True, help="a folder that is new or empty"
    )
    made.add_argument("--weights", metavar="F", help="weights to take instead of initial values")
    made.add_argument("--backend", metavar="B", help="c, numpy, or an installed one's name")
    made.add_argument("--force", action="store_true", help="write into a folder that holds files")
    made = command("draw", _draw, "draw a function of a program")
    made.add_argument("-o", "--output", metavar="F", help=".svg, .png, .dot or .txt", required=True)
    made.add_argument("--function", metavar="F")
    made.add_argument(
        "--view", metavar="V", default="graph", help="graph, gradient, chain or unrolled"
    )
    made.add_argument(
        "--size", metavar="NAME=N", action="append", default=[], help="unrolled, e.g.: T=5"
    )
    made.add_argument("--wrt", metavar="P", help="a parameter's name or a glob")
    made = command("explain", _explain, "derive one gradient, step by step")
    made.add_argument("--wrt", metavar="P", required=True)
    made.add_argument("--function", metavar="F")
    made.add_argument("--format", choices=["text", "latex", "html"], default="text")
    made = command("summary", _summary, "count layers, parameters and multiply-adds")
    made.add_argument("--function", metavar="F")
    made.add_argument("--json", action="store_true")
    made = command("check", _check, "compare gradients with central differences")
    made.add_argument("--function", metavar="F")
    command("doctor", _doctor, "say what is here, and what to install", file=False)
    return parser


class _File:
    """A user's file that has been run: its program and its example."""

    def __init__(self, path: str) -> None:
        from graphc.dsl.program import Program

        source = Path(path)
        if not source.is_file():
            raise CallError(f"there is no file {path!r}")
        sys.path.insert(0, str(source.resolve().parent))
        found = runpy.run_path(path, run_name="__graphc__")
        program = found.get("program")
        if not isinstance(program, Program):
            raise CallError(
                f"{path} defines no program", hint="program = gx.Program(…) at its top level"
            )
        self.program = program
        self.example: Mapping[str, Any] = found.get("example", {})

    def chosen(self, name: str | None) -> Any:
        """Return the function of a name, or the program."""
        if name is None:
            return self.program
        if name not in self.program.functions:
            known = ", ".join(self.program.functions)
            raise CallError(f"the program has no function {name!r}", hint=f"it has {known}")
        return self.program.functions[name]


def _compile(file: _File, options: argparse.Namespace) -> None:
    from graphc.compiler import compile

    folder = Path(options.output)
    names = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
    if names and not options.force:
        raise CallError(
            f"{folder} is not empty: it holds {', '.join(names[:3])}" + ", …" * (len(names) > 3),
            hint="another folder, or --force to write over files of the same names",
        )
    module = compile(file.program, options.backend)
    if options.weights:
        module.load(options.weights)
    before = _held(folder)
    module.export(folder, force=options.force)
    for path, state in _held(folder).items():
        if before.get(path) != state:
            print(path)


def _held(folder: Path) -> dict[Path, tuple[int, int]]:
    """Return the files below a folder, each with when it was written, and its size."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            told = path.stat()
            found[path] = (told.st_mtime_ns, told.st_size)
    return found


def _draw(file: _File, options: argparse.Namespace) -> None:
    from graphc import views

    chosen = file.chosen(options.function)
    sizes: dict[str, Any] = dict(map(_size, options.size))
    views.draw(chosen, options.view, wrt=options.wrt, **sizes).save(options.output)
    print(options.output)


def _size(text: str) -> tuple[str, int]:
    name, sign, number = text.partition("=")
    if not name or not sign or not number.isdecimal():
        raise CallError(f"--size takes NAME=N, such as T=5, not {text!r:.60}")
    return name, int(number)


def _explain(file: _File, options: argparse.Namespace) -> None:
    from graphc import views

    made = views.explain(file.chosen(options.function), options.wrt)
    forms = {"latex": lambda: made.latex, "html": lambda: made.html, "text": lambda: f"{made}\n"}
    print(forms[options.format](), end="")


def _summary(file: _File, options: argparse.Namespace) -> None:
    from graphc import views

    made = views.summary(file.chosen(options.function))
    print(json.dumps(made.as_dict(), indent=2, ensure_ascii=False) if options.json else made)


def _check(file: _File, options: argparse.Namespace) -> None:
    from graphc import views
    from graphc.check import check_grads

    print(check_grads(views.loss_of(file.chosen(options.function)), at=file.example))


def _doctor(file: None, options: argparse.Namespace) -> None:
    from graphc.render import engine

    rows = [
        ("Python", f"{platform.python_version()} ({platform.machine()}, {sys.platform})"),
        ("processors", str(os.cpu_count())),
    ]
    rows += [(f"drawing {key}", value) for key, value in engine.describe().items()]
    for name in backends.installed():
        try:
            found = backends.find(name)
        except BackendError as error:
            rows.append((f"back end {name}", f"unusable: {error}"))
            continue
        rows.append((f"back end {name}", f"protocol {found.protocol}"))
        rows += [(f"  {key}", value) for key, value in found.describe().items()]
    width = max(len(key) for key, _ in rows)
    for key, value in rows:
        print(f"{key:{width}}  " + value.replace("\n", "\n" + " " * (width + 2)))


if __name__ == "__main__":
    sys.exit(main())
