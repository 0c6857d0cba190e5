"""The functions of ``mmcv._ext`` by name, with MMCV's calling convention: results go into the caller's buffers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mm2pl.ops import ext_boxes, ext_convolutions, ext_others, ext_regions, ext_time
from mm2pl.ops.ext_arguments import checked

FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{
        name: checked(name, function)
        for module in (ext_regions, ext_convolutions, ext_boxes, ext_others, ext_time)
        for name, function in module.FUNCTIONS.items()
    },
    "get_compiler_version": lambda: "none: mm2pl.ops, PyTorch",
    "get_compiling_cuda_version": lambda: "not available",
}
"""What runs here, by the name that ``mmcv/ops/*.py`` loads."""

MISSING = [
    "assign_score_withk_backward",
    "assign_score_withk_forward",
    "ball_query_forward",
    "bias_act",
    "correlation_backward",
    "correlation_forward",
    "dynamic_point_to_voxel_backward",
    "dynamic_point_to_voxel_forward",
    "dynamic_voxelize_forward",
    "filtered_lrelu",
    "filtered_lrelu_act_",
    "furthest_point_sampling_forward",
    "furthest_point_sampling_with_dist_forward",
    "fused_bias_leakyrelu",
    "fused_indice_conv_forward",
    "gather_points_backward",
    "gather_points_forward",
    "get_indice_pairs_2d_backward",
    "get_indice_pairs_2d_forward",
    "get_indice_pairs_3d_backward",
    "get_indice_pairs_3d_forward",
    "get_indice_pairs_4d_forward",
    "group_points_backward",
    "group_points_forward",
    "hard_voxelize_forward",
    "indice_conv_backward",
    "indice_conv_forward",
    "indice_maxpool_backward",
    "indice_maxpool_forward",
    "iou3d_boxes_overlap_bev_forward",
    "iou3d_nms3d_forward",
    "iou3d_nms3d_normal_forward",
    "knn_forward",
    "points_in_boxes_all_forward",
    "points_in_boxes_cpu_forward",
    "points_in_boxes_part_forward",
    "roiaware_pool3d_backward",
    "roiaware_pool3d_forward",
    "roipoint_pool3d_forward",
    "stack_ball_query_forward",
    "stack_group_points_backward",
    "stack_group_points_forward",
    "three_interpolate_backward",
    "three_interpolate_forward",
    "three_nn_forward",
    "upfirdn2d",
]
"""The other names, which raise when they are called."""


def missing(name: str) -> Callable[..., Any]:
    """Return a function that says that an operator is not there."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise NotImplementedError(
            f"mmcv._ext.{name} is not among the operators that mm2pl.ops has in PyTorch → "
            f"install an mmcv with compiled operators, which is taken in its place"
        )

    return refuse
