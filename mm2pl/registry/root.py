"""The root registries: MMEngine's, by its names.

What mm2pl registers itself is imported when a name is first not found, from where :mod:`mm2pl.locations` says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mm2pl.compat import keep
from mm2pl.registry import keeping
from mm2pl.registry.build_functions import (
    build_model_from_cfg,
    build_optimizer_from_cfg,
    build_runner_from_cfg,
    build_scheduler_from_cfg,
)
from mm2pl.registry.linked import RootRegistry

if TYPE_CHECKING:
    from torch import nn

    class BuiltModel(nn.Module, Any):
        """A module of a class that only a config names.

        Type checkers take it for ``nn.Module`` and, since ``Any`` is a base, for any narrower class too. So
        ``self.head: BBoxHead = MODELS.build(head)`` and ``self.head.loss(…)`` need no cast.
        """

        def __getattr__(self, name: str) -> Any: ...  # nn.Module's says "Tensor or Module"


class ModelRegistry(RootRegistry):
    """The registry whose entries are modules."""

    def build(self, cfg: Any, *args: Any, **kwargs: Any) -> BuiltModel:
        """Build the model that ``cfg`` describes, or of a list of configs a `mm2pl.model.Sequential`."""
        return super().build(cfg, *args, **kwargs)


RUNNERS = RootRegistry("runner", build_runner_from_cfg)
"""Runners, which ``runner_type`` names."""
RUNNER_CONSTRUCTORS = RootRegistry("runner constructor")
LOOPS = RootRegistry("loop")
HOOKS = RootRegistry("hook")
STRATEGIES = RootRegistry("strategy")
"""For users' own, as in MMEngine; Lightning's strategies stand for those that MMEngine registers."""

DATASETS = RootRegistry("dataset")
DATA_SAMPLERS = RootRegistry("data sampler")
TRANSFORMS = RootRegistry("transform")

MODELS = ModelRegistry("model", build_model_from_cfg)
MODEL_WRAPPERS = RootRegistry("model_wrapper")
WEIGHT_INITIALIZERS = RootRegistry("weight initializer")

OPTIMIZERS = RootRegistry("optimizer", build_optimizer_from_cfg)
OPTIM_WRAPPERS = RootRegistry("optim_wrapper")
OPTIM_WRAPPER_CONSTRUCTORS = RootRegistry("optimizer wrapper constructor")
PARAM_SCHEDULERS = RootRegistry("parameter scheduler", build_scheduler_from_cfg)

METRICS = RootRegistry("metric")
EVALUATOR = RootRegistry("evaluator")

TASK_UTILS = RootRegistry("task util")
"""Task-specific parts such as anchor generators and box coders."""

VISUALIZERS = RootRegistry("visualizer")
VISBACKENDS = RootRegistry("vis_backend")
LOG_PROCESSORS = RootRegistry("log_processor")
INFERENCERS = RootRegistry("inferencer")
FUNCTIONS = RootRegistry("function")
"""Functions such as ``collate_fn``s."""

keep(keeping.save_registries, keeping.restore_registries)
keep(keeping.save_scopes, keeping.restore_scopes)
