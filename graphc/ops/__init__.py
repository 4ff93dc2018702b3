"""All ops, each one value in one place: name, shape rule, derivative rule, float class, cost.

How to run an op lives in each back end's table, keyed by its name, and nowhere here.
"""

from __future__ import annotations

from graphc.ir import Op
from graphc.ops import (
    conv,
    elementwise,
    indexing,
    leaf,
    linear,
    matmul,
    phase,
    pool,
    random,
    reduce,
    scan,
)

LEAVES: tuple[Op, ...] = (
    leaf.INPUT,
    leaf.PARAMETER,
    leaf.STATE,
    leaf.CONSTANT,
    leaf.SIZE,
    leaf.IOTA,
)
# Resolved before any back end sees a program.
RESOLVED: tuple[Op, ...] = (
    phase.PHASE,
    phase.TRAINING_ONLY,
    phase.WITH_UPDATE,
    phase.STOP_GRADIENT,
)
COMPUTED: tuple[Op, ...] = (
    linear.RESHAPE,
    linear.TRANSPOSE,
    linear.BROADCAST_TO,
    linear.SUM,
    linear.SLICE,
    linear.PAD,
    linear.FLIP,
    linear.CONCATENATE,
    linear.CAST,
    elementwise.ELEMENTWISE,
    reduce.MEAN,
    reduce.MAX,
    reduce.ARGMAX,
    reduce.LOGSUMEXP,
    matmul.MATMUL,
    conv.CONV2D,
    conv.CONV2D_INPUT_ADJOINT,
    conv.CONV2D_FILTER_ADJOINT,
    pool.MAX_POOL2D,
    pool.MAX_POOL2D_ADJOINT,
    pool.MAX_POOL2D_SELECT,
    pool.AVG_POOL2D,
    pool.AVG_POOL2D_ADJOINT,
    indexing.TAKE,
    indexing.SCATTER_ADD,
    indexing.PICK,
    indexing.ONE_HOT,
    random.RANDOM_BITS,
    scan.SCAN,
    scan.RESULT,
)
ALL_OPS: dict[str, Op] = {op.name: op for op in (*LEAVES, *COMPUTED, *RESOLVED)}
