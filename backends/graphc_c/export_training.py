"""Training in an exported module's example: on samples and labels in IDX files, as MNIST has them.

Finds out whether a program learns that way; what the C does stands in ``train.c.in``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from graphc import ir
from graphc.dims import Dim
from graphc.ir import TensorType
from graphc_c.cwriter import CTYPES
from graphc_c.export_c import filled
from graphc_c.export_names import Face, Module

_KEY = "random.key"


@dataclass(frozen=True, slots=True)
class Training:
    """A function that learns from samples (N, …) and labels (N,), and one that judges, if any.

    Attributes:
        step: the function that updates.
        loss: the position of a scalar among its outputs.
        judge: a function of the samples, or of both; or None.
        judged: the position of its output: classes (N,), scores (N, K), or the number of hits.
    """

    step: Face
    loss: int
    judge: Face | None
    judged: int


def usage(training: Training | None) -> str:
    """Return how the example is called."""
    if training is None:
        return "./example [WEIGHTS]"
    return "./example [WEIGHTS]\n./example SAMPLES LABELS [EPOCHS [BATCH [SAMPLES LABELS]]]"


def find(module: Module) -> Training | None:
    """Return what of a program learns from samples and labels, if something does."""
    for face in module.faces:
        loss = _place(face, lambda t: t.is_float and t.shape == ())
        if loss is None or not _learns(module, face) or not _takes_samples(face):
            continue
        for judge in module.faces:
            judged = None if _learns(module, judge) else _judged(face, judge)
            if judged is not None:
                return Training(face, loss, judge, judged)
        return Training(face, loss, None, 0)
    return None


def _learns(module: Module, face: Face) -> bool:
    return any(module.state_names[i] != _KEY for i in face.plan.updates)


def _takes_samples(face: Face) -> bool:
    """Return whether the inputs are floats (N, fixed sizes) and integers (N,)."""
    types = sorted((n.tensor for n in face.function.inputs), key=lambda t: not t.is_float)
    if len(types) != 2 or not types[0].is_float or types[1].dtype not in ir.INTEGERS:
        return False
    samples, labels = types
    same = len(labels.shape) == 1 and labels.shape == samples.shape[:1]
    fixed = all(isinstance(d, int) and d > 0 for d in samples.shape[1:])
    named = [str(d) for d in labels.shape] == list(face.plan.sizes)
    return same and fixed and named and _sized(face)


def _judged(step: Face, judge: Face) -> int | None:
    """Return the output by which a function judges the samples of a step, if it does."""
    if judge.plan.sizes != step.plan.sizes or not _sized(judge):
        return None
    types = [n.tensor for n in step.function.inputs]
    given = [n.tensor for n in judge.function.inputs]
    if given == [t for t in types if t.is_float]:
        return _place(judge, lambda t: _tells_class(t, step.plan.sizes))
    if sorted(map(str, given)) == sorted(map(str, types)):
        return _place(judge, lambda t: t.dtype in ir.INTEGERS and t.shape == ())
    return None


def _sized(face: Face) -> bool:
    """Return whether the outputs' sizes are numbers or N itself, which an example can write."""
    shapes = [t.shape for t in face.plan.results]
    return all(isinstance(d, int) or (str(d),) == face.plan.sizes for s in shapes for d in s)


def _tells_class(t: TensorType, sizes: Sequence[str]) -> bool:
    """Return whether it is a class (N,) or a score of each of K classes (N, K)."""
    if [str(d) for d in t.shape[:1]] != list(sizes):
        return False
    if t.is_float:
        return len(t.shape) == 2 and isinstance(t.shape[1], int) and t.shape[1] > 0
    return len(t.shape) == 1 and t.dtype in ir.INTEGERS


def _place(face: Face, fits: Callable[[TensorType], bool]) -> int | None:
    return next((i for i, t in enumerate(face.plan.results) if fits(t)), None)


# ---------------------------------------------------------------- C


def source(module: Module, training: Training) -> str:
    """Return the part of ``example.c`` that trains."""
    inputs = {n.tensor.is_float: n.tensor for n in training.step.function.inputs}
    samples, labels = inputs[True], inputs[False]
    judge = training.judge
    return filled(
        "train.c.in",
        name=module.name,
        p=module.prefix,
        m=module.macro,
        sample=CTYPES[samples.dtype],
        label=CTYPES[labels.dtype],
        each=math.prod(int(d) for d in samples.shape[1:]),
        type=str(samples),
        stepping=_function(training.step, "step", [f"*loss = (double)r{training.loss}[0];"]),
        judging=_NO_JUDGE
        if judge is None
        else _function(judge, "judge", _counting(judge, training.judged)),
        steps=f"{training.step.symbol}_work_size(n)",
        judges="0" if judge is None else f"{judge.symbol}_work_size(n)",
    )


_NO_JUDGE = """\
/* No function judges: there is no accuracy. */
static int judge(const call *c, int64_t *right) {
  (void)c;
  *right = -1;
  return 0;
}
"""


def _counting(judge: Face, judged: int) -> list[str]:
    """Return the C that reads the number of hits from what the judge gave."""
    t, given = judge.plan.results[judged], f"r{judged}"
    if t.shape == ():
        return [f"*right = (int64_t){given}[0];"]
    best = [f"int64_t best = (int64_t){given}[i];"]
    if t.is_float:
        classes = t.shape[1]
        best = [
            "int64_t best = 0;",
            f"for (int64_t k = 1; k < {classes}; k++) {{",
            f"  if ({given}[i * {classes} + k] > {given}[i * {classes} + best]) {{",
            "    best = k;",
            "  }",
            "}",
        ]
    body = [*best, "*right += best == (int64_t)y[i];"]
    return ["for (int64_t i = 0; i < n; i++) {", *("  " + line for line in body), "}"]


def _function(face: Face, name: str, reading: Sequence[str]) -> str:
    """Return a C function that calls a face on a batch and reads what it gives."""
    made = "double *loss" if name == "step" else "int64_t *right"
    given = ["x" if n.tensor.is_float else "y" for n in face.function.inputs]
    lines = [
        f"static int {name}(const call *c, {made}) {{",
        "  const int64_t n = c->n;",
        "  const sample *x = c->x;",
        "  const label *y = c->y;",
        "  (void)y;",
    ]
    for i, t in enumerate(face.plan.results):
        extents = [f"sizeof *r{i}", *(_extent(d) for d in t.shape)]
        lines.append(f"  {CTYPES[t.dtype]} *r{i} = block({' * '.join(extents)});")
    outputs = [f"r{i}" for i in range(len(face.outputs))]
    arguments = ", ".join(["c->s", "c->work", "n", *given, *outputs])
    lines += [f"  int status = {face.symbol}({arguments});", "  if (status == 0) {"]
    lines += [f"    {line}" for line in reading]
    lines.append("  }")
    lines += [f"  free({r});" for r in outputs]
    return "\n".join([*lines, "  return status;", "}", ""])


def _extent(dim: Dim) -> str:
    return str(dim) if isinstance(dim, int) else "(size_t)n"
