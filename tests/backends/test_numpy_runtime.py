"""The functions that emitted NumPy source carries with it, at the values where they go astray."""

from __future__ import annotations

import math

import numpy as np
import pytest

from graphc_numpy import runtime


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_choosing_blends_no_bit_away(dtype: str) -> None:
    generator = np.random.default_rng(0)
    bits = generator.integers(0, 2**64, (2, 100, 101), np.uint64)
    x, y = bits.astype(f"u{np.dtype(dtype).itemsize}").view(dtype)
    chosen = generator.random((100, 101)) < 0.5
    for a, b in ((x, y), (x[:1], y), (x, y[:, :1]), (np.dtype(dtype).type(0), y)):
        got, expected = runtime.where(chosen, a, b), np.where(chosen, a, b)
        assert got.dtype == expected.dtype and got.tobytes() == expected.tobytes()
    assert runtime.where(chosen, 0, y).dtype == dtype


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_erf_is_within_two_units_in_the_last_place(dtype: str) -> None:
    x = np.concatenate([np.linspace(-7, 7, 40_001), np.logspace(-30, 0, 2_001)]).astype(dtype)
    true = np.array([math.erf(v) for v in x.tolist()])
    units = np.abs(runtime.erf(x) - true) / np.spacing(np.abs(true).astype(dtype))
    assert units[true != 0].max() <= 2
    with np.errstate(invalid="ignore"):
        special = runtime.erf(np.array([0, -0.0, np.inf, -np.inf, np.nan], dtype))
    np.testing.assert_array_equal(special, np.array([0, 0, 1, -1, np.nan], dtype))
    assert np.signbit(special[1]) and special.dtype == dtype


def test_sigmoid_and_softplus_are_accurate_at_both_ends() -> None:
    x = np.float32([-100, -80, -20, 0, 20, 90, 200])
    true, least = x.astype("float64"), 2e-45  # one or two of the smallest subnormals
    with np.errstate(all="ignore"):
        sigmoid, softplus = runtime.sigmoid(x), runtime.softplus(x)
    np.testing.assert_allclose(sigmoid, 1 / (1 + np.exp(-true)), rtol=1e-6, atol=least)
    np.testing.assert_allclose(softplus, np.logaddexp(true, 0), rtol=1e-6, atol=least)


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((2**32 - 1,) * 4, (2**32 - 1,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
    ids=["zeros", "ones", "pi"],
)
def test_philox_gives_the_known_answers_of_random123(
    counter: tuple[int, ...], key: tuple[int, int], words: str
) -> None:
    arrays = [np.array([c], np.uint64) for c in counter]
    assert " ".join(f"{int(w[0]):08x}" for w in runtime.philox(arrays, *key)) == words


def test_random_bits_do_not_depend_on_how_they_are_cut() -> None:
    key = np.array([7, 2**40 + 5], np.uint64)
    few = runtime.random_bits(key, 3, (10,), np.uint32)
    many = runtime.random_bits(key, 3, (70_001,), np.uint32)
    wide = runtime.random_bits(key, 3, (5,), np.uint64)
    np.testing.assert_array_equal(many[:10], few)
    np.testing.assert_array_equal(wide, few[0::2] | few[1::2].astype(np.uint64) << np.uint64(32))
    block = [np.array([v], np.uint64) for v in (17_000, 3, 5, 2**8)]
    expected = [int(w[0]) for w in runtime.philox(block, 7, 0)]
    assert many[68_000:68_004].tolist() == expected


def test_logsumexp_of_infinities_and_of_nothing() -> None:
    inf = np.inf
    rows = np.float32([[-inf, -inf], [inf, 1], [np.nan, 1], [inf, -inf], [1000, 1000]])
    with np.errstate(all="ignore"):
        got, nothing = runtime.logsumexp(rows, (1,)), runtime.logsumexp(rows[:, :0], (1,))
    np.testing.assert_allclose(got, [-inf, inf, np.nan, inf, 1000 + math.log(2)], rtol=1e-6)
    assert nothing.tolist() == [-inf] * 5


def test_max_pool_never_chooses_padding() -> None:
    x = np.full((1, 1, 2, 2), -np.inf, np.float32)
    g = np.float32([[[[1, 2], [3, 4]]]])
    got = runtime.max_pool2d_adjoint(x, g, (2, 2), (2, 2), ((1, 1), (1, 1)))
    np.testing.assert_array_equal(got, g)


def test_max_pool_takes_the_first_of_equals_and_the_first_nan() -> None:
    x = np.float32([[[[1, 3, 0, np.nan], [3, 3, np.nan, 5]]]])
    got = runtime.max_pool2d_adjoint(x, np.float32([[[[1, 2]]]]), (2, 2), (2, 2))
    assert got.tolist() == [[[[0, 1, 0, 2], [0, 0, 0, 0]]]]
    largest = runtime.max_pool2d(x, (2, 2), (2, 2), (1, 2))
    np.testing.assert_array_equal(largest, [[[[3, np.nan]]]])


def test_large_convolutions_are_cut_into_parts() -> None:
    """Sizes at which each of the three takes several parts, and one large product."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((5, 8, 40, 40)).astype("float32")
    for filters, size in ((3, 40), (40, 6)):
        x = x[:, :, :size, :size]
        w = generator.standard_normal((filters, 8, 5, 5)).astype("float32")
        y = runtime.conv2d(x, w)
        np.testing.assert_allclose(y[4, 1, 0, 1], (x[4, :, 0:5, 1:6] * w[1]).sum(), rtol=1e-4)
        g = generator.standard_normal(y.shape).astype("float32")
        whole = (y.astype("float64") * g).sum()
        back = runtime.conv2d_input_adjoint(g, w, x.shape[2:])
        weights = runtime.conv2d_filter_adjoint(x, g, (5, 5))
        np.testing.assert_allclose((back.astype("float64") * x).sum(), whole, rtol=1e-4)
        np.testing.assert_allclose((weights.astype("float64") * w).sum(), whole, rtol=1e-4)
