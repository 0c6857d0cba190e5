from __future__ import annotations

from unittest.mock import MagicMock

import numpy as np
import pytest
import torch

from mm2pl.visualization import utils


@pytest.mark.parametrize(
    ("shape", "text"), [((2, 3, 3), "or .3, H, W. is needed"), ((3,), "feat_map has the shape")]
)
def test_what_is_no_feature_map(shape, text):
    with pytest.raises(AssertionError, match=text):
        utils.convert_overlay_heatmap(np.zeros(shape))


def test_a_flat_map_is_blue():
    assert utils.convert_overlay_heatmap(torch.ones(1, 2))[0].tolist() == [[0, 0, 128]] * 2


@pytest.mark.parametrize(("alpha", "value"), [(0.0, 10), (1.0, 20), (0.25, 12)])
def test_blend(alpha, value):
    assert utils.blend(np.uint8([10]), np.uint8([20]), alpha).tolist() == [value]


def test_names_of_colours():
    assert utils.color_str2rgb("g") == (0, 127, 0)


@pytest.mark.parametrize(
    ("event", "result"), [("close", 1), ("key", 0), (None, 0)], ids=["close", "key", "timeout"]
)
def test_wait_continue(event, result):
    pytest.importorskip("matplotlib")
    from matplotlib.backend_bases import CloseEvent, KeyEvent

    figure, handlers = MagicMock(), []
    figure.canvas.mpl_connect.side_effect = lambda name, handler: handlers.append(handler)

    def loop(timeout):
        if event == "close":
            handlers[0](MagicMock(spec=CloseEvent))
        elif event == "key":
            handlers[0](MagicMock(spec=KeyEvent, key=" "))

    figure.canvas.start_event_loop.side_effect = loop
    assert utils.wait_continue(figure, timeout=1) == result
    assert figure.canvas.mpl_disconnect.call_count == 2


@pytest.mark.parametrize(
    ("check", "error", "text"),
    [
        (lambda: utils.check_type("x", 1, str), TypeError, "`x` should be <class 'str'>"),
        (lambda: utils.check_length("x", [1], 2), AssertionError, "length of x must equal"),
    ],
)
def test_checks(check, error, text):
    with pytest.raises(error, match=text):
        check()
