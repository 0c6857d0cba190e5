"""Draw predictions of a test into the visualizer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from mm2pl.hooks.hook import DATA_BATCH, Hook
from mm2pl.registry import HOOKS
from mm2pl.utils.dl_utils import tensor2imgs

if TYPE_CHECKING:
    from mm2pl.run.protocols import RunnerLike


@HOOKS.register_module()
class NaiveVisualizationHook(Hook):
    """Hand test images in their original size, with samples and predictions, to ``add_datasample``.

    Stands for ``mmengine.hooks.NaiveVisualizationHook``. Each item of a batch is a dict with
    ``inputs`` ``(C, H, W)`` or ``(1, C, H, W)`` and a ``data_sample`` that knows ``ori_width``,
    ``ori_height`` and ``img_path``, and may know ``img_norm_cfg`` (mean, std, to_bgr), ``scale`` and ``pad_shape``.

    Args:
        interval: batches between two that are drawn.
        draw_gt: draw the ground truth.
        draw_pred: draw the prediction.
    """

    priority = "NORMAL"

    def __init__(self, interval: int = 1, draw_gt: bool = True, draw_pred: bool = True) -> None:
        self.draw_gt = draw_gt
        self.draw_pred = draw_pred
        self._interval = interval

    def _unpad(self, input: np.ndarray, unpad_shape: tuple[int, int]) -> np.ndarray:
        """Cut an image ``(H, W, C)`` to ``unpad_shape``, a width and a height."""
        width, height = unpad_shape
        return input[:height, :width]

    def before_train(self, runner: RunnerLike) -> None:
        """Show the model's graph to the backends that can draw one."""
        runner.visualizer.add_graph(runner.model, None)

    def after_test_iter(
        self,
        runner: RunnerLike,
        batch_idx: int,
        data_batch: DATA_BATCH = None,
        outputs: Sequence | None = None,
    ) -> None:
        """Draw every item of the batch."""
        if not self.every_n_inner_iters(batch_idx, self._interval):
            return
        for data, output in zip(data_batch or (), outputs or (), strict=False):
            sample = data["data_sample"]
            inputs = data["inputs"].reshape(-1, *data["inputs"].shape[-3:])
            image = tensor2imgs(inputs, **sample.get("img_norm_cfg", {}))[0]
            size = (sample.ori_width, sample.ori_height)
            if "pad_shape" in sample:
                image = self._unpad(image, sample.get("scale", size))
            runner.visualizer.add_datasample(
                os.path.basename(sample.img_path),
                _resize(image, size),
                sample,
                output,
                self.draw_gt,
                self.draw_pred,
            )


def _resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scale an image ``(H, W, C)`` bilinearly to a width and a height."""
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None]
    scaled = F.interpolate(tensor, size=size[::-1], mode="bilinear", align_corners=False)
    return scaled[0].permute(1, 2, 0).contiguous().numpy()
