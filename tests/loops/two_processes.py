"""One process of runs with loops that drive, one after the other: ``torchrun --nproc-per-node 2 … PACKAGE FOLDER``."""

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.loops.driving import loader_dict, loops, train_by_hand
from tests.scenarios import Scenario, build


def backward_by_hand(package: str) -> type:
    """Return a loop whose steps are its own: the model is called, and the loss goes backward without a wrapper."""
    base = importlib.import_module(f"{package}.runner")

    class ByHand(base.EpochBasedTrainLoop):
        def run_iter(self, idx: int, data_batch: Any) -> None:
            runner = self.runner
            runner.call_hook("before_train_iter", batch_idx=idx, data_batch=data_batch)
            model = getattr(runner.model, "module", runner.model)
            data = model.data_preprocessor(data_batch, True)
            loss, outputs = model.parse_losses(runner.model(**data, mode="loss"))
            optimizer = runner.optim_wrapper.optimizer
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            runner.call_hook(
                "after_train_iter", batch_idx=idx, data_batch=data_batch, outputs=outputs
            )
            self._iter += 1

        def run_epoch(self) -> None:
            super().run_epoch()

    return ByHand


def mmengines_constructor() -> str:
    """Register what makes MMEngine's own optimizer wrappers under both packages, and return its name."""

    class MMEngines:
        def __init__(self, optim_wrapper_cfg: Any, paramwise_cfg: Any = None) -> None:
            self.cfg = optim_wrapper_cfg

        def __call__(self, model: Any) -> Any:
            optim = importlib.import_module("mmengine.optim")
            if "optimizer" in self.cfg:
                return optim.build_optim_wrapper(model, self.cfg)
            bare = getattr(model, "module", model)
            parts = {name: cfg for name, cfg in self.cfg.items() if isinstance(cfg, dict)}
            return optim.OptimWrapperDict(**{
                name: optim.build_optim_wrapper(getattr(bare, name), cfg) for name, cfg in parts.items()
            })  # fmt: skip

    for package in ("mm2pl", "mmengine"):
        registry = importlib.import_module(f"{package}.registry").OPTIM_WRAPPER_CONSTRUCTORS
        registry.register_module(module=MMEngines, force=True)
    return MMEngines.__name__


SGD = {"optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9}}
ADAM = {"optimizer": {"type": "Adam", "lr": 1e-3}}


def scenario(package: str, name: str, *options: str) -> Scenario:
    """Return what is trained; a pair of optimizers is wrapped as MMEngine's examples of a GAN do it."""
    made = {
        "by hand": backward_by_hand(package),
        **dict.fromkeys(("no loop", "MMEngine's loop"), "EpochBasedTrainLoop"),
        **loops(package),
    }[name]
    settings = {
        "two loaders": {"max_epochs": 2, "other": loader_dict(52, shuffle=True)},
        "by iterations": {"max_iters": 9, "val_interval": 4},
    }.get(name, {"max_epochs": 2})
    # MMEngine rescales a last window by `max_iters`, which two loaders go beyond.
    single = name in ("by hand", "two loaders")
    wrapper: dict[str, Any] = {**SGD, "accumulative_counts": 1 if single else 2}
    if "pair" in options:
        wrapper = {"generator": ADAM, "discriminator": SGD}
    own = {"constructor": mmengines_constructor()} if "own wrapper" in options else {}
    return Scenario(
        model="pair" if "pair" in options else "plain",
        optim_wrapper={**wrapper, **own},
        train_cfg={"type": made, **settings},
        custom_hooks=[{"type": "EMAHook", "momentum": 0.1}],
    )


CASES = [
    "two loaders",
    "by iterations",
    "by hand",
    "by hand, broadcast",
    "by epochs, broadcast",
    "no loop",
    "no loop, broadcast",
    "MMEngine's loop, own wrapper",
    "by epochs, own wrapper",
    "no loop, own wrapper",
    "MMEngine's loop, own wrapper, pair",
    "by epochs, own wrapper, pair",
    "by epochs, pair",
]
"""A loop, and what else is as said: whether DDP broadcasts buffers, whose wrapper it is, and how many there are."""


def train(package: str, folder: str, case: str) -> dict[str, Any]:
    """Train, and return losses, metrics and weights."""
    name, *options = case.split(", ")
    book: dict[str, list] = {
        key: [] for key in ("loss", "lr", "momentum", "metrics", "place", "validated_at")
    }
    wrapper: dict[str, Any] = {"broadcast_buffers": "broadcast" in options}
    if "pair" in options:
        wrapper["type"] = "MMSeparateDistributedDataParallel"
    if package == "mmengine":  # it expects a GPU per process
        torch.cuda.set_device = lambda device: None
        wrapper["device_ids"] = None
    runner = build(
        package,
        scenario(package, name, *options),
        f"{folder}/{package}/{case}",
        book,
        launcher="pytorch",
        env_cfg={"dist_cfg": {"backend": "gloo"}},
        cfg={"model_wrapper_cfg": wrapper},
    )
    train_by_hand(runner) if name == "no loop" else runner.train()
    model = bare_children(getattr(runner.model, "module", runner.model))
    return {**book, "weights": model.state_dict()}


def main(package: str, folder: str) -> None:
    """Train all, and save what was recorded."""
    trained = {case: train(package, folder, case) for case in CASES}
    torch.save(trained, f"{folder}/{package}_{os.environ['RANK']}.pt")


def bare_children(model: Any) -> Any:
    """Return a model whose children are no longer wrapped one by one."""
    for name, child in model.named_children():
        setattr(model, name, getattr(child, "module", child))
    return model


if __name__ == "__main__":
    main(*sys.argv[1:])
