"""Visualizer next to MMEngine's: pixels, files, and OpenCV's colours."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from mm2pl.config import Config
from mm2pl.visualization import LocalVisBackend, Visualizer
from mm2pl.visualization.utils import convert_overlay_heatmap, jet

pytestmark = pytest.mark.parity
theirs = pytest.importorskip("mmengine.visualization")
cv2 = pytest.importorskip("cv2")

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
BOXES = np.array([[3, 3, 20, 20], [10, 5, 50, 30]])
MASKS = np.random.default_rng(1).random((2, 40, 60)) > 0.5


@pytest.mark.parametrize(
    "draw",
    [
        lambda v: v.draw_bboxes(BOXES, edge_colors=["r", (0, 0, 255)], line_widths=[1, 9]),
        lambda v: v.draw_bboxes(torch.tensor(BOXES[0]), face_colors="b", line_styles="--"),
        lambda v: v.draw_lines(BOXES[:, [0, 2]], BOXES[:, [1, 3]], colors=["r", "b"]),
        lambda v: v.draw_points(BOXES[:, :2], colors="b", sizes=np.array([9, 30]), marker="s"),
        lambda v: v.draw_circles(np.array([[20, 20], [30, 15]]), np.array([5, 9]), alpha=0.4),
        lambda v: v.draw_polygons([BOXES.reshape(-1, 2)], face_colors=(9, 99, 199), alpha=0.3),
        lambda v: v.draw_texts(["ab", "cd"], BOXES[:, :2], colors=["r", "w"], font_sizes=[8, 14]),
        lambda v: v.draw_texts("ab", BOXES[0, :2], bboxes={"facecolor": "r", "alpha": 0.5}),
        lambda v: v.draw_binary_masks(MASKS, colors=["r", (1, 2, 3)], alphas=[0.3, 0.6]),
    ],
    ids=["boxes", "box", "lines", "points", "circles", "polygon", "texts", "text-box", "masks"],
)
def test_drawings(draw):
    ours, other = draw(Visualizer(image=IMAGE)), draw(theirs.Visualizer(image=IMAGE))
    difference = ours.get_image().astype(int) - other.get_image()
    assert np.abs(difference).max() <= 1


def test_colours_of_heat():
    levels = np.arange(256, dtype=np.uint8)[None]
    expected = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_JET), cv2.COLOR_BGR2RGB)
    assert np.array_equal(jet(levels), expected)


@pytest.mark.parametrize("shape", [(20, 30), (1, 20, 30), (3, 20, 30)])
@pytest.mark.parametrize("overlaid", [None, IMAGE[:20, :30]], ids=["alone", "overlaid"])
def test_heat_maps(shape, overlaid):
    featmap = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    ours = convert_overlay_heatmap(featmap, overlaid, 0.5)
    other = theirs.utils.convert_overlay_heatmap(featmap, overlaid, 0.5)
    # One grey level apart is at most four levels of a colour.
    assert np.abs(ours.astype(int) - other).max() <= 4
    assert (ours != other).mean() < 0.02


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"channel_reduction": "select_max", "overlaid_image": IMAGE[..., 0]},
        {"channel_reduction": None, "topk": 3, "arrangement": (2, 2)},
        {"resize_shape": (10, 12)},
    ],
    ids=str,
)
def test_feature_maps(arguments):
    featmap = torch.randn(5, 40, 60, generator=torch.Generator().manual_seed(0))
    ours = Visualizer.draw_featmap(featmap, **arguments)
    other = theirs.Visualizer.draw_featmap(featmap, **arguments)
    assert ours.shape == other.shape
    assert (np.abs(ours.astype(int) - other) > 4).mean() < 0.01


def test_the_same_files(tmp_path):
    their_config = pytest.importorskip("mmengine.config").Config
    for name, backend, config in (
        ("ours", LocalVisBackend, Config),
        ("theirs", theirs.LocalVisBackend, their_config),
    ):
        visualizer = backend(str(tmp_path / name))
        visualizer.add_config(config({"a": 1, "b": [{"c": 2.5}]}))
        visualizer.add_scalar("lr", torch.tensor(0.1), step=2)
        visualizer.add_scalar("n", np.int64(3))
        values = {"loss": np.float64(1) / 3, "nan": float("nan"), "iter": 5}
        visualizer.add_scalars(values, step=5, file_path="t.json")
        visualizer.add_image("i", IMAGE, step=1)
    for path in ("scalars.json", "t.json"):
        ours, other = ((tmp_path / name / path).read_text() for name in ("ours", "theirs"))
        assert ours == other
    configs = [Config.fromfile(tmp_path / name / "config.py") for name in ("ours", "theirs")]
    assert configs[0].to_dict() == configs[1].to_dict()
    images = [cv2.imread(str(tmp_path / n / "vis_image" / "i_1.png")) for n in ("ours", "theirs")]
    assert np.array_equal(*images)
    assert sorted(os.listdir(tmp_path / "ours")) == sorted(os.listdir(tmp_path / "theirs"))
