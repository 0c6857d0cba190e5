"""The root registries: MMEngine's, by its names.

What mm2pl registers itself is imported when a name is first not found. Lightning's callbacks,
loggers and strategies and torchmetrics' metrics have no short names, only import paths.
"""

from __future__ import annotations

from mm2pl.registry.build_functions import (
    build_model_from_cfg,
    build_optimizer_from_cfg,
    build_runner_from_cfg,
    build_scheduler_from_cfg,
)
from mm2pl.registry.linked import RootRegistry

# fmt: off
_BITSANDBYTES = [
    "Adagrad8bit", "Adagrad32bit", "Adam8bit", "Adam32bit", "AdamW8bit", "AdamW32bit", "LAMB",
    "LAMB8bit", "LAMB32bit", "LARS", "LARS8bit", "LARS32bit", "Lion8bit", "Lion32bit",
    "RMSprop8bit", "RMSprop32bit", "SGD8bit", "SGD32bit", "PagedAdam", "PagedAdam8bit",
    "PagedAdam32bit", "PagedAdamW", "PagedAdamW8bit", "PagedAdamW32bit", "PagedLion",
    "PagedLion8bit", "PagedLion32bit",
]
# fmt: on
_OPTIONAL_OPTIMIZERS = {
    "Adafactor": "transformers.Adafactor",
    "Lion": "lion_pytorch.Lion",
    "SophiaG": "Sophia.SophiaG",
    # Ours, but it takes as long to import as torch.
    "ZeroRedundancyOptimizer": "mm2pl.optim.optimizer.zero_optimizer.ZeroRedundancyOptimizer",
    **{name: f"dadaptation.{name}" for name in ("DAdaptAdaGrad", "DAdaptAdam", "DAdaptSGD")},
    "DeepSpeedCPUAdam": "deepspeed.ops.adam.DeepSpeedCPUAdam",
    "FusedAdam": "deepspeed.ops.adam.FusedAdam",
    "FusedLamb": "deepspeed.ops.lamb.FusedLamb",
    "OnebitAdam": "deepspeed.runtime.fp16.onebit.OnebitAdam",
    "OnebitLamb": "deepspeed.runtime.fp16.onebit.OnebitLamb",
    "ZeroOneAdam": "deepspeed.runtime.fp16.onebit.ZeroOneAdam",
    # MMEngine prefixes those that torch has too.
    **{
        f"bnb_{n}": f"bitsandbytes.optim.{n}"
        for n in ["Adagrad", "Adam", "AdamW", "RMSprop", "SGD"]
    },
    **{name: f"bitsandbytes.optim.{name}" for name in _BITSANDBYTES},
}
"""Import paths of optimizers whose packages may be installed, by MMEngine's names for them."""

RUNNERS = RootRegistry(
    "runner",
    build_runner_from_cfg,
    locations=["mm2pl.runner.runner", "mm2pl.runner.flexible_runner"],
)
"""Runners, which ``runner_type`` names."""
RUNNER_CONSTRUCTORS = RootRegistry("runner constructor")
LOOPS = RootRegistry("loop", locations=["mm2pl.run.loops"])
HOOKS = RootRegistry("hook", locations=["mm2pl.hooks"])
STRATEGIES = RootRegistry("strategy", locations=["mm2pl.lightning"])

DATASETS = RootRegistry(
    "dataset",
    locations=["mm2pl.dataset"],
    by_name={
        name: f"mm2pl.mmcv.adapters.{name}" for name in ("MMCVConcatDataset", "MMCVRepeatDataset")
    },
)
DATA_SAMPLERS = RootRegistry("data sampler", locations=["mm2pl.dataset"])
TRANSFORMS = RootRegistry("transform")

MODELS = RootRegistry("model", build_model_from_cfg, locations=["mm2pl.model"])
MODEL_WRAPPERS = RootRegistry(
    "model_wrapper",
    locations=["mm2pl.model"],
    # torch.distributed.fsdp takes a second to import, so this one is not registered until asked for.
    by_name={
        "MMFullyShardedDataParallel": "mm2pl.model.wrappers.fully_sharded_distributed.MMFullyShardedDataParallel"
    },
)
WEIGHT_INITIALIZERS = RootRegistry("weight initializer", locations=["mm2pl.model"])

OPTIMIZERS = RootRegistry(
    "optimizer",
    build_optimizer_from_cfg,
    locations=["mm2pl.registry.torch_optimizers", "mm2pl.optim"],
    by_name=_OPTIONAL_OPTIMIZERS,
)
OPTIM_WRAPPERS = RootRegistry("optim_wrapper", locations=["mm2pl.optim"])
OPTIM_WRAPPER_CONSTRUCTORS = RootRegistry(
    "optimizer wrapper constructor",
    locations=["mm2pl.optim"],
    by_name={"MMCVOptimWrapperConstructor": "mm2pl.mmcv.adapters.MMCVOptimWrapperConstructor"},
)
PARAM_SCHEDULERS = RootRegistry(
    "parameter scheduler",
    build_scheduler_from_cfg,
    locations=["mm2pl.optim"],
    by_name={
        name: f"mm2pl.mmcv.schedules.{name}"
        for name in ("MMCVParamScheduler", "MMCVLR", "MMCVMomentum")
    },
)

METRICS = RootRegistry(
    "metric",
    locations=["mm2pl.evaluator"],
    by_name={"MMCVDatasetMetric": "mm2pl.mmcv.adapters.MMCVDatasetMetric"},
)
EVALUATOR = RootRegistry("evaluator", locations=["mm2pl.evaluator"])

TASK_UTILS = RootRegistry("task util")
"""Task-specific parts such as anchor generators and box coders."""

VISUALIZERS = RootRegistry("visualizer", locations=["mm2pl.visualization"])
VISBACKENDS = RootRegistry("vis_backend", locations=["mm2pl.visualization"])
LOG_PROCESSORS = RootRegistry("log_processor", locations=["mm2pl.run.log_processor"])
INFERENCERS = RootRegistry("inferencer")
FUNCTIONS = RootRegistry(
    "function",
    locations=["mm2pl.dataset"],
    by_name={"mmcv_collate": "mm2pl.mmcv.adapters.mmcv_collate"},
)
"""Functions such as ``collate_fn``s."""
