"""The model as a picture: SVG by hand, the same bytes for the same numbers."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bench.sizing_model import MOST_ACCOUNTS, Assumptions, Sizing, size

_LEAST: Final = 100
_STEPS: Final = 41
_WIDTH, _HEIGHT = 380, 260
_LEFT, _TOP, _RIGHT, _BOTTOM = 58, 40, 142, 40
_INK, _GREY, _GRID = "#1f2328", "#59636e", "#d8dee4"
# Told apart without colour as well: each line is named at its end.
_COLOURS: Final = ("#0550ae", "#bc4c00", "#1a7f37", "#8250df")


@dataclass(frozen=True)
class Line:
    """Something that grows with the accounts."""

    name: str
    of: Callable[[Sizing], float]


@dataclass(frozen=True)
class Panel:
    """Lines of one unit."""

    title: str
    lines: tuple[Line, ...]


PANELS: Final = (
    Panel(
        "Cores in the worst minute",
        (
            Line("Synapse", lambda sizing: sizing.synapse_cores),
            Line("its PostgreSQL", lambda sizing: sizing.database_cores),
            Line("passwords", lambda sizing: sizing.auth_cores),
        ),
    ),
    Panel(
        "Each second, in the worst minute",
        (
            Line("messages", lambda sizing: sizing.events),
            Line("writes of Lalepass", lambda sizing: sizing.writes),
            Line("beside Valkey", lambda sizing: sizing.writes_beside_valkey),
            Line("checks", lambda sizing: sizing.checks),
        ),
    ),
)


def draw(given: Assumptions) -> str:
    """Return the picture, of 100 accounts to ten million."""
    ratio = (MOST_ACCOUNTS / _LEAST) ** (1 / (_STEPS - 1))
    sizings = [size(round(_LEAST * ratio**step), given) for step in range(_STEPS)]
    width = len(PANELS) * (_LEFT + _WIDTH + _RIGHT)
    height = _TOP + _HEIGHT + _BOTTOM
    drawn = [
        _panel(panel, sizings, left=number * (_LEFT + _WIDTH + _RIGHT) + _LEFT)
        for number, panel in enumerate(PANELS)
    ]
    space, fonts = "http://www.w3.org/2000/svg", "system-ui, sans-serif"
    box = f'viewBox="0 0 {width} {height}" font-family="{fonts}" font-size="12" role="img"'
    return "\n".join(
        [
            f'<svg xmlns="{space}" {box}>',
            "<title>What a homeserver needs, by the number of its accounts</title>",
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
            *drawn,
            "</svg>\n",
        ]
    )


def _panel(panel: Panel, sizings: Sequence[Sizing], *, left: int) -> str:
    values = [[line.of(sizing) for sizing in sizings] for line in panel.lines]
    above_zero = [value for line in values for value in line if value > 0] or [1.0]
    low = math.floor(math.log10(min(above_zero)))
    high = max(math.ceil(math.log10(max(above_zero))), low + 1)

    def across(accounts: float) -> float:
        return left + _WIDTH * math.log10(accounts / _LEAST) / math.log10(MOST_ACCOUNTS / _LEAST)

    def up(value: float) -> float:
        # On such a scale nothing has no place: it is at the bottom.
        power = max(math.log10(value), low) if value > 0 else low
        return _TOP + _HEIGHT * (high - power) / (high - low)

    parts = [_text(left, _TOP - 18, panel.title, fill=_INK, weight="600")]
    for power in range(low, high + 1):
        y = up(10.0**power)
        parts.append(_stroke([(left, y), (left + _WIDTH, y)], _GRID, 1))
        parts.append(_text(left - 6, y + 4, _number(10.0**power), anchor="end"))
    for power in range(2, 8):
        x = across(10**power)
        parts.append(_text(x, _TOP + _HEIGHT + 18, _number(10.0**power), anchor="middle"))
    parts.append(_text(left + _WIDTH / 2, _TOP + _HEIGHT + 34, "accounts", anchor="middle"))
    ends = _apart([up(line[-1]) + 4 for line in values])
    for line, row, colour, end in zip(panel.lines, values, _COLOURS, ends, strict=False):
        points = [(across(s.accounts), up(v)) for s, v in zip(sizings, row, strict=True)]
        parts.append(_stroke(points, colour, 2))
        parts.append(_text(left + _WIDTH + 6, end, line.name, fill=colour, weight="600"))
    return "\n".join(parts)


def _apart(heights: Sequence[float], *, room: float = 14) -> list[float]:
    """Return the heights of the names, moved so that none is upon another."""
    placed: dict[int, float] = {}
    last = -math.inf
    for index in sorted(range(len(heights)), key=lambda number: heights[number]):
        last = max(heights[index], last + room)
        placed[index] = last
    return [placed[index] for index in range(len(heights))]


def _number(value: float) -> str:
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:g}"


def _stroke(points: Sequence[tuple[float, float]], colour: str, width: int) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def _text(
    x: float, y: float, text: str, *, fill: str = _GREY, anchor: str = "start", weight: str = "400"
) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} fill="{fill}" font-weight="{weight}">{text}</text>'
