"""The C runtime's convolutions, pools, random bits and memory plans against plain loops.

Holds no test of generated code, and none of the other headers (test_c_runtime.py).
"""

import ctypes
import itertools
import math
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.cc

Array = np.ndarray[Any, Any]

RUNTIME = Path(__file__).parents[2] / "backends" / "graphc_c" / "runtime"
COMPILER = next((path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), None)
VARIANTS = {
    "portable": ["-O1", "-ffp-contract=off", "-DGX_NO_VECTORS"],
    "native": ["-O3", "-march=native", "-ffp-contract=fast"],
}
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-pedantic"]

DTYPES: dict[str, Any] = {"f32": np.float32, "f64": np.float64}


def _int64s(names: str) -> list[tuple[str, Any]]:
    return [(name, ctypes.c_int64) for name in names.split()]


class ConvShape(ctypes.Structure):
    """gx_conv2d_shape."""

    _fields_ = _int64s("n c h w m kh kw oh ow sh sw pt pl dh dw groups")


class PoolShape(ctypes.Structure):
    """gx_pool2d_shape."""

    _fields_ = [
        *_int64s("n h w kh kw oh ow sh sw pt pl pb pr dh dw"),
        ("include_pad", ctypes.c_int),
    ]


def _wrappers() -> Iterator[str]:
    """Give a C function with external linkage for each function under test."""
    yield '#include "gx_conv.h"'
    yield '#include "gx_pool.h"'
    yield '#include "gx_random.h"'
    yield '#include "gx_plan.h"'
    for s, t in (("f32", "float"), ("f64", "double")):
        yield f"int64_t conv2d_work_{s}(const gx_conv2d_shape *s) {{"
        yield f"  return gx_conv2d_work_{s}(s); }}"
        for name in ("conv2d", "conv2d_input_adjoint", "conv2d_filter_adjoint"):
            arguments = f"const gx_conv2d_shape *s, const {t} *a, const {t} *b, {t} *c, {t} *w"
            yield f"void {name}_{s}({arguments}) {{ gx_{name}_{s}(s, a, b, c, w); }}"
        for name in ("max_pool2d", "avg_pool2d", "avg_pool2d_adjoint"):
            arguments = f"const gx_pool2d_shape *s, const {t} *a, {t} *b"
            yield f"void {name}_{s}({arguments}) {{ gx_{name}_{s}(s, a, b); }}"
        for name in ("max_pool2d_adjoint", "max_pool2d_select"):
            arguments = f"const gx_pool2d_shape *s, const {t} *a, const {t} *b, {t} *c"
            yield f"void {name}_{s}({arguments}) {{ gx_{name}_{s}(s, a, b, c); }}"
    for s in ("u32", "u64"):
        arguments = (
            f"const uint64_t *key, int64_t stream, int64_t n, {s.replace('u', 'uint')}_t *out"
        )
        yield f"void random_bits_{s}({arguments}) {{"
        yield f"  gx_random_bits_{s}(key, (uint32_t)stream, n, out); }}"
    yield "int64_t place(int64_t n, const int64_t *size, const int32_t *first,"
    yield "  const int32_t *last, int64_t align, int64_t *offset, int32_t *order) {"
    yield "  return gx_place(n, size, first, last, align, offset, order); }"


@dataclass(frozen=True, slots=True)
class Library:
    """The compiled wrappers; a call turns arrays into pointers and ints into int64_t."""

    handle: ctypes.CDLL

    def __call__(self, name: str, *arguments: ctypes.Structure | Array | int) -> int:
        function = self.handle[name]
        function.restype = ctypes.c_int64
        return int(function(*map(_argument, arguments)))


def _argument(value: ctypes.Structure | Array | int) -> Any:
    if isinstance(value, ctypes.Structure):
        return ctypes.byref(value)
    return ctypes.c_int64(value) if isinstance(value, int) else ctypes.c_void_p(value.ctypes.data)


@pytest.fixture(scope="module", params=list(VARIANTS))
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Library:
    if COMPILER is None:
        pytest.skip("no C compiler: install gcc or clang")
    folder = tmp_path_factory.mktemp(f"arrays_{request.param}")
    source, target = folder / "arrays.c", folder / "arrays.so"
    source.write_text("\n".join(_wrappers()) + "\n", encoding="utf-8")
    flags = ["-std=c11", "-shared", "-fPIC", *VARIANTS[request.param], *WARNINGS]
    command = [COMPILER, *flags, f"-I{RUNTIME}", str(source), "-o", str(target), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return Library(ctypes.CDLL(str(target)))


def _size(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    return max(0, (size + padding - dilation * (kernel - 1) - 1) // stride + 1)


def _conv(n: int, c: int, hw: tuple[int, int], m: int, k: tuple[int, int], **options: Any) -> Any:
    """Give a shape: pads = (top, left, bottom, right)."""
    (sh, sw), (dh, dw) = options.get("stride", (1, 1)), options.get("dilation", (1, 1))
    pt, pl, pb, pr = options.get("pads", (0, 0, 0, 0))
    oh, ow = _size(hw[0], k[0], sh, pt + pb, dh), _size(hw[1], k[1], sw, pl + pr, dw)
    groups = options.get("groups", 1)
    return ConvShape(n, c, *hw, m, *k, oh, ow, sh, sw, pt, pl, dh, dw, groups)


CONVS = {
    "plain": _conv(2, 3, (7, 6), 4, (3, 2)),
    "lenet_first": _conv(2, 1, (28, 28), 6, (5, 5), pads=(2, 2, 2, 2)),
    "lenet_second": _conv(3, 6, (14, 14), 16, (5, 5)),
    "pointwise": _conv(2, 5, (7, 5), 3, (1, 1)),
    "pointwise_in_groups": _conv(2, 4, (3, 17), 6, (1, 1), groups=2),
    "pointwise_padded": _conv(1, 2, (3, 3), 3, (1, 1), pads=(1, 0, 0, 2)),
    "pointwise_strided": _conv(2, 2, (5, 7), 3, (1, 1), stride=(2, 3)),
    "strided": _conv(2, 3, (11, 13), 5, (3, 3), stride=(2, 3), pads=(1, 1, 1, 1)),
    "rows_never_covered": _conv(1, 2, (9, 10), 3, (2, 2), stride=(4, 4)),
    "dilated": _conv(2, 2, (9, 11), 3, (3, 2), dilation=(2, 5)),
    "asymmetric": _conv(2, 2, (5, 6), 3, (4, 3), pads=(3, 0, 1, 2)),
    "padding_beyond_the_kernel": _conv(1, 2, (2, 3), 2, (2, 2), pads=(4, 3, 3, 5)),
    "depthwise": _conv(2, 4, (6, 6), 8, (3, 3), pads=(1, 1, 1, 1), groups=4),
    "everything": _conv(
        2, 6, (13, 11), 9, (3, 5), stride=(2, 1), dilation=(1, 2), pads=(2, 3, 0, 1), groups=3
    ),
    "one_pixel": _conv(1, 1, (1, 1), 1, (1, 1)),
    "no_images": _conv(0, 2, (5, 5), 3, (3, 3)),
    "no_channels": _conv(2, 0, (5, 5), 3, (3, 3)),
    "no_filters": _conv(2, 2, (5, 5), 0, (3, 3)),
    "no_pixels": _conv(2, 2, (0, 5), 3, (3, 3), pads=(1, 1, 1, 1)),
    "pointwise_without_filters": _conv(2, 2, (3, 3), 0, (1, 1)),
}


def _patch(s: Any, x: Array, oy: int, ox: int, i: int, j: int) -> Any:
    """Index what the tap (i, j) reads for the output (oy, ox); None in the padding."""
    y, z = oy * s.sh - s.pt + i * s.dh, ox * s.sw - s.pl + j * s.dw
    inside = 0 <= y < x.shape[-2] and 0 <= z < x.shape[-1]
    return (Ellipsis, y, z) if inside else None


def _convolutions(s: Any, x: Array, w: Array, g: Array) -> tuple[Array, Array, Array]:
    """Compute y, dx, dw by plain loops over pixels and taps."""
    y, dx, dw = np.zeros_like(g), np.zeros_like(x), np.zeros_like(w)
    c, m = s.c // s.groups, s.m // s.groups
    places = itertools.product(*map(range, (s.groups, s.oh, s.ow, s.kh, s.kw)))
    for group, oy, ox, i, j in places:
        at = _patch(s, x, oy, ox, i, j)
        if at is not None:
            channels, filters = slice(group * c, group * c + c), slice(group * m, group * m + m)
            pixels, tap = x[:, channels][at], w[filters, :, i, j]
            y[:, filters, oy, ox] += pixels @ tap.T
            dx[:, channels][at] += g[:, filters, oy, ox] @ tap
            dw[filters, :, i, j] += g[:, filters, oy, ox].T @ pixels
    return y, dx, dw


@pytest.mark.parametrize("suffix", list(DTYPES))
@pytest.mark.parametrize("name", list(CONVS))
def test_convolution_and_adjoints_equal_plain_loops(
    library: Library, name: str, suffix: str
) -> None:
    s, dtype, rng = CONVS[name], DTYPES[suffix], np.random.default_rng(1)
    x = rng.normal(size=(s.n, s.c, s.h, s.w)).astype(dtype)
    w = rng.normal(size=(s.m, s.c // s.groups, s.kh, s.kw)).astype(dtype)
    g = rng.normal(size=(s.n, s.m, s.oh, s.ow)).astype(dtype)
    wide = [a.astype(np.float64) for a in (x, w, g)]
    y, dx, dw = (np.full(a.shape, np.nan, dtype) for a in (g, x, w))
    work = np.full(library(f"conv2d_work_{suffix}", s) + 8, np.nan, dtype)
    library(f"conv2d_{suffix}", s, x, w, y, work)
    library(f"conv2d_input_adjoint_{suffix}", s, g, w, dx, work)
    library(f"conv2d_filter_adjoint_{suffix}", s, x, g, dw, work)
    bounds = _convolutions(s, *map(np.abs, wide))
    terms = max(s.c * s.kh * s.kw, s.m * s.kh * s.kw, s.n * s.oh * s.ow) + 2
    for found, wanted, bound in zip((y, dx, dw), _convolutions(s, *wide), bounds, strict=True):
        assert np.all(np.abs(found - wanted) <= terms * np.finfo(dtype).eps * bound)
    assert np.all(np.isnan(work[-8:]))


def _pool(n: int, hw: tuple[int, int], k: tuple[int, int], **options: Any) -> Any:
    """Give a shape: pads = (top, left, bottom, right); ceil lets windows stick out."""
    (sh, sw), (dh, dw) = options.get("stride", k), options.get("dilation", (1, 1))
    pt, pl, pb, pr = options.get("pads", (0, 0, 0, 0))
    more = (sh - 1, sw - 1) if options.get("ceil") else (0, 0)
    oh = _size(hw[0], k[0], sh, pt + pb + more[0], dh)
    ow = _size(hw[1], k[1], sw, pl + pr + more[1], dw)
    return PoolShape(n, *hw, *k, oh, ow, sh, sw, pt, pl, pb, pr, dh, dw, options.get("include", 0))


POOLS = {
    "halving": _pool(6, (8, 10), (2, 2)),
    "halving_odd": _pool(3, (7, 9), (2, 2)),
    "overlapping": _pool(2, (7, 8), (3, 3), stride=(2, 1)),
    "padded": _pool(2, (7, 8), (3, 3), stride=(2, 2), pads=(1, 1, 1, 1)),
    "padded_included": _pool(2, (7, 8), (3, 3), stride=(2, 2), pads=(1, 1, 1, 1), include=1),
    "asymmetric": _pool(2, (5, 6), (3, 2), stride=(1, 2), pads=(2, 0, 0, 1), include=1),
    "ceil": _pool(2, (6, 7), (3, 3), stride=(2, 2), ceil=True),
    "ceil_included": _pool(
        2, (6, 7), (3, 2), stride=(2, 2), pads=(1, 1, 1, 1), ceil=True, include=1
    ),
    "ceil_halving": _pool(2, (5, 7), (2, 2), ceil=True, include=1),
    "dilated": _pool(2, (9, 9), (2, 3), stride=(2, 1), dilation=(3, 2), pads=(1, 2, 2, 1)),
    "windows_of_padding": _pool(2, (2, 2), (2, 2), pads=(4, 2, 4, 4)),
    "whole_plane": _pool(3, (5, 4), (5, 4)),
    "none": _pool(0, (4, 4), (2, 2)),
    "one": _pool(1, (1, 1), (1, 1)),
}


def _windows(s: Any, x: Array) -> Iterator[tuple[tuple[int, ...], list[Any]]]:
    """Give each output's index with the indices of the real elements of its window."""
    for n, oy, ox in itertools.product(range(s.n), range(s.oh), range(s.ow)):
        taps = itertools.product(range(s.kh), range(s.kw))
        found = [_patch(s, x, oy, ox, i, j) for i, j in taps]
        yield (n, oy, ox), [(n, *at[1:]) for at in found if at is not None]


def _winner(x: Array, window: list[Any]) -> Any:
    """Find the first NaN, or else the first of the greatest."""
    values = [float(x[at]) for at in window]
    nans = [at for at, v in zip(window, values, strict=True) if math.isnan(v)]
    return nans[0] if nans else window[values.index(max(values))]


def _planes(s: Any, dtype: Any) -> Array:
    """Give planes with ties, NaN and infinities."""
    rng = np.random.default_rng(2)
    x = rng.integers(-3, 4, (s.n, s.h, s.w)).astype(dtype)
    odd = rng.random(x.shape)
    x[odd < 0.08], x[odd > 0.85], x[odd > 0.97] = np.nan, -np.inf, np.inf
    return x


@pytest.mark.parametrize("suffix", list(DTYPES))
@pytest.mark.parametrize("name", list(POOLS))
def test_max_pool_chooses_the_first_nan_or_the_first_maximum(
    library: Library, name: str, suffix: str
) -> None:
    s, dtype, rng = POOLS[name], DTYPES[suffix], np.random.default_rng(3)
    x = _planes(s, dtype)
    g = rng.integers(-9, 9, (s.n, s.oh, s.ow)).astype(dtype)
    v = rng.integers(-9, 9, x.shape).astype(dtype)
    y, dx, chosen = np.full(g.shape, -np.inf, dtype), np.zeros_like(x), np.zeros_like(g)
    for at, window in _windows(s, x):
        if window:
            winner = _winner(x, window)
            y[at], chosen[at] = x[winner], v[winner]
            dx[winner] += g[at]
    found = [np.full(a.shape, 7, dtype) for a in (y, dx, chosen)]
    library(f"max_pool2d_{suffix}", s, x, found[0])
    library(f"max_pool2d_adjoint_{suffix}", s, x, g, found[1])
    library(f"max_pool2d_select_{suffix}", s, x, v, found[2])
    for a, b in zip(found, (y, dx, chosen), strict=True):
        np.testing.assert_array_equal(a, b)


def _divisor(s: Any, at: tuple[int, ...], window: list[Any]) -> int:
    """Count the real elements, or by PyTorch's rule the taps inside image and padding."""
    if not s.include_pad:
        return len(window)
    rows = [at[1] * s.sh - s.pt + i * s.dh < s.h + s.pb for i in range(s.kh)]
    cols = [at[2] * s.sw - s.pl + j * s.dw < s.w + s.pr for j in range(s.kw)]
    return int(sum(rows) * sum(cols))


@pytest.mark.parametrize("suffix", list(DTYPES))
@pytest.mark.parametrize("name", list(POOLS))
def test_average_pool_divides_by_what_its_window_holds(
    library: Library, name: str, suffix: str
) -> None:
    s, dtype, rng = POOLS[name], DTYPES[suffix], np.random.default_rng(4)
    x, g = rng.normal(size=(s.n, s.h, s.w)).astype(dtype), rng.normal(size=(s.n, s.oh, s.ow))
    g = g.astype(dtype)
    y, dx = np.zeros(g.shape), np.zeros(x.shape)
    for at, window in _windows(s, x):
        for where in window:
            y[at] += float(x[where]) / _divisor(s, at, window)
            dx[where] += float(g[at]) / _divisor(s, at, window)
    found = [np.full(a.shape, np.nan, dtype) for a in (y, dx)]
    library(f"avg_pool2d_{suffix}", s, x, found[0])
    library(f"avg_pool2d_adjoint_{suffix}", s, g, found[1])
    for a, b in zip(found, (y, dx), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=(s.kh * s.kw + 2) * 4 * np.finfo(dtype).eps)


# Random123's published answers for philox4x32 with 10 rounds: counter, key, words.
PHILOX_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((2**32 - 1,) * 4, (2**32 - 1,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def _philox(counter: tuple[int, ...], key: tuple[int, ...]) -> tuple[int, ...]:
    """Compute one block in plain Python."""
    (c0, c1, c2, c3), (k0, k1) = counter, key
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = p1 >> 32 ^ c1 ^ k0, p1 % 2**32, p0 >> 32 ^ c3 ^ k1, p0 % 2**32
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return c0, c1, c2, c3


@pytest.mark.parametrize(("counter", "key", "words"), PHILOX_ANSWERS)
def test_the_reference_philox_gives_the_published_answers(
    counter: tuple[int, ...], key: tuple[int, ...], words: tuple[int, ...]
) -> None:
    assert _philox(counter, key) == words


def test_philox_with_zero_key_and_counter_gives_the_published_answer(library: Library) -> None:
    key, out = np.zeros(2, np.uint64), np.empty(4, np.uint32)
    library("random_bits_u32", key, 0, 4, out)
    assert tuple(out.tolist()) == PHILOX_ANSWERS[0][2]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 31, 32, 33, 63, 64, 65, 200])
def test_random_bits_are_philox_of_key_stream_and_position(library: Library, count: int) -> None:
    key = np.array([0x299F31D0_A4093822, 0x03707344_13198A2E], np.uint64)
    stream = 0x85A308D3
    blocks = [
        _philox((i, stream, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0)) for i in range(101)
    ]
    words = np.array(blocks, np.uint64)
    narrow, wide = np.full(count + 1, 9, np.uint32), np.full(count + 1, 9, np.uint64)
    library("random_bits_u32", key, stream, count, narrow)
    library("random_bits_u64", key, stream, count, wide)
    np.testing.assert_array_equal(narrow, [*words.ravel()[:count], 9])
    joined = words[:, ::2] | words[:, 1::2] << np.uint64(32)
    np.testing.assert_array_equal(wide, [*joined.ravel()[:count], 9])


def _place(library: Library, rows: list[tuple[int, int, int]], align: int) -> tuple[int, list[int]]:
    size = np.array([row[0] for row in rows], np.int64)
    first, last = (np.array([row[i] for row in rows], np.int32) for i in (1, 2))
    offset, order = np.empty(len(rows), np.int64), np.empty(len(rows), np.int32)
    total = library("place", len(rows), size, first, last, align, offset, order)
    return total, offset.tolist()


@pytest.mark.parametrize("seed", range(8))
def test_buffers_alive_together_never_overlap(library: Library, seed: int) -> None:
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, 30, 60)
    rows = [
        (int(s), int(f), int(f + d))
        for s, f, d in zip(rng.integers(0, 500, 60), starts, rng.integers(0, 9, 60), strict=True)
    ]
    total, offsets = _place(library, rows, 64)
    assert all(o % 64 == 0 and o + s <= total for o, (s, _, _) in zip(offsets, rows, strict=True))
    for (o, (s, f, z)), (p, (t, g, y)) in itertools.combinations(
        zip(offsets, rows, strict=True), 2
    ):
        assert f > y or g > z or o + s <= p or p + t <= o
    assert total <= sum((s + 63) // 64 * 64 for s, _, _ in rows)


def test_a_chain_of_equal_buffers_takes_two_places(library: Library) -> None:
    rows = [(100, i, i + 1) for i in range(20)]
    total, offsets = _place(library, rows, 64)
    assert total == 256
    assert offsets == [0, 128] * 10


def test_a_plan_beyond_int64_is_refused(library: Library) -> None:
    assert _place(library, [(2**62, 0, 0), (2**62, 0, 0)], 64)[0] == -1
    assert _place(library, [(2**63 - 1, 0, 0)], 64)[0] == -1
    assert _place(library, [(-1, 0, 0)], 64)[0] == -1
    assert _place(library, [(2**62, 0, 0), (2**62, 1, 1)], 64)[0] == 2**62
