"""Compiles that cannot be: back ends, compilers, options, sizes."""

from __future__ import annotations

from pathlib import Path

import pytest

import graphc as gx
from fake_compiler import script
from golden import mistake
from stub_backend import STUB, StubBackend


def program() -> gx.Program:
    """Return f(x) = x @ W over float32[N, 3]."""
    x = gx.input("x", ("N", 3))
    return gx.Program("p", f=gx.function([x], x @ gx.parameter("W", (3, 4))))


@mistake("""\
CallError: compile takes a gx.Program, not <Tensor x: float32[N]>
  at test_compile.py:here
""")
def test_a_tensor_for_a_program():
    return gx.compile(gx.input("x", ("N",)), backend=STUB)  # here


@mistake("""\
BackendError: there is no back end 'cuda'; installed: c, numpy
  at test_compile.py:here
  try: pip install the package that brings it, or pass the back end as an object
""")
def test_a_backend_that_there_is_not():
    return gx.compile(program(), backend="cuda")  # here


@mistake("""\
BackendError: 'object' is no back end: it has no name, protocol, missing, build, describe
  at test_compile.py:here
""")
def test_an_object_that_is_no_backend():
    return gx.compile(program(), backend=object())  # here


@mistake("""\
BackendError: the back end 'stub' speaks protocol 2, this graphc speaks 1
  at test_compile.py:here
  try: install versions of both that agree
""")
def test_a_backend_of_another_protocol():
    backend = StubBackend()
    backend.protocol = 2
    return gx.compile(program(), backend=backend)  # here


@mistake("""\
UnsupportedError: the back end 'stub' does not run matmul: it has no matrices
  at test_compile.py:here
  matmul   it has no matrices
  try: another back end: c, numpy
""")
def test_a_backend_that_lacks_an_op():
    backend = StubBackend()
    backend.missing = lambda program: [("matmul", "it has no matrices")]
    return gx.compile(program(), backend=backend)  # here


@mistake("""\
DtypeError: there is no dtype 'float16'
  at test_compile.py:here
  try: use one of bool, uint8, int32, int64, uint32, uint64, float32, float64
""")
def test_a_dtype_that_there_is_not():
    return gx.compile(program(), backend=STUB, dtype="float16")  # here


@mistake("""\
DtypeError: dtype is one of float32, float64, not int64
  at test_compile.py:here
""")
def test_a_dtype_of_integers():
    return gx.compile(program(), backend=STUB, dtype="int64")  # here


@mistake("""\
NameClashError: dims: nothing has the dimension 'M'
  at test_compile.py:here
  try: known are N
""")
def test_dims_by_a_name_that_there_is_not():
    return gx.compile(program(), backend=STUB, dims={"M": 64})  # here


@mistake("""\
SizeError: dims: N is a whole number from 1 on, not 0
  at test_compile.py:here
""")
def test_dims_of_zero():
    return gx.compile(program(), backend=STUB, dims={"N": 0})  # here


@mistake("""\
SizeError: dims: N is a whole number from 1 on, not 64.0
  at test_compile.py:here
""")
def test_dims_of_half():
    return gx.compile(program(), backend=STUB, dims={"N": 64.0})  # here


@mistake("""\
SizeError: dims= takes sizes by name, not 64
  at test_compile.py:here
""")
def test_dims_without_names():
    return gx.compile(program(), backend=STUB, dims=64)  # here


@mistake("""\
NameClashError: tune_for: nothing has the dimension 'batch'
  at test_compile.py:here
  try: known are N
""")
def test_tuning_for_a_name_that_there_is_not():
    return gx.compile(program(), backend=STUB, tune_for={"batch": 64})  # here


@mistake("""\
SizeError: x would take 13,835,058,055,282,163,712 bytes, more than 2**63 - 1
  at test_compile.py:declared
  x   float32[1152921504606846976, 3]
""")
def test_dims_that_overflow():
    x = gx.input("x", ("N", 3))  # declared
    y = x.reshape(x.shape[0], 3, 1) @ x.reshape(x.shape[0], 1, 3)
    made = gx.Program("p", f=gx.function([x], y))
    return gx.compile(made, backend=STUB, dims={"N": 2**60})


@mistake("""\
SizeError: matmul would take 18,446,744,073,709,551,616 bytes, more than 2**63 - 1
  at test_compile.py:product
  matmul   float32[2147483648, 2147483648]
""")
def test_an_intermediate_that_overflows():
    a, b = gx.input("a", (2**31, 1)), gx.input("b", (1, 2**31))
    y = a @ b  # product
    return gx.compile(gx.Program("p", f=gx.function([a, b], y.sum())), backend=STUB)


def test_parameters_beyond_the_machines_memory() -> None:
    x, w = gx.input("x", ("N", 2**25)), gx.parameter("W", (2**25, 2**25))
    made = gx.Program("p", f=gx.function([x], x @ w))
    with pytest.raises(gx.errors.SizeError, match=r"take 4,503,599,627,370,496 bytes, more than"):
        gx.compile(made, backend=STUB)


@mistake("""\
DtypeError: a tensor, an array or a number is wanted, not None
  at test_compile.py:here
""")
def test_numbers_of_nothing():
    return gx.evaluate(None)  # here


@mistake("""\
CallError: evaluate: the input x has no value
  at test_compile.py:here
  try: at={"x": …}
""")
def test_numbers_without_an_input():
    x = gx.input("x", ("N", 3))
    return gx.evaluate({"y": x + 1}, backend=STUB)  # here


@mistake("""\
CallError: at= takes arrays by name or tensor, not [1, 2]
  at test_compile.py:here
""")
def test_numbers_at_a_list():
    x = gx.input("x", ("N", 3))
    return gx.evaluate(x + 1, at=[1, 2], backend=STUB)  # here


@mistake("""\
CallError: state: w is float32[3], the array is float32[2]
  at test_compile.py:here
""")
def test_numbers_at_a_parameter_of_another_shape():
    w = gx.parameter("w", (3,))
    return gx.evaluate(w + 1, at={w: [1, 2]}, backend=STUB)  # here


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder, the compile cache inside, with no compiler chosen by the environment."""
    monkeypatch.setenv("GRAPHC_CACHE", str(tmp_path / "cache"))
    for name in ("GRAPHC_CC", "CC", "GRAPHC_CC_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


_PROBED = """\
case "$*" in
  *--version*) echo "fake 1.0"; exit 0 ;;
  *-dM*) echo "#define INFINITY 1"; exit 0 ;;
esac
"""


@mistake("""\
CompilerError: $GRAPHC_CC is 'tcc-of-nobody', which does not work: tcc-of-nobody is no executable file
  at test_compile.py:here
  try: correct or unset $GRAPHC_CC, or use backend="numpy"
""")  # noqa: E501
def test_a_compiler_that_there_is_not(folder, monkeypatch):
    monkeypatch.setenv("GRAPHC_CC", "tcc-of-nobody")
    return gx.compile(program(), backend="c")  # here


def test_a_compiler_that_fails(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = 'echo "p.c:1: error: no space" >&2; exit 1\n'
    monkeypatch.setenv("GRAPHC_CC", script(folder / "cc", _PROBED + failing))
    with pytest.raises(gx.errors.CompilerError, match="failed with exit status 1") as caught:
        gx.compile(program(), backend="c")
    assert "test_compile.py:" in str(caught.value)
    assert "p.c:1: error: no space" in str(caught.value)


def test_a_compiler_that_hangs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CC", script(folder / "cc", _PROBED + "sleep 60\n"))
    monkeypatch.setenv("GRAPHC_CC_TIMEOUT", "0.2")
    with pytest.raises(gx.errors.CompilerError, match=r"did not finish within 0\.2 s") as caught:
        gx.compile(program(), backend="c")
    assert "test_compile.py:" in str(caught.value)


@mistake("""\
NoCompilerError: found no C compiler that works
  at test_compile.py:here
  cc        not on PATH
  gcc       not on PATH
  clang     not on PATH
  ziglang   not installed
  try: install one (Debian, Ubuntu: apt install gcc; macOS: xcode-select --install; anywhere: pip install 'graphc[cc]'), or use backend="numpy"
""")  # noqa: E501
def test_no_compiler(folder, monkeypatch):
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    return gx.compile(program(), backend="c")  # here


def test_without_a_compiler_numpy_runs_it_and_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("graphc.compiler._told", set())
    assert gx.compile(program()).backend == "numpy"
    assert gx.compile(program()).backend == "numpy"
    told = capsys.readouterr().err
    assert told == "graphc: no C compiler, so NumPy runs it: found no C compiler that works\n"
