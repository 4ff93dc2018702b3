"""Derivations on paper: LaTeX and HTML of the same steps, and names that mean harm."""

from __future__ import annotations

import re
import shutil
import subprocess
import xml.dom.minidom
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.dom.minidom import Element

import numpy as np
import pytest

import graphc as gx
from graphc import cli, dims
from graphc.ir import Op
from graphc.ops import ALL_OPS, leaf
from graphc.render import formulas, notation, typeset
from graphc.render.derivation import Derivation

needs_latex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex")


def _net() -> gx.Tensor:
    """Return the loss of S0's 2-3-1 net."""
    x, y = gx.input("x", ("N", 2)), gx.input("y", ("N", 1))
    h = (x @ gx.parameter("Θ1", (2, 3)) + gx.parameter("b1", (3,))).tanh()
    guess = (h @ gx.parameter("out.weight", (3, 1))).sigmoid().named("ŷ")
    return (0.5 * (guess - y) ** 2).mean()


def _convnet() -> gx.Tensor:
    x, y = gx.input("x", ("N", 1, 8, 8)), gx.input("y", ("N",), dtype="int64")
    h = gx.avg_pool2d(gx.nn.Conv2d(2, 3, padding=1, name="c1")(x).relu(), 2)
    return gx.cross_entropy(gx.nn.Dense(3, name="out")(h.flatten(1)), y)


def _lenet5() -> gx.Tensor:
    """Return the loss of LeNet-5."""
    x, y = gx.input("x", ("N", 1, 28, 28)), gx.input("y", ("N",), dtype="int64")
    h = gx.avg_pool2d(gx.nn.Conv2d(6, 5, padding=2, name="c1")(x).tanh(), 2)
    h = gx.avg_pool2d(gx.nn.Conv2d(16, 5, name="c3")(h).tanh(), 2).flatten(1)
    for units, name in ((120, "c5"), (84, "f6")):
        h = gx.nn.Dense(units, name=name)(h).tanh()
    return gx.cross_entropy(gx.nn.Dense(10, name="out")(h), y)


def _scores() -> gx.Tensor:
    """Return the cross-entropy of a softmax."""
    s = gx.input("x", ("N", 3)) @ gx.parameter("W", (3, 3))
    return gx.cross_entropy(s.named("s"), gx.input("y", ("N",), dtype="int64"))


def _neuron(**walk: Any) -> gx.Tensor:
    """Return the loss of S3's scalar neuron."""
    xs, targets = gx.input("xs", ("T",)), gx.input("targets", ("T",))
    u, w, v = (gx.parameter(name, ()) for name in "uwv")

    def cell(h: Any, x: Any) -> Any:
        h = gx.tanh(u * x + w * h).named("h")
        return h, h

    _, hs = gx.scan(cell, gx.zeros(()), xs, **walk)
    return (0.5 * gx.square(v * hs - targets)).sum()


def _equations(text: str) -> list[str]:
    """Return the aligned equations of LaTeX without their notes."""
    rows = re.findall(r"^(.*?) && .*\\tag", text, re.MULTILINE)
    return [row.replace(" &={}", " =") for row in rows]


def _body(page: str) -> Element:
    """Return the body of a page that is well-formed."""
    (body,) = xml.dom.minidom.parseString(page).getElementsByTagName("body")
    return body


def _text(element: Element) -> str:
    parts = [n.data if n.nodeType == n.TEXT_NODE else _text(n) for n in element.childNodes]
    return "".join(parts)


# ---------------------------------------------------------------- the formulas


def test_latex_writes_each_step_as_on_paper() -> None:
    equations = _equations(gx.explain(_net(), "Θ1").latex)
    assert equations[:4] == [
        r"s_{1} = x\,\Theta _{1}+b_{1}",
        r"h_{1} = \tanh (s_{1})",
        r"s_{2} = h_{1}\,\text{out.weight}",
        r"\hat{y}  = \sigma (s_{2})",
    ]
    assert equations[-2:] == [
        r"\frac{\partial L}{\partial s_{1}} = "
        r"\frac{\partial L}{\partial h_{1}}\odot (1-{h_{1}}^{2})",
        r"\frac{\partial L}{\partial \Theta _{1}} = {x}^{\top }\,\frac{\partial L}{\partial s_{1}}",
    ]


def test_a_number_multiplies_with_a_dot_and_tensors_with_a_circle() -> None:
    latex = gx.explain(_net(), "Θ1").latex
    assert r"\odot \hat{y} \odot (1-\hat{y} )" in latex and r"0.5\cdot " in latex


def test_sums_roots_and_powers_have_their_signs() -> None:
    w = gx.parameter("w", (4,))
    latex = gx.explain((w.abs().sqrt() + gx.maximum(w, 1.0) ** 2).sum(), "w").latex
    for sign in (r"\sqrt{", r"\vert w\vert", r"\sum ", "}^{2}"):
        assert sign in latex


def test_the_page_says_the_same_as_the_text() -> None:
    made = gx.explain(_net(), "Θ1", at={"x": np.ones((1, 2)), "y": np.ones((1, 1))})
    page = _body(made.html)
    rows = page.getElementsByTagName("tr")
    assert len(rows) == len(made.steps) == len(page.getElementsByTagName("math"))
    said = _text(page)
    for step in made.steps:
        assert step.type in said and step.value in said
        assert all(rule in said for rule in step.rules)


def test_the_page_needs_no_network_and_no_script() -> None:
    page = gx.explain(_convnet(), "c1.weight").html
    assert "<script" not in page and "src=" not in page and "url(" not in page
    assert set(re.findall(r"https?://[^\"]*", page)) == {"http://www.w3.org/1998/Math/MathML"}


def test_mathematics_is_marked_up() -> None:
    page = _body(gx.explain(_net(), "Θ1").html)
    for tag in ("mfrac", "msub", "msup", "mi", "mo", "mn"):
        assert page.getElementsByTagName(tag), tag


def test_a_notebook_gets_the_part_of_the_page() -> None:
    made = gx.explain(_net(), "Θ1")
    assert made._repr_html_() in made.html
    assert "<html" not in made._repr_html_()


# ---------------------------------------------------------------- forms and files


@pytest.mark.parametrize(
    ("suffix", "start"),
    [("tex", r"\documentclass"), ("html", "<!DOCTYPE html>"), ("txt", "∂L/∂b1")],
)
def test_the_suffix_names_the_form(tmp_path: Path, suffix: str, start: str) -> None:
    path = tmp_path / f"b1.{suffix}"
    gx.explain(_net(), "b1").save(path)
    assert path.read_text(encoding="utf-8").startswith(start)


def test_equal_input_gives_equal_bytes() -> None:
    first, second = (gx.explain(_convnet(), "c1.weight") for _ in "ab")
    assert (first.latex, first.html, str(first)) == (second.latex, second.html, str(second))


_FILE = """
import graphc as gx
x = gx.input("x", (3,))
loss = (x * gx.parameter("w", (3,))).tanh().sum()
program = gx.Program("p", train=gx.function([x], loss))
"""


@pytest.mark.parametrize(
    ("form", "start"), [("text", "∂L/∂w, step"), ("latex", r"\documentclass"), ("html", "<!DOC")]
)
def test_the_command_line_has_all_forms(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str, start: str
) -> None:
    file = tmp_path / "net.py"
    file.write_text(_FILE, encoding="utf-8")
    assert cli.main(["explain", str(file), "--wrt", "w", "--format", form]) == 0
    assert capsys.readouterr().out.startswith(start)


# ---------------------------------------------------------------- names that mean harm

HOSTILE = [
    *("<script>alert(1)</script>", "</math><img src=x onerror=alert(1)>", "]]></style>", "<!--"),
    *("-->", '"><svg onload=alert(1)>', "' onclick='x", "&lt;b&gt;", "&#60;i&#62;", "&amp;amp;"),
    *("\\input{/etc/passwd}", "\\end{align*}", "\\end{document}", "$x$", "$$", "}{", "{", "a%b"),
    *("a_b^c", "a&b\\\\c", "#1~2", "\\N\\G\\E", 'label="x"]; n9 -> n8 [', ">; } digraph {"),
    *(
        "new\nline",
        "\x00\x07\u202e",
        "😀 漢字",
        "y\u0302",
        "A" * 3000,
        "\ue0000\ue001",
        "^^M",
    ),
    *("--- `` ''", "?` !`", "Ω≈ç√∫˜µ", "\\", "`id`"),
]


def _hostile(name: str) -> gx.Tensor:
    w = gx.parameter(name, (3,))
    h = gx.tanh(gx.input("x", (3,)) * w).named(f"h{name}")
    return (h * gx.elu(w)).sum()


def _explained(name: str) -> Derivation:
    loss = _hostile(name)
    (parameter,) = gx.parameters(loss).values()
    return gx.explain(loss, parameter)


def _explained_loop(name: str) -> Derivation:
    """Return the derivation of a loop whose state, sequence and weight all have one name."""
    x, w = gx.input("x", ("T", 3)), gx.parameter(name, (3, 3))
    named = (x * 1.0).named(name)

    def cell(h: Any, step: Any) -> Any:
        h = gx.tanh(step + h @ w).named(name)
        return h, h

    loss = gx.square(gx.scan(cell, gx.zeros((3,)), named, truncate=2)[1]).sum()
    (parameter,) = gx.parameters(loss).values()
    return gx.explain(loss, parameter, at={"x": np.ones((4, 3))})


def _tags(page: str) -> list[str]:
    return [e.tagName for e in xml.dom.minidom.parseString(page).getElementsByTagName("*")]


def _shape(page: str) -> list[str]:
    """Return a page's elements but those of mathematics, which long names and short ones share."""
    inside = {"mi", "mtext", "msub", "mn"}  # one letter is slanted, a number its index
    return [tag for tag in _tags(page) if tag not in inside]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_name_adds_nothing_to_a_page(name: str) -> None:
    assert _shape(_explained(name).html) == _shape(_explained("weight").html)


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_name_adds_nothing_to_a_page_of_a_recurrence(name: str) -> None:
    page = _explained_loop(name).html
    assert set(_tags(page)) <= set(_tags(_explained_loop("weight").html))
    assert len(re.findall("<tr>", page)) == len(_explained_loop("weight").steps)


# The commands of letters that LaTeX doesn't take as they are.
_LETTERS = {
    *("backslash", "hat", "tilde", "sim", "text", "Omega", "mu", "surd", "partial", "{", "}"),
    *("$", "&", "#", "%", "_", " ", "dots"),
}


def _commands(latex: str) -> set[str]:
    return set(re.findall(r"\\([A-Za-z]+|.|\n)", latex))


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("explained", [_explained, _explained_loop])
def test_a_hostile_name_adds_no_command_to_latex(
    explained: Callable[[str], Derivation], name: str
) -> None:
    latex = explained(name).latex
    assert _commands(latex) <= _commands(explained("weight").latex) | _LETTERS
    assert all(c == "\n" or " " <= c <= "~" for c in latex)
    plain = re.sub(r"\\[{}$&#%_]", "", latex)
    assert plain.count("{") == plain.count("}") and plain.count("$") % 2 == 0
    assert not {"%", "#"} & set(plain) and "^^" not in plain
    for environment in ("document", "align*"):
        begun, ended = (latex.count(f"\\{w}{{{environment}}}") for w in ("begin", "end"))
        assert begun == ended and (environment != "document" or begun == 1)


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_name_adds_nothing_to_a_picture(name: str) -> None:
    loss = _hostile(name)
    (parameter,) = gx.parameters(loss).values()
    made = gx.draw(loss, "chain", wrt=parameter, at={"x": np.ones(3)})
    dot = made.dot
    assert len(re.findall(r"^\s*n\d+ \[label=", dot, re.MULTILINE)) == len(made.sketch.boxes)
    assert len(re.findall(r"^\s*n\d+ -> n\d+ \[", dot, re.MULTILINE)) == len(made.sketch.arrows)
    assert dot.count("\n") < 30
    assert set(_tags(made.svg)) <= {"svg", "g", "title", "polygon", "path", "text", "ellipse", "a"}
    assert "onload" not in re.sub(r">[^<]*<|title=\"[^\"]*\"", "", made.svg)


@pytest.mark.parametrize("op", ALL_OPS.values(), ids=ALL_OPS.keys())
def test_latex_has_a_command_for_each_letter_of_a_rule(op: Op) -> None:
    assert "U+" not in typeset.latex_text(f"{op.formula} {op.rule}")


@needs_latex
@pytest.mark.slow
def test_latex_compiles(tmp_path: Path) -> None:
    made = [explained(name) for explained in (_explained, _explained_loop) for name in HOSTILE]
    made += [gx.explain(_net(), "Θ1"), gx.explain(_convnet(), "c1.weight")]
    xs = gx.input("xs", ("T", "N", 3))
    for layer in (gx.nn.RNN(2, name="l1"), gx.nn.LSTM(2, name="l1"), gx.nn.GRU(2, name="l1")):
        loss = gx.square(layer(xs, truncate=2)[1]).mean()
        made += [gx.explain(loss, f"l1.{name}") for name in ("weight_x", "weight_h", "bias")]
    made += [gx.explain(_lenet5(), "c1.weight"), gx.explain(_scores(), "s")]
    made += [gx.explain(_neuron(truncate=k), n) for k in (None, 1) for n in ("u", "v", "w")]
    for i, derivation in enumerate(made):
        path = tmp_path / f"d{i}.tex"
        derivation.save(path)
        done = subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", path.name],
            cwd=tmp_path,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout.decode(errors="replace")[-1500:]


@pytest.mark.parametrize(
    ("name", "latex"),
    [
        ("w", "w"),
        ("s12", "s_{12}"),
        ("h_3", "h_{3}"),
        ("ŷ", r"\hat{y} "),
        ("y\u0302", r"\hat{y} "),
        ("θ", r"\theta "),
        ("Λ2", r"\Lambda _{2}"),
        ("c1.weight", r"\text{c1.weight}"),
        ("a_b", r"\text{a\_b}"),
        ("∂L/∂s1", r"\frac{\partial L}{\partial s_{1}}"),
        ("h[t − 1]", "h_{t-1}"),
        ("v1[t]", "(v_{1})_{t}"),
        ("∂h[t − 1]/∂w", r"\frac{\partial h_{t-1}}{\partial w}"),
        ("∂W", r"\partial W"),
        (
            "∂L/∂h from t + 1",
            r"(\frac{\partial L}{\partial h})_{\text{from t + 1}}",
        ),
    ],
)
def test_names_become_symbols(name: str, latex: str) -> None:
    assert typeset.latex(notation.symbol(name)) == latex


def test_a_size_that_is_a_product_stands_in_parentheses() -> None:
    node = leaf.size(2 * dims.symbol("N") * dims.symbol("T"), "float32")
    assert formulas.leaf_text(node) == "(2*N*T)"
    assert formulas.leaf_text(leaf.size(dims.symbol("N"), "float32")) == "N"


def test_a_size_whose_name_looks_like_an_exponent_is_a_name() -> None:
    x, w = gx.input("x", ("Time", 3)), gx.parameter("w", (3,))
    made = gx.explain((x * w).mean(), "w")
    assert "Time" in made.latex and "Time" in made.html
