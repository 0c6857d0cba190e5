"""MMCV's operators in PyTorch: no compiler, any device, differentiable any number of times."""

from mm2pl.ops.attention import ms_deform_attn
from mm2pl.ops.deform_conv import deform_conv2d
from mm2pl.ops.focal_loss import sigmoid_focal_loss, softmax_focal_loss
from mm2pl.ops.nms import nms, nms_match, soft_nms
from mm2pl.ops.pooling import border_align, deform_roi_pool, prroi_pool
from mm2pl.ops.roi import roi_align, roi_pool
from mm2pl.ops.rotated import (
    active_rotated_filter,
    bezier_align,
    riroi_align_rotated,
    roi_align_rotated,
    rotated_feature_align,
)
from mm2pl.ops.shift import tin_shift
from mm2pl.ops.upsampling import carafe, psa_mask

__all__ = [
    "active_rotated_filter",
    "bezier_align",
    "border_align",
    "carafe",
    "deform_conv2d",
    "deform_roi_pool",
    "ms_deform_attn",
    "nms",
    "nms_match",
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
