"""An MMEngine config as plain data in LightningCLI's own form.

Nothing is built, and nothing imported but a model's class, which is looked at where a key is missing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mm2pl.errors import ArgumentError
from mm2pl.plan.containers import as_dicts, live_objects
from mm2pl.plan.explain import Entry, check
from mm2pl.plan.keys import KEYS
from mm2pl.plan.length import length_of_run
from mm2pl.plan.processes import ALONE_BY_NAME, are_several, left_out, processes, several

FIXED: dict[str, Any] = {
    "accelerator": "auto",
    "num_sanity_val_steps": 0,  # MMEngine has no sanity check, and it would draw random numbers
    "inference_mode": False,  # hooks and EMA swaps in validation need ordinary tensors
    "use_distributed_sampler": False,  # MMEngine's samplers know their rank
    "logger": False,  # the visualizer brings its loggers along
    "enable_model_summary": False,
}
"""Trainer arguments of every config-driven run."""


FOLLOWED_BY_PLAN = (
    "log_every_n_steps",
    "overfit_batches",
    "reload_dataloaders_every_n_epochs",
    "use_distributed_sampler",
)
"""Trainer arguments that change a plan, or that it has a word about, besides those about processes."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a config asks for.

    Attributes:
        trainer: Arguments of ``lightning.pytorch.Trainer``.
        model: Arguments of :class:`~mm2pl.lightning.MMLightningModule`.
        data: Arguments of :class:`~mm2pl.lightning.MMDataModule`.
        run: Arguments of :class:`~mm2pl.lightning.RunCallback`.
        warnings: Keys without the effect that their author expects.
        notes: Sentences that name the keys which a given Trainer argument leaves without effect.
    """

    trainer: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[Entry, ...] = ()
    notes: tuple[str, ...] = ()

    def as_cli(self) -> dict[str, Any]:
        """Return the plan in LightningCLI's form: ``{"trainer": …, "model": …, "data": …}``."""
        run = {"class_path": "mm2pl.lightning.RunCallback", "init_args": self.run}
        callbacks = [run, *self.trainer.get("callbacks", [])]
        # Samplers and workers need a seed; `deterministic` is a flag of the process.
        seeds = {
            k: v for k, v in (self.run.get("randomness") or {}).items() if k != "deterministic"
        }
        return {
            "trainer": {**self.trainer, "callbacks": callbacks},
            "model": {"class_path": "mm2pl.lightning.MMLightningModule", "init_args": self.model},
            "data": {
                "class_path": "mm2pl.lightning.MMDataModule",
                "init_args": {**self.data, **seeds},
            },
        }


def translate(
    config: Mapping[str, Any],
    filename: str | None = None,
    environ: Mapping[str, str] | None = None,
    trainer: Mapping[str, Any] | None = None,
    trusted: bool = True,
) -> Plan:
    """Sort a config's keys into what the Trainer, the module, the data module and the run take.

    Args:
        config: The config's keys. Live objects pass through untouched.
        filename: The config file; names the run and the default ``work_dir``.
        environ: Environment variables of the launcher; ``os.environ`` if missing.
        trainer: Trainer arguments given by a program or a command line; they win over the config.
        trusted: Whether modules that the config names may be imported.

    Raises:
        FaultyConfigError: If a key or a value is one that no run accepts, or keys that belong together are given only
            in part.
    """
    config = as_dicts(config)
    warnings = check(config, trusted=trusted)
    sections = _sorted(config)
    run = sections["run"]
    stem = Path(filename).stem if filename else "run"
    # As OpenMMLab's `tools/train.py` do it; MMEngine's Runner demands a work_dir.
    run["work_dir"] = run.get("work_dir") or f"./work_dirs/{stem}"
    if sections["option"]:
        run["options"] = sections["option"]
    if sections["variables"]:
        run["variables"] = sections["variables"]
    if filename:
        run["filename"] = str(filename)
    scope = {"default_scope": run["default_scope"]} if run.get("default_scope") else {}
    callbacks, run_hooks = split_callbacks(run.get("custom_hooks"))
    if run_hooks is not None:
        run["custom_hooks"] = run_hooks
    notes = notes_on_processes(config, trainer or {}) + notes_on_loaders(config, trainer or {})
    if trainer and trainer.get("log_every_n_steps") is not None:
        hooks = run.get("default_hooks")
        run["default_hooks"] = with_log_interval(hooks, trainer["log_every_n_steps"])
        if run["default_hooks"] is hooks:
            notes += (
                f"log_every_n_steps={trainer['log_every_n_steps']!r} has no effect: the config has no LoggerHook as a "
                "dict, whose interval decides when a line is logged",
            )
    planned = trainer_arguments(config, run["work_dir"], os.environ if environ is None else environ)
    if callbacks:
        planned["callbacks"] = callbacks
    arguments = with_given(planned, trainer or {}, config)
    return Plan(
        trainer=arguments,
        model={**sections["model"], **scope},
        data=sections["data"],
        run=run,
        warnings=tuple(warnings),
        notes=notes,
    )


def _sorted(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Sort a config's keys by their sections; those that no section has are variables."""
    sections: dict[str, dict[str, Any]] = {
        section: {} for section in ("model", "data", "run", "option", "variables")
    }
    for name, value in config.items():
        section = KEYS[name].section if name in KEYS else "variables"
        sections[section][name] = value
    return sections


def with_given(
    planned: dict[str, Any], given: Mapping[str, Any], config: Mapping[str, Any]
) -> dict[str, Any]:
    """Put Trainer arguments given by a program or a command line into those that a config asks for.

    Several processes that only the given ones ask for get what the config says about several processes. Callbacks are
    added; anything else is replaced.
    """
    arguments = {**planned, **given}
    if "callbacks" in planned and "callbacks" in given:
        # A Trainer also takes a single callback without a list.
        own = given["callbacks"]
        arguments["callbacks"] = [*planned["callbacks"], *(own if isinstance(own, list) else [own])]
    strategy = arguments.get("strategy", "auto")
    if strategy not in ("auto", ALONE_BY_NAME):  # whose user says how several processes train
        return arguments
    devices, nodes = arguments.get("devices", 1), arguments.get("num_nodes", 1)
    if are_several(devices, nodes):
        if strategy == ALONE_BY_NAME:
            raise ArgumentError(
                f"strategy={strategy!r} with devices={devices!r}, num_nodes={nodes!r} → it trains in one process; "
                "leave it out, or take devices=1"
            )
        arguments.update(several(config))
    return arguments


def with_log_interval(default_hooks: Any, every: int) -> Any:
    """Return ``default_hooks`` whose LoggerHook logs every so many iterations; unchanged if none is a dict.

    Raises:
        ArgumentError: The number is not positive.

    >>> with_log_interval({"timer": None}, 5)
    {'timer': None, 'logger': {'type': 'LoggerHook', 'interval': 5}}
    """
    if every < 1:
        raise ArgumentError(
            f"Trainer(log_every_n_steps={every!r}) → the LoggerHook logs every 1 or more iterations → "
            "default_hooks=dict(logger=None) leaves it out"
        )
    hooks = default_hooks or {}
    logger = hooks.get("logger", {"type": "LoggerHook"})
    if not isinstance(logger, Mapping):
        return default_hooks
    return {**hooks, "logger": {**logger, "interval": every}}


def notes_on_processes(config: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[str, ...]:
    """Name the keys about several processes that have no effect under a strategy given by name."""
    if not are_several(given.get("devices", 1), given.get("num_nodes", 1)):
        return ()
    strategy = given.get("strategy", "auto")
    ignored_keys = left_out(config, strategy, bool(given.get("sync_batchnorm")))
    if not ignored_keys:
        return ()
    return (
        f"--trainer.strategy {strategy} does not follow {ignored_keys} of the config → leave the flag out",
    )


def notes_on_loaders(config: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[str, ...]:
    """Name the arguments about loaders that a run does not follow, as it takes its batches by itself.

    >>> notes_on_loaders({"train_dataloader": {"sampler": {"shuffle": False}}}, {"overfit_batches": 2})
    ()
    """
    loader = config.get("train_dataloader")
    sampler = loader.get("sampler") if isinstance(loader, Mapping) else None
    # Lightning would put a sampler in its place, which takes the same batches in each epoch.
    stays = isinstance(sampler, Mapping) and sampler.get("shuffle") is False
    described = config.get("datamodule") is None
    sampled = "takes the first batches of each epoch, in the order of the run's own sampler → "
    why = {
        "overfit_batches": (not stays, f"{sampled}they are the same with shuffle=False"),
        "reload_dataloaders_every_n_epochs": (
            described,
            "has no effect: the loaders that a config describes stay for the whole run → leave it out",
        ),
        "use_distributed_sampler": (
            described,
            "has no effect: the config's samplers know their rank → leave it out",
        ),
    }
    return tuple(
        f"{name}={given[name]!r} {text}"
        for name, (holds, text) in why.items()
        if holds and given.get(name)
    )


def whole_config(
    run: Mapping[str, Any], model: Mapping[str, Any], data: Mapping[str, Any]
) -> dict[str, Any]:
    """Put the parts of a :class:`Plan` together again into the config that it was made from.

    >>> whole_config({"work_dir": "w", "resume": None, "variables": {"n": 1}}, {"model": {"type": "M"}}, {"seed": 0})
    {'n': 1, 'model': {'type': 'M'}, 'work_dir': 'w'}
    """
    variables = dict(run.get("variables") or {})
    known = {**model, **data, **run, **(run.get("options") or {})}
    # Not all arguments are keys of a config: the data's seed and the run's file name are none.
    return variables | {k: v for k, v in known.items() if k in KEYS and v is not None}


def trainer_arguments(
    config: Mapping[str, Any], work_dir: str, environ: Mapping[str, str]
) -> dict[str, Any]:
    """Return the Trainer arguments that a config asks for."""
    arguments = {**FIXED, "default_root_dir": work_dir, **length_of_run(config.get("train_cfg"))}
    # `logger=None` in default_hooks removes the hook.
    logger_hook = (config.get("default_hooks") or {}).get("logger") or {}
    own = logger_hook if isinstance(logger_hook, Mapping) else vars(logger_hook)
    # 10 is the default of MMEngine's LoggerHook; the Trainer's is 50.
    arguments["log_every_n_steps"] = own.get("interval", 10)
    started = processes(config, environ)
    own = {"class_path": "mm2pl.lightning.MMCheckpointIO"}
    arguments["plugins"] = [own, *started.pop("plugins", ())]
    arguments["profiler"] = {"class_path": "mm2pl.lightning.NoProfiler"}
    if config.get("datamodule") is not None:
        # Its samplers are torch's, which know nothing of ranks.
        arguments["use_distributed_sampler"] = True
    arguments.update(started)
    # `cudnn_benchmark` and `deterministic` are not among them: the run sets these globals of the process itself
    # (run/environment.py), and Lightning's flags of the same meaning would set them again in another order.
    return arguments


def split_callbacks(hooks: list[Any] | None) -> tuple[list[dict[str, Any]], list[Any] | None]:
    """Separate Lightning callbacks, named by dotted path, from MMEngine hooks."""
    if not isinstance(hooks, list):
        return [], hooks
    callbacks, rest = [], []
    for hook in hooks:
        kind = hook.get("type") if isinstance(hook, dict) else None
        # Only Lightning's packages: MMEngine finds a hook by a dotted name too.
        if isinstance(kind, str) and kind.startswith(("lightning.", "pytorch_lightning.")):
            # Lightning's callbacks have an order, but no priorities.
            arguments = {k: v for k, v in hook.items() if k not in ("type", "priority")}
            callbacks.append({"class_path": kind, "init_args": arguments})
        else:
            rest.append(hook)
    return callbacks, rest


def check_schedules(schedules: object) -> None:
    """Refuse a ``param_scheduler`` that cannot be one, before anything is built.

    Raises:
        TypeError: If it is not a dict, list or scheduler, or a dict has such a value for one of several optimizers.
        ArgumentError: If a schedule in a list has no ``type``.
    """
    if schedules is None:
        return
    groups = [schedules]
    # As in MMEngine: a dict with a type is one schedule, any other has the schedules of each optimizer.
    if isinstance(schedules, dict) and "type" not in schedules:
        groups = list(schedules.values())
        for group in groups:
            if not _may_be_schedules(group):
                raise ArgumentError(
                    f"Each value of `param_scheduler` should be a dict or a list, but got {group!r}"
                )
    elif not _may_be_schedules(schedules):
        raise ArgumentError(
            f"`param_scheduler` should be a dict, a list or a scheduler, but got {schedules!r}"
        )
    for each in (each for group in groups if isinstance(group, list | tuple) for each in group):
        if isinstance(each, dict) and "type" not in each:
            raise ArgumentError(
                f"Each parameter scheduler should contain the key type, but got {each!r}"
            )


def _may_be_schedules(value: object) -> bool:
    # By what it can do: a scheduler of MMEngine's own is none of our classes.
    return isinstance(value, dict | list | tuple) or hasattr(value, "get_last_value")


def require_plain(plan: dict[str, Any]) -> None:
    """Refuse to write live objects.

    Raises:
        TypeError: Naming the first of them by path.
    """
    for path, value in live_objects(plan):
        raise ArgumentError(
            f"{path} is a live {type(value).__name__} object → a file holds plain data; give its type as a string"
        )
