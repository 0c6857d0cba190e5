"""The small run on which MMEngine's surface is measured, and what of a run is compared."""

from __future__ import annotations

import importlib
import inspect
import itertools
import json
import logging
import re
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mm2pl.run.lock import LAST
from tests.scenarios import Points, Scenario, accuracy, build, models

TRAIN_CFG: dict[str, dict[str, Any]] = {
    "epochs": {"type": "EpochBasedTrainLoop", "max_epochs": 2},
    "iterations": {"type": "IterBasedTrainLoop", "max_iters": 7, "val_interval": 4},
}
SAVE = {
    "epochs": {"type": "CheckpointHook", "interval": 1},
    "iterations": {"type": "CheckpointHook", "interval": 3, "by_epoch": False},
}
OPTIM_WRAPPER = {
    "type": "OptimWrapper",
    "optimizer": {"type": "SGD", "lr": 0.05, "momentum": 0.9},
    "clip_grad": {"max_norm": 0.5},
    "accumulative_counts": 2,
}
VARIABLE = re.compile(r"\d{8}_\d{6}|(?<=surface)-\d+")
"""What differs between two starts of a run: the time, and our number in the experiment's name."""
CLOCKS = ("time", "data_time", "memory")
NUMBER = itertools.count()


def part(package: str, path: str) -> Any:
    """Return ``package.path``: ``part("mm2pl", "runner.Runner")``."""
    module, _, name = f"{package}.{path}".rpartition(".")
    return getattr(importlib.import_module(module), name)


def loader(size: int, by: str = "epochs", shuffle: bool = False) -> dict[str, Any]:
    """Return the dict of a loader over ``size`` points; endless for a run by iterations.

    MMEngine 0.10.7 sleeps two seconds before it starts a finite loader again.
    """
    sampler = "InfiniteSampler" if by == "iterations" else "DefaultSampler"
    return {
        "batch_size": 8,
        "num_workers": 0,
        "collate_fn": {"type": "default_collate"},
        "dataset": Points(size),
        "sampler": {"type": sampler, "shuffle": shuffle},
    }


def scenario(by: str) -> Scenario:
    """Return a run with everything in it that a method could be called for."""
    warmup = {"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "end": 4}
    return Scenario(
        optim_wrapper=OPTIM_WRAPPER,
        param_scheduler=[warmup, {"type": "MultiStepLR", "milestones": [1], "by_epoch": True}],
        train_cfg=TRAIN_CFG[by],
        default_hooks={"logger": {"type": "LoggerHook", "interval": 2}, "checkpoint": SAVE[by]},
    )


def make(package: str, by: str, folder: Path, **more: Any) -> tuple[Any, dict[str, list]]:
    """Make the runner of the small run, and the book that its hook writes."""
    keys = ("loss", "lr", "momentum", "metrics", "place", "validated_at")
    book: dict[str, list] = {key: [] for key in keys}
    arguments = {
        "train_dataloader": loader(30, by, shuffle=True),
        "val_dataloader": loader(20),
        "test_dataloader": loader(10),
        "test_cfg": {},
        "test_evaluator": {"type": accuracy(package)},
        "auto_scale_lr": {"enable": True, "base_batch_size": 16},
        "experiment_name": f"surface-{next(NUMBER)}",
        **more,
    }
    level = logging.root.level
    runner = build(package, scenario(by), str(folder), book, **arguments)
    logging.root.setLevel(level)
    return runner, book


def first_epoch(package: str, folder: Path) -> str:
    """Train one epoch without dropout and validation, and return its checkpoint.

    A run of ours that resumes makes up for the validation that was to follow; MMEngine's leaves it out.
    """
    without = dict.fromkeys(("val_dataloader", "val_cfg", "val_evaluator"))
    one = {"by_epoch": True, "max_epochs": 1}
    runner, _ = make(package, "epochs", folder / "first", train_cfg=one, **without)
    runner.model.net[3].p = 0.0
    runner.train()
    return str(folder / "first" / "epoch_1.pth")


def run(runner: Any, book: dict[str, list], verbs: tuple[str, ...] = ("train", "test")) -> dict:
    """Call the verbs one after another and return the outcome; an error ends it and is part of it."""
    results: dict[str, Any] = {}
    for verb in verbs:
        try:
            result = getattr(runner, verb)()
        except Exception:
            results[verb] = "an error"
            break
        results[verb] = type(result).__name__ if isinstance(result, nn.Module) else hexed(result)
    return outcome(runner, book, results)


def outcome(runner: Any, book: dict[str, list], results: dict[str, Any]) -> dict[str, Any]:
    """Return what a run leaves behind, in terms that two packages share."""
    folder = Path(runner.work_dir)
    # But for what mm2pl leaves in the folder of a log: who trained there.
    paths = [path for path in sorted(folder.rglob("*.*")) if path.name != LAST]
    files = [(VARIABLE.sub("", str(p.relative_to(folder))), p) for p in paths]
    return {
        **{key: list(values) for key, values in book.items()},
        "counts": (runner.epoch, runner.iter),
        "results": results,
        "hub": runner.message_hub.get_info("iter", None),
        "told": [
            bool(getattr(service, "told", 0)) for service in (runner.logger, runner.visualizer)
        ],
        "weights": {k: v.clone() for k, v in runner.model.state_dict().items()},
        "files": [name for name, _ in files],
        "log": [line for name, path in files if "scalars" in name for line in log(path)],
        "meta": {name: meta(path) for name, path in files if name.endswith(".pth")},
    }


def log(path: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in CLOCKS} for line in lines]


def meta(path: Path) -> dict[str, Any]:
    found = torch.load(path, weights_only=False)["meta"]
    keys = ("epoch", "iter", "seed", "experiment_name", "cfg")
    return {key: VARIABLE.sub("", str(found[key])).strip() for key in keys}


def log_lines(folder: Path, level: str) -> list[str]:
    """Return the lines of a level in the text log of a work folder."""
    texts = [path.read_text() for path in folder.rglob("*.log")]
    return [line for text in texts for line in text.splitlines() if f" {level} " in line]


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=False)["state_dict"]


def hexed(metrics: Any) -> Any:
    return {k: float(v).hex() for k, v in metrics.items()} if isinstance(metrics, dict) else metrics


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """Return where two outcomes differ: ``{"loss.3.loss_ce": (mm2pl's, MMEngine's)}``."""
    mine, other = (flat(end, "") for end in (ours, theirs))
    return {
        path: (mine.get(path, "absent"), other.get(path, "absent"))
        for path in {**other, **mine}
        if mine.get(path, "absent") != other.get(path, "absent")
    }


def flat(value: Any, path: str) -> dict[str, Any]:
    """Return the leaves of nested dicts and lists by their paths; a tensor as its exact numbers."""
    if isinstance(value, torch.Tensor):
        return {path: [float(x).hex() for x in value.flatten()]}
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        inner = [flat(item, f"{path}.{key}".lstrip(".")) for key, item in items]
        return {k: v for leaves in inner for k, v in leaves.items()} or {path: f"empty {value!r}"}
    return {path: value}


# Overriding every method of a class


def own_methods(cls: type) -> list[str]:
    """Return the names of a class's methods that are not Python's own."""
    return [
        name
        for name in dir(cls)
        if not name.startswith("__")
        and not isinstance(raw(cls, name), property)
        and callable(getattr(cls, name))
        and name != "clip_func"
    ]


def raw(cls: type, name: str) -> Any:
    return inspect.getattr_static(cls, name, None)


def counting(base: type, names: list[str], calls: list[str]) -> type:
    """Return a subclass that overrides ``names``: each override notes its name and calls the base's."""

    def override(name: str) -> Any:
        def noted(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            return getattr(base, name)(*args, **kwargs)

        return staticmethod(noted) if isinstance(raw(base, name), staticmethod) else noted

    return type(base.__name__, (base,), {name: override(name) for name in names})


def calls_of(package: str, what: str, by: str, names: list[str], folder: Path) -> list[str]:
    """Train and test with one class of the run replaced by a counting subclass; return the calls."""
    calls: list[str] = []
    path = {"Hook": "hooks", "OptimWrapper": "optim", "OptimWrapperDict": "optim"}
    base = part(package, f"{path.get(what, 'runner')}.{what}")
    own = counting(base, names, calls)
    more: dict[str, Any] = {
        "Runner": lambda: {"runner_class": own},
        "Hook": lambda: {"custom_hooks": [own()]},
        "OptimWrapper": lambda: {"optim_wrapper": {**OPTIM_WRAPPER, "type": own}},
        "OptimWrapperDict": lambda: two_optimizers(package, own),
        "LogProcessor": lambda: {"log_processor": {"type": own, "by_epoch": by == "epochs"}},
        "ValLoop": lambda: {"val_cfg": {"type": own}},
        "TestLoop": lambda: {"test_cfg": {"type": own}},
    }.get(what, lambda: {"train_cfg": {**TRAIN_CFG[by], "type": own}})()
    if by in ("loaded", "resumed"):
        more.update(load_from=first_epoch(package, folder), resume=by == "resumed")
        by = "epochs"
    runner, _ = make(package, by, folder / "run", **more)
    runner.train()
    runner.test()
    return calls


def two_optimizers(package: str, own: type) -> dict[str, Any]:
    """Return a model with two parts and a built wrapper over each."""
    torch.manual_seed(11)
    model = models(package)["pair"]()
    wrapper, sgd = part(package, "optim.OptimWrapper"), torch.optim.SGD
    parts = ("generator", "discriminator")
    built = {name: wrapper(sgd(getattr(model, name).parameters(), lr=0.05)) for name in parts}
    schedule = {"type": "MultiStepLR", "milestones": [1]}
    schedules = {name: dict(schedule) for name in built}
    return {"model": model, "optim_wrapper": own(**built), "param_scheduler": schedules}
