"""MMCV's operators in PyTorch: no compiler, any device, differentiable any number of times."""

from mm2pl.ops.attention import ms_deform_attn
from mm2pl.ops.deform_conv import deform_conv2d
from mm2pl.ops.focal_loss import sigmoid_focal_loss, softmax_focal_loss
from mm2pl.ops.nms import nms, nms_match, soft_nms
from mm2pl.ops.roi import roi_align, roi_pool
from mm2pl.ops.upsampling import carafe, psa_mask

__all__ = [
    "carafe",
    "deform_conv2d",
    "ms_deform_attn",
    "nms",
    "nms_match",
    "psa_mask",
    "roi_align",
    "roi_pool",
    "sigmoid_focal_loss",
    "soft_nms",
    "softmax_focal_loss",
]
