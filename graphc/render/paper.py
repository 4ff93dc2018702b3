"""A derivation as a LaTeX document and as a page of HTML.

Neither needs anything but itself: LaTeX asks for amsmath, HTML for no network, font or script.
"""

from __future__ import annotations

import html
from collections.abc import Iterator

from graphc.render import typeset, words
from graphc.render.derivation import Derivation, Step
from graphc.render.notation import row

_LINE = 60  # characters of an expression that fits a line of aligned equations

_LATEX_HEAD = r"""\documentclass[a4paper]{article}
\usepackage[margin=20mm]{geometry}
\usepackage{amsmath}
\allowdisplaybreaks
\setlength{\parindent}{0pt}
\raggedright
\begin{document}
"""


def latex(derivation: Derivation) -> str:
    """Return a derivation as a LaTeX document, in ASCII; equal derivations give equal text."""
    lines = [_latex_head(derivation.title)]
    for head, chosen in derivation.sections():
        lines.append(rf"\subsection*{{{head}}}")
        rows: list[str] = []
        for number, step in chosen:
            if len(step.symbol) + len(step.expression) <= _LINE:
                rows += _latex_rows(number, step)
                continue
            lines += _aligned(rows)
            lines += _latex_paragraph(number, step)
            rows = []
        lines += _aligned(rows)
    return "\n".join([*lines, r"\end{document}", ""])


def _latex_head(title: str) -> str:
    return rf"{_LATEX_HEAD}\section*{{{typeset.latex_text(title)}}}"


def _aligned(rows: list[str]) -> list[str]:
    return [r"\begin{align*}", " \\\\\n".join(rows), r"\end{align*}"] if rows else []


def _latex_rows(number: int | None, step: Step) -> Iterator[str]:
    left, right = typeset.latex(step.left), typeset.latex(step.right)
    mark = rf" \tag{{{number}}}" if number is not None else ""
    equals = r"{}:\;" if step.kind == "leaf" else "={}"
    note = typeset.latex_text(_note(step))
    yield rf"{left} &{equals} {right} && \text{{\footnotesize {note}}}{mark}"
    for line in _remarks(step):
        yield rf"&\quad \text{{\footnotesize {typeset.latex_text(line)}}}"


def _latex_paragraph(number: int | None, step: Step) -> Iterator[str]:
    """Return an equation that may break at its signs, which an aligned one doesn't."""
    left, right = typeset.latex(step.left), typeset.latex(step.right)
    mark = f"({number})\\quad " if number is not None else ""
    yield rf"\medskip {mark}$\displaystyle {left} = {right}$"
    for line in filter(None, (_note(step), *_remarks(step))):
        yield rf"\\ {{\footnotesize {typeset.latex_text(line)}}}"
    yield r"\par\medskip"


def _note(step: Step) -> str:
    return "  ".join(part for part in (step.type, step.where) if part)


def _remarks(step: Step) -> list[str]:
    return [*step.rules, *([f"= {step.value}"] if step.value else [])]


_STYLE = """
.graphc { font: 15px/1.45 system-ui, sans-serif; color: #1f2933; background: #fff; }
.graphc h1 { font-size: 1.35em; margin: 0 0 .4em; }
.graphc h2 { font-size: 1.05em; margin: 1.2em 0 .3em; color: #5f6b7a; }
.graphc table { border-collapse: collapse; }
.graphc td { padding: .3em .8em .3em 0; vertical-align: baseline; text-align: left; }
.graphc .number { color: #5f6b7a; text-align: right; min-width: 2em; }
.graphc .note { color: #5f6b7a; font-size: .85em; white-space: nowrap; }
.graphc .rule { color: #5f6b7a; font-size: .85em; }
.graphc .value { color: #0b5d8a; font-size: .85em; }
.graphc .gradient { border-left: 3px solid #c04a00; padding-left: .6em; }
.graphc .result { border: 1px solid #c04a00; background: #fdf1eb; padding: .6em; }
.graphc math { font-size: 1.1em; }
"""


def page(derivation: Derivation) -> str:
    """Return a derivation as a whole page of HTML; equal derivations give equal text."""
    title = html.escape(words.printable(derivation.title))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
        f"<title>{title}</title>\n</head>\n<body>\n{part(derivation)}</body>\n</html>\n"
    )


def part(derivation: Derivation) -> str:
    """Return a derivation as a part of a page, as notebooks show it."""
    lines = [f"<style>{_STYLE}</style>", '<div class="graphc">']
    lines.append(f"<h1>{_text(derivation.title)}</h1>")
    for head, chosen in derivation.sections():
        lines += [f"<h2>{head}</h2>", "<table>"]
        for number, step in chosen:
            lines += _html_row(number, step)
        lines.append("</table>")
    return "\n".join([*lines, "</div>", ""])


def _html_row(number: int | None, step: Step) -> Iterator[str]:
    between = ":" if step.kind == "leaf" else "="
    math = typeset.mathml(row(step.left, between, step.right))
    shown = number if number is not None else ""
    yield f'<tr><td class="number">{shown}</td><td class="{step.kind}">'
    yield f'<math xmlns="http://www.w3.org/1998/Math/MathML" displaystyle="true">{math}</math>'
    yield from (f'<div class="rule">{_text(rule)}</div>' for rule in step.rules)
    if step.value:
        yield f'<div class="value">= {_text(step.value)}</div>'
    yield "</td>"
    yield from (f'<td class="note">{_text(note)}</td>' for note in (step.type, step.where))
    yield "</tr>"


def _text(text: str) -> str:
    return html.escape(words.printable(text))
