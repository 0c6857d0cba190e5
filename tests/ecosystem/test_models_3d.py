"""Detectors of MMDetection3D 1.4 on mmcv-lite: 12 iterations and a prediction, each operator called."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.ecosystem,
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(map(importlib.util.find_spec, ("mmcv", "mmdet", "mmdet3d"))),
        reason="needs mmcv-lite, MMDetection and MMDetection3D",
    ),
]
MODELS: dict[str, set[str]] = {
    "pointpillars/pointpillars_hv_secfpn_8xb6-160e_kitti-3d-car.py": {"hard_voxelize_forward"},
    "second/second_hv_secfpn_8xb6-80e_kitti-3d-car.py": {
        *("hard_voxelize_forward", "get_indice_pairs_3d_forward"),
        *("indice_conv", "indice_subm_conv"),
    },
    "votenet/votenet_8xb8_scannet-3d.py": {
        *("furthest_point_sample", "ball_query_forward", "gather_points_forward"),
        *("gather_points_backward", "group_points_forward", "group_points_backward"),
        *("three_nn_forward", "three_interpolate_forward", "three_interpolate_backward"),
        "points_in_boxes_all",
    },
}


@pytest.mark.parametrize("name", MODELS)
def test_a_detector(name: str, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.ecosystem.space", name, str(out)],
        env={**os.environ, "PYTHONPATH": path, "MM2PL_MMCV_EXT": "mm2pl"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    result = json.loads(out.read_text())
    assert len(result["losses"]) == 12
    assert all(map(math.isfinite, result["losses"]))
    assert min(result["boxes"]) > 0
    assert {call for call in MODELS[name] if not result["calls"].get(call)} == set()
