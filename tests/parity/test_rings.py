"""``configs/rings_mlp.py`` under MMEngine and under mm2pl: the same losses, bit for bit."""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

ROOT = Path(__file__).parents[2]


def project(package: str) -> None:
    """Define and register the example project for a package, with only its name changed."""
    name = f"rings_of_{package}"
    module = types.ModuleType(name)
    sys.modules[name] = module
    source = (ROOT / "examples" / "rings.py").read_text().replace("mm2pl", package)
    for part in ("MODELS", "DATASETS", "METRICS"):
        source = source.replace(
            f"@{part}.register_module()", f"@{part}.register_module(force=True)"
        )
    exec(compile(source, f"{name}.py", "exec"), vars(module))


def train(package: str, work_dir: str) -> tuple[list[str], dict[str, Any]]:
    project(package)
    config = importlib.import_module(f"{package}.config").Config.fromfile(
        str(ROOT / "configs" / "rings_mlp.py"), import_custom_modules=False
    )
    config.pop("custom_imports")
    config.work_dir = work_dir
    config.train_cfg.update(max_epochs=3)
    config.train_dataloader.dataset.size = 1000
    config.log_level = "ERROR"
    losses: list[str] = []
    base = importlib.import_module(f"{package}.hooks").Hook

    class Losses(base):
        def after_train_iter(
            self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
        ) -> None:
            losses.append(float(outputs["loss"]).hex())

    runner = importlib.import_module(f"{package}.runner").Runner.from_cfg(config)
    runner.register_hook(Losses())
    runner.train()
    return losses, runner.model.state_dict()


def test_rings(tmp_path):
    pytest.importorskip("mmengine")
    theirs, their_weights = train("mmengine", str(tmp_path / "theirs"))
    ours, our_weights = train("mm2pl", str(tmp_path / "ours"))
    assert len(theirs) == 48
    assert ours == theirs
    assert all(torch.equal(our_weights[name], value) for name, value in their_weights.items())
