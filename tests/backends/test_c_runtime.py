"""The C runtime's scalars, casts, products and reductions against NumPy and mathematics.

Holds no test of generated code, and none of the other headers (test_c_runtime_arrays.py).
"""

import ctypes
import itertools
import math
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.cc

Array = np.ndarray[Any, Any]

RUNTIME = Path(__file__).parents[2] / "backends" / "graphc_c" / "runtime"
COMPILER = next((path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), None)

# Plain C11 and what the back end uses for contractions: both must be right.
VARIANTS = {
    "portable": ["-O1", "-ffp-contract=off", "-DGX_NO_VECTORS"],
    "native": ["-O3", "-march=native", "-ffp-contract=fast"],
}
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-pedantic"]

DTYPES: dict[str, Any] = {
    "f32": np.float32,
    "f64": np.float64,
    "i32": np.int32,
    "i64": np.int64,
    "u8": np.uint8,
    "u32": np.uint32,
    "u64": np.uint64,
    "b": np.bool_,
}
C_TYPES = {
    "f32": "float",
    "f64": "double",
    "i32": "int32_t",
    "i64": "int64_t",
    "u8": "uint8_t",
    "u32": "uint32_t",
    "u64": "uint64_t",
    "b": "uint8_t",
}
FLOATS = ["f32", "f64"]
INTEGERS = ["i32", "i64", "u8", "u32", "u64"]
ARITHMETIC = ["add", "subtract", "multiply", "maximum", "minimum", "floor_divide", "remainder"]
COMPARISONS = ["equal", "not_equal", "less", "less_equal"]
SIGNS = ["negative", "abs", "sign"]
ROUNDED = [
    "exp",
    "expm1",
    "log",
    "log1p",
    "tanh",
    "sigmoid",
    "softplus",
    "erf",
    "sin",
    "cos",
    "atan",
]
UNARY = [*SIGNS, "floor", "sqrt", *ROUNDED]

# Greatest error of a rounded function in units of the last place; the headers state the float32
# ones (measured over every float32), the C library's are within 1 but for composed functions.
ULP = {"f32": 2.8, "f64": 4.0}


def _wrappers() -> Iterator[str]:
    """Give a C function with external linkage for each function under test."""
    for name in ("scalar", "cast", "gemm", "reduce"):
        yield f'#include "gx_{name}.h"'
    binary = [(n, s, s) for n in ARITHMETIC for s in FLOATS + INTEGERS]
    binary += [(n, s, s) for n in ("divide", "pow") for s in FLOATS]
    binary += [(n, s, "b") for n in COMPARISONS for s in DTYPES]
    binary += [("logical_and", "b", "b"), ("logical_or", "b", "b")]
    for name, s, to in binary:
        x, y = C_TYPES[s], C_TYPES[to]
        yield f"void {name}_{s}(int64_t n, const {x} *a, const {x} *b, {y} *out) {{"
        yield f"  for (int64_t i = 0; i < n; i++) out[i] = gx_{name}_{s}(a[i], b[i]); }}"
    unary = [(n, s, s) for n in SIGNS for s in INTEGERS] + [
        (n, s, s) for n in UNARY for s in FLOATS
    ]
    unary += [(f"cast_{a}", b, a) for a in DTYPES for b in DTYPES] + [("logical_not", "b", "b")]
    for name, to, s in unary:
        yield f"void {name}_{to}(int64_t n, const {C_TYPES[s]} *a, {C_TYPES[to]} *out) {{"
        yield f"  for (int64_t i = 0; i < n; i++) out[i] = gx_{name}_{to}(a[i]); }}"
    for s, t in C_TYPES.items():
        arguments = f"int64_t n, const uint8_t *c, const {t} *a, const {t} *b, {t} *out"
        yield f"void where_{s}({arguments}) {{"
        yield f"  for (int64_t i = 0; i < n; i++) out[i] = gx_where_{s}(c[i], a[i], b[i]); }}"
        names = {"b": [("max", t), ("argmax", "int64_t")]}.get(
            s, [("sum", t), ("max", t), ("argmax", "int64_t")]
        )
        for name, result in [*names, *([("logsumexp", t)] if s in FLOATS else [])]:
            yield f"void {name}_{s}(int64_t n, int64_t stride, const {t} *p, {result} *out) {{"
            yield f"  *out = gx_{name}_{s}(p, n, stride); }}"
    product = "int64_t m, int64_t n, int64_t k, const {t} *a, int64_t ar, int64_t ac, "
    product += "const {t} *b, int64_t br, int64_t bc, {t} *c, int64_t cr, int64_t add"
    for s in INTEGERS:
        yield f"void matmul_{s}({product.format(t=C_TYPES[s])}) {{"
        yield f"  gx_matmul_{s}(m, n, k, a, ar, ac, b, br, bc, c, cr, (int)add); }}"
    for s in FLOATS:
        t = C_TYPES[s]
        yield f"int64_t gemm_work_{s}(int64_t m, int64_t n, int64_t k) {{"
        yield f"  return gx_gemm_work_{s}(m, n, k); }}"
        yield f"void gemm_{s}({product.format(t=t)}, {t} *w) {{"
        yield f"  gx_gemm_{s}(m, n, k, a, ar, ac, b, br, bc, c, cr, (int)add, w); }}"


@dataclass(frozen=True, slots=True)
class Library:
    """The compiled wrappers; a call turns arrays into pointers and ints into int64_t."""

    handle: ctypes.CDLL

    def __call__(self, name: str, *arguments: Array | int) -> int:
        function = self.handle[name]
        function.restype = ctypes.c_int64
        values = [
            ctypes.c_int64(a) if isinstance(a, int) else ctypes.c_void_p(a.ctypes.data)
            for a in arguments
        ]
        return int(function(*values))

    def each(self, name: str, *inputs: Array, dtype: Any) -> Array:
        """Apply a scalar function to each element of equally long arrays."""
        out = np.empty(inputs[0].shape, dtype)
        self(name, out.size, *inputs, out)
        return out


@pytest.fixture(scope="module", params=list(VARIANTS))
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Library:
    if COMPILER is None:
        pytest.skip("no C compiler: install gcc or clang")
    folder = tmp_path_factory.mktemp(f"runtime_{request.param}")
    source, target = folder / "runtime.c", folder / "runtime.so"
    source.write_text("\n".join(_wrappers()) + "\n", encoding="utf-8")
    flags = ["-std=c11", "-shared", "-fPIC", *VARIANTS[request.param], *WARNINGS]
    command = [COMPILER, *flags, f"-I{RUNTIME}", str(source), "-o", str(target), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return Library(ctypes.CDLL(str(target)))


def _numbers(suffix: str) -> Array:
    """Give special and random values of a dtype."""
    dtype, rng = DTYPES[suffix], np.random.default_rng(7)
    if suffix == "b":
        return np.array([False, True])
    if suffix in INTEGERS:
        info = np.iinfo(dtype)
        edges = [info.min, info.min + 1, info.max - 1, info.max, 0, 1, 2, 3, 7]
        edges += [-1, -2, -3] if info.min < 0 else []
        return np.array([*edges, *rng.integers(info.min, info.max, 8, dtype)], dtype)
    tiny, small, most = (
        np.finfo(dtype).smallest_subnormal,
        np.finfo(dtype).tiny,
        np.finfo(dtype).max,
    )
    positive = [
        0.0,
        tiny,
        3 * tiny,
        small,
        1e-9,
        0.25,
        0.5,
        1,
        1.5,
        2,
        3,
        20,
        90,
        1e4,
        most,
        np.inf,
    ]
    with np.errstate(over="ignore"):
        half = np.array([*positive, *np.exp(rng.normal(0, 3, 12))], dtype)
    return np.array([*half, *-half, np.nan], dtype)


def _expect_same(found: Array, wanted: Array, *, signs: bool = True) -> None:
    """Assert bit equality but for the payload of NaNs, and with `signs` off the sign of zeros."""
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)
    if signs and wanted.dtype.kind == "f":
        real = ~np.isnan(wanted)
        np.testing.assert_array_equal(np.signbit(found)[real], np.signbit(wanted)[real])


def _pairs(values: Array) -> tuple[Array, Array]:
    x, y = np.meshgrid(values, values)
    return x.ravel().copy(), y.ravel().copy()


@pytest.mark.parametrize("s", FLOATS + INTEGERS)
@pytest.mark.parametrize("name", ARITHMETIC)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_arithmetic_equals_numpy_bit_for_bit(library: Library, name: str, s: str) -> None:
    x, y = _pairs(_numbers(s))
    wanted = getattr(np, name)(x, y)
    if name in ("floor_divide", "remainder") and s in INTEGERS:
        wanted = np.where(y == 0, 0, wanted).astype(DTYPES[s])
    _expect_same(library.each(f"{name}_{s}", x, y, dtype=DTYPES[s]), wanted)


@pytest.mark.parametrize("s", FLOATS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_division_equals_numpy_bit_for_bit(library: Library, s: str) -> None:
    x, y = _pairs(_numbers(s))
    _expect_same(library.each(f"divide_{s}", x, y, dtype=DTYPES[s]), x / y)


@pytest.mark.parametrize("s", FLOATS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_pow_agrees_with_numpy_and_its_special_values(library: Library, s: str) -> None:
    x, y = _pairs(_numbers(s))
    found, wanted = library.each(f"pow_{s}", x, y, dtype=DTYPES[s]), np.power(x, y)
    tiny = np.finfo(DTYPES[s]).smallest_subnormal
    np.testing.assert_allclose(found, wanted, rtol=4 * np.finfo(DTYPES[s]).eps, atol=4 * tiny)


@pytest.mark.parametrize("s", FLOATS + INTEGERS)
@pytest.mark.parametrize("name", SIGNS)
def test_signs_equal_numpy_bit_for_bit(library: Library, name: str, s: str) -> None:
    x = _numbers(s)
    _expect_same(library.each(f"{name}_{s}", x, dtype=DTYPES[s]), getattr(np, name)(x))


@pytest.mark.parametrize("s", FLOATS)
@pytest.mark.parametrize("name", ["floor", "sqrt"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_floor_and_sqrt_equal_numpy_bit_for_bit(library: Library, name: str, s: str) -> None:
    x = _numbers(s)
    _expect_same(library.each(f"{name}_{s}", x, dtype=DTYPES[s]), getattr(np, name)(x))


@pytest.mark.parametrize("s", list(DTYPES))
@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons_equal_numpy(library: Library, name: str, s: str) -> None:
    x, y = _pairs(_numbers(s))
    _expect_same(library.each(f"{name}_{s}", x, y, dtype=np.bool_), getattr(np, name)(x, y))


@pytest.mark.parametrize("s", list(DTYPES))
def test_where_takes_the_first_value_where_the_condition_holds(library: Library, s: str) -> None:
    x, y = _pairs(_numbers(s))
    c = np.arange(x.size) % 3 == 0
    _expect_same(library.each(f"where_{s}", c, x, y, dtype=DTYPES[s]), np.where(c, x, y))


def test_logic_equals_numpy(library: Library) -> None:
    x, y = _pairs(np.array([False, True]))
    _expect_same(library.each("logical_and_b", x, y, dtype=np.bool_), x & y)
    _expect_same(library.each("logical_or_b", x, y, dtype=np.bool_), x | y)
    _expect_same(library.each("logical_not_b", x, dtype=np.bool_), ~x)


def _cast(value: Any, to: str) -> Any:
    """Cast one Python number by graphc's rule."""
    if to in FLOATS or to == "b":
        return value
    info = np.iinfo(DTYPES[to])
    if isinstance(value, float):
        if math.isnan(value):
            return 0
        return info.max if value >= info.max else info.min if value <= info.min else int(value)
    return (int(value) - info.min) % (info.max - info.min + 1) + info.min


@pytest.mark.parametrize(("a", "b"), list(itertools.product(DTYPES, DTYPES)))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_casts_truncate_saturate_and_wrap(library: Library, a: str, b: str) -> None:
    x = _numbers(a)
    if a in FLOATS:
        edges = [2.0**p + d for p in (8, 31, 32, 63, 64) for d in (-1, -0.5, 0, 1)]
        x = np.array([*x, *edges, *[-e for e in edges], -0.5, 254.7], DTYPES[a])
    if b in FLOATS:
        wanted = x.astype(DTYPES[b])
    else:
        wanted = np.array([_cast(v, b) for v in x.tolist()], DTYPES[b])
    _expect_same(library.each(f"cast_{a}_{b}", x, dtype=DTYPES[b]), wanted)


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else math.exp(x)


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _truth(name: str, x: float) -> float:
    """Give the value in float64, with NumPy's special values."""
    function: Callable[[float], float] = {"sigmoid": _sigmoid, "softplus": _softplus}.get(
        name
    ) or getattr(math, name)
    if math.isnan(x) or (name in ("sin", "cos") and math.isinf(x)):
        return math.nan
    if name in ("log", "log1p") and x <= -(name == "log1p"):
        return -math.inf if x == -(name == "log1p") else math.nan
    if name == "sigmoid" and x == -math.inf:
        return 0.0
    try:
        return function(x)
    except OverflowError:
        return math.inf


@pytest.mark.parametrize("s", FLOATS)
@pytest.mark.parametrize("name", ROUNDED)
def test_rounded_functions_keep_their_ulp_and_special_values(
    library: Library, name: str, s: str
) -> None:
    dtype, rng = DTYPES[s], np.random.default_rng(11)
    spread = [rng.normal(0, scale, 400) for scale in (1e-6, 0.01, 0.3, 1, 10, 60)]
    x = np.concatenate([_numbers(s), *spread]).astype(dtype)
    found = library.each(f"{name}_{s}", x, dtype=dtype)
    with np.errstate(over="ignore"):
        exact = np.array([_truth(name, v) for v in x.tolist()])
        wanted = exact.astype(dtype)
    special = ~np.isfinite(wanted) | (wanted == 0)
    _expect_same(found[special], wanted[special])
    error = np.abs(found[~special].astype(np.float64) - exact[~special])
    below = np.nextafter(np.abs(wanted[~special]), dtype(0)).astype(np.float64)
    ulp = np.abs(wanted[~special].astype(np.float64)) - below
    assert np.max(error / ulp) <= ULP[s]


def test_sigmoid_keeps_its_digits_far_below_zero(library: Library) -> None:
    x = np.array([-80, -87, -100], np.float32)
    found = library.each("sigmoid_f32", x, dtype=np.float32).astype(np.float64)
    np.testing.assert_allclose(found[:2], np.exp(x[:2].astype(np.float64)), rtol=3e-7)
    assert 3e-44 < found[2] < 5e-44


PRODUCTS = [
    *itertools.product((0, 1, 2, 5, 6), (0, 1, 17), (0, 1, 3)),
    *[(7, 65, 23), (13, 129, 31), (97, 67, 11), (25, 131, 257), (103, 10, 513), (31, 1031, 7)],
]


def _strided(rng: np.random.Generator, shape: tuple[int, int], dtype: Any, flipped: bool) -> Array:
    """Give a random matrix inside a larger one, by rows or by columns."""
    rows, cols = shape[::-1] if flipped else shape
    if np.dtype(dtype).kind == "f":
        whole = rng.normal(size=(rows, cols + 3)).astype(dtype)
    else:
        whole = rng.integers(0, 255, (rows, cols + 3)).astype(dtype)
    part = whole[:, :cols]
    return part.T if flipped else part


def _steps(x: Array) -> tuple[int, int]:
    return x.strides[0] // x.itemsize, x.strides[1] // x.itemsize


@pytest.mark.parametrize("s", FLOATS)
@pytest.mark.parametrize("size", PRODUCTS, ids=str)
def test_gemm_is_the_matrix_product_for_all_strides(
    library: Library, size: tuple[int, int, int], s: str
) -> None:
    m, n, k = size
    dtype, rng = DTYPES[s], np.random.default_rng(3)
    for flip_a, flip_b, add in itertools.product((False, True), repeat=3):
        a, b = _strided(rng, (m, k), dtype, flip_a), _strided(rng, (k, n), dtype, flip_b)
        c = rng.normal(size=(m, n + 2)).astype(dtype)
        work = np.full(library(f"gemm_work_{s}", m, n, k) + 8, np.nan, dtype)
        wanted = c.astype(np.float64)
        wanted[:, :n] = a.astype(np.float64) @ b + (wanted[:, :n] if add else 0)
        bound = (k + 2) * np.finfo(dtype).eps * (np.abs(a) @ np.abs(b) + 4.0)
        library(f"gemm_{s}", m, n, k, a, *_steps(a), b, *_steps(b), c, n + 2, int(add), work)
        np.testing.assert_array_equal(c[:, n:], wanted[:, n:].astype(dtype))
        assert np.all(np.abs(c[:, :n] - wanted[:, :n]) <= bound)
        assert np.all(np.isnan(work[-8:]))


@pytest.mark.parametrize("s", FLOATS)
def test_gemm_lets_no_nan_or_infinity_vanish(library: Library, s: str) -> None:
    a, b = np.zeros((7, 5), DTYPES[s]), np.zeros((5, 19), DTYPES[s])
    b[2, 3], b[1, 18], a[6, 4] = np.nan, np.inf, np.nan
    c, work = np.empty((7, 19), DTYPES[s]), np.empty(library(f"gemm_work_{s}", 7, 19, 5), DTYPES[s])
    library(f"gemm_{s}", 7, 19, 5, a, 5, 1, b, 19, 1, c, 19, 0, work)
    bad = np.zeros((7, 19), bool)
    bad[:, [3, 18]], bad[6] = True, True
    np.testing.assert_array_equal(np.isnan(c), bad)


@pytest.mark.parametrize("s", INTEGERS)
def test_integer_matmul_wraps(library: Library, s: str) -> None:
    rng = np.random.default_rng(5)
    for (m, n, k), flip, add in itertools.product(PRODUCTS[::4], (False, True), (0, 1)):
        a, b = _strided(rng, (m, k), DTYPES[s], flip), _strided(rng, (k, n), DTYPES[s], not flip)
        a = a * DTYPES[s](251)
        c = rng.integers(0, 99, (m, n)).astype(DTYPES[s])
        wanted = a @ b + (c if add else DTYPES[s](0))
        library(f"matmul_{s}", m, n, k, a, *_steps(a), b, *_steps(b), c, n, add)
        np.testing.assert_array_equal(c, wanted)


LENGTHS = [0, 1, 2, 7, 31, 32, 33, 97, 1000, 5003]


def _reduce(library: Library, name: str, s: str, x: Array, dtype: Any = None) -> Any:
    """Reduce x where its elements are adjacent, and check that a stride changes nothing much."""
    out = np.empty(2, dtype or DTYPES[s])
    spread = np.repeat(x, 3)
    library(f"{name}_{s}", x.size, 1, x, out)
    library(f"{name}_{s}", x.size, 3, spread, out[1:])
    np.testing.assert_array_equal(out[0], out[1])
    return out[0]


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("s", FLOATS)
def test_float_sums_err_by_few_ulps_of_their_magnitudes(library: Library, s: str, n: int) -> None:
    x = np.random.default_rng(n).normal(1, 1, n).astype(DTYPES[s])
    bound = (n / 2048 + 70) * np.finfo(x.dtype).eps * math.fsum(np.abs(x))
    assert abs(float(_reduce(library, "sum", s, x)) - math.fsum(x)) <= bound


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("s", INTEGERS)
def test_integer_sums_wrap(library: Library, s: str, n: int) -> None:
    info = np.iinfo(DTYPES[s])
    x = np.random.default_rng(n).integers(info.min, info.max, n, DTYPES[s])
    assert _reduce(library, "sum", s, x) == np.sum(x, dtype=DTYPES[s])


@pytest.mark.parametrize("n", LENGTHS[1:])
@pytest.mark.parametrize("s", list(DTYPES))
def test_maxima_are_numpys_and_the_first_of_equals(library: Library, s: str, n: int) -> None:
    x = np.random.default_rng(n).integers(0, 9, n).astype(DTYPES[s])
    assert _reduce(library, "max", s, x) == np.max(x)
    assert _reduce(library, "argmax", s, x, np.int64) == np.argmax(x)


@pytest.mark.parametrize("at", [0, 5, 40, 96])
@pytest.mark.parametrize("s", FLOATS)
def test_the_first_nan_is_the_maximum(library: Library, s: str, at: int) -> None:
    x = np.random.default_rng(at).normal(size=97).astype(DTYPES[s])
    x[[at, 96]], x[3] = np.nan, np.inf
    assert np.isnan(_reduce(library, "max", s, x))
    assert _reduce(library, "argmax", s, x, np.int64) == at
    assert np.isnan(_reduce(library, "logsumexp", s, x))
    assert np.isnan(_reduce(library, "sum", s, x))


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("shift", [0, 1000, -1000])
@pytest.mark.parametrize("s", FLOATS)
def test_logsumexp_neither_overflows_nor_underflows(
    library: Library, s: str, shift: int, n: int
) -> None:
    x = (np.random.default_rng(n).normal(0, 5, n) + shift).astype(DTYPES[s])
    top = max(x.tolist(), default=-math.inf)
    terms = math.fsum(math.exp(v - top) for v in x.tolist())
    wanted = top + math.log(terms) if n else -math.inf
    found = float(_reduce(library, "logsumexp", s, x))
    assert found == pytest.approx(wanted, rel=4 * float(np.finfo(x.dtype).eps), abs=1e-6)


@pytest.mark.parametrize("s", FLOATS)
def test_logsumexp_of_infinities_is_an_infinity(library: Library, s: str) -> None:
    x = np.full(5, -np.inf, DTYPES[s])
    assert _reduce(library, "logsumexp", s, x) == -np.inf
    x[2] = np.inf
    assert _reduce(library, "logsumexp", s, x) == np.inf
