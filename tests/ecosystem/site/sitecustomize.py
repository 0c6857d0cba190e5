"""For the tests' processes only: let a torchvision wheel built for CUDA be imported under a CPU torch.

Its Python code extends operators that its library would declare; here they are declared, without a
kernel, when torchvision is about to be imported. Packages that must be compiled have a stand-in, which an
installed one precedes. MMRotate 1.0.0rc1 is told that MMDetection is 3.1.0, the last that it accepts, and
finds a name where Python had it up to 3.9.
"""

import collections.abc
import importlib.abc
import sys
from pathlib import Path

BOXES = "Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width"
GRADIENT = (
    "float spatial_scale, SymInt pooled_height, SymInt pooled_width, SymInt batch_size, "
    "SymInt channels, SymInt height, SymInt width"
)
STEPS = ", ".join(
    f"SymInt {name}"
    for name in ("stride_h", "stride_w", "pad_h", "pad_w", "dilation_h", "dilation_w", "groups")
)
DEFORM = f"{STEPS}, SymInt offset_groups, bool use_mask"
SCHEMAS = [
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    f"roi_align({BOXES}, int sampling_ratio, bool aligned) -> Tensor",
    f"roi_pool({BOXES}) -> (Tensor, Tensor)",
    f"ps_roi_align({BOXES}, int sampling_ratio) -> (Tensor, Tensor)",
    f"ps_roi_pool({BOXES}) -> (Tensor, Tensor)",
    f"_roi_align_backward(Tensor grad, Tensor rois, {GRADIENT}, int sampling_ratio, bool aligned) -> Tensor",
    f"_roi_pool_backward(Tensor grad, Tensor rois, Tensor argmax, {GRADIENT}) -> Tensor",
    "_ps_roi_align_backward(Tensor grad, Tensor rois, Tensor channel_mapping, float spatial_scale, "
    "SymInt pooled_height, SymInt pooled_width, int sampling_ratio, SymInt batch_size, SymInt channels, "
    "SymInt height, SymInt width) -> Tensor",
    f"_ps_roi_pool_backward(Tensor grad, Tensor rois, Tensor channel_mapping, {GRADIENT}) -> Tensor",
    f"deform_conv2d(Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, {DEFORM}) -> Tensor",
    "_deform_conv2d_backward(Tensor grad, Tensor input, Tensor weight, Tensor offset, Tensor mask, "
    f"Tensor bias, {DEFORM}) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
]


class Declare(importlib.abc.MetaPathFinder):
    """Finds nothing; declares the operators when torchvision is asked for."""

    library = None

    def find_spec(self, fullname, path=None, target=None):
        if fullname == "mmrotate":
            import mmdet

            mmdet.__version__ = "3.1.0"
            collections.Sequence = collections.abc.Sequence
        if fullname == "torchvision" and not self.library:
            import torch

            self.library = torch.library.Library("torchvision", "DEF")
            if not torch.version.cuda:
                for schema in SCHEMAS:
                    self.library.define(schema)


sys.meta_path.insert(0, Declare())
sys.path.append(str(Path(__file__).parents[1] / "standins"))
