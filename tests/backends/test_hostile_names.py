"""Names that mean harm, of parameters and scopes, in everything that is written of a program."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import xml.dom.minidom
from pathlib import Path

import numpy as np
import pytest

import graphc as gx
from drawn import read

PLANT = 'open("planted", "w")'
HOSTILE = (
    *('"', "'", "\\", "\n", "\r\n", "\t", "\x01", "\x7f", "\x1b[31m", '"""', "'''", '\\"'),
    *("*/", "/*", "//", "*/ #error planted\n/*", "??/", "\\\n", '"); system("x"); ("', "%s%n"),
    *("#include <planted.h>", "__FILE__", "\u2028", "\u202e", "\ufeff", "é", "名", "😀"),
    *(f'"]; {PLANT} #', f"\n{PLANT}\n", "{PLANT}", "</script><script>alert(1)</script>", "<b>&lt;"),
    *("-->", "]]>", "\\input{x}", "$x$", "}{", "a%b", "a_b^c&d~e", "\\end{document}", "x" * 300),
    *('label="x"]; n9 -> n8 [', ">; } digraph {", "../up", "$(reboot)", "`id`", "state", "int"),
)


def loss() -> gx.Tensor:
    """Return a scalar over a parameter of each name, each under a scope of its name too."""
    x = gx.input("x", ("N",))
    total = x.sum()
    for i, name in enumerate(HOSTILE):
        with gx.scope(name):
            w = gx.parameter(name, (), init=0.01 * (i + 1))
            total = gx.tanh(total * w + w).named(name)
    return total


def program() -> gx.Program:
    """Return a program that trains them all and returns their gradients."""
    total, x = loss(), gx.input("x", ("N",))
    total = gx.replace(total, {gx.find(total, "x"): x})
    grads = gx.grad(total)
    return gx.Program(
        "hostile",
        train=gx.function([x], total, updates=gx.sgd(grads, lr=0.1)),
        slopes=gx.function([x], {"loss": total, "grads": grads}),
    )


def test_there_are_more_than_thirty_of_them() -> None:
    assert len(set(HOSTILE)) == len(HOSTILE) > 30


@pytest.mark.cc
def test_a_c_project_builds_strictly_and_checks_itself(tmp_path: Path) -> None:
    folder = tmp_path / "hostile"
    module = gx.compile(program(), backend="c")
    module.export(folder)
    strict = "EXTRA=-O1 -Werror -Wall -Wextra -pedantic"
    subprocess.run(["make", strict], cwd=folder, capture_output=True, check=True)
    made = subprocess.run(
        ["make", "check", strict], cwd=folder, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stdout + made.stderr
    assert "all well" in made.stdout
    script = "import hostile, json; m = hostile.Module(); print(json.dumps(sorted(m.state)))"
    told = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=True
    )
    assert json.loads(told.stdout) == sorted(module.state)
    assert list(tmp_path.rglob("planted*")) == []


def test_a_python_module_holds_them_in_strings_alone(tmp_path: Path) -> None:
    folder = tmp_path / "hostile"
    module = gx.compile(program(), backend="numpy")
    module.export(folder)
    tree = ast.parse((folder / "hostile.py").read_text("utf-8"))
    assert all(n.id.isidentifier() for n in ast.walk(tree) if isinstance(n, ast.Name))
    strings = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)}
    assert set(module.state) <= strings
    done = subprocess.run([sys.executable, "hostile_test.py"], cwd=folder, check=False)
    assert done.returncode == 0
    assert list(tmp_path.rglob("planted*")) == []


@pytest.mark.parametrize("view", ["graph", "gradient"])
def test_pictures_have_a_box_for_each_and_nothing_else(view: str) -> None:
    made = gx.draw(loss(), view=view)
    boxes = len(made.sketch.boxes)
    assert len(read(made.dot).boxes) >= boxes - 1
    page = xml.dom.minidom.parseString(made.svg)
    assert page.getElementsByTagName("script") == []
    assert {e.tagName for e in page.getElementsByTagName("*")} <= {
        *("svg", "g", "title", "polygon", "text", "path", "ellipse", "polyline", "a", "tspan"),
    }


def test_derivations_are_pages_and_latex_as_any_other() -> None:
    made = gx.explain(loss(), gx.parameters(loss())[f"{HOSTILE[0]}.{HOSTILE[0]}"].name)
    page = xml.dom.minidom.parseString(made.html)
    assert page.getElementsByTagName("script") == page.getElementsByTagName("img") == []
    latex = made.latex
    assert latex.isascii()
    assert latex.count(r"\begin{document}") == latex.count(r"\end{document}") == 1
    assert not re.search(r"\\(input|include|write|openout)\b", latex)


def test_numbers_are_right_whatever_things_are_called() -> None:
    made = gx.compile(program(), backend="numpy")
    found = made.slopes(np.ones(2))
    assert len(found["grads"]) == len(HOSTILE)
    assert np.isfinite(found["loss"])


def test_c_refuses_a_name_that_would_end_early(tmp_path: Path) -> None:
    w = gx.parameter("a\0b", (2,))
    module = gx.compile(gx.Program("p", f=gx.function([], w.sum())), backend="c")
    with pytest.raises(gx.errors.UnsupportedError) as caught:
        module.export(tmp_path / "p")
    assert caught.value.message == "'a\\x00b' ends, in C, at its character 0"
