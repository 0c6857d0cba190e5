"""Keys of a config that are right one by one, and wrong together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mm2pl.closest import closest, did_you_mean, misspelt
from mm2pl.plan.containers import join
from mm2pl.plan.fault import Fault, short
from mm2pl.plan.guest import has_own_steps
from mm2pl.plan.values import WHOLE, is_number, is_true

COMPLETE = {
    "train": ("train_dataloader", "train_cfg", "optim_wrapper"),
    "val": ("val_dataloader", "val_cfg", "val_evaluator"),
    "test": ("test_dataloader", "test_cfg", "test_evaluator"),
}
"""Keys that make sense only together, as MMEngine demands. A LightningModule as model brings what the last is for."""

_CHOOSING = ("rule", "greater_keys", "less_keys")
_STATISTICS = ("mean", "min", "max", "current")
_WINDOWS = ("epoch", "global")
_LOGGED = ("data_src", "method_name", "log_name", "window_size")


def combined(config: Mapping[str, Any], trusted: bool = True) -> Iterator[Fault]:
    """Yield what is wrong between the keys of a config; modules that it names are imported if it is ``trusted``."""
    # Without a model it is a part of one: a base, or a file of settings.
    if "model" in config:
        yield from _complete(config, trusted)
    yield from _train_cfg(config)
    for stage in COMPLETE:
        name = f"{stage}_dataloader"
        for path, loader in _sets(name, config.get(name)):
            if isinstance(loader, Mapping):
                yield from _loader(path, loader)
    if isinstance(optim := config.get("optim_wrapper"), Mapping):
        yield from _optim_wrapper(optim)
    for path, hook in _hooks(config):
        if _short_type(hook) == "CheckpointHook":
            yield from _checkpoint_hook(path, hook)
    randomness = config.get("randomness")
    if isinstance(randomness, Mapping) and "seed" not in randomness:
        # An argument of `set_randomness` without a default in MMEngine 0.10.7.
        note = "has no seed → add seed=…; seed=None draws one"
        yield Fault(path="randomness", given=short(dict(randomness)), advice=note)
    scaling = given if isinstance(given := config.get("auto_scale_lr"), Mapping) else {}
    if is_true(scaling.get("enable")) and "base_batch_size" not in scaling:
        note = "has no base_batch_size → add base_batch_size=…, or enable=False"
        yield Fault(path="auto_scale_lr", given=short(scaling), advice=note)
    if isinstance(processor := config.get("log_processor"), Mapping):
        yield from _log_processor(processor)
    yield from _schedules("param_scheduler", config.get("param_scheduler"))


def _complete(config: Mapping[str, Any], trusted: bool) -> Iterator[Fault]:
    brings_data = config.get("datamodule") is not None
    loaders = [loader for loader, _, _ in COMPLETE.values() if config.get(loader) is not None]
    if brings_data and loaders:
        note = f"{loaders} say too where the data come from → give one of the two"
        yield Fault(path="datamodule", given=short(config["datamodule"]), advice=note)
        return
    for stage, (loader, cfg, brought) in COMPLETE.items():
        # A data module has loaders for all stages that there are.
        keys = (cfg, brought) if brings_data else (loader, cfg, brought)
        missing = [key for key in keys if config.get(key) is None]
        if missing == [brought] and has_own_steps(config.get("model"), trusted):
            continue
        if missing and len(missing) < len(keys):
            given = [key for key in keys if key not in missing]
            note = (
                f"the config has {given} but not {missing} → in the {stage} stage {list(keys)} should be either all "
                "None or not None"
            )
            yield Fault(path=missing[0], advice=note)
    if config.get("param_scheduler") is not None and config.get("optim_wrapper") is None:
        note = (
            "the config has param_scheduler but no optim_wrapper → add optim_wrapper, or param_scheduler should be "
            "None"
        )
        yield Fault(path="optim_wrapper", advice=note)


def _train_cfg(config: Mapping[str, Any]) -> Iterator[Fault]:
    cfg = config.get("train_cfg")
    if not isinstance(cfg, Mapping):
        return
    if {"type", "by_epoch"} <= cfg.keys():
        # MMEngine 0.10.7 refuses the pair too, but only in `train()`, when it builds the loop.
        note = "has type and by_epoch → give only one of the two"
        yield Fault(path="train_cfg", given=short(cfg), advice=note)
        return
    kind = _short_type(cfg)
    if kind not in (None, "EpochBasedTrainLoop", "IterBasedTrainLoop"):
        return
    by_epoch = is_true(cfg.get("by_epoch")) if kind is None else kind == "EpochBasedTrainLoop"
    wanted, other = ("max_epochs", "max_iters") if by_epoch else ("max_iters", "max_epochs")
    counts = f"{kind or f'by_epoch={by_epoch}'} counts {wanted.removeprefix('max_')}"
    if other in cfg:
        note = f"{counts} → {wanted}, or by_epoch={not by_epoch}"
        yield Fault(path=f"train_cfg.{other}", given=short(cfg[other]), advice=note)
    elif wanted not in cfg:
        note = f"has no {wanted} → {counts}: add {wanted}=…"
        yield Fault(path="train_cfg", given=short(cfg), advice=note)
    begin, end = cfg.get("val_begin", 1), cfg.get(wanted, 0)
    if (
        is_number(begin)
        and WHOLE.accepts(end)
        and begin > end > 0
        and config.get("val_cfg") is not None
    ):
        note = f"beyond {wanted}={end}: no validation → give at most {end}"
        yield Fault(path="train_cfg.val_begin", given=short(begin), advice=note, severity="warning")


def _sets(name: str, given: object) -> list[tuple[str, Any]]:
    if isinstance(given, list | tuple):
        return [(join(name, number), value) for number, value in enumerate(given)]
    return [(name, given)]


def _loader(name: str, loader: Mapping[str, Any]) -> Iterator[Fault]:
    """Check what torch's DataLoader refuses."""

    def fault(key: str, note: str) -> Fault:
        return Fault(path=join(name, key), given=short(loader[key]), advice=note)

    if not is_true(loader.get("num_workers")):
        if is_true(loader.get("persistent_workers")):
            yield fault("persistent_workers", "there are no workers → num_workers=1, or False")
        if loader.get("prefetch_factor") is not None:
            yield fault("prefetch_factor", "there are no workers → num_workers=1, or leave it out")
        if is_number(loader.get("timeout")) and loader["timeout"] > 0:
            yield fault("timeout", "there are no workers → num_workers=1, or leave it out")
    if is_true(loader.get("shuffle")) and loader.get("sampler") is not None:
        yield fault(
            "shuffle",
            "the sampler shuffles → leave it out, sampler=dict(type='DefaultSampler', shuffle=True)",
        )
    if loader.get("batch_sampler") is not None:
        if isinstance(loader["batch_sampler"], Mapping) and loader.get("sampler") is None:
            yield fault("batch_sampler", "it takes the samples of a sampler → add sampler=dict(…)")
        if is_true(loader.get("drop_last")):
            yield fault("drop_last", "the batch sampler decides → drop_last in the batch sampler")


def _optim_wrapper(optim: Mapping[str, Any]) -> Iterator[Fault]:
    optimizer = optim.get("optimizer")
    # Several optimizers without a constructor: the wrappers must be built.
    built = all(hasattr(wrapper, "update_params") for wrapper in optim.values())
    if optimizer is None and optim.get("constructor") is None and not built:
        note = (
            "has no optimizer → add optimizer=dict(type=…, lr=…); for several optimizers give built wrappers by "
            "name, or a constructor"
        )
        yield Fault(path="optim_wrapper", given=short(dict(optim)), advice=note)
    paramwise = optim.get("paramwise_cfg")
    constructor = optim.get("constructor")
    own = constructor is not None and constructor != "DefaultOptimWrapperConstructor"
    if own or not isinstance(paramwise, Mapping) or not isinstance(optimizer, Mapping):
        return
    custom = paramwise.get("custom_keys")
    for key, value in custom.items() if isinstance(custom, Mapping) else ():
        if not isinstance(value, Mapping):
            yield Fault(
                path=f"optim_wrapper.paramwise_cfg.custom_keys.{key}",
                given=short(value),
                accepted="a dict such as dict(lr_mult=0.1)",
            )
    if optimizer.get("weight_decay") is None:
        # As MMEngine, which forgets `flat_decay_mult` here.
        for key in ("bias_decay_mult", "norm_decay_mult", "dwconv_decay_mult"):
            if key in paramwise:
                yield Fault(
                    path=f"optim_wrapper.paramwise_cfg.{key}",
                    given=short(paramwise[key]),
                    advice="there is no weight decay to multiply → add weight_decay=… to the optimizer",
                )


def _hooks(config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    default, custom = config.get("default_hooks"), config.get("custom_hooks")
    pairs = [*default.items()] if isinstance(default, Mapping) else []
    named = [(f"default_hooks.{name}", hook) for name, hook in pairs]
    listed = enumerate(custom) if isinstance(custom, list | tuple) else ()
    for path, hook in [*named, *((f"custom_hooks.{i}", hook) for i, hook in listed)]:
        if isinstance(hook, Mapping):
            yield path, hook


def _checkpoint_hook(path: str, hook: Mapping[str, Any]) -> Iterator[Fault]:
    """Name options of a CheckpointHook that another option leaves without effect."""

    def without_effect(names: tuple[str, ...], note: str) -> Iterator[Fault]:
        for name in names:
            if hook.get(name) is not None:
                where = join(path, name)
                yield Fault(path=where, given=short(hook[name]), advice=note, severity="warning")

    interval, best = hook.get("interval", -1), hook.get("save_best")
    last = is_true(hook.get("save_last", True))
    if best is None:
        yield from without_effect(_CHOOSING, "no effect without save_best → add save_best")
        if not last:
            yield from without_effect(
                ("published_keys",),
                "no effect with save_last=False and without save_best: nothing is published → save_last=True, or "
                "add save_best",
            )
    if hook.get("rule") is not None:
        note = "no effect, since rule is given → leave it out"
        yield from without_effect(("greater_keys", "less_keys"), note)
    if is_number(interval) and interval <= 0 and not last:
        yield from without_effect(
            ("max_keep_ckpts", "save_begin", "filename_tmpl", "save_optimizer"),
            "no effect: interval and save_last ask for no periodic checkpoint → interval=1",
        )


def _log_processor(processor: Mapping[str, Any]) -> Iterator[Fault]:
    """Check ``custom_cfg``; in MMEngine 0.10.7 most mistakes fail at the first line of the log."""
    custom = processor.get("custom_cfg")
    for i, entry in enumerate(custom if isinstance(custom, list | tuple) else ()):
        path = f"log_processor.custom_cfg.{i}"
        if not isinstance(entry, Mapping):
            yield Fault(path=path, given=short(entry), accepted="dict(data_src=…, method_name=…)")
            continue
        for name in ("data_src", "method_name"):
            if name not in entry:
                note = f"has no {name} → dict(data_src='loss', method_name='mean', window_size=10)"
                yield Fault(path=path, given=short(dict(entry)), advice=note)
        yield from _window(path, entry, is_true(processor.get("by_epoch", True)))
        # The other entries are arguments of the method; one of the user's own may have any.
        if entry.get("method_name") in _STATISTICS:
            for name in [name for name in entry if name not in _LOGGED]:
                hint = did_you_mean(closest(name, _LOGGED, 1))
                note = f"unknown → one of {', '.join(_LOGGED)}.{hint}"
                yield Fault(path=join(path, name), given=short(entry[name]), advice=note)
        elif meant := misspelt(str(entry.get("method_name")), _STATISTICS):
            note = f"no statistic of this name.{did_you_mean([meant])}"
            yield Fault(path=f"{path}.method_name", given=repr(entry["method_name"]), advice=note)


def _window(path: str, entry: Mapping[str, Any], by_epoch: bool) -> Iterator[Fault]:
    size = entry.get("window_size")
    if not (size is None or isinstance(size, int) or size in _WINDOWS):
        words = "a whole number, 'epoch' or 'global'"
        yield Fault(path=f"{path}.window_size", given=short(size), accepted=words)
    elif size == "epoch" and not by_epoch:
        note = "by_epoch=False has no epochs → a whole number, or 'global'"
        yield Fault(path=f"{path}.window_size", given=short(size), advice=note)


def _schedules(path: str, value: object) -> Iterator[Fault]:
    """Check the span of each schedule, as MMEngine does when it builds one."""
    if isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _schedules(join(path, i), item)
        return
    if not isinstance(value, Mapping):
        return
    if "type" not in value:
        for name, item in value.items():
            if isinstance(item, list | tuple | Mapping):
                yield from _schedules(join(path, name), item)
        return
    begin, end = value.get("begin", 0), value.get("end")
    if is_number(begin) and is_number(end) and begin >= end:
        note = f"begin={begin!r} is not before it → give more than {begin!r}"
        yield Fault(path=join(path, "end"), given=short(end), advice=note)


def _short_type(cfg: Mapping[str, Any]) -> Any:
    kind = cfg.get("type")
    name = getattr(kind, "__name__", kind)
    return name.rpartition(".")[2] if isinstance(name, str) else name
