"""Optimizer wrappers in a hand-written loop, against MMEngine's: weights, logged norms, states."""

from __future__ import annotations

import copy
import functools
import importlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

import mm2pl.logging
import mm2pl.optim as ours

pytestmark = pytest.mark.parity
theirs = pytest.importorskip("mmengine.optim", reason="needs mmengine")

HUBS = {
    ours: mm2pl.logging.MessageHub,
    theirs: importlib.import_module("mmengine.logging").MessageHub,
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Keep threads from waiting for each other over a handful of numbers."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _amp_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let MMEngine's AmpOptimWrapper run here, with torch's scaler for CPUs."""
    amp = importlib.import_module("mmengine.optim.optimizer.amp_optimizer_wrapper")
    monkeypatch.setattr(amp, "is_cuda_available", lambda: True)
    monkeypatch.setattr(amp, "GradScaler", functools.partial(torch.amp.GradScaler, "cpu"))
    for hub in HUBS.values():
        monkeypatch.setattr(hub, "_instance_dict", {})


def make_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 2))


def make_wrapper(package: Any, model: nn.Module, cfg: dict[str, Any]) -> Any:
    cfg = copy.deepcopy(cfg)
    optimizer = getattr(torch.optim, cfg.pop("optimizer"))
    settings = cfg.pop("settings", {"lr": 0.05})
    groups: Any = model.parameters()
    if cfg.pop("groups", False):
        groups = [{"params": list(model[0].parameters())}, {"params": list(model[3].parameters())}]
    return getattr(package, cfg.pop("type", "OptimWrapper"))(
        optimizer=optimizer(groups, **settings), **cfg
    )


def train(package: Any, wrapper: Any, model: nn.Module, first: int, last: int) -> None:
    torch.manual_seed(1 + first)
    for _ in range(first, last):
        x, y = torch.randn(6, 4), torch.randn(6, 2)
        with wrapper.optim_context(model):
            loss = nn.functional.mse_loss(model(x).float(), y)
        wrapper.update_params(loss)


def run(package: Any, cfg: dict[str, Any], iters: int, max_counts: int | None) -> dict[str, Any]:
    HUBS[package].get_instance("parity")
    model = make_model()
    wrapper = make_wrapper(package, model, cfg)
    if max_counts is not None:
        wrapper.initialize_count_status(model, 0, max_counts)
    train(package, wrapper, model, 0, iters)
    scalars = HUBS[package].get_instance("parity").log_scalars
    return {
        "weights": model.state_dict(),
        "logged": {key: buffer.data[0].tolist() for key, buffer in scalars.items()},
        "lr": wrapper.get_lr(),
        "momentum": wrapper.get_momentum(),
        "state": {k: v for k, v in wrapper.state_dict().items() if k != "accumulation"},
        "counts": (wrapper._inner_count, wrapper._max_counts, wrapper._remainder_counts),
        "grads": [p.grad for p in model.parameters()],
        "groups": len(wrapper.param_groups),
    }


def assert_same(mine: Any, expected: Any, path: str = "") -> None:
    if isinstance(expected, dict):
        assert list(mine) == list(expected), path
        for key in expected:
            assert_same(mine[key], expected[key], f"{path}.{key}")
    elif isinstance(expected, list | tuple):
        assert len(mine) == len(expected), path
        for index, (a, b) in enumerate(zip(mine, expected, strict=True)):
            assert_same(a, b, f"{path}[{index}]")
    elif isinstance(expected, torch.Tensor):
        assert torch.equal(mine, expected), path
    else:
        assert mine == expected, path


WRAPPERS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "SGD"},
    "sgd momentum": {"optimizer": "SGD", "settings": {"lr": 0.1, "momentum": 0.9}},
    "adamw groups": {"optimizer": "AdamW", "groups": True},
    "rmsprop": {"optimizer": "RMSprop", "settings": {"lr": 0.01}},
    "norm": {"optimizer": "SGD", "clip_grad": {"max_norm": 0.5}},
    "norm 1": {"optimizer": "Adam", "clip_grad": {"type": "norm", "max_norm": 1, "norm_type": 1}},
    "norm inf": {"optimizer": "Adam", "clip_grad": {"max_norm": 0.1, "norm_type": "inf"}},
    "value": {"optimizer": "SGD", "clip_grad": {"type": "value", "clip_value": 0.02}},
    "bf16": {"type": "AmpOptimWrapper", "optimizer": "SGD", "dtype": "bfloat16"},
    "bf16 static": {
        **{"type": "AmpOptimWrapper", "optimizer": "Adam", "dtype": torch.bfloat16},
        **{"loss_scale": 512.0, "clip_grad": {"max_norm": 0.5}},
    },
    "bf16 dict": {
        **{"type": "AmpOptimWrapper", "optimizer": "SGD", "groups": True},
        "loss_scale": {"init_scale": 2.0**10, "growth_interval": 2},
    },
}
WINDOWS = [(1, None), (3, None), (3, 10), (4, 10), (4, 7)]


@pytest.mark.parametrize("cfg", WRAPPERS.values(), ids=WRAPPERS)
@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_same_as_mmengine(cfg: dict[str, Any], window: tuple[int, int | None]) -> None:
    counts, max_counts = window
    cfg = {**cfg, "accumulative_counts": counts}
    results = [run(package, cfg, max_counts or 10, max_counts) for package in (ours, theirs)]
    assert_same(*results)


@pytest.mark.parametrize("cfg", WRAPPERS.values(), ids=WRAPPERS)
@pytest.mark.parametrize("saved_by", [ours, theirs], ids=["ours", "theirs"])
@pytest.mark.parametrize("counts", [1, 2])
def test_either_resumes_the_others_state(cfg: dict[str, Any], saved_by: Any, counts: int) -> None:
    cfg = {**cfg, "accumulative_counts": counts}
    loaded_by = theirs if saved_by is ours else ours
    ends = []
    for packages in ((saved_by, loaded_by), (loaded_by, loaded_by)):
        model = make_model()
        first = make_wrapper(packages[0], model, cfg)
        train(packages[0], first, model, 0, 4)
        second = make_wrapper(packages[1], model, cfg)
        second.load_state_dict(copy.deepcopy(first.state_dict()))
        second.initialize_count_status(model, 4, 10)
        train(packages[1], second, model, 4, 10)
        ends.append(model.state_dict())
    assert_same(*ends)


def test_the_state_of_an_open_window_does_not_disturb_mmengine() -> None:
    cfg = {"optimizer": "SGD", "accumulative_counts": 3}
    model = make_model()
    wrapper = make_wrapper(ours, model, cfg)
    train(ours, wrapper, model, 0, 4)
    state = wrapper.state_dict()
    assert len(state["accumulation"]["grads"][0]) == len(list(model.parameters()))
    other = make_wrapper(theirs, model, cfg)
    other.load_state_dict(copy.deepcopy(state))
    assert other.optimizer.state_dict()["param_groups"] == state["param_groups"]


def test_dict_of_wrappers() -> None:
    seen = []
    for package in (ours, theirs):
        gen, disc = make_model(), make_model()
        wrappers = package.OptimWrapperDict(
            gen=make_wrapper(package, gen, {"optimizer": "Adam", "groups": True}),
            disc=make_wrapper(package, disc, {"optimizer": "SGD"}),
        )
        for name, model in (("gen", gen), ("disc", disc)):
            train(package, wrappers[name], model, 0, 3)
        wrappers.zero_grad()
        seen.append(
            {
                "state": wrappers.state_dict(),
                "lr": wrappers.get_lr(),
                "momentum": wrappers.get_momentum(),
                "keys": list(wrappers.keys()),
                "repr": repr(wrappers),
                "groups": {name: len(g) for name, g in wrappers.param_groups.items()},
                "in": ["gen" in wrappers, "x" in wrappers, len(wrappers)],
            }
        )
    assert_same(*seen)


@pytest.mark.parametrize("wrapper", ["sgd", "adamw groups"])
def test_same_text(wrapper: str) -> None:
    assert repr(make_wrapper(ours, make_model(), WRAPPERS[wrapper])) == repr(
        make_wrapper(theirs, make_model(), WRAPPERS[wrapper])
    )


@pytest.mark.parametrize("groups", [False, True])
def test_auto_scale_lr(groups: bool) -> None:
    from mmengine.logging import MMLogger
    from mmengine.runner import Runner

    cfg = {"optimizer": "SGD", "groups": groups, "settings": {"lr": 0.0137}}
    auto_scale_lr = {"enable": True, "base_batch_size": 48}
    expected = make_wrapper(theirs, make_model(), cfg)

    class OfRunner:
        _train_dataloader = {"batch_size": 7}  # noqa: RUF012
        world_size = 2
        logger = MMLogger.get_instance("scale")
        param_schedulers = None

    Runner.scale_lr(OfRunner(), expected, auto_scale_lr)  # type: ignore[arg-type]
    mine = make_wrapper(ours, make_model(), cfg)
    ours.scale_lr(mine, auto_scale_lr, real_batch_size=14)
    assert mine.get_lr() == expected.get_lr()
