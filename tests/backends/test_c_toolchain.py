"""The C back end's compiler: how it is found, and its runs under a time limit.

Most tests use small scripts as compilers; those marked ``cc`` need a real one.
"""

from __future__ import annotations

import ctypes
import re
import sys
import time
from pathlib import Path

import pytest

from fake_compiler import FAKE, SOURCES, find, log, run_python, script
from graphc.errors import CompilerError
from graphc_c import toolchain
from graphc_c.toolchain import Compiler


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


# Finding a compiler


def test_graphc_cc_goes_before_cc_and_path(tmp_path: Path) -> None:
    first = script(tmp_path / "first", FAKE)
    second = script(tmp_path / "second", FAKE)
    assert find(GRAPHC_CC=first, CC=second).command == (first,)
    assert find(CC=second).command == (second,)


def test_path_is_searched_for_cc_then_gcc_then_clang(tmp_path: Path) -> None:
    clang = script(tmp_path / "clang", FAKE)
    assert toolchain.find_compiler({"PATH": str(tmp_path)}).command == (clang,)
    gcc = script(tmp_path / "gcc", FAKE)
    toolchain._FOUND.clear()
    assert toolchain.find_compiler({"PATH": str(tmp_path)}).command == (gcc,)


def test_a_broken_compiler_on_path_is_passed_over(tmp_path: Path) -> None:
    script(tmp_path / "cc", "exit 1\n")
    gcc = script(tmp_path / "gcc", FAKE)
    assert toolchain.find_compiler({"PATH": str(tmp_path)}).command == (gcc,)


def test_the_version_is_the_first_line(fake: Compiler) -> None:
    assert fake.version == "fake 1.0"


def test_a_variable_may_hold_arguments(tmp_path: Path) -> None:
    path = script(tmp_path / "my cc", FAKE)
    assert find(GRAPHC_CC=f"'{path}' -m64").command == (path, "-m64")


def test_a_variable_may_be_a_path_with_spaces(tmp_path: Path) -> None:
    path = script(tmp_path / "a folder" / "my cc", FAKE)
    assert find(GRAPHC_CC=path).command == (path,)


def test_a_relative_path_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path / "mycc", FAKE)
    monkeypatch.chdir(tmp_path)
    assert find(CC="./mycc").command == (str(tmp_path / "mycc"),)


def test_features_follow_the_macros(tmp_path: Path) -> None:
    wide = FAKE.replace("exit 0 ;;\nesac", 'echo "#define __AVX512F__ 1"; exit 0 ;;\nesac')
    first = find(CC=script(tmp_path / "narrow", FAKE))
    second = find(CC=script(tmp_path / "wide", wide))
    assert first.features != second.features


@pytest.mark.parametrize(
    ("refused", "target"),
    [("-march=native", ("-mcpu=native",)), ("-m[ac]*=native", ())],
    ids=["march", "both"],
)
def test_a_refused_target_flag_is_replaced(
    tmp_path: Path, refused: str, target: tuple[str, ...]
) -> None:
    body = f'for word; do case "$word" in {refused}) exit 1 ;; esac; done\n{FAKE}'
    compiler = find(CC=script(tmp_path / "picky", body))
    assert compiler.flags == ("-std=c11", "-O3", "-fPIC", *target)


def test_a_found_compiler_is_not_tried_again(tmp_path: Path) -> None:
    path = script(tmp_path / "counted", f'echo "$*" >> "$0.tries"\n{FAKE}')
    find(CC=path)
    find(CC=path)
    assert len((tmp_path / "counted.tries").read_text().splitlines()) == 2  # version, macros


def test_a_replaced_compiler_is_tried_again(tmp_path: Path) -> None:
    path = script(tmp_path / "cc", FAKE)
    find(CC=path)
    script(tmp_path / "cc", FAKE.replace("fake 1.0", "fake 22.0"))
    assert find(CC=path).version == "fake 22.0"


@pytest.mark.parametrize("variable", ["GRAPHC_CC", "CC"])
def test_a_failing_compiler_that_was_asked_for_is_an_error(tmp_path: Path, variable: str) -> None:
    path = script(tmp_path / "bad", "echo 'no licence' >&2; exit 3\n")
    with pytest.raises(CompilerError) as error:
        find(**{variable: path})
    assert str(error.value) == (
        f"${variable} is {path!r}, which does not work: the C compiler failed with exit status 3\n"
        f"  command   {path} --version\n"
        "  stderr    no licence\n"
        f'  try: correct or unset ${variable}, or use backend="numpy"'
    )


def test_a_missing_compiler_that_was_asked_for_is_an_error() -> None:
    with pytest.raises(CompilerError) as error:
        find(GRAPHC_CC="/nowhere/cc -m64")
    assert str(error.value) == (
        "$GRAPHC_CC is '/nowhere/cc -m64', which does not work: /nowhere/cc is no executable file\n"
        '  try: correct or unset $GRAPHC_CC, or use backend="numpy"'
    )


def test_an_unclosed_quote_is_an_error() -> None:
    with pytest.raises(CompilerError, match=r"\$CC is \"gcc '\", which does not work: No closing"):
        find(CC="gcc '")


def test_a_program_that_is_no_compiler_is_an_error(tmp_path: Path) -> None:
    path = script(tmp_path / "true", "exit 0\n")
    with pytest.raises(CompilerError, match="which does not work: it does not preprocess C"):
        find(CC=path)


def test_a_file_that_cannot_be_executed_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"\x7fELF nonsense")
    path.chmod(0o700)
    with pytest.raises(CompilerError, match=f"cannot run {re.escape(str(path))}: "):
        find(CC=str(path))


def test_a_hanging_compiler_is_an_error(tmp_path: Path) -> None:
    path = script(tmp_path / "hangs", "sleep 60\n")
    begin = time.monotonic()
    with pytest.raises(CompilerError, match=r"the C compiler did not finish within 0\.3 s"):
        find(GRAPHC_CC=path, GRAPHC_CC_TIMEOUT="0.3")
    assert time.monotonic() - begin < 10


@pytest.mark.parametrize("word", ["-ffast-math", "-Ofast", "-funsafe-math-optimizations"])
def test_a_compiler_told_to_break_floats_is_refused(tmp_path: Path, word: str) -> None:
    path = script(tmp_path / "cc", FAKE)
    with pytest.raises(CompilerError, match=f"break float arithmetic \\({word}\\)"):
        find(CC=f"{path} {word}")


def test_macros_that_say_fast_math_are_refused(tmp_path: Path) -> None:
    body = FAKE.replace("#define INFINITY 1", "#define __FAST_MATH__ 1")
    with pytest.raises(CompilerError, match=r"break float arithmetic \(__FAST_MATH__ 1\)"):
        find(CC=script(tmp_path / "cc", body))


def test_no_compiler_says_what_was_tried_and_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    script(tmp_path / "gcc", "exit 1\n")
    with pytest.raises(CompilerError) as error:
        toolchain.find_compiler({"PATH": str(tmp_path)})
    assert str(error.value) == (
        "found no C compiler that works\n"
        "  cc        not on PATH\n"
        "  gcc       the C compiler failed with exit status 1\n"
        "  clang     not on PATH\n"
        "  ziglang   not installed\n"
        "  try: install one (Debian, Ubuntu: apt install gcc; macOS: xcode-select --install; "
        "anywhere: pip install 'graphc[cc]'), or use backend=\"numpy\""
    )


def test_the_ziglang_wheel_is_the_last_resort(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    commands = dict(toolchain._candidates(""))
    assert commands["ziglang"] == (sys.executable, "-m", "ziglang", "cc")
    assert list(commands)[-1] == "ziglang"


def test_no_flag_is_of_the_fast_math_family() -> None:
    flags = {*toolchain.FLAGS, *toolchain.LINK_FLAGS}
    assert not flags & toolchain._UNSAFE_WORDS


# Compiling


def test_contraction_is_always_said(fake: Compiler, tmp_path: Path) -> None:
    sources = {"a.c": ("", True), "b.c": ("", False)}
    toolchain.compile_library(fake, sources, {}, tmp_path)
    words = {line.split()[-3]: line.split() for line in log(fake) if " -c " in line}
    assert "-ffp-contract=fast" in words["a.c"]
    assert "-ffp-contract=off" in words["b.c"]


def test_libraries_stand_after_the_objects(fake: Compiler, tmp_path: Path) -> None:
    toolchain.compile_library(fake, {"b.c": ("", False), "a.c": ("", False)}, {}, tmp_path)
    assert log(fake)[-1].endswith("-shared -o library.so a.o b.o -lm")


def test_a_failing_compile_says_where_the_sources_are(tmp_path: Path) -> None:
    body = FAKE.replace(
        'echo "$*" >>',
        'i=0; while [ $i -lt 30 ]; do i=$((i+1)); echo "line $i" >&2; done; exit 4\necho "$*" >>',
    )
    compiler = find(CC=script(tmp_path / "cc", body))
    with pytest.raises(CompilerError) as error:
        toolchain.compile_library(compiler, SOURCES, {}, tmp_path)
    lines = [f"line {i}" for i in range(2, 21)]
    assert str(error.value) == "\n".join(
        [
            "the C compiler failed with exit status 4",
            f"  command   {compiler.command[0]} -std=c11 -O3 -fPIC -march=native "
            "-ffp-contract=off -c a.c -o a.o",
            f"  sources   {tmp_path}",
            "  stderr    line 1",
            *(f"            {line}" for line in lines),
            "            ... 10 more lines",
        ]
    )
    assert (tmp_path / "a.c").read_text() == SOURCES["a.c"][0]


def test_a_compiler_ended_by_a_signal_is_said(tmp_path: Path) -> None:
    killed = find(CC=script(tmp_path / "cc", FAKE.replace('echo "$*" >>', "kill -9 $$ #")))
    with pytest.raises(CompilerError, match="the C compiler failed with signal Killed"):
        toolchain.compile_library(killed, SOURCES, {}, tmp_path)


def test_a_hang_names_the_limit_and_ends_all_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = 'while :; do echo . >> "$0.ticks"; sleep 0.05; done'
    body = FAKE.replace('echo "$*" >>', f'({loop}) & wait\necho "$*" >>')
    compiler = find(CC=script(tmp_path / "cc", body))
    monkeypatch.setenv("GRAPHC_CC_TIMEOUT", "1")
    with pytest.raises(CompilerError) as error:
        toolchain.compile_library(compiler, SOURCES, {}, tmp_path)
    assert str(error.value) == (
        "the C compiler did not finish within 1 s\n"
        f"  command   {compiler.command[0]} -std=c11 -O3 -fPIC -march=native -ffp-contract=off "
        "-c a.c -o a.o\n"
        f"  sources   {tmp_path}\n"
        "  try: set $GRAPHC_CC_TIMEOUT to more seconds"
    )
    size = (tmp_path / "cc.ticks").stat().st_size
    time.sleep(0.3)
    assert (tmp_path / "cc.ticks").stat().st_size == size > 0


@pytest.mark.parametrize("text", ["soon", "0", "-3", "nan", "inf"])
def test_a_limit_that_is_no_number_of_seconds_is_an_error(text: str) -> None:
    with pytest.raises(CompilerError) as error:
        find(CC="cc", GRAPHC_CC_TIMEOUT=text)
    assert str(error.value) == (
        f"$GRAPHC_CC_TIMEOUT is {text!r}, not a positive number of seconds\n"
        "  try: unset $GRAPHC_CC_TIMEOUT; the default is 120"
    )


@pytest.mark.cc
def test_a_real_compiler_works_in_a_folder_with_a_space(real: Compiler, tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    sources = {
        "fused.c": ('#include "k.h"\nfloat fused(float x) { return x * x + K; }\n', True),
        "exact.c": ('#include "k.h"\nfloat exact(float x) { return x * x + K; }\n', False),
    }
    headers = {"k.h": "#define K -0x1.002p+0f\n"}  # -(1 + 2**-11)
    library = ctypes.CDLL(str(toolchain.compile_library(real, sources, headers, folder)))
    library.exact.argtypes = [ctypes.c_float]
    library.exact.restype = ctypes.c_float
    assert library.exact(1 + 2**-12) == 0.0  # the product is rounded; an FMA would give 2**-24


@pytest.mark.cc
def test_a_real_error_is_quoted(real: Compiler, tmp_path: Path) -> None:
    with pytest.raises(CompilerError, match=r"a\.c:1:5: error: "):
        toolchain.compile_library(real, {"a.c": ("int 3;\n", False)}, {}, tmp_path)


@pytest.mark.cc
def test_features_are_the_same_in_another_process(real: Compiler) -> None:
    code = "from graphc_c import toolchain as t; print(t.find_compiler().features)"
    assert run_python(code).strip() == real.features
