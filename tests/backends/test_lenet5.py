"""LeNet-5 of the samples through both back ends: equal weights, and digits that it learns.

The slow tests train on the full MNIST; `GRAPHC_MNIST` names the folder of its four IDX files.
"""

from __future__ import annotations

import os

import numpy as np
import pytest

import exported
import graphc as gx

BACKENDS = ["numpy", pytest.param("c", marks=pytest.mark.cc)]
STABLE_RATE = 0.1  # at 0.2 batches of 8 climb to a loss of 3.8, and one ulp grows to 1e-10
MNIST = os.environ.get("GRAPHC_MNIST")


def _trained(backend: str, steps: int) -> gx.Module:
    sample = exported.sample()
    data = sample.digits.load()
    module = gx.compile(sample.program, backend=backend, dtype="float64")
    module.init(seed=3)
    module.state["sgd.lr"] = STABLE_RATE
    for step in range(steps):
        part = slice(8 * step, 8 * step + 8)
        module.train(data.train_images[part], data.train_labels[part])
    return module


def test_the_declared_net_has_61706_parameters() -> None:
    sizes = {name: np.prod(t.shape) for name, t in gx.parameters(exported.sample().loss).items()}
    assert list(sizes.values()) == [150, 6, 2400, 16, 48000, 120, 10080, 84, 840, 10]
    assert sum(sizes.values()) == 61_706


def test_scopes_name_the_parameters() -> None:
    names = list(gx.parameters(exported.sample().loss))
    assert names[:2] == ["features.c1.weight", "features.c1.bias"]
    assert names[-2:] == ["classifier.output.weight", "classifier.output.bias"]


@pytest.mark.cc
def test_both_back_ends_agree_after_50_steps() -> None:
    first, second = (_trained(name, 50) for name in ("numpy", "c"))
    before = _trained("numpy", 0)
    for name, values in first.state.items():
        np.testing.assert_allclose(values, second.state[name], rtol=0, atol=1e-12, err_msg=name)
        if name != "sgd.lr":
            assert np.abs(values - before.state[name]).max() > 1e-3, name


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_short_run_learns(backend: str) -> None:
    sample = exported.sample()
    data = sample.digits.load()
    module = gx.compile(sample.program, backend=backend)
    losses = [
        float(module.train(images, labels))
        for images, labels in gx.batches(
            data.train_images[:1600], data.train_labels[:1600], size=16, seed=0
        )
    ]
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])
    right = sample.predict(module, data.test_images) == data.test_labels
    assert right.mean() > 0.7


@pytest.mark.slow
@pytest.mark.skipif(MNIST is None, reason="GRAPHC_MNIST names no folder with MNIST's IDX files")
@pytest.mark.parametrize("backend", BACKENDS)
def test_three_epochs_of_mnist_reach_98_2_percent(backend: str) -> None:
    sample = exported.sample()
    data = sample.digits.load(MNIST)
    module = gx.compile(sample.program, backend=backend)
    sample.train(module, data, 3, 0)
    assert (sample.predict(module, data.test_images) == data.test_labels).mean() >= 0.982
