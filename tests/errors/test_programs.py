"""Functions, programs, updates and names that have no meaning together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gx
from golden import mistake


@mistake("""\
NameClashError: two different parameters are called 'dense.weight'
  at test_programs.py:second
  float32[3, 3]   test_programs.py:first
  float32[3, 3]   test_programs.py:second
  try: give one of them another name=, or a scope of its own
""")
def test_two_parameters_of_one_name():
    x = gx.input("x", ("N", 3))
    h = gx.nn.Dense(3)(x)  # first
    y = gx.nn.Dense(3)(h)  # second
    return gx.Program("p", predict=gx.function([x], y))  # here


@mistake("""\
NameClashError: an input and a parameter are both called 'x'
  at test_programs.py:parameter
  input       float32[N]   test_programs.py:input
  parameter   float32[]    test_programs.py:parameter
  try: give one of them another name
""")
def test_a_parameter_and_an_input_of_one_name():
    x = gx.input("x", ("N",))  # input
    w = gx.parameter("x", ())  # parameter
    return gx.Program("p", f=gx.function([x], x * w))  # here


@mistake("""\
GraphError: function f needs y, which is not among its inputs
  at test_programs.py:function
  y   float32[N]   test_programs.py:declared
  try: add y to the list of inputs
""")
def test_an_input_that_is_not_listed():
    x = gx.input("x", ("N",))
    y = gx.input("y", ("N",))  # declared
    f = gx.function([x], x + y)  # function
    return gx.Program("p", f=f)  # here


@mistake("""\
GraphError: an input stands twice in the list: x, x
  at test_programs.py:here
""")
def test_an_input_that_stands_twice():
    x = gx.input("x", ("N",))
    return gx.function([x, x], x)  # here


@mistake("""\
GraphError: inputs of a function are made by gx.input, not <Tensor add: float32[N]>
  at test_programs.py:here
  try: gx.replace puts an input in the place of another tensor
""")
def test_an_input_that_is_computed():
    x = gx.input("x", ("N",))
    return gx.function([x + 1], x)  # here


@mistake("""\
GraphError: function: takes a list of tensors, not 'x'
  at test_programs.py:here
""")
def test_inputs_by_name():
    x = gx.input("x", ("N",))
    return gx.function("x", x)  # here


@mistake("""\
DtypeError: a tensor, an array or a number is wanted, not None
  at test_programs.py:here
""")
def test_an_output_that_is_none():
    x = gx.input("x", ("N",))
    return gx.function([x], {"x": x, "aux": None})  # here


@mistake("""\
NameClashError: output names are a letter, then letters, digits or _ (ASCII, 100 at most), not 'x-out'
  at test_programs.py:here
""")  # noqa: E501
def test_an_output_whose_name_is_no_identifier():
    x = gx.input("x", ("N",))
    return gx.function([x], {"x-out": x})  # here


@mistake("""\
GraphError: only parameters and states are updated, not <Tensor x: float32[N]>
  at test_programs.py:here
""")
def test_an_update_of_a_tensor_that_is_no_state():
    x = gx.input("x", ("N",))
    return gx.function([x], x, updates={x: x})  # here


@mistake("""\
GraphError: the update of w has another type
  at test_programs.py:here
  w           float32[3]
  new value   float32[]
  try: an update has exactly its state's shape and dtype
""")
def test_an_update_of_another_shape():
    x, w = gx.input("x", ("N", 3)), gx.parameter("w", (3,))
    return gx.function([x], x, updates={w: x.sum()})  # here


@mistake("""\
GraphError: the update of n has another type
  at test_programs.py:here
  n           int64[]
  new value   float32[]
  try: an update has exactly its state's shape and dtype
""")
def test_an_update_of_another_dtype():
    x, n = gx.input("x", ("N",)), gx.state("n", dtype="int64")
    return gx.function([x], x, updates={n: n + 0.5})  # here


@mistake("""\
GraphError: updates: takes a dict with tensors as keys, not [(<Tensor w: float32[]>, <Tensor w: float32[]>)]
  at test_programs.py:here
""")  # noqa: E501
def test_updates_that_are_a_list():
    x, w = gx.input("x", ("N",)), gx.parameter("w", ())
    return gx.function([x], x, updates=[(w, w)])  # here


@mistake("""\
GraphError: w is updated twice
  at test_programs.py:here
  by 1   test_programs.py:first
  by 2   test_programs.py:second
  try: an optimiser's params= chooses what it updates
""")
def test_two_optimisers_of_one_parameter():
    x, w = gx.input("x", ("N",)), gx.parameter("w", ())
    loss = (x * w).sum()
    first = gx.sgd(loss, lr=0.1)  # first
    second = gx.sgd(loss, lr=0.2, name="slow")  # second
    return first | second  # here


@mistake("""\
GraphError: function f updates n twice
  at test_programs.py:given
  first    test_programs.py:given
  second   test_programs.py:owned
""")
def test_an_update_beside_an_owned_one():
    x, n = gx.input("x", ("N",)), gx.state("n")
    y = x.with_update({n: n + 1})  # owned
    f = gx.function([x], y, updates={n: n + 2})  # given
    return gx.Program("p", f=f)  # here


@mistake("""\
ShapeError: with_update: the new value has the state's type
  at test_programs.py:here
  n           float32[2]
  new value   float32[3]
""")
def test_an_owned_update_of_a_parameter_of_another_shape():
    x, n = gx.input("x", (3,)), gx.state("n", (2,))
    return x.with_update({n: x})  # here


@mistake("""\
GraphError: program 'p' has no function
  at test_programs.py:here
  try: gx.Program(name, predict=gx.function(inputs, outputs))
""")
def test_a_program_of_nothing():
    return gx.Program("p")  # here


@mistake("""\
GraphError: predict is no function, but <Tensor x: float32[N]>
  at test_programs.py:here
  try: gx.Program(name, predict=gx.function(inputs, outputs))
""")
def test_a_program_of_a_tensor():
    x = gx.input("x", ("N",))
    return gx.Program("p", predict=x)  # here


@mistake("""\
NameClashError: a function may not be called 'save': a module has that attribute itself
  at test_programs.py:here
  try: taken are init, state, save, load, export, backend, report, functions
""")
def test_a_reserved_function():
    x = gx.input("x", ("N",))
    return gx.Program("p", save=gx.function([x], x))  # here


@mistake("""\
NameClashError: function names are a letter, then letters, digits or _ (ASCII, 100 at most), not 'pre-dict'
  at test_programs.py:here
""")  # noqa: E501
def test_a_function_that_is_no_identifier():
    x = gx.input("x", ("N",))
    return gx.Program("p", {"pre-dict": gx.function([x], x)})  # here


@mistake("""\
NameClashError: input names are no keywords, and 'int' is one of C
  at test_programs.py:here
  try: int_ would do
""")
def test_an_input_that_is_a_keyword_of_c():
    return gx.input("int", ("N",))  # here


@mistake("""\
NameClashError: input names are no keywords, and 'lambda' is one of Python
  at test_programs.py:here
  try: lambda_ would do
""")
def test_an_input_that_is_a_keyword_of_python():
    return gx.input("lambda", ("N",))  # here


@mistake("""\
GraphError: w has the name that it was declared with
  at test_programs.py:here
""")
def test_a_name_for_a_leaf():
    return gx.parameter("w", ()).named("v")  # here


@mistake("""\
NameClashError: a name is a text of at least one character, not ''
  at test_programs.py:here
""")
def test_a_parameter_without_a_name():
    return gx.parameter("", (2,))  # here


@mistake("""\
NameClashError: '__metadata__' cannot name a tensor in a weights file
  at test_programs.py:here
""")
def test_a_parameter_that_a_file_cannot_name():
    return gx.parameter("__metadata__", (2,))  # here


@mistake("""\
NameClashError: a scope's name is a text of one character or more, not ''
  at test_programs.py:here
""")
def test_a_scope_without_a_name():
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
        f"{kind} names are a letter, then letters, digits or _ (ASCII, 100 at most), not {shown}"
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
