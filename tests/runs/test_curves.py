"""The curves of runs, as values, as text and as pictures."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from mm2pl.errors import ArgumentError, MissingFileError
from mm2pl.runs.curves import Curve, as_text, curves, smoothed
from mm2pl.runs.folders import work_dir
from mm2pl.runs.picture import _fill, draw
from mm2pl.runs.record import Run


def of(*folders):
    return [Run(work_dir(each)) for each in folders]


def test_over_epochs_and_over_iterations(made):
    runs = of(made.mmengine("a", lr=0.0), made.mmcv("b"))
    by_epoch = curves(runs, ["loss", "acc"])
    assert [(c.run, c.key, c.of_training, c.xs) for c in by_epoch] == [
        ("a", "loss", True, [0.5, 1.5, 2.5, 3.5]),
        ("b", "loss", True, [5 / 8, 13 / 8, 21 / 8]),
        ("a", "acc", False, [1, 2, 3, 4]),
    ]
    assert by_epoch[0].ys == [2.0, 1.0, 2 / 3, 0.5]
    assert [c.xs for c in curves(runs, ["loss"], "iter")] == [[5, 15, 25, 35], [5, 13, 21]]


def test_a_run_by_iterations_makes_all_count_them(made):
    runs = of(made.mmengine("a"), made.mmcv("b", by_epoch=False))
    assert [c.xs for c in curves(runs, ["loss"])] == [[5, 15, 25, 35], [10, 20, 30]]
    with pytest.raises(ArgumentError, match="not all of these runs count epochs"):
        curves(runs, ["loss"], "epoch")


def test_loss_metric_and_rate_are_drawn_by_default(made):
    found = curves(of(made.mmengine("a"), made.mmcv("b")))
    assert list(dict.fromkeys(c.key for c in found)) == ["loss", "acc", "bbox_mAP", "lr"]
    assert [c.key for c in curves(of(made.root / "b"), ["mAP"])] == ["bbox_mAP"]


def test_a_value_that_nobody_has_logged(made):
    with pytest.raises(ArgumentError, match=r"have logged lr, data_time, .*Did you mean 'loss'"):
        curves(of(made.mmengine("a")), ["los"])


def line(*ys, key="loss", of_training=True):
    xs = [float(i) for i in range(len(ys))]
    return Curve(run="a", key=key, of_training=of_training, xs=xs, ys=[*ys])


SMOOTHED = {
    "nan is not carried on": (line(1.0, math.nan, 3.0), [1.0, math.nan, 3.5 / 1.5]),
    "a validation": (line(1.0, 3.0, of_training=False), [1.0, 3.0]),
    "a schedule": (line(1.0, 3.0, key="base_lr"), [1.0, 3.0]),
}


@pytest.mark.parametrize(("curve", "ys"), SMOOTHED.values(), ids=SMOOTHED)
def test_smoothed(curve, ys):
    assert smoothed(curve, 0.5).ys == pytest.approx(ys, nan_ok=True)


TEXTS = {
    "one value": (line(2.0), False, "▁" + " " * 59 + "  a: 2 → 2, 2 to 2"),
    "no value": (line(math.nan, math.inf), False, " " * 60 + "  a: no finite value"),
    "a step": (line(1.0, 2.0), False, "▁" * 59 + "█  a: 1 → 2, 1 to 2"),
    "below zero on a log axis": (line(1.0, -1.0), True, "▁" * 59 + "   a: 1 → -1, -1 to 1"),
}


@pytest.mark.parametrize(("curve", "log", "text"), TEXTS.values(), ids=TEXTS)
def test_text(curve, log, text):
    assert as_text([curve], log).splitlines()[1] == text


@pytest.mark.parametrize(("count", "dark"), [(1, False), (5, True)])
def test_picture(tmp_path, count, dark):
    found = [line(1.0, math.nan, 3.0, key=f"key{i}") for i in range(count)]
    draw(found, tmp_path / "x.png", axis="iter", weight=0.5, log=True, dark=dark, size=(4, 3))
    assert (tmp_path / "x.png").read_bytes()[:4] == b"\x89PNG"
    assert [each.name for each in tmp_path.iterdir()] == ["x.png"]


def test_a_picture_needs_a_folder_and_an_ending(tmp_path):
    with pytest.raises(ArgumentError, match=r"no picture has this ending → .*png"):
        draw([line(1.0)], tmp_path / "x.doc", axis="iter")
    with pytest.raises(MissingFileError, match="does not exist"):
        draw([line(1.0)], tmp_path / "no" / "x.png", axis="iter")


@pytest.mark.parametrize(
    ("ys", "scale", "title"),
    [
        ([1.0, 0.0, 10.0], "log", "a"),
        ([-1.0, 0.0], "linear", "a (not logarithmic: no value is above 0)"),
    ],
    ids=["some", "none"],
)
def test_values_that_are_not_above_zero_on_a_logarithmic_axis(ys, scale, title):
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    axis = Figure().subplots()
    axis.set_title("a")
    xs = [float(i) for i in range(len(ys))]
    curve = Curve(run="r", key="a", of_training=True, xs=xs, ys=ys)
    _fill(axis, [curve], {"r": "k"}, 0.0, log=True)
    assert (axis.get_yscale(), axis.get_title()) == (scale, title)


@pytest.mark.parametrize("size", [(3.0, 3.0), (4.0, 3.0), (10.0, 6.0), (16.0, 5.0)])
def test_the_legend_is_inside_the_picture(size, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    drawn: list[Figure] = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda fig, path: [save(fig, path), drawn.append(fig)])
    names = [f"lr_schedule_{i}/run_{i}" for i in range(6)]
    found = [replace(line(1.0), run=name) for name in names]
    draw(found, tmp_path / "x.png", axis="iter", size=size)
    box = drawn[0].legends[0].get_window_extent()
    assert (box.x0 >= 0, box.x1 <= drawn[0].bbox.x1) == (True, True)
