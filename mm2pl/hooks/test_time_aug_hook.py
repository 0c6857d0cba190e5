"""Test with test-time augmentation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mm2pl.errors import ReadableKeyError
from mm2pl.hooks.hook import Hook
from mm2pl.registry import HOOKS, MODELS, RUNNERS

if TYPE_CHECKING:
    from mm2pl.config import Config
    from mm2pl.run.protocols import RunnerOfRunLike


@HOOKS.register_module()
class PrepareTTAHook(Hook):
    """Wrap the model into a ``BaseTTAModel`` before testing (``mmengine.hooks.PrepareTTAHook``).

    Args:
        tta_cfg: the config of the wrapping model, without its ``module``.
    """

    def __init__(self, tta_cfg: dict) -> None:
        self.tta_cfg = tta_cfg

    def before_test(self, runner: RunnerOfRunLike) -> None:
        """Replace ``runner.model``."""
        runner.model = MODELS.build({**self.tta_cfg, "module": runner.model})


def build_runner_with_tta(cfg: Config | dict) -> Any:
    """Build the runner of a config whose test uses ``tta_pipeline`` and ``tta_model``.

    Raises:
        KeyError: ``cfg`` lacks one of the two.
    """
    for key in ("tta_model", "tta_pipeline"):
        if key not in cfg:
            raise ReadableKeyError(
                f"the config has no {key!r}: test-time augmentation needs both of "
                "'tta_model' and 'tta_pipeline'"
            )
    cfg["test_dataloader"]["dataset"]["pipeline"] = cfg["tta_pipeline"]
    # Through the registry, which imports the Runner when it is asked: this room knows no room above it.
    own = "runner_type" in cfg
    runner = RUNNERS.build(cfg) if own else RUNNERS.get("Runner").from_cfg(cfg)
    runner.register_hook(PrepareTTAHook(tta_cfg=cfg["tta_model"]))
    return runner
