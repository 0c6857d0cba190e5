"""Draw the learning rate and the momentum of a run before it starts."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mm2pl.closest import closest, did_you_mean
from mm2pl.errors import ArgumentError
from mm2pl.optim.paramwise import ParamwiseSettings
from mm2pl.optim.scheduler.builder import per_optimizer
from mm2pl.optim.simulate import trace
from mm2pl.plan.length import length_of_run
from mm2pl.plan.registered import optimizer_of
from mm2pl.registry import OPTIMIZERS
from mm2pl.utils.picture_path import check_picture_path
from mm2pl.utils.sparkline import COLUMNS, sparkline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from torch import nn

    from mm2pl.config import Config

NOMINAL_EPOCH = 1000
"""Iterations per epoch where nobody says how many; what is drawn then says so."""
# A vector picture holds every point, and nobody sees more than these.
_MAX_POINTS = 20_000


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One entry of the param groups that have the same values all the way."""

    entry: str
    label: str
    values: list[float]


@dataclass(frozen=True, kw_only=True)
class Length:
    """The length of a run, in iterations and, unless it counts iterations, in epochs."""

    iters: int
    epoch_length: int
    by_epoch: bool
    assumed: bool

    @property
    def note(self) -> str:
        """How long the run is, and what of that is not known."""
        if not self.by_epoch:
            return f"{self.iters} iterations"
        epochs = f"{self.iters // self.epoch_length} epochs of {self.epoch_length} iterations"
        return epochs + (" (assumed: the config does not say how many)" if self.assumed else "")


def plot_schedule(
    cfg: Mapping[str, Any] | Config,
    path: str | Path | None = None,
    *,
    epoch_length: int | None = None,
    model: nn.Module | None = None,
) -> str:
    """Draw lr and momentum over the run that a config describes.

    Every param group that differs is a line of its own; epochs are marked.

    Args:
        cfg: A config with ``optim_wrapper`` and ``train_cfg``, and maybe ``param_scheduler``.
        path: A file to draw to, such as ``lr.png``. Needs matplotlib.
        epoch_length: Iterations per epoch; default: `NOMINAL_EPOCH`, with a note. Runs that count
            iterations only need it for ``convert_to_iter_based``.
        model: Where param groups are looked up; without it they follow from ``paramwise_cfg``:
            ``custom_keys`` and the multipliers of the lr.

    Returns:
        The same as text: a sparkline per line.

    Raises:
        ValueError: The config has no ``optim_wrapper`` or no ``train_cfg``, does not say how long
            to train or with which lr and optimizer, or has schedules for other optimizers than
            there are;
            ``epoch_length`` is not positive, or ``path`` has an ending of no picture.
        TypeError: An lr is not a number, or a custom key's value not a dict.
        FileNotFoundError: The folder of ``path`` does not exist.
    """
    config: Any = getattr(cfg, "_cfg_dict", cfg)
    run = _length(config, epoch_length)
    curves = list(schedule_curves(config, run, model))
    lines = [run.note, *(_sparkline(curve) for curve in curves), *_epoch_marks(run)]
    if model is None:
        lines += _doubts(config["optim_wrapper"])
    if path is not None:
        if find_spec("matplotlib") is None:
            lines.append(f"{path} is not drawn: matplotlib is missing → pip install mm2pl[plot]")
        else:
            _draw(curves, run, Path(path))
    return "\n".join(lines)


def schedule_data(
    cfg: Mapping[str, Any] | Config, *, epoch_length: int | None = None
) -> dict[str, Any]:
    """Return what :func:`plot_schedule` draws as plain data: a value per iteration of each curve.

    Raises:
        ValueError: As :func:`plot_schedule`.
        TypeError: As :func:`plot_schedule`.
    """
    config: Any = getattr(cfg, "_cfg_dict", cfg)
    run = _length(config, epoch_length)
    curves = schedule_curves(config, run)
    return {
        "iterations": run.iters,
        "epoch_length": run.epoch_length if run.by_epoch else None,
        "epoch_length_is_assumed": run.assumed,
        "curves": [
            {"entry": curve.entry, "groups": curve.label, "values": curve.values}
            for curve in curves
        ],
        "notes": list(_doubts(config["optim_wrapper"])),
    }


def _length(cfg: Mapping[str, Any], epoch_length: int | None) -> Length:
    for key in ("optim_wrapper", "train_cfg"):
        if not cfg.get(key):
            raise ArgumentError(f"the config has no `{key}` → there is no training to draw.")
    if epoch_length is not None and epoch_length < 1:
        raise ArgumentError(f"epoch_length={epoch_length!r} must be a positive integer.")
    per_epoch = epoch_length or NOMINAL_EPOCH
    length = length_of_run(cfg["train_cfg"])
    if not length:
        raise ArgumentError(
            f"train_cfg={cfg['train_cfg']!r} does not say how long to train → add max_epochs=... or "
            "max_iters=..."
        )
    if (iters := length.get("limit_train_batches")) is not None:
        return Length(iters=iters, epoch_length=per_epoch, by_epoch=False, assumed=False)
    iters = length["max_epochs"] * per_epoch
    assumed = epoch_length is None
    return Length(iters=iters, epoch_length=per_epoch, by_epoch=True, assumed=assumed)


def measured_epoch_length(cfg: Mapping[str, Any] | Config) -> int:
    """Return the iterations of an epoch, by the loader of the training in one process, which is built for it.

    Raises:
        ArgumentError: The config has no such loader, its data cannot be built, or its epochs never end.
    """
    # Not above: both import torch, which the curves of a config do without.
    from mm2pl.dataset.build import data_of
    from mm2pl.dataset.utils import length_of

    config: Any = getattr(cfg, "_cfg_dict", cfg)
    advice = "mm2pl plot schedule --epoch-length says how long an epoch is"
    with data_of(config, "train", advice) as loader:
        length = length_of(loader)
    if not length:
        raise ArgumentError("the train_dataloader has no length → give --epoch-length instead.")
    return length


def schedule_curves(
    cfg: Mapping[str, Any], run: Length, model: nn.Module | None = None
) -> Iterator[Curve]:
    """Yield lr and momentum of each group that differs, for each of the optimizers.

    Raises:
        ValueError: An optimizer has no schedulers.
    """
    scheduler = cfg.get("param_scheduler")
    optimizers = dict(_optimizers(cfg["optim_wrapper"]))
    # A single optimizer has no name; a list per name is refused when its schedules are built.
    own = {"": scheduler} if "" in optimizers else per_optimizer(scheduler, list(optimizers))
    for name, optim_wrapper in optimizers.items():
        groups = _groups(optim_wrapper) if model is None else _model_groups(optim_wrapper, model)
        settings = [dict(group) for group in groups]
        traced = trace(own[name], settings, run.iters, run.epoch_length, by_epoch=run.by_epoch)
        prefix = f"{name}: " if name else ""
        for entry in ("lr", "momentum"):
            merged: dict[tuple[float, ...], list[str]] = {}
            for labels, curves in zip(groups.values(), traced, strict=True):
                merged.setdefault(tuple(curves.get(entry, ())), []).extend(labels)
            for values, labels in merged.items():
                # A momentum that nothing changes is not a curve.
                if not values or (entry == "momentum" and len(set(values)) == 1):
                    continue
                label = _joined(labels) if len(merged) > 1 else "all"
                yield Curve(entry=entry, label=prefix + label, values=list(values))


_Groups = dict[tuple[tuple[str, float], ...], list[str]]
"""From the scheduled settings of a group to what the group is called."""


def _optimizers(optim_wrapper: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    if "optimizer" in optim_wrapper:
        yield "", optim_wrapper
        return
    for name, each in optim_wrapper.items():
        if isinstance(each, dict) and "optimizer" in each:
            yield name, each


def _groups(optim_wrapper: Mapping[str, Any]) -> _Groups:
    """Return the groups that ``paramwise_cfg`` makes, as far as they are known without a model."""
    optimizer = optim_wrapper["optimizer"]
    options = optim_wrapper.get("paramwise_cfg")
    base = _settings(optimizer)
    groups: _Groups = {tuple(base.items()): ["others" if options else "all"]}
    # The constructor multiplies only the lr that a config gives; here that of the class counts too.
    rules = ParamwiseSettings({"optimizer": {**optimizer, "lr": base["lr"]}}, options)
    for label, own in rules.settings_by_rule().items():
        settings = {entry: own.get(entry, value) for entry, value in base.items()}
        groups.setdefault(tuple(settings.items()), []).append(label)
    return groups


def _doubts(optim_wrapper: Mapping[str, Any]) -> Iterator[str]:
    """Say what a config alone leaves open."""
    for name, each in _optimizers(optim_wrapper):
        kind = each["optimizer"]["type"]
        if optimizer_of(kind) is None:
            hint = did_you_mean(closest(kind, OPTIMIZERS.module_dict, 1))
            yield f"note: no optimizer {kind!r} is registered; its defaults are unknown.{hint}"
        constructor = each.get("constructor", "DefaultOptimWrapperConstructor")
        # Others look at the model: a layer-wise decay counts its layers.
        if not name and constructor != "DefaultOptimWrapperConstructor":
            shown = constructor if isinstance(constructor, str) else constructor.__name__
            yield f"note: which param groups {shown} makes depends on the model."


def _settings(optimizer: object) -> dict[str, float]:
    """Return lr and momentum of an optimizer's config; its class knows the defaults."""
    if not (isinstance(optimizer, dict) and "type" in optimizer):
        raise ArgumentError(
            f"optimizer={optimizer!r} → a dict with a type is needed, such as dict(type='SGD', lr=0.01)"
        )
    kind = optimizer["type"]
    given = {k: v for k, v in optimizer.items() if k not in ("type", "params")}
    cls = optimizer_of(kind)
    if cls is not None:
        parameters = inspect.signature(cls).parameters.items()
        given = {**{k: p.default for k, p in parameters if p.default is not p.empty}, **given}
    if "lr" not in given:
        raise ArgumentError(f"optimizer={optimizer!r} has no lr to draw.")
    if not isinstance(given["lr"], int | float):
        raise ArgumentError(f"lr={given['lr']!r} in optimizer={optimizer!r} must be a number.")
    # Adam's first beta is what MMEngine's momentum schedules change.
    momentum = given["betas"][0] if "betas" in given else given.get("momentum")
    return {"lr": given["lr"], **({} if momentum is None else {"momentum": momentum})}


def _model_groups(optim_wrapper: Mapping[str, Any], model: nn.Module) -> _Groups:
    """Build the groups, and call each by its parameters."""
    from mm2pl.optim.optimizer.builder import build_optim_wrapper

    wrapper = build_optim_wrapper(model, optim_wrapper)
    # By identity: torch's groups hold parameters without their names.
    names = {id(param): name for name, param in model.named_parameters()}
    groups: _Groups = {}
    for group, momentum in zip(
        wrapper.optimizer.param_groups, wrapper.get_momentum()["momentum"], strict=True
    ):
        settings = (("lr", group["lr"]), ("momentum", momentum))
        groups.setdefault(settings, []).extend(names[id(param)] for param in group["params"])
    return groups


def _joined(labels: list[str]) -> str:
    shown = ", ".join(labels[:3])
    return shown if len(labels) <= 3 else f"{shown} and {len(labels) - 3} more"


def _sparkline(curve: Curve) -> str:
    values = curve.values
    low, high = min(values), max(values)
    columns = [values[index * len(values) // COLUMNS] for index in range(COLUMNS)]
    ends = f"{values[0]:.3g} → {values[-1]:.3g}, {low:.3g} to {high:.3g}"
    return f"{sparkline(columns, low, high)}  {curve.entry} of {curve.label}: {ends}"


def _epoch_marks(run: Length) -> list[str]:
    """Return a line with a tick where epochs begin, if they can be told apart."""
    epochs = run.iters // run.epoch_length
    if not run.by_epoch or epochs > COLUMNS // 2:
        return []
    starts = {-(-epoch * COLUMNS // epochs) for epoch in range(epochs)}
    return ["".join("'" if column in starts else " " for column in range(COLUMNS)) + "  epochs"]


def _draw(curves: list[Curve], run: Length, path: Path) -> None:
    # Not pyplot, which would choose a display and keep the figure for the life of the process.
    from matplotlib.figure import Figure

    check_picture_path(path)
    entries = list(dict.fromkeys(curve.entry for curve in curves))
    figure = Figure(figsize=(9, 3 * len(entries)), layout="constrained")
    axes = figure.subplots(len(entries), 1, sharex=True, squeeze=False)[:, 0]
    for entry, axis in zip(entries, axes, strict=True):
        for curve in curves:
            if curve.entry == entry:
                _plot(axis, curve, run)
        axis.set_ylabel(entry)
        axis.legend(fontsize="small")
        _mark_epochs(axis, run)
    axes[0].set_title(run.note, fontsize="medium")
    axes[-1].set_xlabel("epoch" if run.by_epoch else "iteration")
    figure.savefig(path)


def _plot(axis: Axes, curve: Curve, run: Length) -> None:
    stride = -(-len(curve.values) // _MAX_POINTS)
    unit = run.epoch_length if run.by_epoch else 1
    iterations = range(0, len(curve.values), stride)
    positions = [iteration / unit for iteration in iterations]
    # Steps, because a value holds until the schedules tick again.
    axis.plot(positions, curve.values[::stride], drawstyle="steps-post", label=curve.label)


def _mark_epochs(axis: Axes, run: Length) -> None:
    if run.by_epoch:
        epochs = run.iters // run.epoch_length
        for epoch in range(0, epochs + 1, max(1, epochs // 60)):
            axis.axvline(epoch, color="0.85", linewidth=0.5, zorder=0)
