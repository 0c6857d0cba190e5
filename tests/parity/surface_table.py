"""MMEngine 0.10.7's surface of a run, name by name: what acts here, and what is refused with which words."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tests.parity.surface_corpus import OPTIM_WRAPPER, first_epoch, loader, part
from tests.scenarios import accuracy, models

CLASSES = {
    "Runner": "runner.Runner",
    "FlexibleRunner": "runner.FlexibleRunner",
    "BaseLoop": "runner.BaseLoop",
    "EpochBasedTrainLoop": "runner.EpochBasedTrainLoop",
    "IterBasedTrainLoop": "runner.IterBasedTrainLoop",
    "ValLoop": "runner.ValLoop",
    "TestLoop": "runner.TestLoop",
    "Hook": "hooks.Hook",
    "BaseOptimWrapper": "optim.BaseOptimWrapper",
    "OptimWrapper": "optim.OptimWrapper",
    "AmpOptimWrapper": "optim.AmpOptimWrapper",
    "OptimWrapperDict": "optim.OptimWrapperDict",
    "LogProcessor": "runner.LogProcessor",
}
"""Class → where it stands in both packages."""

MORE_ARGUMENTS = {
    "Runner": ["__init__", "from_cfg"],
    "FlexibleRunner": ["__init__", "from_cfg"],
}
"""Methods that also take ``trainer``: arguments of Lightning's Trainer."""

OTHER_DEFAULTS = {
    "env_cfg": "None: the process group's backend is the one that the machine has, not always nccl",
    "randomness": "None: a dict as a default would be one object for all runs",
}
"""Arguments of Runner and FlexibleRunner whose default is not MMEngine's → why."""

OTHER_SIGNATURES = {
    "FlexibleRunner.build_strategy": "the Trainer's strategy takes its place; there is no object to build",
}
"""Members whose signature is not MMEngine's → why."""

DRIVING = (
    "EpochBasedTrainLoop.run",
    "EpochBasedTrainLoop.run_epoch",
    "IterBasedTrainLoop.run",
    "ValLoop.run",
    "TestLoop.run",
)
"""Methods that the Trainer stands for, unless a class overrides one: then it drives."""

HOLDERS = {
    "": "Runner",
    "train_loop": "IterBasedTrainLoop",
    "val_loop": "ValLoop",
    "test_loop": "TestLoop",
    "optim_wrapper": "OptimWrapper",
    "log_processor": "LogProcessor",
}
"""Where an object of the run is found → its class."""

_NAMES = {
    "": """
        _deterministic _distributed _experiment_name _has_loaded _hooks _launcher _load_from
        _log_dir _model_name _randomness_cfg _rank _resume _seed _test_dataloader
        _test_evaluator _test_loop _timestamp _train_dataloader _train_loop _val_dataloader
        _val_evaluator _val_loop _work_dir _world_size auto_scale_lr cfg default_scope
        deterministic distributed epoch experiment_name hooks iter launcher log_dir
        log_processor logger max_epochs max_iters message_hub model model_name optim_wrapper
        param_schedulers rank seed test_dataloader test_evaluator test_loop timestamp
        train_dataloader train_loop val_begin val_dataloader val_evaluator val_interval
        val_loop visualizer work_dir world_size
    """,
    "train_loop": """
        _epoch _iter _max_epochs _max_iters _runner dataloader dataloader_iterator
        dynamic_intervals dynamic_milestones epoch iter max_epochs max_iters runner
        stop_training val_begin val_interval
    """,
    "val_loop": """
        _runner dataloader evaluator fp16 runner val_loss
    """,
    "test_loop": """
        _runner dataloader evaluator fp16 runner test_loss
    """,
    "optim_wrapper": """
        _accumulative_counts _global_step _inner_count _max_counts _remainder_counts
        base_param_settings clip_func clip_grad_kwargs defaults grad_name inner_count
        message_hub optimizer param_groups step
    """,
    "log_processor": """
        by_epoch custom_cfg log_with_hierarchy mean_pattern num_digits window_size
    """,
}
ATTRIBUTES = {holder: names.split() for holder, names in _NAMES.items()}
"""Where an object of the run is found → all that it holds in MMEngine, before or after training."""

UNCOUNTED = {
    "Hook.get_triggered_stages": "a question, asked when hooks are listed and sorted out",
    "OptimWrapperDict.items": "a question; MMEngine 0.10.7 goes through its inner dict instead",
    "OptimWrapperDict.keys": "a question; MMEngine 0.10.7 goes through its inner dict instead",
    "OptimWrapperDict.values": "a question; MMEngine 0.10.7 goes through its inner dict instead",
}
"""Methods whose number of calls is nobody's business → why."""

ASKED_AGAIN = {
    "Runner.resumed": ("build_optim_wrapper", "build_param_scheduler", "_build_param_scheduler"),
}
"""Class and run → methods that MMEngine 0.10.7 calls once more than here, for what is built already."""

OTHER_VALUES = {
    "optim_wrapper._global_step": "MMEngine's schedulers put a counter there for a warning of torch's",
    "optim_wrapper.step": "MMEngine's schedulers wrap it in the instance, for a warning of torch's",
}
"""Attributes whose value is of another kind than MMEngine's → why."""

OTHER_ENTRIES = {
    "MODEL_WRAPPERS.ColossalAIModelWrapper": "Lightning has no such strategy",
    "MODEL_WRAPPERS.CollosalAIModelWrapper": "Lightning has no such strategy",
    "MODEL_WRAPPERS.MMDeepSpeedEngineWrapper": "made by MMEngine's strategy only; Lightning's is DeepSpeedStrategy",
    **{
        f"STRATEGIES.{name}Strategy": "the Trainer's strategies take its place; the registry is for a project's own"
        for name in ("SingleDevice", "DDP", "FSDP", "DeepSpeed", "ColossalAI")
    },
}
"""Registry entries that are not here → why."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One assignment before ``train()``.

    Attributes:
        assign: Does it, given the runner, the package's name and the run's folder.
        by: Which of the two small runs.
        verbs: What is called then.
        state: ``acts``: the run ends as MMEngine's does; ``acts here only``: MMEngine ignores it;
            ``refused: <what the message tells to write>``.
        effect: Whether MMEngine's run ends differently for it.
    """

    assign: Callable[[Any, str, Path], Any]
    by: str = "epochs"
    verbs: tuple[str, ...] = ("train", "test")
    state: str = "acts"
    effect: bool = True

    @property
    def told(self) -> str:
        """What the message of a refusal tells to write instead."""
        return self.state.removeprefix("refused: ")


def sets(name: str, value: Any = None, **options: Any) -> Row:
    """Return the row that assigns ``value``, or what it returns for a package, to a dotted name."""
    *path, last = name.split(".")

    def assign(runner: Any, package: str, folder: Path) -> None:
        holder = runner
        for step in path:
            holder = getattr(holder, step)
        given = value(runner, package, folder) if callable(value) else copy.deepcopy(value)
        setattr(holder, last, given)

    return Row(assign=assign, **options)


class Told:
    """Stands for a logger or a visualizer and counts how often it is told something."""

    def __init__(self) -> None:
        self.told = 0

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def tell(*args: Any, **kwargs: Any) -> None:
            self.told += 1

        return tell


def built_loader(size: int, by: str = "epochs") -> Any:
    return lambda runner, *_: type(runner).build_dataloader(loader(size, by), seed=5)


def other_metric(runner: Any, package: str, folder: Path) -> dict[str, Any]:
    return {"type": accuracy(package), "prefix": "other"}


def other_evaluator(runner: Any, package: str, folder: Path) -> Any:
    return runner.build_evaluator(other_metric(runner, package, folder))


def other_model(runner: Any, package: str, folder: Path) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(12)
        return models(package)["plain"]()


def other_wrapper(runner: Any, package: str, folder: Path) -> Any:
    return part(package, "optim.OptimWrapper")(torch.optim.SGD(runner.model.parameters(), lr=0.5))


def weights_file(runner: Any, package: str, folder: Path) -> str:
    """Write other weights and return their path."""
    folder.mkdir(exist_ok=True)
    path = folder.parent / "other.pth"
    torch.save({"state_dict": other_model(runner, package, folder).state_dict()}, path)
    return str(path)


def without_first_batch(package: str, name: str) -> type:
    base = part(package, f"runner.{name}")

    def run_iter(self: Any, idx: int, data_batch: Any) -> None:
        if idx:
            base.run_iter(self, idx, data_batch)

    return type(name, (base,), {"run_iter": run_iter})


def on_wrapper(name: str, value: Any, **options: Any) -> Row:
    """Return the row that builds the optimizer wrapper first, then assigns to an attribute of it."""
    row = sets(f"optim_wrapper.{name}", value, **options)

    def assign(runner: Any, package: str, folder: Path) -> None:
        runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
        row.assign(runner, package, folder)

    return Row(assign=assign, **options)


def resumes(runner: Any, package: str, folder: Path) -> None:
    """Let the run continue another: without dropout, since MMEngine 0.10.7 stores no random state."""
    runner.model.net[3].p = 0.0
    # Into its own folder: a marker that names another run's file is refused here, and followed by MMEngine.
    own = Path(runner.work_dir, "epoch_1.pth")
    shutil.copy(first_epoch(package, folder.parent), own)
    Path(runner.work_dir, "last_checkpoint").write_text(str(own))
    runner._resume = True


def both(*rows: Row) -> Callable[[Any, str, Path], None]:
    def assign(runner: Any, package: str, folder: Path) -> None:
        for row in rows:
            row.assign(runner, package, folder)

    return assign


PROCESSES = "refused: devices"
SGD = {"type": "SGD", "lr": 0.5}

ASSIGNMENTS: dict[str, Row] = {
    "_train_dataloader": sets("_train_dataloader", loader(20)),
    "_train_dataloader, built": sets("_train_dataloader", built_loader(20)),
    "_val_dataloader": sets("_val_dataloader", loader(12)),
    "_val_dataloader, built": sets("_val_dataloader", built_loader(12)),
    "_test_dataloader": sets("_test_dataloader", loader(23)),
    "_test_dataloader, built": sets("_test_dataloader", built_loader(23)),
    "_val_evaluator": sets("_val_evaluator", other_metric),
    "_test_evaluator": sets("_test_evaluator", other_metric),
    "_test_evaluator, built": sets("_test_evaluator", other_evaluator),
    "_train_loop": sets("_train_loop", {"by_epoch": True, "max_epochs": 1}),
    "_train_loop, by iteration": sets("_train_loop", {"by_epoch": False, "max_iters": 3}),
    "_train_loop, built": sets(
        "_train_loop", lambda r, *_: r.build_train_loop({"by_epoch": True, "max_epochs": 3})
    ),
    "_train_loop, none": sets("_train_loop"),
    "_val_loop": sets("_val_loop", lambda r, p, f: {"type": without_first_batch(p, "ValLoop")}),
    "_val_loop, built": sets("_val_loop", lambda r, *_: r.build_val_loop({}), effect=False),
    "_val_loop, none": sets("_val_loop"),
    "_test_loop": sets("_test_loop", lambda r, p, f: {"type": without_first_batch(p, "TestLoop")}),
    "_test_loop, none": sets("_test_loop"),
    "optim_wrapper": sets("optim_wrapper", {**OPTIM_WRAPPER, "optimizer": SGD}),
    "optim_wrapper, built": sets("optim_wrapper", other_wrapper),
    "auto_scale_lr": sets("auto_scale_lr", {"enable": True, "base_batch_size": 4}),
    "auto_scale_lr, none": sets("auto_scale_lr"),
    "param_schedulers": sets("param_schedulers", [{"type": "ExponentialLR", "gamma": 0.5}]),
    "param_schedulers, none": sets("param_schedulers"),
    "_launcher": sets("_launcher", "pytorch", effect=False, state=PROCESSES),
    "_distributed": sets("_distributed", True, effect=False, state=PROCESSES),
    "_rank": sets("_rank", 1, effect=False, state=PROCESSES),
    "_world_size": sets("_world_size", 2, state=PROCESSES),
    "_timestamp": sets("_timestamp", "then"),
    "_experiment_name": sets("_experiment_name", "other"),
    "_log_dir": sets("_log_dir", lambda r, p, f: str(f / "elsewhere")),
    "_work_dir": sets("_work_dir", lambda r, p, f: str(f / "elsewhere")),
    "_randomness_cfg": sets("_randomness_cfg", {"seed": 6}, effect=False),
    "_deterministic": sets("_deterministic", True, effect=False),
    "_seed": sets("_seed", 6),
    "default_scope": sets("default_scope", None, effect=False),
    "log_processor": sets("log_processor", lambda r, *_: r.build_log_processor({"window_size": 1})),
    "logger": sets("logger", lambda *_: Told()),
    "message_hub": sets(
        "message_hub", lambda r, *_: r.build_message_hub({"name": "other"}), effect=False
    ),
    "visualizer": sets("visualizer", lambda *_: Told()),
    "cfg": sets("cfg", lambda r, p, f: part(p, "config.Config")({"other": 1})),
    "_load_from": sets("_load_from", weights_file),
    "_load_from, test": sets("_load_from", weights_file, verbs=("test",)),
    "_load_from, val": sets("_load_from", weights_file, verbs=("val",)),
    "_resume": Row(assign=resumes),
    "_has_loaded": Row(
        assign=both(sets("_load_from", weights_file), sets("_has_loaded", True)), effect=False
    ),
    "model": sets("model", other_model),
    "_model_name": sets("_model_name", "Other", effect=False),
    "_hooks": sets("_hooks", lambda r, *_: r._hooks[-1:]),
    "_hooks, none": sets("_hooks", []),
    "train_loop._max_epochs": sets("train_loop._max_epochs", 1),
    "train_loop._max_epochs, more": Row(
        assign=both(sets("optim_wrapper", {"optimizer": SGD}), sets("train_loop._max_epochs", 3))
    ),
    "train_loop._max_epochs, and iterations": Row(
        assign=both(sets("train_loop._max_epochs", 3), sets("train_loop._max_iters", 12))
    ),
    "train_loop._max_iters": sets("train_loop._max_iters", 6),
    "train_loop._max_iters, by iteration": sets("train_loop._max_iters", 5, by="iterations"),
    "train_loop._max_epochs, by iteration": sets(
        "train_loop._max_epochs", 2, by="iterations", effect=False
    ),
    "train_loop._epoch": sets("train_loop._epoch", 1),
    "train_loop._iter": sets("train_loop._iter", 3),
    "train_loop._iter, by iteration": sets("train_loop._iter", 3, by="iterations"),
    "train_loop.val_begin": sets("train_loop.val_begin", 2),
    "train_loop.val_begin, by iteration": sets("train_loop.val_begin", 5, by="iterations"),
    "train_loop.val_interval": sets("train_loop.val_interval", 2, effect=False),
    "train_loop.dynamic_intervals": sets("train_loop.dynamic_intervals", [2]),
    "train_loop.dynamic_intervals, by iteration": sets(
        "train_loop.dynamic_intervals", [2], by="iterations"
    ),
    "train_loop.dynamic_milestones": Row(
        assign=both(
            sets("train_loop.dynamic_milestones", [0, 2]),
            sets("train_loop.dynamic_intervals", [1, 2]),
        )
    ),
    "train_loop.stop_training": sets("train_loop.stop_training", True),
    "train_loop.stop_training, by iteration": sets(
        "train_loop.stop_training", True, by="iterations"
    ),
    "train_loop.dataloader": sets("train_loop.dataloader", built_loader(30)),
    "train_loop.dataloader, by iteration": sets(
        "train_loop.dataloader",
        built_loader(20, "iterations"),
        by="iterations",
        effect=False,
        state="acts here only",
    ),
    "train_loop.dataloader_iterator": sets(
        "train_loop.dataloader_iterator",
        lambda r, p, f: part(p, "runner.loops._InfiniteDataloaderIterator")(
            built_loader(20, "iterations")(r)
        ),
        by="iterations",
    ),
    "val_loop.dataloader": sets("val_loop.dataloader", built_loader(12)),
    "val_loop.evaluator": sets("val_loop.evaluator", other_evaluator),
    "val_loop.fp16": sets("val_loop.fp16", True, effect=False),
    "val_loop.val_loss": sets("val_loop.val_loss", {}, effect=False),
    "test_loop.dataloader": sets("test_loop.dataloader", built_loader(23)),
    "test_loop.evaluator": sets("test_loop.evaluator", other_evaluator),
    "test_loop.fp16": sets("test_loop.fp16", True, effect=False),
    "test_loop.test_loss": sets("test_loop.test_loss", {}, effect=False),
    "optim_wrapper._accumulative_counts": on_wrapper("_accumulative_counts", 1),
    "optim_wrapper.optimizer": on_wrapper(
        "optimizer", lambda r, *_: torch.optim.SGD(r.model.parameters(), lr=0.5)
    ),
    "optim_wrapper.clip_grad_kwargs": on_wrapper("clip_grad_kwargs", {"max_norm": 0.01}),
    "optim_wrapper.clip_func": on_wrapper(
        "clip_func", lambda *_: lambda params, max_norm: torch.tensor(0.0)
    ),
    "optim_wrapper.grad_name": on_wrapper("grad_name", "norm"),
    "optim_wrapper.message_hub": on_wrapper("message_hub", lambda *_: Told()),
    "optim_wrapper._inner_count": on_wrapper("_inner_count", 1, effect=False),
    "optim_wrapper._max_counts": on_wrapper("_max_counts", 3, effect=False),
    "optim_wrapper._remainder_counts": on_wrapper("_remainder_counts", 1, effect=False),
    "optim_wrapper.base_param_settings": on_wrapper(
        "base_param_settings", {"params": torch.zeros(1), "lr": 0.3, "momentum": 0.1}
    ),
}
"""Name (and which kind of value) → what assigning to it does."""

NOT_ASSIGNED = {
    "train_loop._runner": "a loop belongs to one run",
    "val_loop._runner": "a loop belongs to one run",
    "test_loop._runner": "a loop belongs to one run",
    "optim_wrapper._global_step": "MMEngine's schedulers count there for themselves",
    "optim_wrapper.step": "MMEngine's schedulers wrap it for themselves",
}
"""Attributes without an assignment → why."""
