"""A recurrent network reads a text letter by letter, and then writes in its manner.

Run it: `python samples/char_rnn.py`. Expect the loss on held-out text to fall from 4.1 to below
2 nats a letter in 600 steps (half a minute), and 300 letters that the net makes up.
`--data FILE` reads another text: on the 1.1 million letters of "tinyshakespeare", 2,000 steps bring
an LSTM of 256 units below 1.8. `--cell rnn | lstm | gru` chooses the recurrence. What was learned
is in `build/char_rnn/`.

The text is cut into as many streams as the batch has rows; a step of training takes the next
letters of each stream, and the state that came out of the step before, which no gradient crosses.
Data: the first 99,844 letters of Shakespeare's plays, `samples/data/shakespeare.txt`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

import graphc as gx

BUNDLED = Path(__file__).parent / "data" / "shakespeare.txt"
OUT = Path("build") / "char_rnn"  # of the current folder
FORGET = 16  # steps after which training begins with an empty state again
HELD_OUT = 0.1  # the part of the text, at its end, that is never trained on
CELLS: dict[str, Callable[..., gx.nn.Recurrent]] = {
    "rnn": gx.nn.RNN,
    "lstm": gx.nn.LSTM,
    "gru": gx.nn.GRU,
}
Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Text:
    """A text as places in its alphabet, cut in two.

    Shapes: alphabet V letters; train and held_out int64 (length,)
    """

    alphabet: str
    train: Places
    held_out: Places


def load(path: Path) -> Text:
    """Read a text."""
    text = path.read_text(encoding="utf-8")
    alphabet = "".join(sorted(set(text)))
    table = {letter: place for place, letter in enumerate(alphabet)}
    places = np.array([table[letter] for letter in text], np.int64)
    end = round(len(places) * (1 - HELD_OUT))
    return Text(alphabet, places[:end], places[end:])


# ---------------------------------------------------------------- the network


def network(cell: str, letters: int, units: int, rate: float = 2e-3) -> gx.Program:
    """Return a program that trains on a piece of text, measures, and does one step.

    A carry is a tensor, for an LSTM the pair (h, c); it comes in as inputs and goes out.
    """
    layer = CELLS[cell](units, name=cell)
    scores_of = gx.nn.Dense(letters, name="score")
    read = gx.input("read", ("T", "N"), dtype="int64")
    following = gx.input("following", ("T", "N"), dtype="int64")
    parts = [gx.input(name, ("N", units)) for name in ("h", "c")[: 1 + (cell == "lstm")]]
    carry = tuple(parts) if cell == "lstm" else parts[0]

    carried, hs = layer(gx.one_hot(read, letters), carry)
    loss = gx.cross_entropy(scores_of(hs), following).named("loss")
    outputs = {"loss": loss, "carry": carried}
    updates = gx.adam(gx.clip_norm(gx.grad(loss), 5.0), lr=rate)

    letter = gx.input("letter", ("N",), dtype="int64")
    new, h = layer.cell(carry, gx.one_hot(letter, letters))
    heat = gx.input("heat", ())  # below 1 the likely letters are likelier still
    return gx.Program(
        "char_rnn",
        train=gx.function([read, following, *parts], outputs, updates=updates),
        evaluate=gx.function([read, following, *parts], outputs),
        step=gx.function(
            [letter, heat, *parts], {"carry": new, "p": gx.softmax(scores_of(h) / heat)}
        ),
    )


program = network("lstm", letters=65, units=256)
example = {
    "read": np.arange(6).reshape(3, 2),
    "following": np.arange(1, 7).reshape(3, 2),
    "h": np.zeros((2, 256), np.float32),
    "c": np.zeros((2, 256), np.float32),
}

# ---------------------------------------------------------------- what is done with it


def pieces(places: Places, rows: int, length: int) -> Iterator[tuple[Places, Places]]:
    """Yield (read, following), both (length, rows), along streams of the text, once through it."""
    columns = (len(places) - 1) // rows
    streams = places[: columns * rows + 1]
    read, following = (streams[i : i + columns * rows].reshape(rows, columns).T for i in (0, 1))
    for start in range(0, columns - length + 1, length):
        yield read[start : start + length], following[start : start + length]


def zeros(cell: str, units: int, rows: int) -> list[Any]:
    """Return the carry to begin with, as the arguments of a call."""
    return [np.zeros((rows, units), np.float32)] * (2 if cell == "lstm" else 1)


def train(
    module: gx.Module, places: Places, start: list[Any], *, steps: int, length: int
) -> Iterator[tuple[int, float]]:
    """Train, and yield each step's number and loss; ``start`` is the carry at the text's start."""
    step, carry = 0, start
    while True:
        for i, (read, following) in enumerate(pieces(places, len(start[0]), length)):
            # Now and then all streams forget, or the net would never learn how a text begins.
            carry = start if i % FORGET == 0 else carry
            found = module.train(read, following, *carry)
            carry = _arguments_of(found["carry"])
            step += 1
            yield step, float(found["loss"])
            if step == steps:
                return


def mean_loss(module: gx.Module, places: Places, start: list[Any], length: int) -> float:
    """Return the mean loss in nats a letter on a text, without training."""
    carry, losses = start, []
    for read, following in pieces(places, len(start[0]), length):
        found = module.evaluate(read, following, *carry)
        carry = _arguments_of(found["carry"])
        losses.append(float(found["loss"]))
    return float(np.mean(losses))


def written(
    module: gx.Module, alphabet: str, start: list[Any], *, length: int, heat: float, seed: int
) -> str:
    """Return text that the net makes up: each letter drawn is the next one read."""
    generator = np.random.default_rng(seed)
    letter, carry, found = max(alphabet.find("\n"), 0), start, ""
    while len(found) < length:
        answer = module.step([letter], heat, *carry)
        carry = _arguments_of(answer["carry"])
        chances = answer["p"][0].astype("float64")
        letter = int(generator.choice(len(chances), p=chances / chances.sum()))
        found += alphabet[letter]
    return found


def _arguments_of(carry: Any) -> list[Any]:
    return list(carry) if isinstance(carry, tuple) else [carry]


def _progress() -> Progress:
    return Progress(
        "training",
        BarColumn(),
        TextColumn("loss {task.fields[loss]:.3f}, held out {task.fields[held]:.3f}"),
        "left",
        TimeRemainingColumn(),
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", metavar="FILE", type=Path, default=BUNDLED, help="a UTF-8 text")
    parser.add_argument("--cell", choices=CELLS, default="lstm")
    parser.add_argument("--units", type=int, default=256)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--rows", type=int, default=32, help="streams that are read side by side")
    parser.add_argument("--length", type=int, default=64, help="letters of a stream in one step")
    parser.add_argument("--heat", type=float, default=0.8, help="of the letters drawn")
    parser.add_argument("--seed", type=int, default=0, help="of weights and of the letters drawn")
    parser.add_argument("--backend", help='"c", "numpy" or an installed plug-in')
    return parser.parse_args()


def main() -> None:
    """Train, measure on held-out text, write, save."""
    options = _options()
    text = load(options.data)
    length, start = options.length, zeros(options.cell, options.units, options.rows)
    made = network(options.cell, len(text.alphabet), options.units)
    module = gx.compile(made, backend=options.backend)
    module.init(seed=options.seed)
    print(
        f"{len(text.train):,} letters to train on, {len(text.held_out):,} held out, "
        f"{len(text.alphabet)} different"
    )
    begun = time.perf_counter()
    with _progress() as progress:
        task = progress.add_task("", total=options.steps, loss=np.nan, held=np.nan)
        losses = []
        for step, loss in train(module, text.train, start, steps=options.steps, length=length):
            losses.append(loss)
            progress.update(task, advance=1, loss=np.mean(losses[-20:]))
            if step % 200 == 0 or step == options.steps:
                held = mean_loss(module, text.held_out, start, length)
                progress.update(task, held=held)
                progress.console.print(f"step {step:5}: loss {loss:.4f}, held out {held:.4f}")
    seconds = time.perf_counter() - begun
    print(f"{options.steps} steps through {module.backend} in {seconds:.1f} s\n")
    start = zeros(options.cell, options.units, 1)
    print(written(module, text.alphabet, start, length=300, heat=options.heat, seed=options.seed))
    OUT.mkdir(parents=True, exist_ok=True)
    module.save(OUT / f"{options.cell}.safetensors", alphabet=text.alphabet, steps=options.steps)
    print(f"\nwritten: {OUT / f'{options.cell}.safetensors'}")


if __name__ == "__main__":
    main()
