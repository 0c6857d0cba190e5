"""For the tests' processes only: let wheels be imported that lack something here.

The Python code of a torchvision built for CUDA extends operators that its library would declare; under a
CPU torch they are declared here, without a kernel, when torchvision is about to be imported.
MMagic 1.2.0 and MMPretrain 1.2.0 use names of NumPy 1, and MMagic and MMAction2 1.2.0 import packages that few of
their models need; MMAction2's wheel lacks one that it imports.
Packages that must be compiled have a stand-in, which an installed one precedes. MMRotate 1.0.0rc1 is told
that MMDetection is 3.1.0, the last that it accepts, and finds a name where Python had it up to 3.9.
The wheels of MMSegmentation and model-index hold a package `tests`, which would hide this one.
"""

import collections.abc
import importlib.abc
import importlib.machinery
import sys
import types
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


ABSENT = ("albumentations", "pandas", "resize_right", "timm", "mmaction.models.localizers.drn")
"""What MMagic and MMAction2 import for models that are not run here."""

OLD_NAMES = {"mmagic": ("bool8", "bool_"), "mmpretrain": ("in1d", "isin")}
"""Per package a name of NumPy 1 that it uses, and what NumPy 2 calls it."""


class Absent(types.ModuleType):
    """A package of which nothing is used: each name in it is a class of its own."""

    __path__ = ()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class Complete(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds what no other finder has found."""

    def find_spec(self, fullname, path=None, target=None):
        if any(f"{fullname}.".startswith(f"{absent}.") for absent in ABSENT):
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec):
        return Absent(spec.name)

    def exec_module(self, module):
        pass


class OldName(importlib.abc.MetaPathFinder):
    """Finds nothing; gives NumPy an old name back when a package that uses it is asked for."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname in OLD_NAMES:
            import numpy

            old, new = OLD_NAMES[fullname]
            setattr(numpy, old, getattr(numpy, new))


TESTS = types.ModuleType("tests")
TESTS.__path__ = [str(Path(__file__).parents[2])]
sys.modules["tests"] = TESTS
sys.meta_path[:0] = [Declare(), OldName()]
sys.meta_path.append(Complete())
sys.path.append(str(Path(__file__).parents[1] / "standins"))
