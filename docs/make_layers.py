"""Make the picture of the layers in `explanation/architecture.md`: `python docs/make_layers.py`.

The rows are the layers that import-linter enforces (pyproject.toml), the arrows are the imports of the code.
Arrows that follow from others are left out: if a imports b, and b imports c, then a needs no arrow to c.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import pairwise
from pathlib import Path

import grimp

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "images" / "layers.svg"
PACKAGE = "suno_video_async"
WIDTH, MARGIN, BOX, GAP, LETTER = 660, 20, 28, 62, 7.6
#: Rounds of sorting each row by what it is connected with; more change nothing.
SWEEPS = 24


def layers() -> list[list[str]]:
    """Return the layers of the contract, top to bottom."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    (rows,) = (one["layers"] for one in contracts["contracts"] if one["type"] == "layers")
    return [[name.strip() for name in row.split("|")] for row in rows]


def imports() -> dict[str, set[str]]:
    """Return what each module and package of the root imports of the others."""
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    found: dict[str, set[str]] = {name.rpartition(".")[2]: set() for name in graph.find_children(PACKAGE)}
    for module in graph.modules - {PACKAGE}:
        user = module.split(".")[1]
        for used in graph.find_modules_directly_imported_by(module) - {PACKAGE}:
            found[user].add(used.split(".")[1])
    return {name: used - {name} for name, used in found.items()}


def reduced(uses: Mapping[str, set[str]]) -> list[tuple[str, str]]:
    """Return the arrows that do not follow from others."""

    def reach(name: str) -> set[str]:
        return {name}.union(*(reach(used) for used in uses[name]))

    return sorted(
        (name, used)
        for name, all_used in uses.items()
        for used in all_used
        if not any(used in reach(other) for other in all_used - {used})
    )


def spread(wanted: Sequence[float], widths: Sequence[float]) -> list[float]:
    """Return centres as near as can be to the wanted ones, in this order and without overlaps."""
    offsets = [0.0]
    for one, other in pairwise(widths):
        offsets.append(offsets[-1] + (one + other) / 2)
    blocks: list[tuple[float, int]] = []
    for want, offset in zip(wanted, offsets, strict=True):
        mean, size = want - offset, 1
        while blocks and blocks[-1][0] >= mean:
            before, many = blocks.pop()
            mean, size = (before * many + mean * size) / (many + size), many + size
        blocks.append((mean, size))
    lowest, highest = MARGIN + widths[0] / 2, WIDTH - MARGIN - offsets[-1] - widths[-1] / 2
    means = [min(max(mean, lowest), highest) for mean, size in blocks for _ in range(size)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]


Node = tuple[str, str, int]  # a box ("name", "", row), or the passage of an arrow through a row


def placed(
    rows: Sequence[Sequence[str]], arrows: Iterable[tuple[str, str]]
) -> tuple[dict[Node, float], list[list[Node]]]:
    """Return the x of every box and passage, and every arrow's way from row to row."""
    row_of = {name: number for number, row in enumerate(rows) for name in row}
    grid: list[list[Node]] = [[(name, "", number) for name in row] for number, row in enumerate(rows)]
    ways = list[list[Node]]()
    for user, used in arrows:
        passages: list[Node] = [(user, used, number) for number in range(row_of[user] + 1, row_of[used])]
        for passage in passages:
            grid[passage[2]].append(passage)
        ways.append([(user, "", row_of[user]), *passages, (used, "", row_of[used])])
    near: dict[Node, list[Node]] = {node: [] for row in grid for node in row}
    for way in ways:
        for upper, lower in pairwise(way):
            near[upper].append(lower)
            near[lower].append(upper)
    x = {node: WIDTH * (place + 1) / (len(row) + 1) for row in grid for place, node in enumerate(row)}
    for sweep in range(SWEEPS):
        for row in grid if sweep % 2 else reversed(grid):
            wanted = {node: sum(x[one] for one in near[node]) / (len(near[node]) or 1) or x[node] for node in row}
            order = sorted(row, key=lambda node: (round(wanted[node], 3), node))
            widths = [width(node) + 14 for node in order]
            x.update(zip(order, spread([wanted[node] for node in order], widths), strict=True))
    return x, ways


def label(name: str) -> str:
    """Return a box's text: packages end with a slash."""
    return f"{name}/" if (ROOT / PACKAGE / name).is_dir() else name


def width(node: Node) -> float:
    """Return the width of a box or a passage."""
    return 6.0 if node[1] else len(label(node[0])) * LETTER + 16


def draw() -> str:
    """Return the picture as SVG."""
    rows, uses = layers(), imports()
    x, ways = placed(rows, reduced(uses))
    height = 2 * MARGIN + BOX + GAP * (len(rows) - 1)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        ' font-family="ui-monospace, Menlo, Consolas, monospace" font-size="12.5">',
        f"<title>The layers of {PACKAGE}: every import points downwards</title>",
        '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#5b7083"/></marker>',
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#fbfcfd"/>',
    ]
    for number in range(len(rows)):
        top = MARGIN + GAP * number
        lines.append(f'<rect x="6" y="{top - 8}" width="{WIDTH - 12}" height="{BOX + 16}" rx="6" fill="#eef2f6"/>')
    for way in ways:
        path = f"M{round(x[way[0]])} {MARGIN + GAP * way[0][2] + BOX}"
        for upper, lower in pairwise(way):
            top, bottom = MARGIN + GAP * upper[2] + BOX, MARGIN + GAP * lower[2]
            middle = round((top + bottom) / 2)
            path += f"C{round(x[upper])} {middle} {round(x[lower])} {middle} {round(x[lower])} {bottom}"
            path += f"V{bottom + BOX}" if lower[1] else ""
        lines.append(f'<path d="{path}" fill="none" stroke="#5b7083" stroke-width="1.2" marker-end="url(#tip)"/>')
    for number, row in enumerate(rows):
        for name in row:
            node, text = (name, "", number), escape(label(name))
            left, wide, top = round(x[node] - width(node) / 2), round(width(node)), MARGIN + GAP * number
            lines.append(
                f'<rect x="{left}" y="{top}" width="{wide}" height="{BOX}" rx="5" fill="#fff" stroke="#35506b"/>'
                f'<text x="{round(x[node])}" y="{top + 19}" text-anchor="middle" fill="#1d2f40">{text}</text>'
            )
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
