from __future__ import annotations

import os
import subprocess
import sys
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch

from mm2pl.registry import VISUALIZERS
from mm2pl.visualization import BaseVisBackend, LocalVisBackend, Visualizer

WHITE = np.full((20, 30, 3), 255, dtype=np.uint8)


class Spy(BaseVisBackend):
    def __init__(self, save_dir=None):
        super().__init__(save_dir)
        self.calls = []

    def __getattribute__(self, name):
        if name.startswith("add_") or name == "close":
            return lambda *args, **kwargs: self.calls.append((name, args, kwargs))
        return super().__getattribute__(name)


@pytest.fixture
def instances():
    """Forget the instances that a test has made."""
    yield
    Visualizer._instance_dict.clear()


def test_records_reach_every_backend():
    first = Spy()
    visualizer = Visualizer(vis_backends=[first, {"type": Spy, "name": "second"}])
    second = visualizer.get_backend("second")
    visualizer.add_config("config")
    visualizer.add_graph("model", None)
    visualizer.add_image("i", WHITE, 1)
    visualizer.add_scalar("a", 1, step=2)
    visualizer.add_scalars({"a": 1}, step=3, file_path="x.json")
    visualizer.add_datasample("n", WHITE)
    visualizer.close()
    assert first.calls == [
        ("add_config", ("config",), {}),
        ("add_graph", ("model", None), {}),
        ("add_image", ("i", WHITE, 1), {}),
        ("add_scalar", ("a", 1, 2), {}),
        ("add_scalars", ({"a": 1}, 3, "x.json"), {}),
        ("close", (), {}),
    ]
    assert second.calls == first.calls


def test_backends_from_configs(tmp_path):
    config = {"type": "LocalVisBackend", "name": "mine"}
    visualizer = Visualizer(vis_backends=[config, Spy()], save_dir=str(tmp_path))
    visualizer.add_scalar("a", 1)
    assert os.listdir(tmp_path / "vis_data") == ["scalars.json"]
    assert isinstance(visualizer.get_backend("mine"), LocalVisBackend)
    assert isinstance(visualizer.get_backend("Spy"), Spy)
    assert config == {"type": "LocalVisBackend", "name": "mine"}


def test_a_backend_without_a_folder_is_left_out():
    with pytest.warns(UserWarning, match="please provide the `save_dir` argument"):
        visualizer = Visualizer(vis_backends={"type": "LocalVisBackend"})
    assert visualizer.get_backend("LocalVisBackend") is None


@pytest.mark.parametrize(
    ("backends", "error", "text"),
    [
        ([Spy(), Spy()], RuntimeError, "vis_backend name Spy already exists"),
        ([1], TypeError, "must be a list of dicts .* but it holds 1"),
    ],
)
def test_wrong_backends(backends, error, text):
    with pytest.raises(error, match=text):
        Visualizer(vis_backends=backends)


@pytest.mark.usefixtures("instances")
def test_subclasses_share_the_current_instance():
    class Mine(Visualizer):
        pass

    first = Mine.get_instance("first")
    assert Visualizer.get_current_instance() is Mine.get_current_instance() is first
    assert Visualizer.get_instance("first") is first


@pytest.mark.usefixtures("instances")
def test_meta_information_and_registry():
    visualizer = VISUALIZERS.build({"type": "Visualizer", "name": "built"})
    assert visualizer is Visualizer.get_current_instance()
    visualizer.dataset_meta = {"classes": ("a",)}
    assert visualizer.dataset_meta == {"classes": ("a",)}


def test_matplotlib_is_imported_for_drawing_only():
    code = (
        "import sys; from mm2pl.visualization import Visualizer; v = Visualizer(); "
        "assert 'matplotlib' not in sys.modules; v.fig_save; assert 'matplotlib' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=os.getcwd())


@pytest.fixture
def canvas() -> Visualizer:
    return Visualizer(image=WHITE)


def test_an_untouched_image_is_returned_as_it_is(canvas):
    image = np.random.default_rng(0).integers(0, 256, (7, 5, 3))
    assert np.array_equal(canvas.get_image(), WHITE)
    canvas.set_image(image)
    assert np.array_equal(canvas.get_image(), image)


GREEN, RED = (0, 128, 0), (255, 0, 0)


@pytest.mark.parametrize(
    ("draw", "pixel", "color"),
    [
        pytest.param(
            lambda v: v.draw_bboxes(np.array([5, 5, 20, 15]), edge_colors=RED, alpha=1.0),
            (5, 10),
            RED,
            id="box",
        ),
        pytest.param(
            lambda v: v.draw_bboxes(
                torch.tensor([[1, 1, 4, 4], [5, 5, 20, 15]]), face_colors=["g", "r"], alpha=1.0
            ),
            (10, 10),
            RED,
            id="filled-boxes",
        ),
        pytest.param(
            lambda v: v.draw_lines(np.array([5, 20]), np.array([10, 10]), colors="r"),
            (10, 10),
            RED,
            id="line",
        ),
        pytest.param(
            lambda v: v.draw_points(np.array([[10, 10]]), colors="r", sizes=np.array([200])),
            (10, 10),
            RED,
            id="point",
        ),
        pytest.param(
            lambda v: v.draw_circles(
                np.array([10, 10]), np.array([5]), face_colors=RED, edge_colors="g", alpha=1.0
            ),
            (10, 10),
            RED,
            id="circle",
        ),
        pytest.param(
            lambda v: v.draw_polygons(
                [np.array([[5, 5], [20, 5], [20, 15], [5, 15]])], face_colors="r", alpha=1.0
            ),
            (10, 10),
            RED,
            id="polygon",
        ),
        pytest.param(
            lambda v: v.draw_binary_masks(np.ones((20, 30), bool), colors=RED, alphas=1.0),
            (10, 10),
            RED,
            id="mask",
        ),
        pytest.param(
            lambda v: v.draw_binary_masks(np.ones((1, 20, 30), bool), alphas=0.5),
            (10, 10),
            (128, 191, 128),
            id="mask-by-name",
        ),
        pytest.param(
            lambda v: v.draw_texts(
                "X", np.array([10, 5]), colors=RED, bboxes={"facecolor": "r", "alpha": 1.0}
            ),
            (10, 13),
            RED,
            id="text",
        ),
    ],
)
def test_drawing(canvas, draw, pixel, color):
    assert draw(canvas) is canvas
    assert tuple(canvas.get_image()[pixel]) == pytest.approx(color, abs=2)


@pytest.mark.parametrize(
    ("draw", "what"),
    [
        (lambda v: v.draw_bboxes(np.array([5, 5, 99, 15])), "bbox"),
        (lambda v: v.draw_lines(np.array([5, 99]), np.array([10, 10])), "line"),
        (lambda v: v.draw_circles(np.array([10, 10]), np.array([50])), "circle"),
        (lambda v: v.draw_polygons(np.array([[5, 5], [99, 5], [20, 15]])), "polygon"),
        (lambda v: v.draw_texts("X", np.array([99, 5])), "text"),
    ],
)
def test_drawing_outside_warns(canvas, draw, what):
    with pytest.warns(UserWarning, match=f"The {what} is out of bounds"):
        draw(canvas)


@pytest.mark.parametrize(
    ("draw", "error", "text"),
    [
        (lambda v: v.draw_bboxes([1, 2, 3, 4]), TypeError, "`bboxes` should be"),
        (lambda v: v.draw_bboxes(np.array([5, 5, 1, 9])), AssertionError, "x1 <= x2"),
        (lambda v: v.draw_bboxes(np.array([5, 5, 9])), AssertionError, r"should be \(N, 4\)"),
        (lambda v: v.draw_points(np.array([1, 2, 3])), AssertionError, r"should be \(N, 2\)"),
        (
            lambda v: v.draw_lines(np.zeros(2), np.zeros((2, 2))),
            AssertionError,
            "should have the same shape",
        ),
        (
            lambda v: v.draw_circles(np.zeros((2, 2)), np.ones(3)),
            AssertionError,
            r"`center` should be \(3, 2\)",
        ),
        (lambda v: v.draw_polygons(np.zeros((3, 3))), AssertionError, r"should be \(M, 2\)"),
        (lambda v: v.draw_texts(["a", "b"], np.zeros(2)), AssertionError, r"shape of \(2, 2\)"),
        (
            lambda v: v.draw_texts(["a", "b"], np.ones((2, 2)), font_sizes=[1]),
            AssertionError,
            "length of font_sizes",
        ),
        (lambda v: v.draw_binary_masks(np.ones((20, 30))), AssertionError, "should be np.bool_"),
        (lambda v: v.draw_binary_masks(np.ones((2, 3), bool)), AssertionError, "same shape"),
        (
            lambda v: v.draw_binary_masks(np.ones((20, 30), bool), colors=(0, 0, 300)),
            AssertionError,
            r"\(0, 0, 300\) is not \(R, G, B\)",
        ),
        (lambda v: v.draw_points(np.zeros(2), colors=1), TypeError, "Invalid type for color"),
        (lambda v: v.set_image(None), AssertionError, "an image"),
        (lambda v: v.show(backend="qt"), ValueError, '"matplotlib" or "cv2", but got qt'),
    ],
)
def test_wrong_drawing(canvas, draw, error, text):
    with pytest.raises(error, match=text):
        draw(canvas)


def test_no_image_to_return():
    with pytest.raises(AssertionError, match="Please set image"):
        Visualizer().get_image()


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        ({}, (6, 8, 3)),
        ({"channel_reduction": "select_max"}, (6, 8, 3)),
        ({"resize_shape": (3, 4)}, (3, 4, 3)),
        ({"channel_reduction": None, "topk": 3, "arrangement": (1, 3)}, (6, 24, 3)),
        ({"overlaid_image": np.zeros((6, 8), np.uint8)}, (6, 8, 3)),
        ({"overlaid_image": np.zeros((6, 8, 3), np.uint8), "resize_shape": (3, 4)}, (3, 4, 3)),
    ],
)
def test_feature_maps(arguments, shape):
    featmap = torch.randn(4, 6, 8, generator=torch.Generator().manual_seed(0))
    image = Visualizer.draw_featmap(featmap, **arguments)
    assert (image.shape, image.dtype) == (shape, np.uint8)
    assert image.std() > 0


def test_the_largest_channel_is_selected():
    featmap = torch.stack([torch.zeros(2, 2), torch.tensor([[0.0, 0.0], [0.0, 9.0]])])
    image = Visualizer.draw_featmap(featmap, channel_reduction="select_max")
    assert image[1, 1].tolist() == [128, 0, 0]
    assert image[0, 0].tolist() == [0, 0, 128]


def test_maps_of_another_size_are_scaled_with_a_warning():
    with pytest.warns(UserWarning, match="are not same, the feature map will be interpolated"):
        image = Visualizer.draw_featmap(torch.randn(2, 3, 3), np.zeros((6, 6, 3), np.uint8))
    assert image.shape == (6, 6, 3)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"featmap": np.zeros((1, 2, 2))}, "should be torch.Tensor"),
        ({"featmap": torch.zeros(2, 2)}, "Input dimension must be 3, but got 2"),
        ({"channel_reduction": "mean"}, "Mode only support"),
        ({"channel_reduction": None, "topk": 0}, "must be 1 or 3"),
        (
            {"channel_reduction": None, "topk": 9, "arrangement": (2, 2)},
            r"less than topk, .*: arrangement=\(2, 2\), topk=9",
        ),
    ],
)
def test_wrong_feature_maps(arguments, text):
    with pytest.raises(AssertionError, match=text):
        Visualizer.draw_featmap(**{"featmap": torch.zeros(2, 3, 3), **arguments})


def test_show_waits_for_the_user(canvas, monkeypatch):
    import matplotlib.pyplot as plt

    from mm2pl.visualization import visualizer as module

    manager, waits = MagicMock(), []
    monkeypatch.setattr(plt, "new_figure_manager", lambda **kwargs: manager)
    monkeypatch.setattr(module, "wait_continue", lambda figure, **kwargs: waits.append(kwargs))
    assert canvas.show(win_name="mine", wait_time=2) is None
    manager.set_window_title.assert_called_once_with("mine")
    assert waits == [{"timeout": 2, "continue_key": " "}]
