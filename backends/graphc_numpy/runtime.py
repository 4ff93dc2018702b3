"""Functions that emitted source calls; each is copied into the source that uses it.

Each stands on its own: it knows NumPy as ``np``, other functions of this file, and no graphc.
Images are (N, C, H, W), filters (M, C / groups, KH, KW); sizes, strides and dilations come as
pairs for H and W, paddings as ((top, bottom), (left, right)).
"""

# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import numpy as np


class OutOfRangeError(IndexError):
    """An index outside its axis; the arguments are op, index, length and the user's line."""


def check_index(index: np.ndarray, length: int, op: str, where: str | None) -> None:
    """Raise OutOfRangeError for the first index that is not in 0 ... length - 1."""
    if index.size == 0 or (index.min() >= 0 and index.max() < length):
        return
    flat = np.ravel(index)
    wrong = flat[(flat < 0) | (flat >= length)]
    raise OutOfRangeError(op, int(wrong[0]), length, where)


# ---------------------------------------------------------------- elementwise


def where(condition: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Do what np.where does, by blending bits: faster where the condition changes at random."""
    if np.size(condition) < 4096:
        return np.where(condition, x, y)
    dtype = np.result_type(x, y)
    a, b = (np.asarray(v, dtype).view(f"u{dtype.itemsize}") for v in (x, y))
    return (b ^ (a ^ b) * condition).view(dtype)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) without overflow, accurate at both ends."""
    return np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x)))


def softplus(x: np.ndarray) -> np.ndarray:
    """log(1 + exp(x)) without overflow, accurate at both ends."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def erf(x: np.ndarray) -> np.ndarray:
    """Return the error function in the precision of x."""
    return erf_single(x) if x.dtype == np.float32 else erf_double(np.asarray(x))


def erf_single(x: np.ndarray) -> np.ndarray:
    """Return the error function in float32: x + x p(x²) near 0, else 1 - exp(q(|x|)).

    Source: the polynomials are N. Juffa's for erff (2015)
    """
    s = np.minimum(x * x, 1)
    near = -5.96761703e-4 * s + 4.99119423e-3
    for c in (-2.67681349e-2, 1.12819925e-1, -3.76125336e-1, 1.28379166e-1):
        near = near * s + c
    t = np.minimum(np.abs(x), 4)  # erf(4) rounds to 1
    far = -1.72853470e-5 * t + 3.83197126e-4
    for c in (-3.88396438e-3, 2.42546219e-2, -1.06777877e-1, -6.34846687e-1, -1.28717512e-1):
        far = far * t + c
    far = np.copysign(1 - np.exp(far * t - t), x)
    return where(t > 0.927734375, far, near * x + x)


def erf_double(x: np.ndarray) -> np.ndarray:
    """Return the error function in float64, with an error below 1 ULP.

    Source: s_erf.c of fdlibm (Sun Microsystems 1993): its intervals and rational functions
    """
    t = np.abs(x)
    y = np.where(np.isnan(x), x, np.copysign(1.0, x))
    pieces = (
        (0, 0.84375, erf_near),
        (0.84375, 1.25, erf_around_one),
        (1.25, 1 / 0.35, erf_middle),
        (1 / 0.35, 6, erf_far),
    )
    for low, high, piece in pieces:
        inside = (t >= low) & (t < high)
        y[inside] = np.copysign(piece(t[inside]), x[inside])
    return y


def erf_near(t: np.ndarray) -> np.ndarray:
    """Return erf for 0 <= t < 0.84375."""
    p = (1.28379167095512558561e-01, -3.25042107247001499370e-01, -2.84817495755985104766e-02,
         -5.77027029648944159157e-03, -2.37630166566501626084e-05)  # fmt: skip
    q = (1.0, 3.97917223959155352819e-01, 6.50222499887672944485e-02, 5.08130628187576562776e-03,
         1.32494738004321644526e-04, -3.96022827877536812320e-06)  # fmt: skip
    return t + t * (polynomial(p, t * t) / polynomial(q, t * t))


def erf_around_one(t: np.ndarray) -> np.ndarray:
    """Return erf for 0.84375 <= t < 1.25."""
    p = (-2.36211856075265944077e-03, 4.14856118683748331666e-01, -3.72207876035701323847e-01,
         3.18346619901161753674e-01, -1.10894694282396677476e-01, 3.54783043256182359371e-02,
         -2.16637559486879084300e-03)  # fmt: skip
    q = (1.0, 1.06420880400844228286e-01, 5.40397917702171048937e-01, 7.18286544141962662868e-02,
         1.26171219808761642112e-01, 1.36370839120290507362e-02,
         1.19844998467991074170e-02)  # fmt: skip
    return 8.45062911510467529297e-01 + polynomial(p, t - 1) / polynomial(q, t - 1)


def erf_middle(t: np.ndarray) -> np.ndarray:
    """Return erf for 1.25 <= t < 1 / 0.35."""
    p = (-9.86494403484714822705e-03, -6.93858572707181764372e-01, -1.05586262253232909814e+01,
         -6.23753324503260060396e+01, -1.62396669462573470355e+02, -1.84605092906711035994e+02,
         -8.12874355063065934246e+01, -9.81432934416914548592e+00)  # fmt: skip
    q = (1.0, 1.96512716674392571292e+01, 1.37657754143519042600e+02, 4.34565877475229228821e+02,
         6.45387271733267880336e+02, 4.29008140027567833386e+02, 1.08635005541779435134e+02,
         6.57024977031928170135e+00, -6.04244152148580987438e-02)  # fmt: skip
    return 1 - erfc_tail(t, p, q)


def erf_far(t: np.ndarray) -> np.ndarray:
    """Return erf for 1 / 0.35 <= t < 6."""
    p = (-9.86494292470009928597e-03, -7.99283237680523006574e-01, -1.77579549177547519889e+01,
         -1.60636384855821916062e+02, -6.37566443368389627722e+02, -1.02509513161107724954e+03,
         -4.83519191608651397019e+02)  # fmt: skip
    q = (1.0, 3.03380607434824582924e+01, 3.25792512996573918826e+02, 1.53672958608443695994e+03,
         3.19985821950859553908e+03, 2.55305040643316442583e+03, 4.74528541206955367215e+02,
         -2.24409524465858183362e+01)  # fmt: skip
    return 1 - erfc_tail(t, p, q)


def erfc_tail(t: np.ndarray, p: tuple[float, ...], q: tuple[float, ...]) -> np.ndarray:
    """Return exp(-t² - 0.5625 + p(1/t²) / q(1/t²)) / t, with the square in two exact parts."""
    z = t.astype(np.float32).astype(np.float64)
    inverse = 1 / (t * t)
    rest = (z - t) * (z + t) + polynomial(p, inverse) / polynomial(q, inverse)
    return np.exp(-z * z - 0.5625) * np.exp(rest) / t


def polynomial(coefficients: tuple[float, ...], x: np.ndarray) -> np.ndarray:
    """Return a polynomial's value, its coefficients from the constant one on."""
    y = np.full_like(x, coefficients[-1])
    for c in coefficients[-2::-1]:
        y = y * x + c
    return y


def to_integer(x: np.ndarray, dtype: type) -> np.ndarray:
    """Truncate floats and saturate them; NaN becomes 0."""
    info = np.iinfo(dtype)
    low, high = float(info.min), float(info.max)  # 2**63 - 1 and 2**64 - 1 round up
    y: np.ndarray = np.where((x > low) & (x < high), x, 0).astype(dtype)
    return np.where(x >= high, dtype(info.max), np.where(x <= low, dtype(info.min), y))


# ---------------------------------------------------------------- movement and reductions


def pad(
    x: np.ndarray,
    low: tuple[int, ...],
    high: tuple[int, ...],
    interior: tuple[int, ...],
    value: float,
) -> np.ndarray:
    """Put ``low`` elements before, ``high`` after and ``interior`` between those of each axis."""
    widths = list(zip(x.shape, low, high, interior, strict=True))
    shape = [a + n + max(n - 1, 0) * gap + b for n, a, b, gap in widths]
    y: np.ndarray = np.full(shape, value, x.dtype)
    y[tuple(slice(a, a + n * (gap + 1), gap + 1) for n, a, b, gap in widths)] = x
    return y


def logsumexp(x: np.ndarray, axis: tuple[int, ...]) -> np.ndarray:
    """log(sum(exp(x))) along axes, from the largest on, so that nothing overflows."""
    top = np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0)
    total = np.exp(x - top).sum(axis=axis)
    return np.log(total) + top.reshape(total.shape)


# ---------------------------------------------------------------- indexing


def pick(x: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Read one element of each row."""
    return np.take_along_axis(x, index[..., None], axis=-1)[..., 0]


def scatter_add(base: np.ndarray, index: np.ndarray, values: np.ndarray, axis: int) -> np.ndarray:
    """Add values into a copy of base at places along an axis, which may repeat."""
    rank = np.ndim(index)
    total = np.array(np.moveaxis(base, axis, -1), order="C")
    added = np.moveaxis(values, range(axis, axis + rank), range(-rank, 0))
    rows = np.arange(total.size // max(total.shape[-1], 1)) * total.shape[-1]
    places = rows[:, None] + np.ravel(index)  # np.add.at is quick on flat arrays only
    np.add.at(total.reshape(-1), places.reshape(-1), added.reshape(-1))
    return np.moveaxis(total, -1, axis)


# ---------------------------------------------------------------- windows over images


def padded(x: np.ndarray, padding: tuple[tuple[int, int], ...], value: float) -> np.ndarray:
    """Return images with a border of one value."""
    (top, bottom), (left, right) = padding
    if top == bottom == left == right == 0:
        return x
    N, C, H, W = x.shape
    y = np.full((N, C, top + H + bottom, left + W + right), value, x.dtype)
    y[:, :, top : top + H, left : left + W] = x
    return y


def place(
    x: np.ndarray, i: int, j: int, size: tuple[int, int], stride: tuple[int, int]
) -> np.ndarray:
    """Return the elements at row i and column j of each of OH x OW windows, H and W last."""
    (OH, OW), (SH, SW) = size, stride
    return x[..., i : i + (OH - 1) * SH + 1 : SH, j : j + (OW - 1) * SW + 1 : SW]


def windows(
    x: np.ndarray,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[tuple[int, int], ...],
    dilation: tuple[int, int],
) -> np.ndarray:
    """Return what each place of a kernel reads, as a view: (N, C, KH, KW, OH, OW)."""
    (KH, KW), (SH, SW), (DH, DW) = kernel, stride, dilation
    reach = (DH * (KH - 1) + 1, DW * (KW - 1) + 1)
    view = np.lib.stride_tricks.sliding_window_view(padded(x, padding, 0), reach, axis=(2, 3))
    return view[:, :, ::SH, ::SW, ::DH, ::DW].transpose(0, 1, 4, 5, 2, 3)


def parts(count: int, size: int, most: int) -> list[slice]:
    """Return slices of ``count`` images, each of ``most`` elements at ``size`` an image."""
    step = max(1, most // max(size, 1))
    return [slice(i, min(i + step, count)) for i in range(0, count, step)]


def conv2d(
    x: np.ndarray,
    w: np.ndarray,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[tuple[int, int], ...] = ((0, 0), (0, 0)),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
) -> np.ndarray:
    """Cross-correlate images with filters: one product of matrices an image and group."""
    M, C, KH, KW = w.shape
    filters = w.reshape(groups, M // groups, C * KH * KW)
    read = windows(x, (KH, KW), stride, padding, dilation)
    N, OH, OW = len(x), *read.shape[4:]
    y = np.empty((N, groups, M // groups, OH * OW), x.dtype)
    for part in parts(N, groups * C * KH * KW * OH * OW, 2**18):  # columns that stay in cache
        columns = read[part].reshape(len(y[part]), groups, C * KH * KW, OH * OW)
        np.matmul(filters, columns, out=y[part])
    return y.reshape(N, M, OH, OW)


def conv2d_input_adjoint(
    g: np.ndarray,
    w: np.ndarray,
    size: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    padding: tuple[tuple[int, int], ...] = ((0, 0), (0, 0)),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
) -> np.ndarray:
    """Add each output's filter, times its cotangent, where that output was read from."""
    (N, M, OH, OW), (_, C, KH, KW) = g.shape, w.shape
    filters = w.reshape(groups, M // groups, C * KH * KW).swapaxes(1, 2)
    (top, bottom), (left, right) = padding
    H, W = size
    x = np.empty((N, groups * C, H, W), g.dtype)
    for part in parts(N, groups * C * KH * KW * OH * OW, 2**20):
        last = g[part].transpose(1, 2, 3, 0)  # images last, so that rows are long
        n = last.shape[3]
        terms = filters @ last.reshape(groups, M // groups, OH * OW * n)
        terms = terms.reshape(groups * C, KH, KW, OH, OW, n)
        y = np.zeros((groups * C, top + H + bottom, left + W + right, n), g.dtype)
        images = y.transpose(3, 0, 1, 2)
        for i in range(KH):
            for j in range(KW):
                here = place(images, i * dilation[0], j * dilation[1], (OH, OW), stride)
                here += terms[:, i, j].transpose(3, 0, 1, 2)
        x[part] = images[:, :, top : top + H, left : left + W]
    return x


def conv2d_filter_adjoint(
    x: np.ndarray,
    g: np.ndarray,
    kernel: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    padding: tuple[tuple[int, int], ...] = ((0, 0), (0, 0)),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
) -> np.ndarray:
    """Correlate what the filters read with the cotangents of what they gave."""
    (N, M, OH, OW), (KH, KW) = g.shape, kernel
    C = x.shape[1] // groups
    read = windows(x, kernel, stride, padding, dilation)
    if groups == 1 and M > OH * OW:  # a product an image would be larger than its columns
        return np.tensordot(g, read, axes=((0, 2, 3), (0, 4, 5)))
    w = np.zeros((groups, M // groups, C * KH * KW), x.dtype)
    for part in parts(N, groups * C * KH * KW * OH * OW, 2**18):
        n = len(read[part])
        columns = read[part].reshape(n, groups, C * KH * KW, OH * OW)
        products = g[part].reshape(n, groups, M // groups, OH * OW) @ columns.swapaxes(2, 3)
        w += products.sum(axis=0)
    return w.reshape(M, C, KH, KW)


def window_places(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[tuple[int, int], ...],
    size: tuple[int, int],
    image: tuple[int, ...],
) -> tuple[list[tuple[int, int]], tuple[tuple[int, int], ...]]:
    """Return the places in a window, in row-major order, and the padding that windows reach."""
    reached = []
    for H, (low, high), k, s, count in zip(image, padding, kernel, stride, size, strict=True):
        reached.append((low, max(high, (count - 1) * s + k - low - H)))
    return [(i, j) for i in range(kernel[0]) for j in range(kernel[1])], tuple(reached)


def max_pool2d(
    x: np.ndarray,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    size: tuple[int, int],
    padding: tuple[tuple[int, int], ...] = ((0, 0), (0, 0)),
) -> np.ndarray:
    """Take the largest of each window; a NaN wins."""
    order, reached = window_places(kernel, stride, padding, size, x.shape[2:])
    x = padded(x, reached, -np.inf)
    best = place(x, 0, 0, size, stride).copy()
    for i, j in order[1:]:
        np.maximum(best, place(x, i, j, size, stride), out=best)
    return best


def winners(
    x: np.ndarray,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    size: tuple[int, int],
    padding: tuple[tuple[int, int], ...],
) -> list[tuple[int, int, np.ndarray]]:
    """Return for each place in a window which windows have their first maximum there."""
    order, reached = window_places(kernel, stride, padding, size, x.shape[2:])
    inside = padded(np.ones((1, 1, *x.shape[2:]), bool), reached, False)
    x = padded(x, reached, -np.inf)
    best = np.full((*x.shape[:2], *size), -np.inf, x.dtype)
    for i, j in order:
        np.maximum(best, place(x, i, j, size, stride), out=best)
    holds_nan = np.isnan(best).any()
    undecided, found = np.ones(best.shape, bool), []
    for i, j in order:
        here = place(x, i, j, size, stride)
        equal = (here == best) | np.isnan(here) if holds_nan else here == best
        wins = equal & undecided & place(inside, i, j, size, stride)
        undecided ^= wins
        found.append((i, j, wins))
    return found


def max_pool2d_adjoint(
    x: np.ndarray,
    g: np.ndarray,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[tuple[int, int], ...] = ((0, 0), (0, 0)),
) -> np.ndarray:
    """Add each window's cotangent at the place of its first maximum."""
    size = g.shape[2:]
    _, reached = window_places(kernel, stride, padding, size, x.shape[2:])
    y = padded(np.zeros_like(x, order="C"), reached, 0)
    for i, j, wins in winners(x, kernel, stride, size, padding):
        here = place(y, i, j, size, stride)
        here += where(wins, g, g.dtype.type(0))
    (top, _), (left, _) = reached
    return y[:, :, top : top + x.shape[2], left : left + x.shape[3]]


def max_pool2d_select(
    x: np.ndarray,
    v: np.ndarray,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    size: tuple[int, int],
    padding: tuple[tuple[int, int], ...] = ((0, 0), (0, 0)),
) -> np.ndarray:
    """Read v where each window of x has its first maximum; 0 for a window that is all padding."""
    _, reached = window_places(kernel, stride, padding, size, x.shape[2:])
    v = padded(v, reached, 0)
    y = np.zeros((*x.shape[:2], *size), v.dtype)
    for i, j, wins in winners(x, kernel, stride, size, padding):
        y = where(wins, place(v, i, j, size, stride), y)
    return y


def window_counts(
    image: tuple[int, ...],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    size: tuple[int, int],
    padding: tuple[tuple[int, int], ...],
    count_include_pad: bool,
) -> np.ndarray:
    """Return by what an average divides each window's sum: (OH, OW), at least 1."""
    counts = []
    for H, (low, high), k, s, count in zip(image, padding, kernel, stride, size, strict=True):
        start = np.arange(count) * s - low
        first, last = (-low, H + high) if count_include_pad else (0, H)
        counts.append(np.minimum(start + k, last) - np.maximum(start, first))
    return np.maximum(counts[0][:, None] * counts[1], 1)


def avg_pool2d(
    x: np.ndarray,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    size: tuple[int, int],
    padding: tuple[tuple[int, int], ...] = ((0, 0), (0, 0)),
    count_include_pad: bool = True,
) -> np.ndarray:
    """Take the mean of each window."""
    order, reached = window_places(kernel, stride, padding, size, x.shape[2:])
    counts = window_counts(x.shape[2:], kernel, stride, size, padding, count_include_pad)
    x = padded(x, reached, 0)
    total = place(x, 0, 0, size, stride).copy()
    for i, j in order[1:]:
        total += place(x, i, j, size, stride)
    total /= counts.astype(x.dtype)
    return total


def avg_pool2d_adjoint(
    g: np.ndarray,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    size: tuple[int, int],
    padding: tuple[tuple[int, int], ...] = ((0, 0), (0, 0)),
    count_include_pad: bool = True,
) -> np.ndarray:
    """Spread each window's cotangent evenly over the window."""
    OH, OW = g.shape[2:]
    order, reached = window_places(kernel, stride, padding, (OH, OW), size)
    counts = window_counts(size, kernel, stride, (OH, OW), padding, count_include_pad)
    share = g / counts.astype(g.dtype)
    (top, bottom), (left, right) = reached
    x = np.zeros((*g.shape[:2], top + size[0] + bottom, left + size[1] + right), g.dtype)
    for i, j in order:
        here = place(x, i, j, (OH, OW), stride)
        here += share
    return x[:, :, top : top + size[0], left : left + size[1]]


# ---------------------------------------------------------------- random bits


def random_bits(key: np.ndarray, stream: int, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Draw bits from Philox4x32-10: block i of four words has the counter (i, stream, calls).

    The key is (seed, counter of calls); two words, the low one first, are one uint64.

    Source: Salmon, Moraes, Dror & Shaw 2011
    """
    count = int(np.prod(shape, dtype=np.int64))
    width = np.dtype(dtype).itemsize // 4
    words = np.empty((-(-count * width // 4), 4), np.uint32)
    seed, calls = int(key[0]), int(key[1])
    fixed = (stream, calls & 0xFFFFFFFF, calls >> 32)
    for start in range(0, len(words), 2**14):  # blocks that stay in cache
        block = np.arange(start, min(start + 2**14, len(words)), dtype=np.uint64)
        counter = [block & 0xFFFFFFFF, *(np.full_like(block, word) for word in fixed)]
        drawn = philox(counter, seed & 0xFFFFFFFF, seed >> 32)
        words[start : start + 2**14] = np.stack(drawn, axis=-1)
    flat = words.reshape(-1)[: count * width]
    if width == 2:
        flat = flat[0::2] | flat[1::2].astype(np.uint64) << np.uint64(32)
    return flat.reshape(shape)


def philox(counter: list[np.ndarray], low: int, high: int) -> list[np.ndarray]:
    """Encrypt blocks of four 32-bit words, held in uint64, in ten rounds of Philox4x32."""
    a, b, c, d = counter
    mask, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    for _ in range(10):
        p, q = a * np.uint64(0xD2511F53), c * np.uint64(0xCD9E8D57)
        a, b = q >> half ^ b ^ np.uint64(low), q & mask
        c, d = p >> half ^ d ^ np.uint64(high), p & mask
        low, high = (low + 0x9E3779B9) & 0xFFFFFFFF, (high + 0xBB67AE85) & 0xFFFFFFFF
    return [a, b, c, d]
