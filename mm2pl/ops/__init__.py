"""MMCV's operators in PyTorch: no compiler, any device, differentiable any number of times."""

from mm2pl.ops.activation import bias_act, fused_bias_leakyrelu
from mm2pl.ops.attention import ms_deform_attn
from mm2pl.ops.boxes3d import (
    boxes_overlap_bev,
    nms3d,
    nms3d_normal,
    points_in_boxes_all,
    points_in_boxes_part,
)
from mm2pl.ops.cost_volume import correlation
from mm2pl.ops.deform_conv import deform_conv2d
from mm2pl.ops.focal_loss import sigmoid_focal_loss, softmax_focal_loss
from mm2pl.ops.grouping import (
    assign_score_withk,
    gather_points,
    group_points,
    stack_group_points,
    three_interpolate,
)
from mm2pl.ops.neighbours import (
    ball_query,
    furthest_point_sample,
    furthest_point_sample_with_dist,
    knn,
    stack_ball_query,
    three_nn,
)
from mm2pl.ops.nms import nms, nms_match, soft_nms
from mm2pl.ops.point_sets import (
    chamfer_distance,
    convex_giou,
    convex_iou,
    min_area_polygons,
    points_in_polygons,
)
from mm2pl.ops.pooling import border_align, deform_roi_pool, prroi_pool
from mm2pl.ops.pooling3d import roiaware_pool3d, roipoint_pool3d
from mm2pl.ops.resampling import filtered_lrelu, upfirdn2d
from mm2pl.ops.roi import roi_align, roi_pool
from mm2pl.ops.rotated import (
    active_rotated_filter,
    bezier_align,
    riroi_align_rotated,
    roi_align_rotated,
    rotated_feature_align,
)
from mm2pl.ops.rotated_boxes import box_iou_quadri, box_iou_rotated, nms_quadri, nms_rotated
from mm2pl.ops.shift import tin_shift
from mm2pl.ops.sparse import indice_conv, indice_maxpool, indice_pairs
from mm2pl.ops.text import contour_expand, pixel_group
from mm2pl.ops.upsampling import carafe, psa_mask
from mm2pl.ops.voxels import dynamic_scatter, dynamic_voxelize, hard_voxelize

__all__ = [
    "active_rotated_filter",
    "assign_score_withk",
    "ball_query",
    "bezier_align",
    "bias_act",
    "border_align",
    "box_iou_quadri",
    "box_iou_rotated",
    "boxes_overlap_bev",
    "carafe",
    "chamfer_distance",
    "contour_expand",
    "convex_giou",
    "convex_iou",
    "correlation",
    "deform_conv2d",
    "deform_roi_pool",
    "dynamic_scatter",
    "dynamic_voxelize",
    "filtered_lrelu",
    "furthest_point_sample",
    "furthest_point_sample_with_dist",
    "fused_bias_leakyrelu",
    "gather_points",
    "group_points",
    "hard_voxelize",
    "indice_conv",
    "indice_maxpool",
    "indice_pairs",
    "knn",
    "min_area_polygons",
    "ms_deform_attn",
    "nms",
    "nms3d",
    "nms3d_normal",
    "nms_match",
    "nms_quadri",
    "nms_rotated",
    "pixel_group",
    "points_in_boxes_all",
    "points_in_boxes_part",
    "points_in_polygons",
    "prroi_pool",
    "psa_mask",
    "riroi_align_rotated",
    "roi_align",
    "roi_align_rotated",
    "roi_pool",
    "roiaware_pool3d",
    "roipoint_pool3d",
    "rotated_feature_align",
    "sigmoid_focal_loss",
    "soft_nms",
    "softmax_focal_loss",
    "stack_ball_query",
    "stack_group_points",
    "three_interpolate",
    "three_nn",
    "tin_shift",
    "upfirdn2d",
]
