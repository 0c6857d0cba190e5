"""One process of two: train, then train again from the first checkpoint; save both runs' metrics and weights."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from tests.scenarios import Scenario, build


def main(folder: str) -> None:
    results = []
    more: dict = {}
    for name in ("whole", "resumed"):
        scenario = Scenario(
            optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1}},
            custom_hooks=[{"type": "EMAHook", "momentum": 0.1}],
        )
        book: dict[str, list] = {
            key: [] for key in ("loss", "lr", "momentum", "metrics", "place", "validated_at")
        }
        launcher = {"launcher": "pytorch", "env_cfg": {"dist_cfg": {"backend": "gloo"}}}
        runner = build("mm2pl", scenario, f"{folder}/{name}", book, **launcher, **more)
        runner.train()
        ema = next(hook for hook in runner.hooks if hasattr(hook, "ema_model")).ema_model
        states = {"model": runner.model.state_dict(), "average": ema.state_dict()}
        results.append({"metrics": book["metrics"][-2:], **states})
        more = {"load_from": f"{folder}/whole/epoch_1.pth", "resume": True}
    torch.save(results, f"{folder}/{runner.rank}.pt")


if __name__ == "__main__":
    main(*sys.argv[1:])
