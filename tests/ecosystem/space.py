"""Train a released detector of MMDetection3D for 12 iterations on made scenes, and count the calls of each operator.

What its import asks for and a detector does not use (compilers, readers of data sets) is stood in for by modules
without contents: ``STANDINS``.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import torch
from torch import Tensor

from mm2pl.compat import alias_mmengine
from mm2pl.ops import adapted, ext
from tests.ecosystem.commands import CALLS, adapting, counting

STANDINS = (
    *("lyft_dataset_sdk", "matplotlib", "numba", "nuscenes", "open3d", "pandas", "pyquaternion"),
    *("scipy", "seaborn", "skimage", "torchvision", "trimesh", "waymo_open_dataset"),
)
ITERATIONS = 12
LIMITS = [0, -6.4, -3, 12.8, 6.4, 1]


class Standin(ModuleType):
    """A module that has every name: a class for a capital letter, else a decorator that does nothing."""

    __path__: ClassVar[list[str]] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {}) if name[0].isupper() else decorator


def decorator(*args: Any, **kwargs: Any) -> Any:
    """Return a function as it is, with or without arguments of the decorator."""
    return args[0] if len(args) == 1 and callable(args[0]) else lambda function: function


class Finder(MetaPathFinder, Loader):
    """Finds the modules that are stood in for."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        known = fullname.partition(".")[0] in STANDINS
        return ModuleSpec(fullname, self, is_package=True) if known else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return Standin(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


def outdoors(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return points as a lidar has them, and cars among them."""
    low, high = torch.tensor(LIMITS[:3]), torch.tensor(LIMITS[3:])
    points = torch.rand(3000, 3, generator=generator) * (high - low) + low
    boxes = torch.rand(3, 7, generator=generator)
    boxes[:, :2] = low[:2] + 3 + boxes[:, :2] * (high - low - 6)[:2]
    boxes[:, 2], boxes[:, 3:6] = -1.78, torch.tensor([3.9, 1.6, 1.56])
    shares = torch.rand(3, 200, 3, generator=generator) - torch.tensor([0.5, 0.5, 0.0])
    cars = boxes[:, None, :3] + shares * boxes[:, None, 3:6] * 0.7
    points = torch.cat([points, cars.flatten(0, 1)])
    return torch.cat([points, torch.rand(len(points), 1, generator=generator)], 1), boxes


def indoors(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return points of a room, and boxes in it."""
    points = torch.rand(2500, 4, generator=generator) * torch.tensor([5, 5, 2, 1])
    boxes = torch.rand(3, 7, generator=generator) * 2 + 0.5
    boxes[:, 6] = 0
    return points, boxes


def settings_of(name: str, folder: Path) -> Any:
    """Return the model of a released config, its range made small."""
    config = importlib.import_module("mmengine.config").Config
    model = config.fromfile(str(folder / ".mim" / "configs" / name)).model
    model.test_cfg.score_thr = 0.0
    if "votenet" not in name:
        model.data_preprocessor.voxel_layer.point_cloud_range = LIMITS
        places = [*LIMITS[:2], -1.78, *LIMITS[3:5], -1.78]
        model.bbox_head.anchor_generator.ranges = [places]
    if "second" in name:
        model.middle_encoder.sparse_shape = [41, 256, 256]
    if "pointpillars" in name:
        model.voxel_encoder.point_cloud_range = LIMITS
        model.middle_encoder.output_shape = [80, 80]
    return model


def batch_of(indoor: bool, generator: torch.Generator) -> dict[str, Any]:
    """Return two scenes, as MMDetection3D's data pipelines do."""
    structures = importlib.import_module("mmdet3d.structures")
    instances = importlib.import_module("mmengine.structures").InstanceData
    kind = structures.DepthInstance3DBoxes if indoor else structures.LiDARInstance3DBoxes
    points, samples = [], []
    for _ in range(2):
        some, boxes = (indoors if indoor else outdoors)(generator)
        meta = {"box_type_3d": kind, "box_mode_3d": 2 if indoor else 0}
        sample = structures.Det3DDataSample(metainfo=meta)
        labels = torch.zeros(len(boxes), dtype=torch.long)
        sample.gt_instances_3d = instances(bboxes_3d=kind(boxes), labels_3d=labels)
        none = torch.full((len(some),), len(boxes) if indoor else -1)
        sample.gt_pts_seg = structures.PointData(
            pts_semantic_mask=none * 0 + 18, pts_instance_mask=none
        )
        points.append(some)
        samples.append(sample)
    return {"inputs": {"points": points}, "data_samples": samples}


def run(name: str) -> dict[str, Any]:
    """Return the losses, the numbers of boxes of a prediction, and the calls."""
    mmdet3d = importlib.import_module("mmdet3d.models")
    scope = importlib.import_module("mmengine.registry").DefaultScope
    scope.get_instance("space", scope_name="mmdet3d")
    torch.manual_seed(0)
    registry = importlib.import_module("mmdet3d.registry").MODELS
    folder = Path(str(mmdet3d.__file__)).parents[1]
    model: Any = registry.build(settings_of(name, folder))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(ITERATIONS):
        data = batch_of("votenet" in name, generator)
        out = model(**model.data_preprocessor(data, True), mode="loss")
        loss = model.parse_losses(out)[0]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10)
        optimizer.step()
        losses.append(float(loss))
    with torch.no_grad():
        data = batch_of("votenet" in name, generator)
        found = model.eval()(**model.data_preprocessor(data, False), mode="predict")
    boxes = [len(each.pred_instances_3d.bboxes_3d) for each in found]
    return {"losses": losses, "boxes": boxes, "calls": dict(CALLS)}


def main() -> None:
    """Serve MMEngine and the operators, counted; train; write what came of it."""
    sys.meta_path.append(Finder())  # only what is not installed
    ext.FUNCTIONS.update({name: counting(name, each) for name, each in ext.FUNCTIONS.items()})
    for functions in adapted.FUNCTIONS.values():
        functions.update({name: adapting(name, each) for name, each in functions.items()})
    with alias_mmengine():
        assert find_spec("mmcv") is not None
        Path(sys.argv[2]).write_text(json.dumps(run(sys.argv[1])))


if __name__ == "__main__":
    main()
