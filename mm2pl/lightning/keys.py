"""Every key of an MMEngine config, and where it goes. One table: ``translate`` and ``explain`` read it."""

from __future__ import annotations

from dataclasses import dataclass
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
    "model": Key(section="model", target="MMLightningModule(model=…)"),
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
    "train_cfg": Key(
        section="run", target="Trainer(max_epochs | limit_train_batches), validation schedule"
    ),
    "val_cfg": Key(section="run", target="validation loop"),
    "test_cfg": Key(section="run", target="test loop"),
    "default_hooks": Key(section="run", target="callbacks, by MMEngine's priorities"),
    "custom_hooks": Key(section="run", target="callbacks, by MMEngine's priorities"),
    "env_cfg": Key(section="run", target="Trainer(benchmark, strategy), worker start method"),
    "randomness": Key(section="run", target="seeds, Trainer(deterministic=…)"),
    "log_processor": Key(section="run", target="log text and scalars"),
    "log_level": Key(section="run", target="level of the log"),
    "visualizer": Key(section="run", target="Trainer(logger=…)"),
    "custom_imports": Key(section="run", target="imported before anything is built"),
    "load_from": Key(section="run", target="weights, or with resume Trainer.fit(ckpt_path=…)"),
    "resume": Key(section="run", target="Trainer.fit(ckpt_path=…)"),
    "launcher": Key(section="run", target="Trainer(devices, num_nodes, strategy)"),
    "experiment_name": Key(section="run", target="name of the run"),
    "work_dir": Key(section="run", target="Trainer(default_root_dir=…)"),
    "model_wrapper_cfg": Key(section="option", target="Trainer(strategy=DDPStrategy(…))"),
    "find_unused_parameters": Key(section="option", target="DDPStrategy(find_unused_parameters=…)"),
    "sync_bn": Key(section="option", target="Trainer(sync_batchnorm=…)"),
    "activation_checkpointing": Key(section="option", target="torch.utils.checkpoint"),
    "efficient_conv_bn_eval": Key(section="option", target="fused conv + bn in eval mode"),
    "strategy": Key(section="option", target="Trainer(strategy=…)", fidelity="equivalent"),
    "tta_model": Key(section="option", target="a test run with the TTA model (--tta)"),
    "tta_pipeline": Key(section="option", target="a test run with the TTA model (--tta)"),
    "runner_type": Key(section="option", target="a registered Runner subclass"),
}
