"""One training script, run under MMEngine and under mm2pl: only the package's name differs.

``record(package, scenario, work_dir)`` trains and returns everything that must be equal to the last bit.
"""

from __future__ import annotations

import importlib
import logging
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import Dataset


@dataclass(kw_only=True)
class Scenario:
    """What one run is made of, beside the small network and the 70 random points that all share."""

    optim_wrapper: dict[str, Any]
    param_scheduler: Any = None
    train_cfg: dict[str, Any] = field(default_factory=lambda: {"by_epoch": True, "max_epochs": 3})
    model: str = "plain"
    workers: int = 0
    sampler: dict[str, Any] = field(
        default_factory=lambda: {"type": "DefaultSampler", "shuffle": True}
    )
    custom_hooks: list[Any] = field(default_factory=list)
    default_hooks: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


class Points(Dataset):
    """Seventy points in eight dimensions, four classes; a random flip per access if asked for."""

    def __init__(self, size: int = 70, augment: bool = False) -> None:
        generator = torch.Generator().manual_seed(7)
        self.points = torch.randn(size, 8, generator=generator)
        self.labels = torch.randint(0, 4, (size,), generator=generator)
        self.augment = augment

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        point = self.points[index]
        if self.augment:
            point = point * (1 + 0.1 * torch.randn(()))
        return {"inputs": point, "labels": self.labels[index]}


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 4)
    )


def models(package: str) -> dict[str, type[nn.Module]]:
    """Return the models by name, made of the package's own BaseModel."""
    base = importlib.import_module(f"{package}.model").BaseModel

    class Plain(base):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def forward(self, inputs: Any, labels: Any = None, mode: str = "tensor") -> Any:
            logits = self.net(inputs)
            if mode == "loss":
                loss = F.cross_entropy(logits, labels)
                return {
                    "loss_ce": loss,
                    "loss_reg": [1e-3 * logits.pow(2).mean()],
                    "top": logits.max(),
                }
            return [{"pred": p, "label": t} for p, t in zip(logits.argmax(1), labels, strict=True)]

    class OwnStep(Plain):
        """Two updates per batch through its own ``train_step``."""

        def train_step(self, data: Any, optim_wrapper: Any) -> Any:
            for _ in range(2):
                with optim_wrapper.optim_context(self):
                    batch = self.data_preprocessor(data, True)
                    losses = self._run_forward(batch, mode="loss")
                loss, log_vars = self.parse_losses(losses)
                optim_wrapper.update_params(loss)
            return log_vars

    class DoubledLoss(Plain):
        """One update per batch through its own ``train_step``, as accumulation needs it."""

        def train_step(self, data: Any, optim_wrapper: Any) -> Any:
            with optim_wrapper.optim_context(self):
                losses = self(**self.data_preprocessor(data, True), mode="loss")
            loss, log_vars = self.parse_losses(losses)
            optim_wrapper.update_params(2 * loss)
            return {**log_vars, "twice": 2 * loss.detach()}

    class OnlyLogs(Plain):
        """A ``train_step`` that minimises nothing, as a model has it that only collects."""

        def train_step(self, data: Any, optim_wrapper: Any) -> Any:
            logits = self.net(self.data_preprocessor(data, True)["inputs"])
            return self.parse_losses({"top": logits.max(), "spread": [logits.std()]})[1]

    class Pair(Plain):
        """A generator and a discriminator with an optimizer each."""

        def __init__(self) -> None:
            super().__init__()
            self.generator = nn.Linear(4, 8)
            self.discriminator = network()

        def train_step(self, data: Any, optim_wrapper: Any) -> Any:
            batch = self.data_preprocessor(data, True)
            real, labels = batch["inputs"], batch["labels"]
            with optim_wrapper["discriminator"].optim_context(self.discriminator):
                fake = self.generator(torch.randn(len(real), 4))
                loss_d = (
                    F.cross_entropy(self.discriminator(real), labels)
                    + self.discriminator(fake.detach()).pow(2).mean()
                )
            optim_wrapper["discriminator"].update_params(loss_d)
            with optim_wrapper["generator"].optim_context(self.generator):
                loss_g = -self.discriminator(fake).mean()
            optim_wrapper["generator"].update_params(loss_g)
            return {"loss_d": loss_d.detach(), "loss_g": loss_g.detach()}

        def forward(self, inputs: Any, labels: Any = None, mode: str = "tensor") -> Any:
            logits = self.discriminator(inputs)
            return [{"pred": p, "label": t} for p, t in zip(logits.argmax(1), labels, strict=True)]

    return {
        "plain": Plain,
        "own_step": OwnStep,
        "doubled_loss": DoubledLoss,
        "only_logs": OnlyLogs,
        "pair": Pair,
    }


def pair_constructor(package: str) -> type:
    optim = importlib.import_module(f"{package}.optim")

    class PairConstructor:
        def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: Any = None) -> None:
            self.cfg = dict(optim_wrapper_cfg)
            self.cfg.pop("type", None)

        def __call__(self, model: nn.Module) -> Any:
            return optim.OptimWrapperDict(
                **{
                    name: optim.build_optim_wrapper(
                        getattr(model if hasattr(model, name) else model.module, name), dict(cfg)
                    )
                    for name, cfg in self.cfg.items()
                }
            )

    return PairConstructor


def accuracy(package: str) -> type:
    base = importlib.import_module(f"{package}.evaluator").BaseMetric

    class Accuracy(base):
        def process(self, data_batch: Any, data_samples: Any) -> None:
            self.results.extend(float(s["pred"] == s["label"]) for s in data_samples)

        def compute_metrics(self, results: list) -> dict:
            return {"accuracy": sum(results) / len(results)}

    return Accuracy


def recorder(package: str, book: dict[str, list]) -> Any:
    base = importlib.import_module(f"{package}.hooks").Hook

    class Recorder(base):
        """Write down what each iteration and validation gave; runs before the schedules move."""

        priority = "BELOW_NORMAL"

        def after_train_iter(
            self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
        ) -> None:
            book["loss"].append({k: float(v).hex() for k, v in outputs.items()})
            book["lr"].append(hexed(runner.optim_wrapper.get_lr()))
            book["momentum"].append(hexed(runner.optim_wrapper.get_momentum()))
            book["place"].append((runner.epoch, runner.iter, batch_idx))

        def after_val_epoch(self, runner: Any, metrics: Any = None) -> None:
            book["metrics"].append({k: float(v).hex() for k, v in metrics.items()})
            book["validated_at"].append((runner.epoch, runner.iter))

    return Recorder()


def hexed(values: Any) -> Any:
    if isinstance(values, dict):
        return {key: hexed(value) for key, value in values.items()}
    return [float(value).hex() for value in values]


def build(
    package: str, scenario: Scenario, work_dir: str, book: dict[str, list], **more: Any
) -> Any:
    """Make the runner of a scenario, of the package's own class or of ``runner_class``."""
    more = {**scenario.options, **more}
    own_class = more.pop("runner_class", None)
    runner_class = own_class or importlib.import_module(f"{package}.runner").Runner
    wrapper = dict(scenario.optim_wrapper)
    torch.manual_seed(11)
    if scenario.model == "pair":
        registry = importlib.import_module(f"{package}.registry").OPTIM_WRAPPER_CONSTRUCTORS
        made = pair_constructor(package)
        registry.register_module(name="PairConstructor", module=made, force=True)
        wrapper.setdefault("constructor", "PairConstructor")
    loader = {
        "batch_size": 8,
        "num_workers": scenario.workers,
        "collate_fn": {"type": "default_collate"},
    }
    arguments: dict[str, Any] = {
        "model": models(package)[scenario.model](),
        "work_dir": work_dir,
        "train_dataloader": {
            **loader,
            "dataset": Points(augment=True),
            "sampler": dict(scenario.sampler),
        },
        "val_dataloader": {
            **loader,
            "dataset": Points(30),
            "sampler": {"type": "DefaultSampler", "shuffle": False},
        },
        "train_cfg": dict(scenario.train_cfg),
        "val_cfg": {},
        "val_evaluator": {"type": accuracy(package)},
        "optim_wrapper": wrapper,
        "param_scheduler": scenario.param_scheduler,
        "custom_hooks": [recorder(package, book), *scenario.custom_hooks],
        "default_hooks": {
            "logger": {"type": "LoggerHook", "interval": 5},
            **scenario.default_hooks,
        },
        "randomness": {"seed": 5},
        "log_level": "ERROR",
        "experiment_name": f"{package}-{len(EXPERIMENTS)}",
        "default_scope": package,
        **more,
    }
    EXPERIMENTS.append(package)
    return runner_class(**arguments)


EXPERIMENTS: list[str] = []


def record(package: str, scenario: Scenario, work_dir: str) -> dict[str, Any]:
    """Train, and return losses, learning rates, momenta, metrics and the final weights."""
    keys = ("loss", "lr", "momentum", "metrics", "place", "validated_at")
    book: dict[str, list] = {key: [] for key in keys}
    level = logging.root.level
    runner = build(package, scenario, work_dir, book)
    runner.train()
    logging.root.setLevel(level)
    return {**book, "weights": {k: v.clone() for k, v in runner.model.state_dict().items()}}


def assert_equal(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Compare two recordings bit for bit, the first difference first."""
    for key in theirs:
        if key == "weights":
            continue
        for i, (mine, other) in enumerate(zip(ours[key], theirs[key], strict=False)):
            assert mine == other, f"{key}[{i}]"
        assert len(ours[key]) == len(theirs[key]), key
    assert ours["weights"].keys() == theirs["weights"].keys()
    for name, value in theirs["weights"].items():
        assert torch.equal(ours["weights"][name], value), name
