"""A recurrent network learns to spell "hello", letter by letter, and then spells it by itself.

S0's character model: the vocabulary h, e, l, o; a letter comes in as a one-hot vector x, the state
is h = tanh(Θhh h + Θxh x), and the net says which letter comes next. It is trained on the whole
word, forward through the loop and back through it; then it gets an "h", and each letter that it
draws is its next input.

Run it: `python samples/hello.py`. Expect a probability above 0.9 for each of e, l, l, o after 300
steps, and the word `hello` drawn again and again. `build/hello/` then holds pictures of the loop,
of its gradient and of the same loop unrolled.
Data: the word itself.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import graphc as gx

WORD = "hello"
LETTERS = "helo"
UNITS = 3  # as S0's figure
STEPS = 300
OUT = Path("build") / "hello"  # of the current folder

# ---------------------------------------------------------------- the network

letters = gx.input("letters", ("T",), dtype="int64")  # places in LETTERS
following = gx.input("following", ("T",), dtype="int64")

xh = gx.parameter("Θxh", (len(LETTERS), UNITS))
hh = gx.parameter("Θhh", (UNITS, UNITS))
hy = gx.parameter("Θhy", (UNITS, len(LETTERS)))


def cell(h: gx.Tensor, x: gx.Tensor) -> tuple[gx.Tensor, gx.Tensor]:
    """Take in one letter, and score each letter as the next."""
    h = gx.tanh(x @ xh + h @ hh).named("h")
    return h, (h @ hy).named("score")


_, scores = gx.scan(cell, gx.zeros((UNITS,)), gx.one_hot(letters, len(LETTERS)))
loss = gx.cross_entropy(scores, following).named("loss")

# One step of the same cell: its state comes in and goes out, so that a caller can go on with it.
letter = gx.input("letter", (), dtype="int64")
state = gx.input("h", (UNITS,))
new_state, score = cell(state, gx.one_hot(letter, len(LETTERS)))

program = gx.Program(
    "hello",
    read=gx.function([letters], gx.softmax(scores)),
    gradients=gx.function([letters, following], {"loss": loss, "grads": gx.grad(loss, "*")}),
    train=gx.function([letters, following], loss, updates=gx.adam(loss, lr=0.05)),
    step=gx.function([letter, state], {"h": new_state, "p": gx.softmax(score)}),
)
WORD_PLACES = np.array([LETTERS.index(letter) for letter in WORD])
example = {"letters": WORD_PLACES[:-1], "following": WORD_PLACES[1:]}

# ---------------------------------------------------------------- what is done with it


def train(module: gx.Module, steps: int) -> None:
    """Show the net the word again and again."""
    for step in range(1, steps + 1):
        value = module.train(**example)
        if step == 1 or step % 100 == 0:
            print(f"step {step:4}: loss {value:.4f}")


def drawn(module: gx.Module, length: int, generator: np.random.Generator) -> str:
    """Return a word that the net spells: each letter drawn is the next input."""
    word, h = WORD[0], np.zeros(UNITS, np.float32)
    while len(word) < length:
        found: dict[str, Any] = module.step(LETTERS.index(word[-1]), h)
        h = found["h"]
        chances = found["p"].astype("float64")
        word += LETTERS[generator.choice(len(LETTERS), p=chances / chances.sum())]
    return word


def draw(folder: Path) -> None:
    """Write the loop, its gradient, and the loop unrolled."""
    views: dict[str, dict[str, Any]] = {"graph": {}, "gradient": {}, "unrolled": {"T": 4}}
    for view, sizes in views.items():
        picture = gx.draw(loss, view=view, **sizes)
        for suffix in ("svg", "png"):
            picture.save(folder / f"{view}.{suffix}")


def main() -> None:
    """Train the net, read the word with it, and let it write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=0, help="of weights and of the letters drawn")
    parser.add_argument("--backend", help='"c", "numpy" or an installed plug-in')
    options = parser.parse_args()

    module = gx.compile(program, backend=options.backend)
    module.init(seed=options.seed)
    train(module, options.steps)
    print("\nread  next  probability")
    for i, chances in enumerate(module.read(example["letters"])):
        right = chances[LETTERS.index(WORD[i + 1])]
        print(f"{WORD[: i + 1]:<5} {WORD[i + 1]:<5} {right:.3f}")
    generator = np.random.default_rng(options.seed)
    words = [drawn(module, len(WORD), generator) for _ in range(10)]
    print("\ndrawn letter by letter:", *words)
    draw(OUT)
    module.save(OUT / "hello.safetensors", steps=options.steps, seed=options.seed)
    print("written:", *sorted(map(str, OUT.iterdir())), sep="\n  ")


if __name__ == "__main__":
    main()
