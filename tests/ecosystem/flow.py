"""MMFlow 0.5.2, which is of MMCV 1.x: its code goes through ``mm2pl migrate --code`` first."""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mm2pl.cli import main
from tests.ecosystem.networks import Made, descending

BY_HAND = {
    "__init__.py": "",  # refuses MMCV 2.x
    "utils/collect_env.py": "collect_env = None\n",  # takes names that MMCV 2.x lacks
}
"""What the migration names as left to a person, as far as a network imports it."""


def migrated(folder: Path) -> Path:
    """Write MMFlow's code for today."""
    spec = importlib.util.find_spec("mmflow")
    assert spec is not None
    assert spec.origin is not None
    package = shutil.copytree(Path(spec.origin).parent, folder / "mmflow")
    for part in ("models", "ops", "utils", "core"):
        assert main(["migrate", "--code", str(package / part), "--write"]) == 0
    for name, text in BY_HAND.items():
        (package / name).write_text(text)
    return package


def made(name: str) -> Made:
    """Return the network of a config: two pictures, the second one moved by 3 pixels."""
    package = migrated(Path(tempfile.mkdtemp()))
    sys.path.insert(0, str(package.parent))
    config = importlib.import_module("mmengine.config").Config
    settings = config.fromfile(str(package / ".mim" / "configs" / name)).model
    build = importlib.import_module("mmflow.models").build_flow_estimator
    model: Any = build(settings)
    model.init_weights()
    first = torch.rand(2, 3, 64, 64)
    pictures = torch.cat([first, first.roll(3, 3)], 1)
    truth = torch.tensor([3.0, 0]).view(1, 2, 1, 1).expand(2, 2, 64, 64)

    def loss() -> Tensor:
        data = {"imgs": pictures, "flow_gt": truth, "img_metas": [{}, {}]}
        total: Tensor = model.train_step(data, None)["loss"]
        return total

    def predict() -> list[int]:
        return [each["flow"].size for each in model.eval()(pictures, test_mode=True)]

    return Made(descending(model, loss, 1e-4), predict)
