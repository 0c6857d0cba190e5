"""What a user's project does with mm2pl, and what a type checker must know of it: see ``test_user_project.py``."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset
from typing_extensions import reveal_type

from mm2pl import MODELS, Config, ConfigDict, load, print_log
from mm2pl import Confg as Confg  # type: ignore[attr-defined]
from mm2pl.evaluator import BaseMetric
from mm2pl.hooks import Hook
from mm2pl.lightning import MMDataModule, MMLightningModule, RunCallback
from mm2pl.model import BaseModel
from mm2pl.optim import OptimWrapper
from mm2pl.registry import DATASETS, HOOKS, METRICS, Registry
from mm2pl.runner import FlexibleRunner, Runner
from mm2pl.structures import InstanceData

HEADS = Registry("head", parent=MODELS, scope="project")


@HEADS.register_module()
class Head(nn.Module):
    def loss(self, features: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": (features - target).square().mean()}


@MODELS.register_module(name=["Detector", "SmallDetector"])
class Detector(BaseModel):
    def __init__(self, backbone: dict[str, Any], head: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.backbone = MODELS.build(backbone)
        self.neck: nn.Linear = MODELS.build({"type": "Linear", "in_features": 2})
        self.head: Head = MODELS.build(head)

    def forward(
        self, inputs: torch.Tensor, data_samples: list[Any] | None = None, mode: str = "tensor"
    ) -> Any:
        reveal_type(self.backbone)  # mm2pl.registry.root.BuiltModel
        reveal_type(self.head)  # project.Head
        features = self.neck(self.backbone(inputs))
        if mode == "loss":
            return self.head.loss(features, self.backbone.anchors(inputs))
        instances = InstanceData(bboxes=features, labels=torch.zeros(1))
        reveal_type(instances.bboxes)  # Any
        reveal_type(instances[0])  # mm2pl.structures.instance_data.InstanceData
        instances.scores = torch.ones(1)
        return [instances.cpu()]


@DATASETS.register_module()
class Points(Dataset[dict[str, Any]]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"inputs": torch.tensor([float(index)])}


@METRICS.register_module()
class Accuracy(BaseMetric):
    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.append(len(data_samples))

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        return {"accuracy": sum(results) / len(results)}


@HOOKS.register_module()
class Watch(Hook):
    priority = "LOW"

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        reveal_type(runner.trainer)  # lightning.pytorch.trainer.trainer.Trainer
        reveal_type(runner.model)  # mm2pl.registry.root.BuiltModel
        reveal_type(runner.iter)  # int
        reveal_type(runner.module)  # mm2pl.lightning.module.MMLightningModule
        reveal_type(runner.message_hub)  # mm2pl.logging.message_hub.MessageHub
        if self.every_n_train_iters(runner, 10) and runner.trainer.global_rank == 0:
            runner.logger.info(f"{runner.iter} of {runner.max_iters}: {runner.model.head}")
            print_log("every tenth", logger="current")


class FrozenRunner(Runner):
    def build_model(self, model: nn.Module | dict[str, Any]) -> nn.Module:
        built = super().build_model(model)
        reveal_type(built)  # torch.nn.modules.module.Module
        for parameter in built.parameters():
            parameter.requires_grad_(False)
        return built

    def build_neck(self, neck: dict[str, Any]) -> nn.Module:
        return MODELS.build(neck)


def main() -> dict[str, Any]:
    cfg = Config.fromfile("config.py")
    reveal_type(cfg)  # mm2pl.config.config.Config
    reveal_type(cfg.model)  # Any
    reveal_type(ConfigDict(lr=0.1))  # mm2pl.config.config_dict.ConfigDict
    reveal_type(MODELS.build(cfg.model))  # mm2pl.registry.root.BuiltModel
    reveal_type(Detector({}, {}))  # project.Detector
    reveal_type(load("results.json"))  # Any
    runner = FrozenRunner.from_cfg(cfg)
    reveal_type(runner)  # project.FrozenRunner
    reveal_type(runner.train())  # torch.nn.modules.module.Module
    reveal_type(runner.test())  # dict[str, Any]
    FlexibleRunner({"type": "Detector"}, work_dir="work", train_cfg={"max_epochs": 1}, resume="x")
    return runner.val()


def by_lightning(network: Detector) -> None:
    from lightning.pytorch import Trainer

    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    wrapper = OptimWrapper(optimizer, accumulative_counts=2)
    module = MMLightningModule(network, optim_wrapper=wrapper)
    data = MMDataModule(train_dataloader={"dataset": Points(), "batch_size": 2})
    trainer = Trainer(callbacks=[RunCallback(work_dir="work", train_cfg={"max_epochs": 1})])
    trainer.fit(module, datamodule=data)
    reveal_type(wrapper.optimizer)  # torch.optim.optimizer.Optimizer
    reveal_type(module.trainer)  # lightning.pytorch.trainer.trainer.Trainer


class OwnModule(MMLightningModule):
    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> dict[str, Any]:
        return super().training_step(batch, batch_idx)
