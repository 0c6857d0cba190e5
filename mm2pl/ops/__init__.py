"""MMCV's operators in PyTorch: no compiler, any device, differentiable any number of times."""

from mm2pl.ops.attention import ms_deform_attn
from mm2pl.ops.deform_conv import deform_conv2d
from mm2pl.ops.focal_loss import sigmoid_focal_loss, softmax_focal_loss
from mm2pl.ops.nms import nms, nms_match, soft_nms
from mm2pl.ops.point_sets import (
    chamfer_distance,
    convex_giou,
    convex_iou,
    min_area_polygons,
    points_in_polygons,
)
from mm2pl.ops.pooling import border_align, deform_roi_pool, prroi_pool
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
from mm2pl.ops.text import contour_expand, pixel_group
from mm2pl.ops.upsampling import carafe, psa_mask

__all__ = [
    "active_rotated_filter",
    "bezier_align",
    "border_align",
    "box_iou_quadri",
    "box_iou_rotated",
    "carafe",
    "chamfer_distance",
    "contour_expand",
    "convex_giou",
    "convex_iou",
    "deform_conv2d",
    "deform_roi_pool",
    "min_area_polygons",
    "ms_deform_attn",
    "nms",
    "nms_match",
    "nms_quadri",
    "nms_rotated",
    "pixel_group",
    "points_in_polygons",
    "prroi_pool",
    "psa_mask",
    "riroi_align_rotated",
    "roi_align",
    "roi_align_rotated",
    "roi_pool",
    "rotated_feature_align",
    "sigmoid_focal_loss",
    "soft_nms",
    "softmax_focal_loss",
    "tin_shift",
]
