"""One process of a run with a loop that drives: ``torchrun --nproc-per-node 2 … PACKAGE FOLDER LOOP [BROADCAST]``."""

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
    """Register what makes MMEngine's own optimizer wrapper under both packages, and return its name."""

    class MMEngines:
        def __init__(self, optim_wrapper_cfg: Any, paramwise_cfg: Any = None) -> None:
            self.cfg = optim_wrapper_cfg

        def __call__(self, model: Any) -> Any:
            return importlib.import_module("mmengine.optim").build_optim_wrapper(model, self.cfg)

    for package in ("mm2pl", "mmengine"):
        registry = importlib.import_module(f"{package}.registry").OPTIM_WRAPPER_CONSTRUCTORS
        registry.register_module(module=MMEngines)
    return MMEngines.__name__


def main(package: str, folder: str, name: str, broadcast: str = "") -> None:
    """Train, and save losses, metrics and weights."""
    rank = int(os.environ["RANK"])
    book: dict[str, list] = {
        key: [] for key in ("loss", "lr", "momentum", "metrics", "place", "validated_at")
    }
    made = {
        "by hand": backward_by_hand(package),
        **dict.fromkeys(("no loop", "own wrapper"), "EpochBasedTrainLoop"),
        **loops(package),
    }[name]
    settings = {
        "two loaders": {"max_epochs": 2, "other": loader_dict(52, shuffle=True)},
        "by iterations": {"max_iters": 9, "val_interval": 4},
    }.get(name, {"max_epochs": 2})
    scenario = Scenario(
        optim_wrapper={
            "optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9},
            # MMEngine rescales a last window by `max_iters`, which two loaders go beyond.
            "accumulative_counts": 1 if name in ("by hand", "two loaders") else 2,
            **({"constructor": mmengines_constructor()} if name == "own wrapper" else {}),
        },
        train_cfg={"type": made, **settings},
        custom_hooks=[{"type": "EMAHook", "momentum": 0.1}],
    )
    wrapper: dict[str, Any] = {"broadcast_buffers": bool(broadcast)}
    if package == "mmengine":  # it expects a GPU per process
        torch.cuda.set_device = lambda device: None
        wrapper["device_ids"] = None
    runner = build(
        package,
        scenario,
        f"{folder}/{package}",
        book,
        launcher="pytorch",
        env_cfg={"dist_cfg": {"backend": "gloo"}},
        cfg={"model_wrapper_cfg": wrapper},
    )
    train_by_hand(runner) if name == "no loop" else runner.train()
    model = getattr(runner.model, "module", runner.model)
    torch.save({**book, "weights": model.state_dict()}, f"{folder}/{package}_{rank}.pt")


if __name__ == "__main__":
    main(*sys.argv[1:])
