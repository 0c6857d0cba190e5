"""The registries of MMCV 1.x' runners, hooks and optimizer constructors.

They are children of mm2pl's, so that names are first those of 1.x, then those of today, and user classes
registered in either are found.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from mm2pl import registry
from mm2pl.errors import ArgumentError
from mm2pl.registry import OPTIMIZERS as OPTIMIZERS
from mm2pl.registry import Registry, build_from_cfg

# MMCV 1.7.2's registries have no parent. Here the parent finds what
# a half-migrated project registers in mm2pl.registry.
# The scope is 'mmcv' so that `type='mmcv.EpochBasedRunner'` reaches these classes too.
RUNNERS = Registry("runner", parent=registry.RUNNERS, build_func=build_from_cfg, scope="mmcv")
HOOKS = Registry("hook", parent=registry.HOOKS, scope="mmcv")
# No parent: MMEngine has no registry for constructors that return a bare optimizer.
OPTIMIZER_BUILDERS = Registry("optimizer builder", scope="mmcv")
RUNNER_BUILDERS = Registry("runner builder", scope="mmcv")


def build_runner(cfg: Mapping[str, Any], default_args: dict[str, Any] | None = None) -> Any:
    """Build a runner from ``dict(type='EpochBasedRunner', max_epochs=…)``; stands for `mmcv.runner.build_runner`.

    Args:
        cfg: Type and arguments; ``constructor`` names a class in RUNNER_BUILDERS to build it with. Not changed.
        default_args: Further arguments, such as ``model`` and ``optimizer``.
    """
    # 1.x train scripts use the same config after the runner is built, so `constructor` must stay in theirs.
    config = copy.deepcopy(dict(cfg))
    constructor = config.pop("constructor", None)
    # MMCV 1.7.2 always goes through DefaultRunnerConstructor, which does no more than this.
    if constructor is None:
        return RUNNERS.build(config, default_args=default_args)
    builder = RUNNER_BUILDERS.build(
        {"type": constructor, "runner_cfg": config, "default_args": default_args}
    )
    return builder()


@RUNNER_BUILDERS.register_module()
class DefaultRunnerConstructor:
    """Build a runner; a subclass may change its arguments.

    Args:
        runner_cfg: Type and arguments.
        default_args: Further arguments.

    Raises:
        TypeError: ``runner_cfg`` is not a dict.
    """

    def __init__(self, runner_cfg: dict, default_args: dict | None = None) -> None:
        if not isinstance(runner_cfg, Mapping):
            raise ArgumentError(f"runner_cfg={runner_cfg!r} must be a dict.")
        self.runner_cfg = runner_cfg
        self.default_args = default_args

    def __call__(self) -> Any:
        """Return the runner."""
        return RUNNERS.build(self.runner_cfg, default_args=self.default_args)
