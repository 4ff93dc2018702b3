"""LeNet-5 reads handwritten digits: declared, drawn, derived, trained, saved.

Run it: `python samples/lenet5.py`. Expect a summary with 61,706 parameters, ten epochs on 4,000
digits in seconds (through C), above 96 % of 1,000 test digits right, and their confusion matrix.
`build/lenet5/` then holds `forward` and `gradient` as .svg and .png, the derivation of one weight,
`features.c1.weight.txt`, and what was learned, `lenet5.safetensors`.

Data: the 5,000 digits of `samples/data/mnist5k.npz`. `--data FOLDER` takes the four IDX files of
the full MNIST instead: three epochs, above 98.2 % of its 10,000 test digits.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import digits
import numpy as np
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

import graphc as gx

OUT = Path("build") / "lenet5"  # of the current folder
BATCH = 16
RATE = 0.2  # the first epoch's learning rate; it falls in a straight line towards 0

# ---------------------------------------------------------------- the network

x = gx.input("x", ("N", 1, 28, 28))
y = gx.input("y", ("N",), dtype="int64")

with gx.scope("features"):
    h = gx.nn.Conv2d(6, 5, padding=2, name="c1")(x).tanh()
    h = gx.avg_pool2d(h, 2).named("pool2")
    h = gx.nn.Conv2d(16, 5, name="c3")(h).tanh()
    h = gx.avg_pool2d(h, 2).named("pool4")
with gx.scope("classifier"):
    h = gx.nn.Dense(120, name="c5")(h.flatten(1)).tanh()
    h = gx.nn.Dense(84, name="f6")(h).tanh()
    logits = gx.nn.Dense(10, name="output")(h)

loss = gx.cross_entropy(logits, y).named("loss")
program = gx.Program(
    "lenet5",
    predict=gx.function([x], gx.softmax(logits)),
    train=gx.function([x, y], loss, updates=gx.sgd(loss, lr=RATE)),
    gradients=gx.function([x, y], {"loss": loss, "gradients": gx.grad(loss)}),
)
example = {
    "x": np.random.default_rng(0).random((2, 1, 28, 28), np.float32),
    "y": np.array([3, 8]),
}

# ---------------------------------------------------------------- what is done with it


def draw(folder: Path) -> None:
    """Write the network, its gradients, and the derivation of one of them."""
    weight = "features.c1.weight"
    forward, gradient = gx.draw(loss), gx.draw(loss, view="gradient")
    for suffix in ("svg", "png"):
        forward.save(folder / f"forward.{suffix}")
        gradient.save(folder / f"gradient.{suffix}")
    gx.explain(loss, wrt=weight).save(folder / f"{weight}.txt")


def train(module: gx.Module, data: digits.Digits, epochs: int, seed: int) -> None:
    """Descend the gradient, batch after batch; print loss and test accuracy of each epoch."""
    count = len(data.train_labels)
    with _progress() as progress:
        task = progress.add_task("training", total=epochs * count, loss=np.nan, accuracy=np.nan)
        for epoch in range(epochs):
            module.state["sgd.lr"] = RATE * (1 - epoch / epochs)
            losses = []
            shuffled = gx.batches(
                data.train_images, data.train_labels, size=BATCH, seed=seed + epoch
            )
            for images, labels in shuffled:
                losses.append(module.train(images, labels))
                progress.update(task, advance=len(labels), loss=np.mean(losses[-100:]))
            right = np.mean(predict(module, data.test_images) == data.test_labels)
            progress.update(task, accuracy=right)
            progress.console.print(
                f"epoch {epoch + 1:2}: loss {np.mean(losses):.4f}, test accuracy {right:.2%}"
            )


def predict(module: gx.Module, images: digits.Images) -> digits.Labels:
    """Return the most probable digit of each image."""
    parts = [module.predict(part).argmax(axis=1) for (part,) in gx.batches(images, size=500)]
    return np.concatenate(parts)


def _progress() -> Progress:
    return Progress(
        "{task.description}",
        BarColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TextColumn("accuracy {task.fields[accuracy]:.2%}"),
        "left",
        TimeRemainingColumn(),
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", metavar="FOLDER", help="MNIST's four IDX files, .gz or not")
    parser.add_argument("--epochs", type=int, help="10 by default, and 3 with --data")
    parser.add_argument("--seed", type=int, default=0, help="of weights and shuffling")
    parser.add_argument("--backend", help='"c", "numpy" or an installed plug-in')
    return parser.parse_args()


def main() -> None:
    """Show the network, train it, test it, save it."""
    options = _arguments()
    data = digits.load(options.data)
    epochs = options.epochs if options.epochs is not None else (3 if options.data else 10)

    print(gx.summary(program))
    draw(OUT)
    module = gx.compile(program, backend=options.backend)
    module.init(seed=options.seed)

    start = time.perf_counter()
    train(module, data, epochs, options.seed)
    print(f"{epochs} epochs through {module.backend} in {time.perf_counter() - start:.1f} s\n")

    predicted = predict(module, data.test_images)
    digits.print_confusion(digits.confusion_matrix(data.test_labels, predicted))
    right = int((predicted == data.test_labels).sum())
    print(f"right: {right} of {len(predicted)} ({right / len(predicted):.2%})")
    module.save(OUT / "lenet5.safetensors", epochs=epochs, seed=options.seed)
    print("written:", *sorted(map(str, OUT.iterdir())), sep="\n  ")


if __name__ == "__main__":
    main()
