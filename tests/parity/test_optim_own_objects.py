"""Constructors that make MMEngine's own optimizer wrappers: mm2pl's Runner drives these very objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mm2pl.hooks import Hook
from tests import scenarios
from tests.scenarios import Scenario, assert_equal, build, record

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

ADAM = {"optimizer": {"type": "Adam", "lr": 1e-3}, "paramwise_cfg": {"bias_lr_mult": 2.0}}
SGD = {"optimizer": {"type": "SGD", "lr": 0.05, "momentum": 0.9}}
AMP = {"type": "AmpOptimWrapper", "dtype": "bfloat16", "clip_grad": {"max_norm": 0.5}}
SCHEDULES = [
    {"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "end": 6},
    {"type": "MultiStepLR", "milestones": [1, 2], "by_epoch": True},
]
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "pair": ("pair", {"generator": ADAM, "discriminator": SGD}),
    "pair accumulates": (
        "pair",
        {"generator": {**ADAM, "accumulative_counts": 4}, "discriminator": SGD},
    ),
    "pair amp": ("pair", {"generator": {**ADAM, **AMP}, "discriminator": {**SGD, **AMP}}),
    "one": ("plain", {**SGD, "accumulative_counts": 4, "clip_grad": {"max_norm": 0.5}}),
    "one amp": ("plain", {**SGD, **AMP, "accumulative_counts": 2}),
}


class MMEnginesConstructor:
    """Make MMEngine's wrappers under both packages: one, or one for each named part of the model."""

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: Any = None) -> None:
        self.cfg = optim_wrapper_cfg

    def __call__(self, model: nn.Module) -> Any:
        from mmengine.optim import OptimWrapperDict, build_optim_wrapper

        if "optimizer" in self.cfg:
            return build_optim_wrapper(model, dict(self.cfg))
        parts = {k: v for k, v in self.cfg.items() if isinstance(v, dict)}
        return OptimWrapperDict(
            **{k: build_optim_wrapper(getattr(model, k), dict(v)) for k, v in parts.items()}
        )


@pytest.fixture(autouse=True)
def _mmengines(monkeypatch: pytest.MonkeyPatch, quick_runs: None) -> None:
    from mmengine.optim.optimizer import amp_optimizer_wrapper
    from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as THEIRS

    from mm2pl.registry import OPTIM_WRAPPER_CONSTRUCTORS as OURS

    # MMEngine 0.10.7 refuses a CPU there, and casts and scales on one all the same.
    monkeypatch.setattr(amp_optimizer_wrapper, "is_cuda_available", lambda: True)
    monkeypatch.setattr(scenarios, "pair_constructor", lambda package: MMEnginesConstructor)
    for registry in (OURS, THEIRS):
        registry.register_module(name="MMEngines", module=MMEnginesConstructor, force=True)


def scenario(name: str, **more: Any) -> Scenario:
    model, wrapper = CASES[name]
    wrapper = wrapper if model == "pair" else {**wrapper, "constructor": "MMEngines"}
    return Scenario(model=model, optim_wrapper=wrapper, param_scheduler=SCHEDULES, **more)


@pytest.mark.parametrize("name", CASES)
def test_a_run_is_mmengines(name: str, tmp_path: Path) -> None:
    ours, theirs = (
        record(package, scenario(name), str(tmp_path / package))
        for package in ("mm2pl", "mmengine")
    )
    assert len(theirs["loss"]) == 27
    assert_equal(ours, theirs)


@pytest.mark.parametrize("name", ["pair", "pair amp", "one amp"])
def test_a_run_goes_on_as_if_it_had_not_stopped(name: str, tmp_path: Path) -> None:
    import mmengine.optim

    class Forgets(Hook):
        """MMEngine's state dict has no gradients: those that the generator's loss has left in the discriminator."""

        def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
            if runner.iter == 17:
                runner.model.zero_grad()

    straight, resumed = (
        {key: [] for key in ("loss", "lr", "momentum", "metrics", "place", "validated_at")}
        for _ in range(2)
    )
    whole = build("mm2pl", scenario(name, custom_hooks=[Forgets()]), str(tmp_path), straight)
    whole.train()
    assert isinstance(whole.optim_wrapper, mmengine.optim.OptimWrapper)
    later = build(
        "mm2pl",
        scenario(name),
        str(tmp_path / "later"),
        resumed,
        load_from=str(tmp_path / "epoch_2.pth"),
        resume=True,
    )
    later.train()
    assert resumed["loss"] == straight["loss"][18:]
    assert resumed["lr"] == straight["lr"][18:]
    for key, value in whole.model.state_dict().items():
        assert torch.equal(value, later.model.state_dict()[key]), key
