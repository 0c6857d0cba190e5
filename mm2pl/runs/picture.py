"""The curves of runs as a picture, by matplotlib."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mm2pl.runs.curves import Curve, smoothed
from mm2pl.utils.picture_path import check_picture_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAX_POINTS = 20_000
_SMALL = 8.0
"""Inches of width below which letters are smaller."""


_LETTERS = 110
"""Letters of a legend in an inch of width, times the size of the font in points."""


def draw(
    curves: Sequence[Curve],
    path: Path,
    *,
    axis: str,
    weight: float = 0.0,
    log: bool = False,
    dark: bool = False,
    size: tuple[float, float] = (10.0, 6.0),
) -> None:
    """Draw curves to a file, an axis for each key and a colour for each run.

    Args:
        curves: What to draw.
        path: The file; an older one is replaced at once.
        axis: What the curves are drawn over, ``epoch`` or ``iter``.
        weight: How much the training's curves are smoothed, from 0 to below 1; they are faint behind it.
        log: Draw values on a logarithmic axis.
        dark: On a dark ground.
        size: In inches.

    Raises:
        ArgumentError: The path has an ending of no picture.
        MissingFileError: Its folder is not there.
    """
    # Not pyplot, which would choose a display and keep the figure for the life of the process.
    from matplotlib import rc_context, style
    from matplotlib.figure import Figure

    check_picture_path(path)
    # Letters of an SVG as text: those of two in one page would have the same names as paths.
    font: Any = {"font.size": 10.0 if size[0] >= _SMALL else 8.0, "svg.fonttype": "none"}
    with style.context("dark_background" if dark else "default"), rc_context(font):
        figure = Figure(figsize=size, layout="constrained")
        colors = _colors(curves, dark)
        for each, key in _axes(figure, [curve.key for curve in curves], axis):
            _fill(each, [c for c in curves if c.key == key], colors, weight, log)
        _legend(figure, curves, colors)
        unfinished = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
        try:
            figure.savefig(unfinished)
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)


def _axes(figure: Figure, names: Sequence[str], x: str) -> Iterator[tuple[Axes, str]]:
    """Yield an axis with its key; up to three stand above each other, since curves are wide."""
    keys = list(dict.fromkeys(names))
    columns = 1 if len(keys) <= 3 else 2 if len(keys) <= 8 else 3
    axes = figure.subplots(-(-len(keys) // columns), columns, squeeze=False, sharex=True).flatten()
    for each in axes[len(keys) :]:
        each.remove()
    for number, (each, key) in enumerate(zip(axes, keys, strict=False)):
        each.set_title(key, fontsize="medium")
        if number >= len(keys) - columns:
            each.set_xlabel("epoch" if x == "epoch" else "iteration")
            each.tick_params(labelbottom=True)
        yield each, key


def _colors(curves: Sequence[Curve], dark: bool) -> dict[str, object]:
    from matplotlib import colormaps

    names = list(dict.fromkeys(curve.run for curve in curves))
    if len(names) <= 8:
        palette = colormaps["Set2" if dark else "Dark2"]
        return {name: palette(i) for i, name in enumerate(names)}
    # More colours than anyone can tell apart: in the order of the runs, so that neighbours look alike.
    palette = colormaps["viridis"]
    low, high = (0.2, 1.0) if dark else (0.0, 0.9)
    step = (high - low) / (len(names) - 1)
    return {name: palette(low + i * step) for i, name in enumerate(names)}


def _fill(
    axis: Axes, curves: Sequence[Curve], colors: dict[str, object], weight: float, log: bool
) -> None:
    for curve in curves:
        color = colors[curve.run]
        stride = -(-len(curve.xs) // _MAX_POINTS)
        xs, ys = curve.xs[::stride], curve.ys[::stride]
        if not curve.of_training:
            axis.plot(xs, ys, color=color, linewidth=1, linestyle="--", marker="o", markersize=3)
            continue
        axis.plot(xs, ys, color=color, linewidth=1.3, alpha=0.3 if weight else 1.0)
        if weight:  # a schedule stays as it is, one line on the other
            axis.plot(xs, smoothed(curve, weight).ys[::stride], color=color, linewidth=1.5)
    if log and any(y > 0 for curve in curves for y in curve.ys if math.isfinite(y)):
        # Gaps, as in the text; "clip" would draw a line down to the edge.
        axis.set_yscale("log", nonpositive="mask")
    elif log:
        axis.set_title(
            f"{axis.get_title()} (not logarithmic: no value is above 0)", fontsize="medium"
        )
    axis.grid(alpha=0.25)


def _legend(figure: Figure, curves: Sequence[Curve], colors: dict[str, object]) -> None:
    from matplotlib import rcParams
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=color, label=name) for name, color in colors.items()]  # type: ignore[arg-type]
    if {curve.of_training for curve in curves} == {True, False}:
        grey = {"color": "0.5", "linewidth": 1}
        handles += [
            Line2D([], [], label="training", **grey),  # type: ignore[arg-type]
            Line2D([], [], label="validation", linestyle="--", marker="o", markersize=3, **grey),  # type: ignore[arg-type]
        ]
    width = max(len(str(each.get_label())) for each in handles)
    letters = figure.get_figwidth() * _LETTERS / rcParams["font.size"]
    columns = max(1, min(len(handles), int(letters / (width + 7))))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, fontsize="small", frameon=False
    )
