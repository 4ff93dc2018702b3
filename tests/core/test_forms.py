"""The training and the test form: phases, owned updates, random streams and keys."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import reference
from graphc import ir
from graphc.errors import FormError, GraphError
from graphc.ir import Function, Node, Program
from graphc.ops import RESOLVED, leaf, linear, phase, random
from graphc.ops import elementwise as e
from graphc.passes import differentiate, resolve
from graphc.passes.inference import inference

X = np.array([1.0, -2.0, 3.0])


def _vector(name: str = "x") -> Node:
    return leaf.input(name, (3,), "float64")


def _state(name: str = "s") -> Node:
    return leaf.state(name, (3,), "float64", None)


def _negative(x: Node) -> Node:
    return e.apply(e.NEGATIVE, x)


def _resolved(
    output: Node, x: Node, *states: Node, training: bool, updates: Any = ()
) -> tuple[Function, Program]:
    function = Function("f", (x,), (output,), updates, 0, training, "model.py:9")
    made = resolve.resolve(Program("p", (function,), states))
    return made.functions[0], made


def _value(node: Node, x: Node, **more: Any) -> list[float]:
    (value,) = reference.evaluate([node], {x: X, **more.get("at", {})})
    return value.tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("training", [True, False])
def test_phase_becomes_the_form_that_is_computed(training: bool) -> None:
    x = _vector()
    output = phase.phase(_negative(x), x)
    function, _ = _resolved(output, x, training=training)
    assert _value(function.outputs[0], x) == ((-X) if training else X).tolist()


@pytest.mark.parametrize("training", [True, False])
def test_resolved_ops_are_gone(training: bool) -> None:
    x, s = _vector(), _state()
    output = phase.with_update(phase.stop_gradient(phase.phase(_negative(x), x)), s, x)
    _, made = _resolved(output, x, s, training=training)
    assert not {n.op for n in ir.topological(made.roots)} & set(RESOLVED)


def test_phase_in_a_phase() -> None:
    x = _vector()
    output = phase.phase(phase.phase(_negative(x), x), x)
    function, _ = _resolved(output, x, training=True)
    assert _value(function.outputs[0], x) == (-X).tolist()


def test_training_form_makes_the_owned_update() -> None:
    x, s = _vector(), _state()
    function, _ = _resolved(phase.with_update(_negative(x), s, x), x, s, training=True)
    assert function.updates == ((s, x),)
    assert _value(function.outputs[0], x) == (-X).tolist()


def test_test_form_drops_the_owned_update() -> None:
    x, s = _vector(), _state()
    function, _ = _resolved(phase.with_update(_negative(x), s, x), x, s, training=False)
    assert function.updates == ()


def test_test_form_keeps_the_updates_of_its_function() -> None:
    x, s = _vector(), _state()
    function, _ = _resolved(x, x, s, training=False, updates=((s, _negative(x)),))
    assert [state for state, _ in function.updates] == [s]


def test_owned_update_in_the_test_branch_is_not_made() -> None:
    x, s = _vector(), _state()
    output = phase.phase(x, phase.with_update(x, s, x))
    assert _resolved(output, x, s, training=True)[0].updates == ()


def test_owned_update_under_an_update_is_made() -> None:
    x, s, other = _vector(), _state(), _state("other")
    new = phase.with_update(_negative(x), other, x)
    function, _ = _resolved(x, x, s, other, training=True, updates=((s, new),))
    assert {state.label for state, _ in function.updates} == {"s", "other"}


def test_owned_update_reached_twice_is_made_once() -> None:
    x, s = _vector(), _state()
    updated = phase.with_update(x, s, _negative(x))
    function, _ = _resolved(e.apply(e.ADD, updated, updated), x, s, training=True)
    assert len(function.updates) == 1


def test_owned_update_through_a_phase_is_made_once() -> None:
    x, s = _vector(), _state()
    new = _negative(phase.phase(_negative(x), x))
    output = phase.with_update(x, s, new)
    function, _ = _resolved(output, x, s, training=True, updates=((s, new),))
    assert len(function.updates) == 1


def test_two_updates_of_one_state_name_both_lines() -> None:
    x, s = _vector(), _state()
    with ir.noting(where="model.py:3"):
        first = _negative(x)
    with ir.noting(where="model.py:4"):
        second = e.apply(e.EXP, x)
    output = phase.with_update(phase.with_update(x, s, first), s, second)
    with pytest.raises(GraphError) as caught:
        _resolved(output, x, s, training=True)
    assert str(caught.value) == (
        "function f updates s twice\n  at model.py:9\n  first    model.py:3\n  second   model.py:4"
    )


def _derived() -> tuple[Node, Node]:
    """Return x and the derivative of something that goes through a phase."""
    x = _vector()
    with ir.noting(name="dropout", where="model.py:5"):
        dropped = phase.phase(e.apply(e.SQUARE, x), x)
    found = differentiate.cotangents([dropped], [differentiate.ones(dropped)], [x])
    return x, found[x]


def test_derivative_through_a_phase_is_of_the_training_form() -> None:
    x, gradient = _derived()
    function, _ = _resolved(gradient, x, training=True)
    assert _value(function.outputs[0], x) == (2 * X).tolist()


def test_derivative_through_a_phase_is_refused_in_the_test_form() -> None:
    x, gradient = _derived()
    with pytest.raises(FormError) as caught:
        _resolved(gradient, x, training=False)
    text = str(caught.value)
    assert text.startswith("function f: the test form reaches a derivative of the training form")
    assert "at model.py:9" in text
    assert "try: write training=True, or derive gx.inference(loss)" in text


def test_derivative_of_the_test_form_is_allowed() -> None:
    x = _vector()
    output = phase.phase(e.apply(e.SQUARE, x), _negative(x))
    tested = inference([output])[output]
    found = differentiate.cotangents([tested], [differentiate.ones(tested)], [x])
    function, _ = _resolved(found[x], x, training=False)
    assert _value(function.outputs[0], x) == [-1.0, -1.0, -1.0]


def test_derivative_in_a_training_branch_is_no_part_of_the_test_form() -> None:
    x, gradient = _derived()
    function, _ = _resolved(phase.phase(gradient, x), x, training=False)
    assert _value(function.outputs[0], x) == X.tolist()


def test_derivative_in_an_owned_update_is_no_part_of_the_test_form() -> None:
    x, gradient = _derived()
    s = _state()
    function, _ = _resolved(phase.with_update(x, s, gradient), x, s, training=False)
    assert _value(function.outputs[0], x) == X.tolist()


def test_inference_gives_the_test_form() -> None:
    x, s = _vector(), _state()
    output = phase.with_update(phase.phase(_negative(x), x), s, x)
    assert inference([output])[output] is x


def test_gradient_stops_stay_in_the_test_form() -> None:
    """A derivative may still be taken of it."""
    x = _vector()
    output = phase.stop_gradient(x)
    assert inference([output])[output].op is phase.STOP_GRADIENT


# ---------------------------------------------------------------- random numbers


def _drawing(*streams: random.Stream, training: bool = True) -> Program:
    drawn = [random.random_bits(random.KEY, s, (2,)) for s in streams]
    function = Function("f", (), (linear.concatenate(drawn, 0),), training=training)
    return resolve.resolve(Program("p", (function,)))


def test_function_that_draws_advances_the_key_once() -> None:
    made = _drawing(random.Stream(), random.Stream())
    ((state, new),) = made.functions[0].updates
    (value,) = reference.evaluate([new], {random.KEY: np.array([7, 2], "uint64")})
    assert state is random.KEY and value.tolist() == [7, 3]


def test_test_form_that_draws_advances_the_key_too() -> None:
    assert len(_drawing(random.Stream(), training=False).functions[0].updates) == 1


def test_key_becomes_a_state_of_the_program() -> None:
    assert _drawing(random.Stream()).states == (random.KEY,)


def test_function_without_draws_has_no_key() -> None:
    x = _vector()
    function, made = _resolved(phase.phase(x, x), x, training=True)
    assert made.states == () and function.updates == ()


def test_draw_in_the_other_form_advances_no_key() -> None:
    x = _vector()
    noise = random.uniform(random.KEY, random.Stream(), (3,), "float64")
    function, made = _resolved(phase.phase(noise, x), x, training=False)
    assert made.states == () and function.updates == ()


def test_streams_are_numbered_over_the_whole_program() -> None:
    one, other = random.Stream(), random.Stream()
    functions = [
        Function(name, (), (random.random_bits(random.KEY, s, (2,)),), training=True)
        for name, s in (("f", one), ("g", other), ("h", one))
    ]
    made = resolve.resolve(Program("p", tuple(functions)))
    assert [f.outputs[0].attrs["stream"] for f in made.functions] == [0, 1, 0]


def test_uniform_numbers_lie_between_zero_and_one() -> None:
    for dtype in ("float32", "float64"):
        drawn = random.uniform(random.KEY, random.Stream(), (200,), dtype)
        (value,) = reference.evaluate([drawn], {random.KEY: np.array([5, 0], "uint64")})
        assert value.dtype == dtype and 0 <= value.min() < 0.1 and 0.9 < value.max() < 1


def test_largest_word_stays_below_one() -> None:
    for dtype, word, kept in (("float32", "uint32", 24), ("float64", "uint64", 53)):
        bits = np.array(np.iinfo(word).max, word)
        drawn = random.uniform(random.KEY, random.Stream(), (), dtype)
        source = next(n for n in ir.topological([drawn]) if n.op is random.RANDOM_BITS)
        key = {random.KEY: np.array([5, 0], "uint64")}
        (value,) = reference.evaluate([drawn], {**key, source: bits})
        assert value == 1 - 2.0**-kept


def test_normal_numbers_have_the_right_moments() -> None:
    streams = (random.Stream(), random.Stream())
    drawn = random.normal(random.KEY, streams, (1500,), "float64")
    (value,) = reference.evaluate([drawn], {random.KEY: np.array([5, 0], "uint64")})
    moments = [np.mean(value**k) for k in (1, 2, 3, 4)]
    np.testing.assert_allclose(moments, [0, 1, 0, 3], atol=0.35)


@pytest.mark.parametrize("change", [{"seed": 6}, {"call": 1}, {"stream": 1}, {"call": 2**32}])
def test_bits_change_with_seed_call_and_stream(change: dict[str, int]) -> None:
    def bits(seed: int = 5, call: int = 0, stream: int = 0) -> list[int]:
        drawn = random.random_bits(random.KEY, stream, (4,))
        (value,) = reference.evaluate([drawn], {random.KEY: np.array([seed, call], "uint64")})
        return value.tolist()  # type: ignore[no-any-return]

    assert not set(bits()) & set(bits(**change))
