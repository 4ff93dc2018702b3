"""Exported projects of LeNet-5 and of a recurrent network: built by strict compilers, checked."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import exported
import graphc as gx
from exported import STRICT

pytestmark = pytest.mark.cc
QUICK = "EXTRA=-O1"  # for tests in which the speed of what is built does not matter
SANITIZE = "EXTRA=-g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all"
COMPILERS = [
    "gcc",
    pytest.param(
        "clang",
        marks=pytest.mark.skipif(
            exported.clang_command() is None, reason="no clang on PATH, and no ziglang wheel"
        ),
    ),
]


@pytest.fixture(scope="module")
def recurrent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the recurrent network's project, built."""
    folder = tmp_path_factory.mktemp("recurrent") / "a project"
    exported.export(folder, exported.lstm())
    exported.make(folder, "CC=gcc", QUICK)
    return folder


@pytest.fixture
def copied(recurrent: Path, tmp_path: Path) -> Path:
    """Return a copy of that project, to be spoilt."""
    return shutil.copytree(recurrent, tmp_path / "a copy")


# ---------------------------------------------------------------- building


@pytest.mark.slow
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("name", exported.PROGRAMS)
def test_it_builds_without_python_and_without_a_warning(
    tmp_path: Path, name: str, compiler: str
) -> None:
    folder, tools = tmp_path / "a project", exported.bare_path(tmp_path / "some tools")
    exported.export(folder, exported.PROGRAMS[name]())
    told = exported.make(folder, "all", "check", f"CC={compiler}", f"EXTRA={STRICT}", path=tools)
    assert f"{name}: all well" in told


def test_a_recurrent_network_agrees_with_what_was_recorded(recurrent: Path) -> None:
    done = exported.run(recurrent, "./lstm_test")
    assert done.stdout == "lstm: all well\n"


def test_without_recorded_calls_the_rest_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = gx.input("x", ("N", 2))
    program = gx.Program("plain", f=gx.function([x], x @ gx.parameter("w", (2, 2))))
    module = gx.compile(program, backend="c")
    monkeypatch.setattr("graphc.backend.installed", dict)
    module.export(tmp_path / "plain")
    told = exported.make(tmp_path / "plain", "all", "check", "CC=gcc", f"EXTRA={STRICT} -O1")
    assert "plain: all well" in told


# ---------------------------------------------------------------- tools that look for faults


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("valgrind") is None, reason="no valgrind")
@pytest.mark.parametrize("name", exported.PROGRAMS)
def test_valgrind_reports_nothing_but_a_planted_fault(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "a project"
    exported.export(folder, exported.PROGRAMS[name]())
    exported.make(folder, "CC=gcc", "EXTRA=-O1 -g")
    command = ["valgrind", "-q", "--error-exitcode=9", "--leak-check=full", f"./{name}_test"]
    done = exported.run(folder, *command)
    assert (done.returncode, done.stderr) == (0, "")
    _halve_the_work(folder, name)
    exported.make(folder, f"{name}_test", "CC=gcc", "EXTRA=-O1 -g")
    done = exported.run(folder, *command)
    assert done.returncode != 0 and "Invalid write" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", exported.PROGRAMS)
def test_sanitizers_report_nothing_but_a_planted_fault(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "a project"
    exported.export(folder, exported.PROGRAMS[name]())
    assert "all well" in exported.make(folder, "check", "CC=gcc", SANITIZE)
    _halve_the_work(folder, name)
    exported.make(folder, f"{name}_test", "CC=gcc", SANITIZE)
    done = exported.run(folder, f"./{name}_test")
    assert done.returncode != 0 and "ERROR: AddressSanitizer: heap-" in done.stderr


def _halve_the_work(folder: Path, name: str) -> None:
    test = folder / f"{name}_test.c"
    text = test.read_text()
    assert "block(needed)" in text
    test.write_text(text.replace("block(needed)", "block(needed / 2)"))


# ---------------------------------------------------------------- gradients by differences


def _scaled(folder: Path, function: int, result: int, count: int, factor: str) -> None:
    """Make a function of the library scale one of its results."""
    library = folder / "lstm.c"
    head, found, tail = library.read_text().partition(f"int32_t gx_f{function}_call(")
    body, end, rest = tail.partition("\n  return 0;\n}")
    assert found and end
    fault = (
        f"\n  for (int i = 0; i < {count}; i++) {{\n"
        f"    ((float *)c->results[{result}])[i] *= {factor};\n  }}"
    )
    library.write_text(head + found + body + fault + end + rest)


@pytest.mark.parametrize(
    ("result", "count", "leaf"), [(2, 64, "V"), (6, 36, "xs")], ids=["parameter", "input"]
)
def test_differences_notice_a_gradient_that_is_a_tenth_too_large(
    copied: Path, result: int, count: int, leaf: str
) -> None:
    _scaled(copied, 2, result, count, "1.1f")
    exported.make(copied, "lstm_test", "CC=gcc", QUICK)
    done = exported.run(copied, "./lstm_test")
    assert done.returncode == 1
    failed = [line for line in done.stdout.splitlines() if "by differences" in line]
    assert re.fullmatch(
        rf"FAILED: gradients: dL/d{leaf} along itself: \S+, by differences \S+, tolerance \S+",
        failed[0],
    )
    assert all(f"dL/d{leaf} " in line for line in failed)


def test_differences_let_a_gradient_pass_that_is_a_thousandth_too_large(copied: Path) -> None:
    _scaled(copied, 2, 2, 64, "1.001f")
    exported.make(copied, "lstm_test", "CC=gcc", QUICK)
    assert "by differences" not in exported.run(copied, "./lstm_test").stdout


# ---------------------------------------------------------------- what the files hold


def test_the_library_is_the_source_that_runs_in_process(tmp_path: Path) -> None:
    module = exported.export(tmp_path / "lstm", exported.lstm())
    source = module.report["source"]
    for name, text in source.items():
        made = "lstm.c" if name == "program.c" else f"lstm_{name}"
        code = text.replace("GX_API ", "static ").split('#include "program.h"\n')[1]
        assert code.strip() in (tmp_path / "lstm" / made).read_text()


def test_each_block_names_its_op_formula_shape_and_the_users_line(recurrent: Path) -> None:
    text = (recurrent / "lstm.c").read_text()
    told = re.findall(r"/\* (?:\S+   )?matmul   (.*) \*/\n", text)
    assert told
    line = r"float32\[[^]]*\]   y\[m, n\] = sum_k a\[m, k\] b\[k, n\]   \S*exported\.py:\d+"
    assert [t for t in told if not re.fullmatch(line, t)] == []


WRITE = """
import sys
sys.path.insert(0, sys.argv[1])
import exported
exported.export(exported.Path(sys.argv[2]), exported.lstm())
"""


def test_another_user_place_time_and_hash_seed_give_the_same_bytes(tmp_path: Path) -> None:
    found = []
    for seed, user in enumerate(("wolfgang", "amadeus")):
        home = tmp_path / f"home of {user}"
        home.mkdir()
        environment = {"PYTHONHASHSEED": str(seed + 1), "USER": user, "LOGNAME": user}
        command = [sys.executable, "-c", WRITE, str(Path(exported.__file__).parent), "out"]
        environment |= {**os.environ, "TZ": f"UTC+{seed}", **environment}
        subprocess.run(command, cwd=home, env=environment, check=True, timeout=120)
        files = sorted(p for p in (home / "out").rglob("*") if p.is_file())
        found.append({p.relative_to(home): p.read_bytes() for p in files})
    assert found[0] == found[1]
    words = [b"wolfgang", b"amadeus", str(tmp_path).encode(), str(Path.home()).encode() + b"/"]
    held = [(p, w) for p, text in found[0].items() for w in words if w in text]
    assert held == []
