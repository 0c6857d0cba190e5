"""Whole iterations of MMDetection's Faster R-CNN R50 on a CPU, on MMCV's compiled operators and on ours."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mm2pl.compat import alias_mmengine
from tests.benchmarks.measure import Run, Sample, Scenario
from tests.benchmarks.operators import boxes
from tests.benchmarks.parts import timed

CONFIG = "faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"
IMAGE = (320, 480)
ROOT = Path(__file__).parents[2]
SCENARIOS = {"detector": "Faster R-CNN R50, whole iterations of one image of 480 × 320"}
"""Option → title."""


def is_installed() -> bool:
    """Return whether MMDetection and an MMCV are there."""
    return all(importlib.util.find_spec(name) for name in ("mmdet", "mmcv"))


def batch() -> dict[str, Any]:
    """Return one image of noise with eight boxes."""
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    corners = boxes(8) * 0.35
    sample = DetDataSample(metainfo={"img_shape": IMAGE, "pad_shape": IMAGE, "scale_factor": 1.0})
    sample.gt_instances = InstanceData(bboxes=corners, labels=torch.arange(8))
    image = torch.randint(0, 256, (3, *IMAGE), dtype=torch.uint8)
    return {"inputs": [image], "data_samples": [sample]}


def measure(times: int) -> tuple[Sample, list[float]]:
    """Return what one iteration takes, after one that warms up, and the losses."""
    from mmdet.registry import MODELS
    from mmdet.utils import register_all_modules
    from mmengine.config import Config

    torch.manual_seed(0)
    torch.set_num_threads(1)
    register_all_modules(init_default_scope=True)
    spec = importlib.util.find_spec("mmdet")
    assert spec is not None
    assert spec.origin is not None
    cfg = Config.fromfile(Path(spec.origin).parent / ".mim/configs" / CONFIG)
    cfg.model.backbone.init_cfg = None
    model = MODELS.build(cfg.model)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    data, losses = batch(), []

    def iteration() -> None:
        given = model.data_preprocessor(data, True)
        loss: Tensor = model.parse_losses(model(**given, mode="loss"))[0]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    iteration()
    return timed(iteration, times), losses


def run(operators: str, times: int) -> Sample:
    """Measure in a process of its own, since ``mmcv.ops`` binds its operators when it is imported.

    Raises:
        RuntimeError: It failed.
    """
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        [sys.executable, __file__, str(times)],
        env={**os.environ, "PYTHONPATH": path, "MM2PL_MMCV_EXT": operators},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    wall, cpu = json.loads(done.stdout.splitlines()[-1])[:2]
    return Sample(wall=wall, cpu=cpu)


def scenario(name: str, quick: bool = False) -> Scenario:
    """Return the table."""
    rows: dict[str, Run] = {"mm2pl": functools.partial(run, "mm2pl", 1 if quick else 3)}
    spec = importlib.util.find_spec("mmcv")
    if spec is not None and list(Path(spec.origin or "").parent.glob("_ext*")):
        rows["MMCV, compiled"] = functools.partial(run, "mmcv", 1 if quick else 3)
    return Scenario(title=SCENARIOS[name], unit="s", scale=1.0, rows=rows, rounds=3)


if __name__ == "__main__":
    with alias_mmengine():
        sample, losses = measure(int(sys.argv[1]))
    print(json.dumps([sample.wall, sample.cpu, losses]))
