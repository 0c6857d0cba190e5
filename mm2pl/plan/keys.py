"""Every key of an MMEngine config, and where it goes. One table: ``translate`` and ``explain`` read it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Section = Literal["model", "data", "run", "option"]
Fidelity = Literal["exact", "equivalent", "ignored"]


@dataclass(frozen=True, kw_only=True)
class Key:
    """Where one top-level key goes.

    Attributes:
        section: ``model`` and ``data`` are arguments of the LightningModule and the DataModule, ``run`` of the
            :class:`~mm2pl.lightning.RunCallback`, ``option`` an entry of its ``options``.
        target: What it becomes, in Lightning's words.
        fidelity: ``exact`` to the last bit, ``equivalent``, or ``ignored`` for the reason in ``note``.
        note: What a user should know.
    """

    section: Section
    target: str
    fidelity: Fidelity = "exact"
    note: str = ""


KEYS: dict[str, Key] = {
    "model": Key(
        section="model",
        target="MMLightningModule(model=…)",
        note="a LightningModule of your own is given to the Trainer as it is",
    ),
    "data_preprocessor": Key(section="model", target="MMLightningModule(data_preprocessor=…)"),
    "optim_wrapper": Key(
        section="model",
        target="MMLightningModule.configure_optimizers",
        note="manual optimization through the model's own train_step(data, optim_wrapper)",
    ),
    "param_scheduler": Key(
        section="model",
        target="MMLightningModule(param_scheduler=…)",
        note="stepped by mm2pl on MMEngine's two clocks; LearningRateMonitor sees them",
    ),
    "auto_scale_lr": Key(section="model", target="MMLightningModule(auto_scale_lr=…)"),
    "val_evaluator": Key(section="model", target="validation_step, on_validation_epoch_end"),
    "test_evaluator": Key(section="model", target="test_step, on_test_epoch_end"),
    "default_scope": Key(section="run", target="registry scope"),
    "compile": Key(section="model", target="torch.compile of the model's step"),
    "train_dataloader": Key(section="data", target="MMDataModule.train_dataloader"),
    "val_dataloader": Key(section="data", target="MMDataModule.val_dataloader"),
    "test_dataloader": Key(section="data", target="MMDataModule.test_dataloader"),
    "data_module": Key(
        section="option",
        target="Trainer.fit(datamodule=…)",
        fidelity="equivalent",
        note="a LightningDataModule in the place of the three loaders; not a key of MMEngine's",
    ),
    "train_cfg": Key(
        section="run", target="Trainer(max_epochs | limit_train_batches), validation schedule"
    ),
    "val_cfg": Key(section="run", target="validation loop"),
    "test_cfg": Key(section="run", target="test loop"),
    "default_hooks": Key(section="run", target="callbacks, by MMEngine's priorities"),
    "custom_hooks": Key(section="run", target="callbacks, by MMEngine's priorities"),
    "env_cfg": Key(section="run", target="cuDNN, Trainer(strategy=…), worker start method"),
    "randomness": Key(section="run", target="seeds, deterministic algorithms"),
    "log_processor": Key(section="run", target="log text and scalars"),
    "log_level": Key(section="run", target="level of the log"),
    "visualizer": Key(section="run", target="Trainer(logger=…)"),
    "custom_imports": Key(section="run", target="imported before anything is built"),
    "load_from": Key(section="run", target="weights, or with resume Trainer.fit(ckpt_path=…)"),
    "resume": Key(
        section="run",
        target="Trainer.fit(ckpt_path=…)",
        note="'must' refuses to start without a checkpoint, a dict chooses the parts that go on",
    ),
    "launcher": Key(section="run", target="Trainer(devices, num_nodes, strategy)"),
    "experiment_name": Key(section="run", target="name of the run"),
    "work_dir": Key(section="run", target="Trainer(default_root_dir=…)"),
    "model_wrapper_cfg": Key(
        section="option", target="Trainer(strategy=DDPStrategy(…) | FSDPStrategy(…))"
    ),
    "find_unused_parameters": Key(section="option", target="DDPStrategy(find_unused_parameters=…)"),
    "sync_bn": Key(section="option", target="Trainer(sync_batchnorm=…)"),
    "activation_checkpointing": Key(section="option", target="torch.utils.checkpoint"),
    "efficient_conv_bn_eval": Key(section="option", target="fused conv + bn in eval mode"),
    "strategy": Key(section="option", target="Trainer(strategy=…)", fidelity="equivalent"),
    "tta_model": Key(section="option", target="a test run with the TTA model (--tta)"),
    "tta_pipeline": Key(section="option", target="a test run with the TTA model (--tta)"),
    "runner_type": Key(section="option", target="a registered Runner subclass"),
}

UNSUPPORTED: dict[str, str] = {
    "ApexOptimWrapper": "NVIDIA Apex is retired → AmpOptimWrapper",
    "ColossalAIOptimWrapper": "Lightning has no ColossalAI strategy → AmpOptimWrapper with --trainer.strategy fsdp",
}
"""Types that no run accepts → what to use."""


@dataclass(frozen=True, kw_only=True)
class SubKeys:
    """What is known inside one key.

    Attributes:
        keys: Known name → what it becomes.
        types: Types whose arguments these are; another type takes arguments of its own.
        moved: Names that MMEngine ignores here → where they belong.
        closed: Whether a name not listed is refused or ignored.
        unknown: What such a name is.
        named: The key holds a dict of such dicts (``default_hooks``).
        summary: One row per dict instead of one per key; ``{type}`` is its type.
        rest: What names of an open dict become.
        fidelity: That of every name in the dict; see :class:`Key`.
    """

    keys: dict[str, str] = field(default_factory=dict)
    types: tuple[str, ...] = ()
    moved: dict[str, str] = field(default_factory=dict)
    closed: bool = True
    unknown: Literal["warning", "error"] = "error"
    named: bool = False
    summary: str = ""
    rest: str = "argument of its type"
    fidelity: Fidelity = "exact"


_LOADER = SubKeys(
    keys={
        "dataset": "the data set",
        "sampler": "DataLoader(sampler=…), aware of ranks",
        "batch_sampler": "DataLoader(batch_sampler=…)",
        "collate_fn": "DataLoader(collate_fn=…), pseudo_collate if missing",
        "worker_init_fn": "DataLoader(worker_init_fn=…)",
        # Of MMEngine: taken out before the rest goes to torch's DataLoader.
        "num_batch_per_epoch": "the data set, cut",
    },
    closed=False,
    rest="argument of DataLoader",
)
_HOOK = SubKeys(named=True, summary="{type}, in the run's callback by its priority")
_DIST = "env_cfg=dict(dist_cfg=dict({}=…))"

SUBKEYS: dict[str, SubKeys] = {
    "train_cfg": SubKeys(
        keys={
            "by_epoch": "epochs, or one Lightning epoch of max_iters batches",
            "max_epochs": "Trainer(max_epochs=…)",
            "max_iters": "Trainer(max_epochs=1, limit_train_batches=…)",
            "val_begin": "validation schedule",
            "val_interval": "validation schedule",
            "dynamic_intervals": "validation schedule",
        },
        # Arguments of the loop: MMEngine 0.10.7 raises a TypeError for any other name.
        types=("EpochBasedTrainLoop", "IterBasedTrainLoop"),
    ),
    "val_cfg": SubKeys(keys={"fp16": "autocast in validation"}, types=("ValLoop",)),
    "test_cfg": SubKeys(keys={"fp16": "autocast in testing"}, types=("TestLoop",)),
    "optim_wrapper": SubKeys(
        keys={
            "optimizer": "configure_optimizers",
            "clip_grad": "clipping before each step",
            "accumulative_counts": "accumulation, counted over the whole run",
            "paramwise_cfg": "parameter groups",
            "constructor": "builds the wrapper",
            "loss_scale": "GradScaler",
            "dtype": "autocast",
            "use_fsdp": "FSDP's GradScaler",
        },
        # Open, because several optimizers stand here by names of the user's own.
        types=("OptimWrapper", "AmpOptimWrapper"),
        closed=False,
    ),
    "param_scheduler": SubKeys(summary="{type}, stepped on MMEngine's clock"),
    "auto_scale_lr": SubKeys(
        keys={"enable": "whether to scale", "base_batch_size": "scale by real / base batch size"},
        unknown="warning",
    ),
    "train_dataloader": _LOADER,
    "val_dataloader": _LOADER,
    "test_dataloader": _LOADER,
    "default_hooks": _HOOK,
    "custom_hooks": _HOOK,
    # MMEngine 0.10.7 looks these up by name and ignores others, as it does in auto_scale_lr.
    "env_cfg": SubKeys(
        keys={
            "cudnn_benchmark": "torch.backends.cudnn.benchmark",
            "mp_cfg": "start method, OpenCV and OMP threads",
            "dist_cfg": "DDPStrategy(process_group_backend, timeout)",
            "resource_limit": "limit of open files",
        },
        # MMEngine's own tutorial has `env_cfg=dict(backend='nccl')`, which MMEngine ignores.
        moved={name: _DIST.format(name) for name in ("backend", "timeout", "init_method")},
        unknown="warning",
    ),
    # Arguments of `set_randomness`: MMEngine 0.10.7 raises a TypeError for any other name.
    "randomness": SubKeys(
        keys={
            "seed": "seeds of Python, NumPy, torch, samplers, workers",
            "diff_rank_seed": "seed + rank",
            "deterministic": "torch.use_deterministic_algorithms, no cuDNN benchmark",
        },
    ),
}
"""What is known inside the keys of :data:`KEYS`."""
