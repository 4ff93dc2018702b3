"""Functions, programs, updates and names that have no meaning together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from golden import mistake

import graphc as gx


@mistake
def test_two_parameters_of_one_name():
    """NameClashError: two different parameters are called 'dense.weight'
      at test_programs.py:second
      float32[3, 3]   test_programs.py:first
      float32[3, 3]   test_programs.py:second
      try: give one of them another name=, or a scope of its own
    """
    x = gx.input("x", ("N", 3))
    h = gx.nn.Dense(3)(x)  # first
    y = gx.nn.Dense(3)(h)  # second
    return gx.Program("p", predict=gx.function([x], y))  # here


@mistake
def test_a_parameter_and_an_input_of_one_name():
    """NameClashError: an input and a parameter are both called 'x'
      at test_programs.py:parameter
      input       float32[N]   test_programs.py:33
      parameter   float32[]    test_programs.py:parameter
      try: give one of them another name
    """
    x = gx.input("x", ("N",))
    w = gx.parameter("x", ())  # parameter
    return gx.Program("p", f=gx.function([x], x * w))  # here


@mistake
def test_an_input_that_is_not_listed():
    """GraphError: function f needs y, which is not among its inputs
      at test_programs.py:function
      y   float32[N]   test_programs.py:declared
      try: add y to the list of inputs
    """
    x = gx.input("x", ("N",))
    y = gx.input("y", ("N",))  # declared
    f = gx.function([x], x + y)  # function
    return gx.Program("p", f=f)  # here


@mistake
def test_an_input_that_stands_twice():
    """GraphError: an input stands twice in the list: x, x
      at test_programs.py:here
    """
    x = gx.input("x", ("N",))
    return gx.function([x, x], x)  # here


@mistake
def test_an_input_that_is_computed():
    """GraphError: inputs of a function are made by gx.input, not <Tensor add: float32[N]>
      at test_programs.py:here
      try: gx.replace puts an input in the place of another tensor
    """
    x = gx.input("x", ("N",))
    return gx.function([x + 1], x)  # here


@mistake
def test_inputs_by_name():
    """GraphError: function: takes a list of tensors, not 'x'
      at test_programs.py:here
    """
    x = gx.input("x", ("N",))
    return gx.function("x", x)  # here


@mistake
def test_an_output_that_is_none():
    """DtypeError: a tensor, an array or a number is wanted, not None
      at test_programs.py:here
    """
    x = gx.input("x", ("N",))
    return gx.function([x], {"x": x, "aux": None})  # here


@mistake
def test_an_output_whose_name_is_no_identifier():
    """NameClashError: output names are ASCII identifiers (a letter, then letters, digits, _; at most 100 in all), and 'x-out' is none
      at test_programs.py:here
    """
    x = gx.input("x", ("N",))
    return gx.function([x], {"x-out": x})  # here


@mistake
def test_an_update_of_a_tensor_that_is_no_state():
    """GraphError: only parameters and states are updated, not <Tensor x: float32[N]>
      at test_programs.py:here
    """
    x = gx.input("x", ("N",))
    return gx.function([x], x, updates={x: x})  # here


@mistake
def test_an_update_of_another_shape():
    """GraphError: the update of w has another type
      at test_programs.py:here
      w           float32[3]
      new value   float32[]
      try: an update has exactly its state's shape and dtype
    """
    x, w = gx.input("x", ("N", 3)), gx.parameter("w", (3,))
    return gx.function([x], x, updates={w: x.sum()})  # here


@mistake
def test_an_update_of_another_dtype():
    """GraphError: the update of n has another type
      at test_programs.py:here
      n           int64[]
      new value   float32[]
      try: an update has exactly its state's shape and dtype
    """
    x, n = gx.input("x", ("N",)), gx.state("n", dtype="int64")
    return gx.function([x], x, updates={n: n + 0.5})  # here


@mistake
def test_updates_that_are_a_list():
    """GraphError: updates: takes a dict with tensors as keys, not [(<Tensor w: float32[]>, <Tensor w: float32[]>)]
      at test_programs.py:here
    """
    x, w = gx.input("x", ("N",)), gx.parameter("w", ())
    return gx.function([x], x, updates=[(w, w)])  # here


@mistake
def test_two_optimisers_of_one_parameter():
    """GraphError: w is updated twice
      at test_programs.py:here
      by 1   test_programs.py:first
      by 2   test_programs.py:second
      try: an optimiser's params= chooses what it updates
    """
    x, w = gx.input("x", ("N",)), gx.parameter("w", ())
    loss = (x * w).sum()
    first = gx.sgd(loss, lr=0.1)  # first
    second = gx.sgd(loss, lr=0.2, name="slow")  # second
    return first | second  # here


@mistake
def test_an_update_beside_an_owned_one():
    """GraphError: function f updates n twice
      at test_programs.py:given
      first    test_programs.py:given
      second   test_programs.py:owned
    """
    x, n = gx.input("x", ("N",)), gx.state("n")
    y = x.with_update({n: n + 1})  # owned
    f = gx.function([x], y, updates={n: n + 2})  # given
    return gx.Program("p", f=f)  # here


@mistake
def test_an_owned_update_of_a_parameter_of_another_shape():
    """ShapeError: with_update: the new value has the state's type
      at test_programs.py:here
      n           float32[2]
      new value   float32[3]
    """
    x, n = gx.input("x", (3,)), gx.state("n", (2,))
    return x.with_update({n: x})  # here


@mistake
def test_a_program_of_nothing():
    """GraphError: program 'p' has no function
      at test_programs.py:here
      try: gx.Program(name, predict=gx.function(inputs, outputs))
    """
    return gx.Program("p")  # here


@mistake
def test_a_program_of_a_tensor():
    """GraphError: predict is no function, but <Tensor x: float32[N]>
      at test_programs.py:here
      try: gx.Program(name, predict=gx.function(inputs, outputs))
    """
    x = gx.input("x", ("N",))
    return gx.Program("p", predict=x)  # here


@mistake
def test_a_reserved_function():
    """NameClashError: a function may not be called 'save': a module has that attribute itself
      at test_programs.py:here
      try: taken are init, state, save, load, export, backend, report, functions
    """
    x = gx.input("x", ("N",))
    return gx.Program("p", save=gx.function([x], x))  # here


@mistake
def test_a_function_that_is_no_identifier():
    """NameClashError: function names are ASCII identifiers (a letter, then letters, digits, _; at most 100 in all), and 'pre-dict' is none
      at test_programs.py:here
    """
    x = gx.input("x", ("N",))
    return gx.Program("p", {"pre-dict": gx.function([x], x)})  # here


@mistake
def test_an_input_that_is_a_keyword_of_c():
    """NameClashError: input names are no keywords, and 'int' is one of C
      at test_programs.py:here
      try: int_ would do
    """
    return gx.input("int", ("N",))  # here


@mistake
def test_an_input_that_is_a_keyword_of_python():
    """NameClashError: input names are no keywords, and 'lambda' is one of Python
      at test_programs.py:here
      try: lambda_ would do
    """
    return gx.input("lambda", ("N",))  # here


@mistake
def test_a_name_for_a_leaf():
    """GraphError: w has the name that it was declared with
      at test_programs.py:here
    """
    return gx.parameter("w", ()).named("v")  # here


@mistake
def test_a_parameter_without_a_name():
    """NameClashError: a name is a text of at least one character, not ''
      at test_programs.py:here
    """
    return gx.parameter("", (2,))  # here


@mistake
def test_a_parameter_that_a_file_cannot_name():
    """NameClashError: '__metadata__' cannot name a tensor in a weights file
      at test_programs.py:here
    """
    return gx.parameter("__metadata__", (2,))  # here


@mistake
def test_a_scope_without_a_name():
    """NameClashError: a scope's name is a text of at least one character, not ''
      at test_programs.py:here
    """
    with gx.scope(""):  # here
        pass


ODD = {
    "dash": "a-b",
    "quote": '"',
    "comment": "*/ int main() { abort(); } /*",
    "newline": "a\nb",
    "backslash": "a\\",
    "emoji": "\N{BRAIN}",
    "german": "größe",
    "digit": "2nd",
    "space": "a b",
    "underscore": "_a",
    "trailing": "a\n",
    "long": "a" * 10_000,
}


@pytest.mark.parametrize("name", ODD.values(), ids=ODD)
@pytest.mark.parametrize("kind", ["input", "function", "program", "output"])
def test_an_odd_name_is_refused_in_few_words(kind: str, name: str) -> None:
    x = gx.input("x", ("N",))
    declare: dict[str, Any] = {
        "input": lambda: gx.input(name, ("N",)),
        "function": lambda: gx.Program("p", {name: gx.function([x], x)}),
        "program": lambda: gx.Program(name, f=gx.function([x], x)),
        "output": lambda: gx.function([x], {name: x}),
    }
    with pytest.raises(gx.errors.NameClashError) as caught:
        declare[kind]()
    shown = repr(name) if len(name) < 60 else "'" + "a" * 56 + "..."
    assert caught.value.message == (
        f"{kind} names are ASCII identifiers (a letter, then letters, digits, _; at most 100 in "
        f"all), and {shown} is none"
    )


@pytest.mark.parametrize("name", ["init", "state", "save", "load", "export", "backend", "report"])
def test_a_module_keeps_its_own_words(name: str) -> None:
    x = gx.input("x", ("N",))
    with pytest.raises(gx.errors.NameClashError, match=f"may not be called '{name}'"):
        gx.Program("p", {name: gx.function([x], x)})


@pytest.fixture(params=["numpy", pytest.param("c", marks=pytest.mark.cc)])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


FREE = {**ODD, "keyword": "int", "percent": "%s%n", "braces": "{x}", "slashes": "../a", "nul": "\0"}


@pytest.mark.parametrize("name", FREE.values(), ids=FREE)
def test_a_parameter_takes_any_name(backend: str, name: str, tmp_path: Any) -> None:
    x, w = gx.input("x", ("N", 2)), gx.parameter(name, (2,), init=[1.0, 2.0])
    y = (x * w).sum().named(name)
    program = gx.Program("p", f=gx.function([x], y, updates=gx.sgd(y, lr=1.0, name=name)))
    module = gx.compile(program, backend=backend)
    assert module.f([[1, 1]]) == 3
    assert module.state[name].tolist() == [0, 1]
    module.save(tmp_path / "w.safetensors")
    module.init()
    module.load(tmp_path / "w.safetensors", only=name if "*" not in name else [name])
    assert module.state[name].tolist() == [0, 1]
    assert np.isfinite(gx.evaluate(y, at={"x": [[1, 1]]}, backend=backend))
