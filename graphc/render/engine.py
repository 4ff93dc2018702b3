"""The Graphviz engine: where it is found, and how it is run.

Knows DOT text and bytes, and nothing of graphs. The engine is called by its path with a list of
arguments, reads DOT from its standard input, and has a time limit.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from graphc.errors import RenderError

FORMATS = ("svg", "png")
TIME_LIMIT = 120  # seconds
_PNG_DPI = 144  # dots an inch: 1.5 times what SVG takes for a point, sharp on screens and paper
_HINT = "pip install graphviz-pure, or let GRAPHC_DOT name Graphviz's dot"
_SHOWN = 2000  # characters of the engine's own message


@dataclass(frozen=True, slots=True)
class Engine:
    """A program that lays out and draws DOT.

    Attributes:
        path: the program.
        source: how it was found: ``$GRAPHC_DOT``, ``graphviz-pure`` or ``PATH``.
    """

    path: str
    source: str


def find() -> Engine:
    """Return the engine: ``$GRAPHC_DOT``, else graphviz-pure, else ``dot`` on PATH.

    Errors: RenderError if there is none, or ``$GRAPHC_DOT`` names no program
    """
    wanted = os.environ.get("GRAPHC_DOT")
    if wanted:
        path = shutil.which(wanted)
        if path is None:
            raise RenderError(
                f"GRAPHC_DOT names no program: {wanted}",
                hint="set it to the path of Graphviz's dot, or unset it",
            )
        return Engine(path, "$GRAPHC_DOT")
    pure = _pure_path()
    if pure is not None:
        return Engine(pure, "graphviz-pure")
    path = shutil.which("dot")
    if path is None:
        raise RenderError("no Graphviz engine was found", hint=_HINT)
    return Engine(path, "PATH")


def render(dot_text: str, format: str) -> bytes:
    """Return the picture of DOT text as ``"svg"`` or ``"png"``; equal text gives equal bytes.

    Errors: RenderError if there is no engine, it fails, or takes longer than ``TIME_LIMIT``
    """
    if format not in FORMATS:
        raise RenderError(f"there is no picture form {format!r}", hint="svg or png")
    options = ["-Tpng", f"-Gdpi={_PNG_DPI}"] if format == "png" else ["-Tsvg"]
    return _run(find(), options, dot_text.encode())


def describe() -> dict[str, str]:
    """Return what ``graphc doctor`` says of the engine: path, source and version, or the error."""
    try:
        engine = find()
        version = _version(engine)
    except RenderError as error:
        return {"error": str(error)}
    return {"path": engine.path, "source": engine.source, "version": version}


def _version(engine: Engine) -> str:
    result = _started(engine, ["-V"], b"")
    text = (result.stdout or result.stderr).decode(errors="replace").strip()
    if result.returncode != 0:
        raise _failure(engine, result)
    return text.splitlines()[0].split(" version ")[-1] if text else "unknown"


def _run(engine: Engine, options: list[str], text: bytes) -> bytes:
    result = _started(engine, options, text)
    if result.returncode != 0 or not result.stdout:
        raise _failure(engine, result)
    return result.stdout


def _started(engine: Engine, options: list[str], text: bytes) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            [engine.path, *options],
            input=text,
            capture_output=True,
            timeout=TIME_LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RenderError(
            f"the Graphviz engine took longer than {TIME_LIMIT} s",
            rows=[("engine", engine.path)],
            hint="draw fewer nodes: a part of the graph, or a smaller collapse=",
        ) from None
    except OSError as error:
        raise RenderError(
            f"the Graphviz engine does not start: {error.strerror}",
            rows=[("engine", engine.path)],
            hint=_HINT,
        ) from None


def _failure(engine: Engine, result: subprocess.CompletedProcess[bytes]) -> RenderError:
    said = result.stderr.decode(errors="replace").strip()[-_SHOWN:]
    rows = [("engine", engine.path), *(("it says", line) for line in said.splitlines())]
    return RenderError(
        f"the Graphviz engine failed with status {result.returncode}", rows=rows, hint=_HINT
    )


@cache
def _pure_path() -> str | None:
    """Return the program that the graphviz-pure wheel installs, wherever it put it."""
    try:
        files = metadata.distribution("graphviz-pure").files or []
    except metadata.PackageNotFoundError:
        return None
    installed = [Path(str(f.locate())) for f in files]
    beside = Path(sysconfig.get_path("scripts"))
    for path in (*installed, beside / "graphviz-pure", beside / "graphviz-pure.exe"):
        if path.stem == "graphviz-pure" and path.is_file() and os.access(path, os.X_OK):
            return str(path.resolve())
    return None
