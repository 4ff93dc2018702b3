"""Forms that lose digits are exchanged for forms nearer to the exact value.

Rules (all towards the exact value):
    log(exp(x))            -> x
    log(sigmoid(x))        -> -softplus(-x)
    log(sum(exp(x)))       -> logsumexp(x)
    log(x + 1)             -> log1p(x)
    exp(x) - 1             -> expm1(x)
    log(exp(x) + 1)        -> softplus(x)
    1 / (exp(-x) + 1)      -> sigmoid(x)
"""

from __future__ import annotations

from graphc.ir import Node, Program
from graphc.ops import elementwise as e
from graphc.ops import leaf, linear, reduce
from graphc.passes import rewrite


def stabilise(program: Program) -> Program:
    """Exchange forms that lose digits.

    Promises: each value is as near to the exact one as before, or nearer.
    """
    return rewrite.rewrite(program, *RULES)


def log_of_exp(node: Node) -> Node | None:
    """log(exp(x)) -> x, which makes log(softmax(x)) x - logsumexp(x)."""
    inner = _inner(node, e.LOG, e.EXP)
    return None if inner is None else inner.inputs[0]


def log_of_sigmoid(node: Node) -> Node | None:
    """log(sigmoid(x)) -> -softplus(-x)."""
    inner = _inner(node, e.LOG, e.SIGMOID)
    if inner is None:
        return None
    minus = e.apply(e.NEGATIVE, inner.inputs[0])
    return e.apply(e.NEGATIVE, e.apply(e.SOFTPLUS, minus))


def log_of_sum_of_exp(node: Node) -> Node | None:
    """log(sum(exp(x))) -> logsumexp(x)."""
    if not e.is_formula(node, e.LOG):
        return None
    (total,) = node.inputs
    reshaped = total.op is linear.RESHAPE
    inner = total.inputs[0] if reshaped else total
    if inner.op is not linear.SUM or not e.is_formula(inner.inputs[0], e.EXP):
        return None
    value = reduce.logsumexp(inner.inputs[0].inputs[0], inner.attrs["axes"])
    return linear.reshape(value, node.shape) if reshaped else value


def log_of_one_plus(node: Node) -> Node | None:
    """log(x + 1) -> log1p(x); log(exp(x) + 1) -> softplus(x)."""
    total = _inner(node, e.LOG, e.ADD)
    x = None if total is None else _other_than_one(total)
    if x is not None:
        if e.is_formula(x, e.EXP):
            return e.apply(e.SOFTPLUS, x.inputs[0])
        return e.apply(e.LOG1P, x)
    if e.is_formula(node, e.LOG1P) and e.is_formula(node.inputs[0], e.EXP):
        return e.apply(e.SOFTPLUS, node.inputs[0].inputs[0])
    return None


def exp_minus_one(node: Node) -> Node | None:
    """exp(x) - 1 -> expm1(x)."""
    if not e.is_formula(node, e.SUBTRACT):
        return None
    a, b = node.inputs
    if not leaf.is_constant(b, 1) or not e.is_formula(a, e.EXP):
        return None
    return e.apply(e.EXPM1, a.inputs[0])


def logistic(node: Node) -> Node | None:
    """1 / (exp(-x) + 1) -> sigmoid(x)."""
    if e.is_formula(node, e.RECIPROCAL):
        (total,) = node.inputs
    elif e.is_formula(node, e.DIVIDE) and leaf.is_constant(node.inputs[0], 1):
        total = node.inputs[1]
    else:
        return None
    x = _other_than_one(total) if e.is_formula(total, e.ADD) else None
    if x is None or not e.is_formula(x, e.EXP):
        return None
    power = x.inputs[0]
    if e.is_formula(power, e.NEGATIVE):
        return e.apply(e.SIGMOID, power.inputs[0])
    return e.apply(e.SIGMOID, e.apply(e.NEGATIVE, power))


def _inner(node: Node, outer: e.Formula, inner: e.Formula) -> Node | None:
    """Return the node under an outer formula if it applies the inner one."""
    if e.is_formula(node, outer) and e.is_formula(node.inputs[0], inner):
        return node.inputs[0]
    return None


def _other_than_one(total: Node) -> Node | None:
    a, b = total.inputs
    if leaf.is_constant(b, 1):
        return a
    return b if leaf.is_constant(a, 1) else None


RULES: tuple[rewrite.Rule, ...] = (
    log_of_exp,
    log_of_sigmoid,
    log_of_sum_of_exp,
    log_of_one_plus,
    exp_minus_one,
    logistic,
)
