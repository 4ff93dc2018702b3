"""How kinds of boxes and arrows look: forms, fills, lines.

Knows colours, and no single picture. Form says the same as colour, for readers who see few of them.
"""

from __future__ import annotations

from dataclasses import dataclass

FONT = "Helvetica"
INK, GREY, NUMBERS = "#1f2933", "#5f6b7a", "#0b5d8a"
LOOP, BORDER = "#0072b2", "#c0392b"
_ROUND = "rounded,filled"


@dataclass(frozen=True, slots=True)
class Look:
    """How a kind of box looks; ``word`` is what the legend calls it.

    Colours are of Okabe and Ito's set, lightened, which colour-blind readers tell apart.
    """

    fill: str
    line: str
    shape: str = "box"
    style: str = _ROUND
    word: str = ""


LOOKS = {
    "input": Look("#d9ebf9", "#0072b2", "ellipse", "filled", "input"),
    "parameter": Look("#fdecc8", "#b97900", "box", "filled", "parameter"),
    "state": Look("#d6efe6", "#00795a", "cylinder", "filled", "state"),
    "constant": Look("#eceff2", "#8a94a0", "note", "filled", "constant"),
    "carry": Look("#fbf7d0", "#7a7000", "box", "rounded,filled,dashed", "from the step before"),
    "step": Look("#d9ebf9", "#0072b2", "box", "rounded,filled", "step of a sequence"),
    "op": Look("#ffffff", "#4b5563", word="operation"),
    "output": Look("#f3e1ed", "#9c3f76", word="output"),
    "gradient": Look("#fff6f1", "#c04a00", "box", _ROUND, "gradient"),
    "group": Look("#e5e8ec", "#4b5563", "box3d", "filled", "block"),
    "factor": Look("#fbe0d3", "#c04a00", word="factor"),
    "reused": Look("#f7c9b0", "#c04a00", word="factor, re-used by other chains"),
}

# Paul Tol's light scheme, lightened by two fifths: neighbours in this order differ most.
TINTS = (
    *("#c2ebff", "#f5ebb8", "#ffccd6", "#d6e085"),
    *("#adcceb", "#f5b8a3", "#8fd6c2", "#e3e3e3"),
)

ARROWS = {
    "forward": {"color": "#4b5563"},
    "backward": {"color": "#c04a00", "dir": "back", "penwidth": "1.2"},
    "factor": {"color": "#c04a00", "dir": "back"},
    "reused": {"color": "#c04a00", "dir": "back"},
    "read": {"color": "#9aa5b1", "style": "dashed", "constraint": "false", "arrowsize": "0.5"},
    "loop": {"color": LOOP, "fontcolor": LOOP, "style": "dashed", "penwidth": "1.4"},
    "time": {"color": LOOP, "penwidth": "1.3"},
    "border": {"color": BORDER, "style": "dashed", "penwidth": "1.3"},
}
