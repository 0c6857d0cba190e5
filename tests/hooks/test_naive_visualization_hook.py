from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch

from mm2pl.hooks import NaiveVisualizationHook


class Sample(dict):
    ori_width, ori_height, img_path = 4, 6, "folder/a.jpg"


def test_images_come_back_to_their_original_size_and_colours(make_runner):
    drawn, graphs = [], []
    runner = make_runner()
    runner.visualizer = SimpleNamespace(
        add_datasample=lambda *args: drawn.append(args),
        add_graph=lambda *args: graphs.append(args),
    )
    hook = NaiveVisualizationHook(interval=2, draw_gt=False)
    hook.before_train(runner)
    assert graphs == [(runner.model, None)]

    image = torch.zeros(3, 4, 4)
    image[0, :3, :2] = 1.0
    sample = Sample(
        img_norm_cfg={"mean": [0, 10, 0], "std": [100, 1, 1]}, pad_shape=(4, 4), scale=(2, 3)
    )
    batch = [{"inputs": image, "data_sample": sample}]
    hook.after_test_iter(runner, 0, batch, ["output"])
    assert drawn == []
    hook.after_test_iter(runner, 1, batch, ["output"])
    name, picture, given, output, draw_gt, draw_pred = drawn[0]
    assert (name, given, output, draw_gt, draw_pred) == ("a.jpg", sample, "output", False, True)
    assert np.array_equal(picture, np.broadcast_to(np.float32([0, 10, 100]), (6, 4, 3)))
