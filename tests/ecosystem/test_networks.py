"""Released networks of other toolboxes on mmcv-lite: 12 iterations and a prediction, each operator called."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tests.ecosystem.test_projects import installed, run

pytestmark = [pytest.mark.ecosystem, pytest.mark.slow]
RUN = "from tests.ecosystem.networks import main; main()"
NETWORKS: dict[tuple[str, str], set[str]] = {
    ("mmdet3d", "pointpillars/pointpillars_hv_secfpn_8xb6-160e_kitti-3d-car.py"): {
        *("hard_voxelize_forward", "nms_rotated"),
    },
    ("mmdet3d", "second/second_hv_secfpn_8xb6-80e_kitti-3d-car.py"): {
        *("hard_voxelize_forward", "get_indice_pairs_3d_forward", "indice_conv"),
        *("indice_subm_conv", "nms_rotated"),
    },
    ("mmdet3d", "votenet/votenet_8xb8_scannet-3d.py"): {
        *("furthest_point_sample", "ball_query_forward", "gather_points", "grouping_operation"),
        *("three_nn_forward", "three_interpolate", "points_in_boxes_all"),
    },
    ("mmdet3d", "pv_rcnn/pv_rcnn_8xb2-80e_kitti-3d-3class.py"): {
        *("hard_voxelize_forward", "furthest_point_sample", "indice_conv", "indice_subm_conv"),
        *("stack_ball_query_forward", "grouping_operation", "nms_rotated"),
        "iou3d_boxes_overlap_bev_forward",
    },
    ("mmagic", "styleganv2/stylegan2_c2_8xb4-800kiters_ffhq-256x256.py"): {
        *("upfirdn2d", "fused_bias_leakyrelu"),
    },
    ("mmagic", "edvr/edvrm_8xb4-600k_reds.py"): {"modulated_deform_conv2d"},
    ("mmflow", "_base_/models/pwcnet.py"): {"correlation"},
}
NEEDS = {"mmagic": ("diffusers", "transformers", "lpips"), "mmdet3d": ("mmdet",)}


@pytest.mark.parametrize(("package", "config"), NETWORKS, ids=[name for _, name in NETWORKS])
def test_a_network(package: str, config: str, tmp_path: Path, monkeypatch) -> None:
    missing = [name for name in ("mmcv", package, *NEEDS.get(package, ())) if not installed(name)]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    monkeypatch.setenv("MM2PL_MMCV_EXT", "mm2pl")
    out = tmp_path / "out.json"
    run("-c", RUN, package, config, str(out), mmengine=False)
    result = json.loads(out.read_text())
    losses = result["losses"]
    assert len(losses) == 12
    assert all(map(math.isfinite, losses))
    assert sum(losses[-3:]) < sum(losses[:3])
    assert min(result["found"]) > 0
    assert NETWORKS[package, config] - result["calls"].keys() == set()
