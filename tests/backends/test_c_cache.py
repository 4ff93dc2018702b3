"""The compile cache: its entries, their keys, and the folder that holds them.

Most tests use small scripts as compilers; those marked ``cc`` need a real one.
"""

from __future__ import annotations

import ctypes
import json
import os
import stat
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fake_compiler import FAKE, SOURCES, find, log, run_python, script
from graphc.errors import CompilerError
from graphc_c import cache, toolchain
from graphc_c.toolchain import Compiler

RACER = """\
import sys
from graphc_c import cache, toolchain
compiler = toolchain.find_compiler({"GRAPHC_CC": sys.argv[1]})
entry = cache.load_or_build({"a.c": ("int x;", False)}, {}, compiler)
print(entry.path, entry.path.read_text().strip())
"""


@pytest.fixture(autouse=True)
def _own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GRAPHC_CC", "CC", "GRAPHC_CC_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GRAPHC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(toolchain, "_FOUND", {})


@pytest.fixture
def fake(tmp_path: Path) -> Compiler:
    return find(GRAPHC_CC=script(tmp_path / "fakecc", FAKE))


@pytest.fixture
def real() -> Compiler:
    return toolchain.find_compiler()


# The cache


def test_the_second_load_is_a_hit(fake: Compiler) -> None:
    first = cache.load_or_build(SOURCES, {}, fake)
    runs = len(log(fake))
    second = cache.load_or_build(SOURCES, {}, fake)
    assert (first.hit, second.hit) == (False, True)
    assert second.path == first.path
    assert len(log(fake)) == runs


def test_an_entry_holds_library_sources_and_record(fake: Compiler) -> None:
    entry = cache.load_or_build(SOURCES, {"k.h": "int k;\n"}, fake)
    folder = entry.path.parent
    assert folder == cache.cache_root() / entry.key
    assert {"a.c", "k.h", "library.so", "entry.json"} <= {path.name for path in folder.iterdir()}
    record = json.loads((folder / "entry.json").read_text())
    assert record["command"] == list(fake.command)
    assert record["flags"] == list(fake.flags)


def test_an_entry_is_private(fake: Compiler) -> None:
    folder = cache.load_or_build(SOURCES, {}, fake).path.parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700


def test_a_corrupt_library_is_rebuilt_elsewhere(fake: Compiler) -> None:
    first = cache.load_or_build(SOURCES, {}, fake)
    first.path.write_text("damaged")
    second = cache.load_or_build(SOURCES, {}, fake)
    assert not second.hit
    assert second.path.read_text() == "built\n"
    assert first.path.read_text() == "damaged"  # it may be loaded: it is never written over
    assert cache.load_or_build(SOURCES, {}, fake) == replace(second, hit=True)


@pytest.mark.parametrize("record", ["", "[]", "{}", "\xff"], ids=["empty", "list", "dict", "latin"])
def test_a_corrupt_record_is_rebuilt(fake: Compiler, record: str) -> None:
    folder = cache.load_or_build(SOURCES, {}, fake).path.parent
    (folder / "entry.json").write_text(record, encoding="latin-1")
    assert cache.load_or_build(SOURCES, {}, fake).hit is False


def test_a_missing_library_is_rebuilt(fake: Compiler) -> None:
    cache.load_or_build(SOURCES, {}, fake).path.unlink()
    assert cache.load_or_build(SOURCES, {}, fake).path.exists()


def test_endless_damage_is_an_error(fake: Compiler) -> None:
    for _ in range(16):
        cache.load_or_build(SOURCES, {}, fake).path.write_text("damaged")
    with pytest.raises(CompilerError, match="holds 16 damaged entries for one program"):
        cache.load_or_build(SOURCES, {}, fake)


def test_a_failed_build_keeps_its_sources_and_publishes_nothing(tmp_path: Path) -> None:
    compiler = find(CC=script(tmp_path / "cc", FAKE.replace('echo "$*" >>', "exit 1 #")))
    with pytest.raises(CompilerError) as error:
        cache.load_or_build(SOURCES, {}, compiler)
    [folder] = [Path(row[1]) for row in error.value.rows if row[0] == "sources"]
    assert (folder / "a.c").read_text() == SOURCES["a.c"][0]
    assert cache.describe()["entries"] == 0


def test_what_a_failed_build_left_goes_after_a_day(tmp_path: Path, fake: Compiler) -> None:
    old, new = (cache.cache_root() / f"building-{word}" for word in ("old", "new"))
    old.mkdir()
    new.mkdir()
    os.utime(old, (0, 0))
    cache.load_or_build(SOURCES, {}, fake)
    assert (old.exists(), new.exists()) == (False, True)


def test_a_successful_build_leaves_nothing_beside_the_entry(fake: Compiler) -> None:
    key = cache.load_or_build(SOURCES, {}, fake).key
    assert [path.name for path in cache.cache_root().iterdir()] == [key]


def test_an_interrupted_build_leaves_nothing(
    fake: Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(cache, "compile_library", interrupt)
    with pytest.raises(KeyboardInterrupt):
        cache.load_or_build(SOURCES, {}, fake)
    assert list(cache.cache_root().iterdir()) == []


def test_two_processes_that_race_share_one_entry(tmp_path: Path) -> None:
    body = FAKE.replace('echo "$*" >>', 'sleep 0.4\necho "$*" >>')
    path = script(tmp_path / "slowcc", body)
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, path], env=environ, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    printed = [racer.communicate(timeout=60)[0] for racer in racers]
    assert printed[0] == printed[1]
    assert printed[0].endswith("library.so built\n")
    assert len(list(cache.cache_root().iterdir())) == 1


def test_an_entry_published_meanwhile_is_used(
    fake: Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_library = toolchain.compile_library

    def overtaken(*arguments: Any) -> Path:
        monkeypatch.setattr(cache, "compile_library", compile_library)
        theirs.append(cache.load_or_build(SOURCES, {}, fake).path.stat().st_ino)
        return compile_library(*arguments)

    theirs: list[int] = []
    monkeypatch.setattr(cache, "compile_library", overtaken)
    entry = cache.load_or_build(SOURCES, {}, fake)
    assert [entry.path.stat().st_ino] == theirs
    assert len(list(cache.cache_root().iterdir())) == 1


@pytest.mark.cc
def test_a_real_library_comes_out_of_the_cache(real: Compiler) -> None:
    cache.load_or_build(SOURCES, {}, real)
    entry = cache.load_or_build(SOURCES, {}, real)
    assert entry.hit
    assert ctypes.CDLL(str(entry.path)).answer() == 42


# The key

COMPILER = Compiler(("/bin/cc",), "cc 1", "f" * 64)


def _key(
    text: str = "int x;",
    *,
    contract: bool = False,
    headers: Mapping[str, str] | None = None,
    compiler: Compiler = COMPILER,
) -> str:
    return cache.entry_key({"a.c": (text, contract)}, headers or {}, compiler)


@pytest.mark.parametrize(
    "text",
    ["int x; // a count", "/* a\n * count\n */\nint x;\n\n", "  int x;\t/**/\r\n"],
    ids=["line", "block", "blanks"],
)
def test_comments_do_not_change_the_key(text: str) -> None:
    assert _key(text) == _key()


def test_code_contraction_and_headers_change_the_key() -> None:
    keys = {_key(), _key("int y;"), _key(contract=True), _key(headers={"k.h": "int k;"})}
    assert len(keys) == 4


@pytest.mark.parametrize(
    "change",
    [
        {"features": "e" * 64},
        {"command": ("/bin/cc", "-m32")},
        {"version": "cc 2"},
        {"flags": ("-O3",)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_compiler_changes_the_key(change: dict[str, Any]) -> None:
    assert _key(compiler=replace(COMPILER, **change)) != _key()


def test_the_version_of_graphc_changes_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = _key()
    monkeypatch.setattr(cache, "_version", lambda: "another")
    assert _key() != before


def test_the_order_of_files_does_not_change_the_key() -> None:
    files = {"a.c": ("int a;", False), "b.c": ("int b;", True)}
    backwards = dict(reversed(files.items()))
    assert cache.entry_key(files, {}, COMPILER) == cache.entry_key(backwards, {}, COMPILER)


@pytest.mark.parametrize(
    ("text", "stripped"),
    [
        ('s = "/* kept */";', 's = "/* kept */";'),
        ('s = "// kept";  // gone', 's = "// kept";'),
        (r's = "\"/*"; /* gone */ t;', r's = "\"/*";   t;'),
        (r's = "\\"; // gone "', r's = "\\";'),
        ("c = '\"'; // gone\n'\"'", "c = '\"';\n'\"'"),
        (r"c = '\''; /* gone */", r"c = '\'';"),
        ("a/**/b", "a b"),
        ("a /* // */ b", "a   b"),
        ("// a /* \nb", "b"),
        ("// a \\\nstill\nb", "b"),
        ("// a \\ \t\nstill\nb", "b"),
        ("/\\\n/ gone\nb", "b"),
        ("// a ??/\nstill\nb", "b"),
        ('s = "??/"/*"; b', 's = "\\"/*"; b'),
        ("#include <a//b.h> // gone", "#include <a//b.h>"),
        ("#error don't /* gone */\nb", "#error don't\nb"),
        ("#define X \\\n\nint y;", "#define X\nint y;"),
        ("#define X \\\nint y;", "#define X int y;"),
        ("a / b / c * d", "a / b / c * d"),
        ("/* open", "/* open"),
        ("", ""),
    ],
)
def test_comments_are_stripped_and_nothing_else(text: str, stripped: str) -> None:
    assert cache.strip_comments(text) == stripped


# The cache's folder


def test_the_root_is_made_private(tmp_path: Path) -> None:
    root = cache.cache_root()
    assert root == tmp_path / "cache"
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


def test_xdg_cache_home_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRAPHC_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.cache_root() == tmp_path / "xdg" / "graphc"


def test_a_relative_xdg_cache_home_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GRAPHC_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.cache_root().is_relative_to(tmp_path)


def test_an_unusable_home_gives_a_temporary_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.delenv("GRAPHC_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    root = cache.cache_root()
    assert not root.is_relative_to(tmp_path / "file")
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert cache.cache_root() == root


def test_a_temporary_root_goes_with_its_process(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    environ = {k: v for k, v in os.environ.items() if k != "GRAPHC_CACHE"}
    environ["XDG_CACHE_HOME"] = str(tmp_path / "file")
    code = "from graphc_c import cache; print(cache.cache_root())"
    root = Path(run_python(code, environ=environ).strip())
    assert root.name.startswith("graphc-")
    assert not root.exists()


def test_an_unusable_graphc_cache_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_text("no folder")
    monkeypatch.setenv("GRAPHC_CACHE", str(path))
    with pytest.raises(CompilerError) as error:
        cache.cache_root()
    assert str(error.value) == (
        f"$GRAPHC_CACHE is {str(path)!r}, which is no folder that can be made and written\n"
        "  try: unset it, or set it to a folder of your own"
    )


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_root_that_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    root = tmp_path / "cache"
    root.mkdir()
    root.chmod(mode)
    with pytest.raises(CompilerError) as error:
        cache.cache_root()
    assert str(error.value) == (
        f"the compile cache {root} can be written by others, its mode is {mode:04o}\n"
        "  why   a library loaded from it runs with the rights of this process\n"
        f"  try: chmod 700 {root}"
    )


def test_a_root_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.cache_root()
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(CompilerError) as error:
        cache.cache_root()
    assert str(error.value) == (
        f"the compile cache {tmp_path / 'cache'} belongs to user {owner}, "
        f"this process runs as {owner + 1}\n"
        "  why   a library loaded from it runs with the rights of this process\n"
        "  try: set $GRAPHC_CACHE to a folder of your own"
    )


def test_describe_counts_entries_and_bytes(fake: Compiler) -> None:
    root = cache.cache_root()
    assert cache.describe() == {"root": str(root), "entries": 0, "bytes": 0}
    cache.load_or_build(SOURCES, {}, fake)
    sizes = [path.stat().st_size for path in root.rglob("*") if path.is_file()]
    assert cache.describe() == {"root": str(root), "entries": 1, "bytes": sum(sizes)}
