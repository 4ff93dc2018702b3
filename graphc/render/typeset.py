r"""Formulas as LaTeX and as MathML.

Every text of a user is escaped here. LaTeX is pure ASCII and asks for amsmath alone: a letter
that it has no command for is written as its number, ``U+1F600``.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Callable

from graphc.render import words
from graphc.render.notation import Math

_SIGNS = {
    "−": "-",
    "·": r"\cdot ",
    "⊙": r"\odot ",
    "∂": r"\partial ",
    "∂⁺": r"\partial^{+} ",
    "⋯": r"\cdots ",
    "Σ": r"\sum ",
    "⊤": r"\top ",
    "≠": r"\ne ",
    "≤": r"\le ",
    "≥": r"\ge ",
    "∧": r"\land ",
    "∨": r"\lor ",
    "|": r"\vert ",
    "•": r"\bullet ",
    "…": r"\dots ",
}
_LETTERS = {
    **{c: f"\\{c}" for c in "{}$&#%_"},
    **{c: f"${s.strip()}$" for c, s in _SIGNS.items()},
    "\\": r"$\backslash$",
    "^": r"$\hat{\ }$",
    "~": r"$\sim$",
    "<": "$<$",
    ">": "$>$",
    '"': "''",
    "-": "{-}",  # no dash is made of two
    "×": r"$\times$",
    "⊗": r"$\otimes$",
    "Σ": r"$\Sigma$",
    "½": r"$\tfrac12$",
    "⁻": "${}^-$",
    "⁺": "${}^+$",
    "ᵀ": r"${}^\top$",
    "∈": r"$\in$",
    "√": r"$\surd$",
    "⌊": r"$\lfloor$",
    "⌋": r"$\rfloor$",
    "∞": r"$\infty$",
}
_FUNCTIONS = {"tanh", "exp", "log", "sin", "cos", "max", "min"}
_ACCENTS = {
    "\u0302": "hat",
    "\u0303": "tilde",
    "\u0304": "bar",
    "\u0307": "dot",
    "\u0308": "ddot",
    "\u0300": "grave",
    "\u0301": "acute",
}


def latex(math: Math) -> str:
    """Return a formula as LaTeX, for mathematics mode."""
    if math.kind in ("name", "word"):
        return _latex_word(math.text)
    if math.kind == "number":
        return math.text
    if math.kind == "sign":
        return _SIGNS.get(math.text, math.text)
    return _LATEX[math.kind](*(latex(p) for p in math.parts))


def latex_text(text: str) -> str:
    """Return text for LaTeX outside mathematics."""
    composed = unicodedata.normalize("NFC", words.printable(text))
    return "".join(_latex_letter(c) for c in composed)


_LATEX: dict[str, Callable[..., str]] = {
    "row": lambda *parts: "".join(parts),
    "space": lambda: r"\,",
    "fraction": lambda a, b: rf"\frac{{{a}}}{{{b}}}",
    "power": lambda a, b: f"{{{a}}}^{{{b}}}",
    "index": lambda a, b: f"{a}_{{{b}}}",
    "root": lambda a: rf"\sqrt{{{a}}}",
}


def _latex_word(text: str) -> str:
    if text in _FUNCTIONS:
        return f"\\{text} "
    if len(text) == 1 and text.isascii() and text.isalnum():
        return text
    if len(text) == 1:
        letter = _latex_letter(text)
        return f"{letter[1:-1]} " if letter.startswith("$") else rf"\text{{{letter}}}"
    return rf"\text{{{latex_text(text)}}}"


def _latex_letter(letter: str) -> str:
    if letter in _LETTERS:
        return _LETTERS[letter]
    if letter.isascii():
        return letter
    greek = _greek(letter)
    if greek:
        return f"${greek}$"
    kind, _, base = unicodedata.decomposition(letter).partition(" ")
    if kind in ("<sub>", "<super>") and len(base) == 4 and chr(int(base, 16)).isalnum():
        return f"${{}}{'_' if kind == '<sub>' else '^'}{_latex_word(chr(int(base, 16)))}$"
    parts = unicodedata.normalize("NFD", letter)
    if len(parts) == 2 and parts[0].isascii() and parts[1] in _ACCENTS:
        return f"$\\{_ACCENTS[parts[1]]}{{{parts[0]}}}$"
    return f"U+{ord(letter):04X}"


_ROMAN = "ABEZHIKMNOPTX"  # Greek capitals that LaTeX has no command for, since they look so


def _greek(letter: str) -> str:
    """Return the command of a Greek letter, or nothing."""
    name = unicodedata.name(letter, "")
    kind, _, said = name.partition(" LETTER ")
    said = "lambda" if said == "LAMDA" else said.lower()
    if kind == "GREEK SMALL" and said in _GREEK:
        return "o" if said == "omicron" else f"\\{said}"
    if kind == "GREEK CAPITAL" and said in _GREEK:
        return f"\\{said.capitalize()}" if said in _CAPITALS else _ROMAN[_ROMANS.index(said)]
    return ""


_GREEK = (
    *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"),
    *("lambda", "mu", "nu", "xi", "omicron", "pi", "rho", "sigma", "tau", "upsilon", "phi"),
    *("chi", "psi", "omega"),
)
_CAPITALS = {
    *("gamma", "delta", "theta", "lambda", "xi", "pi", "sigma", "upsilon", "phi", "psi", "omega"),
}
_ROMANS = (
    *("alpha", "beta", "epsilon", "zeta", "eta", "iota", "kappa", "mu", "nu", "omicron", "rho"),
    *("tau", "chi"),
)


def mathml(math: Math) -> str:
    """Return a formula as the inside of MathML's ``<math>``."""
    if math.kind == "space":
        return '<mspace width="0.25em"/>'
    tag = _TAGS[math.kind]
    if math.parts or math.kind == "row":
        return f"<{tag}>{''.join(mathml(p) for p in math.parts)}</{tag}>"
    text = html.escape(words.printable(math.text))
    fence = ' stretchy="false"' if math.kind == "sign" and math.text in "()[]|" else ""
    return f"<{tag}{fence}>{text}</{tag}>"


_TAGS = {
    "name": "mi",
    "word": "mtext",
    "number": "mn",
    "sign": "mo",
    "row": "mrow",
    "fraction": "mfrac",
    "power": "msup",
    "index": "msub",
    "root": "msqrt",
}
