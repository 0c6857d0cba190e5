"""Released networks of other toolboxes on mmcv-lite: 12 iterations and a prediction, each operator called."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tests.ecosystem.test_projects import installed, run

pytestmark = [pytest.mark.ecosystem, pytest.mark.slow]
RUN = "from tests.ecosystem.networks import main; main()"
NETWORKS: dict[str, dict[str, set[str]]] = {
    "mmdet3d": {
        "pointpillars/pointpillars_hv_secfpn_8xb6-160e_kitti-3d-car.py": {
            *("hard_voxelize_forward", "nms_rotated"),
        },
        "second/second_hv_secfpn_8xb6-80e_kitti-3d-car.py": {
            *("hard_voxelize_forward", "get_indice_pairs_3d_forward", "indice_conv"),
            *("indice_subm_conv", "nms_rotated"),
        },
        "votenet/votenet_8xb8_scannet-3d.py": {
            *("furthest_point_sample", "ball_query_forward", "gather_points"),
            *("grouping_operation", "three_nn_forward", "three_interpolate"),
            "points_in_boxes_all",
        },
        "pv_rcnn/pv_rcnn_8xb2-80e_kitti-3d-3class.py": {
            *("hard_voxelize_forward", "furthest_point_sample", "indice_conv"),
            *("indice_subm_conv", "stack_ball_query_forward", "nms_rotated", "box_iou_rotated"),
            *("grouping_operation", "points_in_boxes_part"),
        },
    },
    "mmagic": {
        "styleganv2/stylegan2_c2_8xb4-800kiters_ffhq-256x256.py": {
            *("upfirdn2d", "fused_bias_leakyrelu"),
        },
        "edvr/edvrm_8xb4-600k_reds.py": {"modulated_deform_conv2d"},
    },
    "mmflow": {"_base_/models/pwcnet.py": {"CorrelationFunction.apply"}},
}
NEEDS = {"mmagic": ("diffusers", "transformers", "lpips"), "mmdet3d": ("mmdet",)}


@pytest.mark.parametrize("package", NETWORKS)
def test_networks_are_trained(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = [name for name in ("mmcv", package, *NEEDS.get(package, ())) if not installed(name)]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    monkeypatch.setenv("MM2PL_MMCV_EXT", "mm2pl")
    run("-c", RUN, package, str(tmp_path / "out.json"), *NETWORKS[package], mmengine=False)
    results = json.loads((tmp_path / "out.json").read_text())
    for config, calls in NETWORKS[package].items():
        losses = results[config]["losses"]
        assert len(losses) == 12
        assert all(map(math.isfinite, losses))
        assert sum(losses[-3:]) < sum(losses[:3])
        assert min(results[config]["found"]) > 0
        assert calls - results[config]["calls"].keys() == set()
