"""Where mm2pl's registered classes live: the one table that names rooms without importing them.

`mm2pl.registry` stands below the rooms whose classes it finds, so it does not know them. Its root
registries read this module, once, when a name is first not found (`mm2pl.registry.located`).
A new room is found by writing it down here.

Lightning's callbacks and loggers and torchmetrics' metrics have no short names, only import paths.
"""

from __future__ import annotations

MODULES: dict[str, tuple[str, ...]] = {
    "runner": ("mm2pl.runner.runner", "mm2pl.runner.flexible_runner"),
    "loop": ("mm2pl.run.loops", "mm2pl.run.eval_loops"),
    "hook": ("mm2pl.hooks",),
    "dataset": ("mm2pl.dataset",),
    "data sampler": ("mm2pl.dataset",),
    "model": ("mm2pl.model",),
    "model_wrapper": ("mm2pl.model",),
    "weight initializer": ("mm2pl.model",),
    "optimizer": ("mm2pl.registry.torch_optimizers", "mm2pl.optim.optimizer"),
    "optim_wrapper": ("mm2pl.optim.optimizer",),
    "optimizer wrapper constructor": ("mm2pl.optim.optimizer",),
    "parameter scheduler": ("mm2pl.optim.scheduler",),
    "metric": ("mm2pl.evaluator",),
    "evaluator": ("mm2pl.evaluator",),
    "visualizer": ("mm2pl.visualization",),
    "vis_backend": ("mm2pl.visualization",),
    "log_processor": ("mm2pl.run.log_processor",),
    "function": ("mm2pl.dataset",),
}
"""By a root registry's name: the modules that register something in it, imported at its first miss."""

# fmt: off
_BITSANDBYTES = [
    "Adagrad8bit", "Adagrad32bit", "Adam8bit", "Adam32bit", "AdamW8bit", "AdamW32bit", "LAMB",
    "LAMB8bit", "LAMB32bit", "LARS", "LARS8bit", "LARS32bit", "Lion8bit", "Lion32bit",
    "RMSprop8bit", "RMSprop32bit", "SGD8bit", "SGD32bit", "PagedAdam", "PagedAdam8bit",
    "PagedAdam32bit", "PagedAdamW", "PagedAdamW8bit", "PagedAdamW32bit", "PagedLion",
    "PagedLion8bit", "PagedLion32bit",
]
# fmt: on
_OPTIMIZERS = {
    "Adafactor": "transformers.Adafactor",
    "Lion": "lion_pytorch.Lion",
    "SophiaG": "Sophia.SophiaG",
    # Ours, but torch.distributed.optim, which it derives from, takes as long to import as torch.
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

RENAMED = {"Adafactor": "TorchAdafactor"}
"""A class of ``torch.optim`` → its registered name.

torch 2.5 brought an Adafactor. The short name meant transformers' before, and still does, as in MMEngine.
"""

BY_NAME: dict[str, dict[str, str]] = {
    "dataset": {
        name: f"mm2pl.mmcv.adapters.{name}" for name in ("MMCVConcatDataset", "MMCVRepeatDataset")
    },
    "model_wrapper": {
        # torch.distributed.fsdp takes a second to import.
        "MMFullyShardedDataParallel": "mm2pl.model.wrappers.fully_sharded_distributed.MMFullyShardedDataParallel"
    },
    "optimizer": _OPTIMIZERS,
    "optimizer wrapper constructor": {
        name: f"mm2pl.mmcv.adapters.{name}"
        for name in ("MMCVOptimWrapperConstructor", "MMCVOptimizerConstructor")
    },
    "parameter scheduler": {
        name: f"mm2pl.mmcv.schedules.{name}"
        for name in ("MMCVParamScheduler", "MMCVLR", "MMCVMomentum")
    },
    "metric": {"MMCVDatasetMetric": "mm2pl.mmcv.adapters.MMCVDatasetMetric"},
    "function": {"mmcv_collate": "mm2pl.mmcv.adapters.mmcv_collate"},
}
"""By a root registry's name: import paths of names that none of its modules registers.

They need an optional package, take long to import, or serve configs of MMCV 1.x only.
"""

SEQUENTIAL = "mm2pl.model.Sequential"
"""What ``MODELS.build`` makes of a list of configs, as MMEngine does."""

FAMILIES: dict[str, tuple[str, ...]] = {
    "torch": ("torch.optim", "torch.optim.lr_scheduler"),
    "lightning": (
        "lightning.pytorch.callbacks",
        "lightning.pytorch.loggers",
        "lightning.pytorch.strategies",
        "lightning.pytorch.profilers",
    ),
    "torchmetrics": (
        "torchmetrics.classification",
        "torchmetrics.regression",
        "torchmetrics.aggregation",
        "torchmetrics.segmentation",
        "torchmetrics.image",
        "torchmetrics.detection",
        "torchmetrics.retrieval",
        "torchmetrics.text",
        "torchmetrics.audio",
        "torchmetrics.clustering",
        "torchmetrics.nominal",
    ),
}
"""Where ``package.Name`` is looked for if the package itself does not have it."""
