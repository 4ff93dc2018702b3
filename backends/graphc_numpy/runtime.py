"""Functions that emitted source calls; each is copied into the source that uses it.

Each stands on its own: it knows NumPy as ``np``, other functions of this file, and no graphc.
Images are (N, C, H, W), filters (M, C / groups, KH, KW); sizes, strides, dilations and paddings
come as pairs for H and W, paddings as ((top, bottom), (left, right)).
"""

from __future__ import annotations

import numpy as np


class OutOfRange(IndexError):
    """An index outside its axis; the arguments are op, index, length and the user's line."""


def check_index(index: np.ndarray, length: int, op: str, where: str | None) -> None:
    """Raise OutOfRange for the first index that is not in 0 ... length - 1."""
    if index.size == 0 or (index.min() >= 0 and index.max() < length):
        return
    flat = np.ravel(index)
    wrong = flat[(flat < 0) | (flat >= length)]
    raise OutOfRange(op, int(wrong[0]), length, where)


# ---------------------------------------------------------------- elementwise


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) without overflow, accurate at both ends."""
    return np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x)))


def softplus(x: np.ndarray) -> np.ndarray:
    """log(1 + exp(x)) without overflow, accurate at both ends."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def erf(x: np.ndarray) -> np.ndarray:
    """Error function, in the precision of x."""
    return erf_single(x) if x.dtype == np.float32 else erf_double(np.asarray(x))


def erf_single(x: np.ndarray) -> np.ndarray:
    """Error function in float32: x + x p(x^2) near 0, else 1 - exp(q(|x|)).

    Source: the polynomials of N. Juffa (2015), for erff in CUDA's style; error below 2 ULP here.
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
    return np.where(t > 0.927734375, far, near * x + x)


def erf_double(x: np.ndarray) -> np.ndarray:
    """Error function in float64, below 1 ULP.

    Source: s_erf.c of fdlibm (Sun Microsystems 1993), its intervals and rational functions
    """
    t, y = np.abs(x), np.copysign(1.0, x) + (x - x)  # 1 beyond 6; inf and NaN below
    y = np.where(np.isinf(x), np.copysign(1.0, x), y)
    inside = t < 0.84375
    z = x[inside] ** 2
    p = (1.28379167095512558561e-01, -3.25042107247001499370e-01, -2.84817495755985104766e-02,
         -5.77027029648944159157e-03, -2.37630166566501626084e-05)  # fmt: skip
    q = (1.0, 3.97917223959155352819e-01, 6.50222499887672944485e-02, 5.08130628187576562776e-03,
         1.32494738004321644526e-04, -3.96022827877536812320e-06)  # fmt: skip
    y[inside] = x[inside] + x[inside] * (horner(p, z) / horner(q, z))
    inside = (t >= 0.84375) & (t < 1.25)
    z = t[inside] - 1
    p = (-2.36211856075265944077e-03, 4.14856118683748331666e-01, -3.72207876035701323847e-01,
         3.18346619901161753674e-01, -1.10894694282396677476e-01, 3.54783043256182359371e-02,
         -2.16637559486879084300e-03)  # fmt: skip
    q = (1.0, 1.06420880400844228286e-01, 5.40397917702171048937e-01, 7.18286544141962662868e-02,
         1.26171219808761642112e-01, 1.36370839120290507362e-02,
         1.19844998467991074170e-02)  # fmt: skip
    y[inside] = np.copysign(8.45062911510467529297e-01 + horner(p, z) / horner(q, z), x[inside])
    inside = (t >= 1.25) & (t < 1 / 0.35)
    p = (-9.86494403484714822705e-03, -6.93858572707181764372e-01, -1.05586262253232909814e+01,
         -6.23753324503260060396e+01, -1.62396669462573470355e+02, -1.84605092906711035994e+02,
         -8.12874355063065934246e+01, -9.81432934416914548592e+00)  # fmt: skip
    q = (1.0, 1.96512716674392571292e+01, 1.37657754143519042600e+02, 4.34565877475229228821e+02,
         6.45387271733267880336e+02, 4.29008140027567833386e+02, 1.08635005541779435134e+02,
         6.57024977031928170135e+00, -6.04244152148580987438e-02)  # fmt: skip
    y[inside] = np.copysign(1 - erfc_tail(t[inside], p, q), x[inside])
    inside = (t >= 1 / 0.35) & (t < 6)
    p = (-9.86494292470009928597e-03, -7.99283237680523006574e-01, -1.77579549177547519889e+01,
         -1.60636384855821916062e+02, -6.37566443368389627722e+02, -1.02509513161107724954e+03,
         -4.83519191608651397019e+02)  # fmt: skip
    q = (1.0, 3.03380607434824582924e+01, 3.25792512996573918826e+02, 1.53672958608443695994e+03,
         3.19985821950859553908e+03, 2.55305040643316442583e+03, 4.74528541206955367215e+02,
         -2.24409524465858183362e+01)  # fmt: skip
    y[inside] = np.copysign(1 - erfc_tail(t[inside], p, q), x[inside])
    return y
