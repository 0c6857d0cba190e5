"""A released config that is run, and what is changed in it: paths, sizes and lengths."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")

COMMON = {"default_hooks.logger.interval": 1, "randomness.seed": 0}
"""Every iteration is logged."""


@dataclass(frozen=True, kw_only=True)
class Project:
    """A released config of an installed toolbox.

    Attributes:
        package: Its import name.
        config: Its path below the package's folder of configs.
        data: Writes the data set into a folder.
        options: ``--cfg-options``; ``{data}`` stands for that folder.
        flags: Such as ``--auto-scale-lr``.
        evaluates: Whether it has data to validate and test with.
        needs: Other packages.
        loaders: Their places in the config.
        calls: The functions of ``mmcv._ext`` that its run must call.
        settled: Iterations whose losses do not hang on the last digit of an operator; None: all.
        predicts: Whether its evaluators write what they are given into files (``outfile_prefix``).
    """

    package: str
    config: str
    data: Callable[[Path], None]
    options: dict[str, object] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    evaluates: bool = True
    needs: tuple[str, ...] = ()
    loaders: tuple[str, ...] = LOADERS
    calls: tuple[str, ...] = ()
    settled: int | None = None
    predicts: bool = False

    def path(self) -> Path:
        """Return the config's file."""
        spec = importlib.util.find_spec(self.package)
        assert spec is not None
        assert spec.origin is not None
        return Path(spec.origin).parent / ".mim/configs" / self.config

    def cfg_options(self, data: Path, work_dir: Path) -> list[str]:
        """Return the command-line arguments after ``--cfg-options``."""
        # The data is loaded in the process itself.
        workers = {"num_workers": 0, "persistent_workers": False}
        here = {
            f"{loader}.{key}": value for loader in self.loaders for key, value in workers.items()
        }
        merged: dict[str, object] = {**COMMON, **here, **self.options}
        for stage in ("val", "test") if self.predicts else ():
            merged[f"{stage}_evaluator.outfile_prefix"] = work_dir / stage
        if not self.evaluates:
            merged = {
                key: value for key, value in merged.items() if key[:4] not in ("val_", "test")
            }
        return [f"{key}={value}".replace("{data}", str(data)) for key, value in merged.items()]
