"""The C compiler: finding one that works, and running it under a time limit.

Knows nothing of programs, kernels or the cache: text goes in, a shared library comes out.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import math
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from graphc.errors import CompilerError, NoCompilerError, Row

LIBRARY = "library.so"
FLAGS = ("-std=c11", "-O3", "-fPIC", "-march=native")
LINK_FLAGS = ("-shared", "-lm")

_TARGETS = (("-march=native",), ("-mcpu=native",), ())  # clang on ARM may want the second
_TIMEOUT_VARIABLE = "GRAPHC_CC_TIMEOUT"
_TIMEOUT_SECONDS = 120.0
_PROBE_SECONDS = 20.0  # a cold start of the ziglang wheel takes a few
_POLL_SECONDS = 0.002  # one object file takes 0.06 s or more
_STDERR_LINES = 20
_PROBE_TEXT = b"#include <math.h>\n#include <stdint.h>\n"
_INSTALL = (
    "install one (Debian, Ubuntu: apt install gcc; macOS: xcode-select --install; "
    "anywhere: pip install 'graphc[cc]'), or use backend=\"numpy\""
)

# Any one of these changes what floats mean; the first three also reach code that is not ours, by
# making the loader set the flush-to-zero bits of the whole process.
_UNSAFE_WORDS = frozenset(
    {
        "-Ofast",
        "-ffast-math",
        "-funsafe-math-optimizations",
        "-fassociative-math",
        "-ffinite-math-only",
        "-fno-signed-zeros",
        "-freciprocal-math",
    }
)
_UNSAFE_MACROS = (
    "__ASSOCIATIVE_MATH__ 1",
    "__FAST_MATH__ 1",
    "__FINITE_MATH_ONLY__ 1",
    "__NO_SIGNED_ZEROS__ 1",
    "__RECIPROCAL_MATH__ 1",
)


@dataclass(frozen=True, slots=True)
class Compiler:
    """A C compiler that was tried and works.

    Args:
        command: how it is called; the first word is an absolute path.
        version: the first line of what it answers to ``--version``.
        features: SHA-256 of the macros it defines under ``flags``: they spell out what ``native``
            means on this machine. The C library's headers are read too, so that a compiler
            without them does not count as one.
        flags: ``FLAGS``, less what it refuses.
    """

    command: tuple[str, ...]
    version: str
    features: str
    flags: tuple[str, ...] = FLAGS


def find_compiler(environ: Mapping[str, str] = os.environ) -> Compiler:
    """Return the first compiler that works: $GRAPHC_CC, $CC, cc, gcc, clang, the ziglang wheel.

    A variable that is set decides alone: if what it names does not work, that is an error. The
    answer is remembered for as long as the variables and the compiler's file stay as they are.

    Errors:    CompilerError, or NoCompilerError where there is none; it says what was tried, why
               each failed, and what to install
    """
    key = tuple(environ.get(name) for name in ("GRAPHC_CC", "CC", "PATH"))
    known = _FOUND.get(key)
    if known is not None and known[1] == _stamp(known[0].command):
        return known[0]
    compiler = _search(environ)
    _FOUND[key] = (compiler, _stamp(compiler.command))
    return compiler


def compile_library(
    compiler: Compiler,
    sources: Mapping[str, tuple[str, bool]],
    headers: Mapping[str, str],
    folder: Path,
) -> Path:
    """Write the files into a folder, compile them side by side, and link ``library.so`` there.

    Args:
        compiler: what ``find_compiler`` found.
        sources: file name to its text and whether it holds contraction kernels (FMA allowed).
        headers: file name to text.
        folder: an existing folder of the caller's own; this function removes nothing from it.

    Errors:    CompilerError with the command, the exit status, the first lines of stderr and the
               folder; another one when $GRAPHC_CC_TIMEOUT seconds (120) are over
    """
    limit = _Limit.of(_timeout(os.environ))
    texts = {**headers, **{name: text for name, (text, _) in sources.items()}}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    objects = {name: f"{Path(name).stem}.o" for name in sorted(sources)}
    commands = [
        (*compiler.command, *compile_flags(compiler, sources[name][1]), "-c", name, "-o", output)
        for name, output in objects.items()
    ]
    _run_all(commands, limit=limit, folder=folder)
    shared, *libraries = LINK_FLAGS
    link = (*compiler.command, *compiler.flags, shared, "-o", LIBRARY, *objects.values())
    _run_all([(*link, *libraries)], limit=limit, folder=folder)
    return folder / LIBRARY


def compile_flags(compiler: Compiler, contract: bool) -> tuple[str, ...]:
    """Return the flags for one source file; ``contract`` lets x * y + z become one FMA."""
    return (*compiler.flags, f"-ffp-contract={'fast' if contract else 'off'}")


_Stamp = tuple[int, int, int] | None
_FOUND: dict[tuple[str | None, ...], tuple[Compiler, _Stamp]] = {}


@dataclass(frozen=True, slots=True)
class _Limit:
    """A time limit: its length, for messages, and its end on the monotonic clock."""

    seconds: float
    end: float

    @staticmethod
    def of(seconds: float) -> _Limit:
        return _Limit(seconds, time.monotonic() + seconds)


@dataclass(frozen=True, slots=True)
class _Job:
    """A running command and the files that catch what it prints."""

    command: tuple[str, ...]
    process: subprocess.Popen[bytes]
    output: IO[bytes]
    errors: IO[bytes]


def _stamp(command: Sequence[str]) -> _Stamp:
    try:
        status = os.stat(command[0])
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _timeout(environ: Mapping[str, str]) -> float:
    text = environ.get(_TIMEOUT_VARIABLE, "").strip()
    if not text:
        return _TIMEOUT_SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise CompilerError(
            f"${_TIMEOUT_VARIABLE} is {text!r}, not a positive number of seconds",
            hint=f"unset ${_TIMEOUT_VARIABLE}; the default is {_TIMEOUT_SECONDS:g}",
        )
    return seconds


def _search(environ: Mapping[str, str]) -> Compiler:
    seconds = min(_PROBE_SECONDS, _timeout(environ))
    path = environ.get("PATH", os.defpath)
    for variable in ("GRAPHC_CC", "CC"):
        text = environ.get(variable, "").strip()
        if text:
            return _chosen(variable, text, path, seconds)
    tried: list[Row] = []
    for name, command in _candidates(path):
        if not command:
            tried.append((name, "not installed" if name == "ziglang" else "not on PATH"))
            continue
        try:
            return _probe(command, seconds)
        except CompilerError as error:
            tried.append((name, error.message))
    raise NoCompilerError("found no C compiler that works", rows=tried, hint=_INSTALL)


def _chosen(variable: str, text: str, path: str, seconds: float) -> Compiler:
    """Return the compiler that a variable names: a path, spaces and all, or words of a shell."""
    try:
        words = (text,) if os.path.isfile(text) else tuple(shlex.split(text))
        found = shutil.which(words[0], path=path)
        if found is None:
            raise CompilerError(f"{words[0]} is no executable file")
        return _probe((os.path.abspath(found), *words[1:]), seconds)
    except (CompilerError, ValueError) as error:
        reason = error.message if isinstance(error, CompilerError) else str(error)
        raise CompilerError(
            f"${variable} is {text!r}, which does not work: {reason}",
            rows=error.rows if isinstance(error, CompilerError) else (),
            hint=f'correct or unset ${variable}, or use backend="numpy"',
        ) from error


def _candidates(path: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each compiler to try and its command, which is empty where there is none."""
    for name in ("cc", "gcc", "clang"):
        found = shutil.which(name, path=path)
        yield name, (os.path.abspath(found),) if found else ()
    installed = importlib.util.find_spec("ziglang") is not None
    yield "ziglang", (sys.executable, "-m", "ziglang", "cc") if installed else ()


def _probe(command: tuple[str, ...], seconds: float) -> Compiler:
    """Ask a compiler for its version and its macros under the first target flag that it takes."""
    limit = _Limit.of(seconds)
    [version] = _run_all([(*command, "--version")], limit=limit)
    macros = ""
    for target in _TARGETS:
        flags = (*FLAGS[:-1], *target)
        try:
            [macros] = _run_all(
                [(*command, *flags, "-E", "-dM", "-x", "c", "-")], limit=limit, stdin=_PROBE_TEXT
            )
            break
        except CompilerError:
            if not target or time.monotonic() >= limit.end:
                raise
    unsafe = [word for word in command if word in _UNSAFE_WORDS]
    unsafe += [macro for macro in _UNSAFE_MACROS if f"#define {macro}\n" in macros]
    if unsafe:
        raise CompilerError(f"it is told to break float arithmetic ({', '.join(unsafe)})")
    if "#define INFINITY" not in macros:
        raise CompilerError("it does not preprocess C")
    features = hashlib.sha256(macros.encode()).hexdigest()
    return Compiler(command, version.strip().partition("\n")[0], features, flags)


def _run_all(
    commands: Sequence[tuple[str, ...]],
    *,
    limit: _Limit,
    folder: Path | None = None,
    stdin: bytes = b"",
) -> list[str]:
    """Run commands, as many at once as there are processors; return what each printed.

    The first failure, the end of the time limit or an interrupt ends the others.
    """
    width = os.cpu_count() or 1
    waiting = list(enumerate(commands))[::-1]
    running: dict[int, _Job] = {}
    printed = [""] * len(commands)
    try:
        while waiting or running:
            while waiting and len(running) < width:
                index, command = waiting.pop()
                running[index] = _start(command, folder, stdin)
            for index in [i for i, job in running.items() if job.process.poll() is not None]:
                printed[index] = _finish(running.pop(index), folder)
            if not running:
                continue
            if time.monotonic() >= limit.end:
                raise _overdue(next(iter(running.values())), limit, folder)
            time.sleep(_POLL_SECONDS)
    finally:
        for job in running.values():
            _kill(job)
    return printed


def _start(command: tuple[str, ...], folder: Path | None, stdin: bytes) -> _Job:
    """Start a command in a process group of its own; files, unlike pipes, never fill up."""
    output, errors = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 (the job's)
    try:
        with tempfile.TemporaryFile() as source:
            source.write(stdin)
            source.seek(0)
            process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=source,
                stdout=output,
                stderr=errors,
                env={**os.environ, "LC_ALL": "C"},
                start_new_session=True,
            )
    except OSError as error:
        output.close()
        errors.close()
        raise CompilerError(f"cannot run {command[0]}: {error.strerror}") from error
    return _Job(command, process, output, errors)


def _finish(job: _Job, folder: Path | None) -> str:
    """Return what a finished command printed, or raise what it complained of."""
    output, errors = _read(job.output), _read(job.errors)
    status = job.process.returncode
    if status == 0:
        return output
    ending = f"exit status {status}"
    if status < 0:
        ending = f"signal {signal.strsignal(-status) or -status}"
    lines = [line.rstrip() for line in errors.splitlines()] or ["(nothing)"]
    more = len(lines) - _STDERR_LINES
    lines[_STDERR_LINES:] = [f"... {more} more lines"] if more > 0 else []
    rows = [*_job_rows(job, folder), ("stderr", lines[0]), *(("", line) for line in lines[1:])]
    raise CompilerError(f"the C compiler failed with {ending}", rows=rows)


def _overdue(job: _Job, limit: _Limit, folder: Path | None) -> CompilerError:
    return CompilerError(
        f"the C compiler did not finish within {limit.seconds:g} s",
        rows=_job_rows(job, folder),
        hint=f"set ${_TIMEOUT_VARIABLE} to more seconds",
    )


def _job_rows(job: _Job, folder: Path | None) -> list[Row]:
    kept: list[Row] = [("sources", str(folder))] if folder else []
    return [("command", shlex.join(job.command)), *kept]


def _read(file: IO[bytes]) -> str:
    with file:
        file.seek(0)
        return file.read().decode("utf-8", "replace")


def _kill(job: _Job) -> None:
    """End a command and all that it started."""
    # it may have ended by itself just now, for which macOS answers the second
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(job.process.pid, signal.SIGKILL)
    job.process.wait()
    job.output.close()
    job.errors.close()
