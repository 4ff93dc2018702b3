"""The compile cache: one directory an entry, published by one rename, never changed afterwards.

Loads nothing: it hands out the path of a library whose digest was just checked.

An entry that turns out to be damaged is left alone, since another process may have its library
loaded, and the next free slot (``KEY.1``, ``KEY.2``, ...) takes its place. So no path that was
handed out is ever written over, moved or removed, and processes need no locks between them.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import importlib.metadata
import json
import os
import re
import shlex
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from graphc.errors import CompilerError
from graphc_c.toolchain import LIBRARY, LINK_FLAGS, Compiler, compile_flags, compile_library

FORMAT = 1  # to be raised whenever what an entry holds, or what its key says, changes

_RECORD = "entry.json"
_BUILDING = "building-"
_SLOTS = 16
_WHY_PRIVATE = "a library loaded from it runs with the rights of this process"
_KEEP_SECONDS = 86_400  # a day: what a failed or killed build leaves is kept that long
_ENTRY_NAME = re.compile(r"[0-9a-f]{64}(\.\d+)?")


@dataclass(frozen=True, slots=True)
class Entry:
    """A library in the cache; ``hit`` says that no compiler ran for it."""

    path: Path
    key: str
    hit: bool


def load_or_build(
    sources: Mapping[str, tuple[str, bool]], headers: Mapping[str, str], compiler: Compiler
) -> Entry:
    """Return the library of these sources, compiled now if the cache has none that is sound.

    Args:
        sources: file name to its text and whether it holds contraction kernels.
        headers: file name to text.
        compiler: what ``find_compiler`` found.

    Errors:    CompilerError if the compiler fails (the sources stay in the folder that it names)
               or the cache's folder is not private to this user
    """
    root = cache_root()
    key = entry_key(sources, headers, compiler)
    for slot in range(_SLOTS):
        folder = root / (f"{key}.{slot}" if slot else key)
        if not folder.exists():
            _publish(root, folder, sources, headers, compiler)
            if _is_sound(folder):
                return Entry(folder / LIBRARY, key, hit=False)
        elif _is_sound(folder):
            return Entry(folder / LIBRARY, key, hit=True)
    raise CompilerError(
        f"the compile cache holds {_SLOTS} damaged entries for one program",
        rows=[("folder", str(root)), ("key", key)],
        hint="remove the folder and look at the disk, or set $GRAPHC_CACHE to another one",
    )


def entry_key(
    sources: Mapping[str, tuple[str, bool]], headers: Mapping[str, str], compiler: Compiler
) -> str:
    """Return the SHA-256 of all that decides what a compiled library does."""
    content = {
        "format": FORMAT,
        "graphc": _version(),
        "command": compiler.command,
        "version": compiler.version,
        "features": compiler.features,
        "flags": [compile_flags(compiler, contract) for contract in (False, True)],
        "link": LINK_FLAGS,
        "sources": {
            name: [strip_comments(text), contract] for name, (text, contract) in sources.items()
        },
        "headers": {name: strip_comments(text) for name, text in headers.items()},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def strip_comments(text: str) -> str:
    """Return C text without its comments, blank lines and outer spaces of lines.

    Follows the translation phases of C11 5.1.1.2, so that equal results mean equal programs (but
    for ``__LINE__``): trigraph of the backslash, spliced lines, then comments and literals.
    """
    text = text.replace("\r\n", "\n").replace("??/", "\\")
    text = _SPLICE.sub("", text)
    text = _COMMENT_OR_LITERAL.sub(lambda match: match["literal"] or " ", text)
    return "\n".join(line for raw in text.split("\n") if (line := raw.strip(" \t")))


def cache_root() -> Path:
    """Return the cache's folder, made if needed: $GRAPHC_CACHE or the user's own cache folder.

    Where the user's cache folder cannot be written (a read-only home), this process gets a
    temporary one. A $GRAPHC_CACHE that cannot be written is an error.

    Errors:    CompilerError if others could put a library there for us to load
    """
    chosen = os.environ.get("GRAPHC_CACHE", "")
    try:
        path = Path(chosen).expanduser().absolute() if chosen else _default_root()
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        usable = os.access(path, os.W_OK | os.X_OK)
    except (OSError, RuntimeError):  # RuntimeError: the user has no home
        usable = False
    if usable:
        _refuse_shared(path)
        return path
    if chosen:
        raise CompilerError(
            f"$GRAPHC_CACHE is {chosen!r}, which is no folder that can be made and written",
            hint="unset it, or set it to a folder of your own",
        )
    return _temporary_root(os.getpid())


def describe() -> dict[str, str | int]:
    """Return the cache's folder, the number of its entries, and all the bytes in it."""
    root = cache_root()
    entries = [path for path in root.iterdir() if _ENTRY_NAME.fullmatch(path.name)]
    total = 0
    for folder, _, names in os.walk(root):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # another process is at work
                total += os.lstat(os.path.join(folder, name)).st_size
    return {"root": str(root), "entries": len(entries), "bytes": total}


_SPLICE = re.compile(r"\\[ \t\f\v]*\n")  # GCC and Clang allow the blanks
_COMMENT_OR_LITERAL = re.compile(
    r"""
    (?P<literal>
        "(?:\\.|[^"\\\n])*"
      | '(?:\\.|[^'\\\n])*'
      | ^[ \t]*\#[ \t]*include[ \t]*<[^>\n]*>
    )
    | /\*.*?\*/
    | //[^\n]*
    """,
    re.VERBOSE | re.MULTILINE | re.DOTALL,
)


@functools.cache
def _version() -> str:
    try:
        return importlib.metadata.version("graphc")
    except importlib.metadata.PackageNotFoundError:
        return "0"


def _default_root() -> Path:
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(xdg):  # the XDG specification: a relative path is to be ignored
        return Path(xdg) / "graphc"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "graphc"
    if sys.platform == "win32" and "LOCALAPPDATA" in os.environ:
        return Path(os.environ["LOCALAPPDATA"]) / "graphc" / "cache"
    return Path.home() / ".cache" / "graphc"


@functools.cache
def _temporary_root(process: int) -> Path:
    """Make a folder that lives as long as the process does; a forked child makes its own."""
    path = Path(tempfile.mkdtemp(prefix="graphc-"))

    def remove() -> None:
        if os.getpid() == process:
            shutil.rmtree(path, ignore_errors=True)

    atexit.register(remove)
    return path


def _refuse_shared(path: Path) -> None:
    """Raise if the folder is another user's or others may write to it."""
    if not hasattr(os, "geteuid"):
        return  # Windows: the folder inherits the profile's access list
    for status in (path.stat(), path.lstat()):  # a link counts as much as what it leads to
        if status.st_uid != os.geteuid():
            raise CompilerError(
                f"the compile cache {path} belongs to user {status.st_uid}, "
                f"this process runs as {os.geteuid()}",
                rows=[("why", _WHY_PRIVATE)],
                hint="set $GRAPHC_CACHE to a folder of your own",
            )
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise CompilerError(
            f"the compile cache {path} can be written by others, its mode is {mode:04o}",
            rows=[("why", _WHY_PRIVATE)],
            hint=f"chmod 700 {shlex.quote(str(path))}",
        )


def _is_sound(folder: Path) -> bool:
    """Tell whether an entry's library is the one that was built."""
    try:
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        digest = _digest(folder / LIBRARY)
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and record.get("sha256") == digest


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _publish(
    root: Path,
    folder: Path,
    sources: Mapping[str, tuple[str, bool]],
    headers: Mapping[str, str],
    compiler: Compiler,
) -> None:
    """Build an entry beside its place and rename it there, unless another process was faster."""
    _sweep(root)
    try:
        building = Path(tempfile.mkdtemp(prefix=f"{_BUILDING}{folder.name[:16]}-", dir=root))
        try:
            library = compile_library(compiler, sources, headers, building)
            _write_record(building, library, compiler)
            _rename(building, folder)
        except CompilerError:
            raise  # its text names the folder, so that one may look at the sources
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
    except OSError as error:
        raise CompilerError(
            f"cannot write to the compile cache: {error.strerror or error}",
            rows=[("folder", str(root))],
            hint="free some space, or set $GRAPHC_CACHE to another folder",
        ) from error


def _rename(building: Path, folder: Path) -> None:
    try:
        building.rename(folder)  # refused if the place is taken: an entry is never empty
    except OSError:
        if not folder.exists():
            raise
        shutil.rmtree(building, ignore_errors=True)


def _write_record(folder: Path, library: Path, compiler: Compiler) -> None:
    record = {
        "format": FORMAT,
        "sha256": _digest(library),
        "graphc": _version(),
        "command": compiler.command,
        "version": compiler.version,
        "features": compiler.features,
        "flags": compiler.flags,
    }
    text = json.dumps(record, indent=2) + "\n"
    (folder / _RECORD).write_text(text, encoding="utf-8")


def _sweep(root: Path) -> None:
    """Remove what builds left behind that failed or were killed more than a day ago."""
    for path in root.glob(f"{_BUILDING}*"):
        with contextlib.suppress(FileNotFoundError):  # another process swept it
            if time.time() - path.stat().st_mtime > _KEEP_SECONDS:
                shutil.rmtree(path, ignore_errors=True)
