"""One checkpoint file for two worlds: what each of them needs to find in it. Nothing here changes a Trainer.

Lightning reads ``state_dict, optimizer_states, lr_schedulers, callbacks, loops, epoch, global_step`` and its version;
MMEngine ``meta, state_dict, message_hub, optimizer, param_schedulers``. ``state_dict`` has no ``model.`` prefix and is
common to both.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch

from mm2pl.checkpoint import kinds
from mm2pl.checkpoint.loader import CheckpointLoader
from mm2pl.checkpoint.progress import loops_state, progress_of
from mm2pl.checkpoint.reader import CheckpointError
from mm2pl.checkpoint.writer import save_checkpoint
from mm2pl.errors import ArgumentError
from mm2pl.version import __version__

if TYPE_CHECKING:
    from mm2pl.logging import MessageHub

Kind = Literal["mm2pl", "mmengine", "mmcv", "lightning", "state_dict"]

#: What only Lightning reads; a callback's or data module's own keys are not known here and stay.
LIGHTNING_KEYS = (
    "epoch",
    "global_step",
    "pytorch-lightning_version",
    "legacy_pytorch-lightning_version",
    "loops",
    "callbacks",
    "optimizer_states",
    "lr_schedulers",
    "MixedPrecision",
    "hparams_name",
    "hyper_parameters",
    "datamodule_hyper_parameters",
)

#: What an optimizer wrapper stores in addition to its optimizer's own state.
_WRAPPER_KEYS = ("loss_scaler", "base_param_settings", "accumulation")

#: MMEngine's release whose file format this is; some of its tools read the field.
_MMENGINE_VERSION = "0.10.7"


# What a file is


def kind(checkpoint: object) -> Kind:
    """Say who wrote a checkpoint.

    Raises:
        CheckpointError: It is none.

    Example:
        >>> kind({"meta": {"epoch": 1, "mmcv_version": "1.7.2"}, "state_dict": {}})
        'mmcv'
        >>> kind({"fc.weight": torch.zeros(1)})
        'state_dict'
    """
    if isinstance(checkpoint, Mapping):
        meta = checkpoint.get("meta")
        ours = isinstance(meta, Mapping) and "mm2pl_version" in meta
        if "pytorch-lightning_version" in checkpoint:
            # Lightning writes no hub: `from_mmengine` has given an MMEngine file Lightning's keys.
            return "mm2pl" if ours or "message_hub" in checkpoint else "lightning"
        if isinstance(meta, Mapping) and "state_dict" in checkpoint:
            # MMCV 1.x writes `meta` too, but neither of these two.
            if "message_hub" in checkpoint or "mmengine_version" in meta or ours:
                return "mm2pl" if ours else "mmengine"
            return "mmcv"
        weights = checkpoint.get("state_dict", checkpoint)
        # One tensor is enough: modules put extra state of any kind between their weights.
        if isinstance(weights, Mapping) and any(
            isinstance(v, torch.Tensor) for v in weights.values()
        ):
            return "state_dict"
    what = (
        f"keys {list(checkpoint)[:5]}"
        if isinstance(checkpoint, Mapping)
        else repr(type(checkpoint))
    )
    raise CheckpointError(
        f"This is not a checkpoint ({what}) → a file of mm2pl, MMEngine, MMCV or Lightning, or a state dict is needed"
    )


def is_resumable(checkpoint: Mapping[str, Any]) -> bool:
    """Return whether a checkpoint holds an optimizer's state; best and published files do not."""
    return any(checkpoint.get(key) is not None for key in ("optimizer", "optimizer_states"))


def require_resumable(checkpoint: Mapping[str, Any], name: str = "This checkpoint") -> None:
    """Refuse to continue a run from weights.

    Raises:
        CheckpointError: There is no optimizer's state.
    """
    if not is_resumable(checkpoint):
        raise CheckpointError(
            f"{name} holds weights only, as best_*.pth, published files and those of save_optimizer=False do: a run "
            "cannot be continued from it → resume a periodic one (epoch_*.pth, iter_*.pth, see last_checkpoint), or "
            "start anew from these weights with load_from"
        )


# MMEngine's side


class SavedRunner(Protocol):
    """What of a runner goes into a file.

    Attributes:
        message_hub: Its state is saved.
        optim_wrapper: Saved if it has a ``state_dict``; a Trainer of the user's own may have none.
        param_schedulers: A list, a dict of lists, or ``None``.
    """

    @property
    def message_hub(self) -> MessageHub: ...  # noqa: D102
    @property
    def optim_wrapper(self) -> Any: ...  # noqa: D102
    @property
    def param_schedulers(self) -> Any: ...  # noqa: D102

    def meta(self) -> dict[str, Any]:
        """Return the entries of ``meta``."""


def add_mmengine_keys(checkpoint: dict[str, Any], runner: SavedRunner) -> None:
    """Add what MMEngine reads to what Lightning has collected.

    Args:
        checkpoint: From the Trainer's ``dump_checkpoint``; changed in place. Without ``optimizer_states`` it is to hold
            weights only, and gets no ``optimizer`` and ``param_schedulers``.
        runner: Whoever trains.
    """
    checkpoint["meta"] = {**runner.meta(), **version_fields()}
    checkpoint["message_hub"] = runner.message_hub.state_dict()
    if "optimizer_states" not in checkpoint:
        return
    if hasattr(runner.optim_wrapper, "state_dict"):
        checkpoint["optimizer"] = runner.optim_wrapper.state_dict()
        module: Any = getattr(runner, "mm_module", None)
        if getattr(module, "automatic_optimization", False) and not module.has_gradients_waiting():
            # Lightning keeps used gradients until the next iteration drops them.
            checkpoint["optimizer"].pop("accumulation", None)
        strategy = getattr(getattr(runner, "trainer", None), "strategy", None)
        sharded = not getattr(strategy, "lightning_restore_optimizer", True)
        table = kinds.SHARDED_OPTIMIZER if sharded else kinds.OPTIMIZER
        checkpoint["optimizer"] = _of_all_processes(checkpoint["optimizer"], table)
    if runner.param_schedulers is not None:
        checkpoint["param_schedulers"] = scheduler_states(runner.param_schedulers)


def _of_all_processes(optimizer: Mapping[str, Any], table: kinds.Kinds) -> dict[str, Any]:
    """Return the state of an optimizer wrapper, or of several by name, as a file holds it."""
    if "param_groups" in optimizer or "accumulation" in optimizer:
        return kinds.gather(table, optimizer)
    return {
        name: _of_all_processes(state, table) if isinstance(state, Mapping) else state
        for name, state in optimizer.items()
    }


def version_fields() -> dict[str, str]:
    """Return the entries of ``meta`` that say which program wrote a file."""
    return {"mm2pl_version": __version__, "mmengine_version": _MMENGINE_VERSION}


def scheduler_states(param_schedulers: Mapping[str, Any] | Sequence[Any]) -> Any:
    """Return the schedules' states in their own arrangement: a list, or a dict of lists."""
    if isinstance(param_schedulers, Mapping):
        return {name: scheduler_states(group) for name, group in param_schedulers.items()}
    return [scheduler.state_dict() for scheduler in param_schedulers]


def to_mmengine(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return any checkpoint as MMEngine's Runner writes it.

    Of a plain Lightning checkpoint, torch's scheduler states and the callbacks' states have no place there and are
    dropped; several optimizers are named ``optimizer_0, optimizer_1, …``.

    Raises:
        CheckpointError: It is none.
    """
    source = kind(checkpoint)
    if source == "state_dict":
        return {
            # MMEngine 0.10.7 resumes from `meta['epoch']` and `meta['iter']` without asking whether they are there.
            "meta": {"epoch": 0, "iter": 0, **version_fields()},
            "state_dict": checkpoint.get("state_dict", checkpoint),
            "message_hub": empty_hub(),
        }
    made = {key: value for key, value in checkpoint.items() if key not in LIGHTNING_KEYS}
    if source == "lightning":
        made["state_dict"] = without_prefix(checkpoint["state_dict"])
        epoch, done = progress_of(checkpoint)
        made["meta"] = {"epoch": epoch, "iter": done, **version_fields()}
        states = checkpoint.get("optimizer_states", [])
        if states:
            named = {f"optimizer_{i}": state for i, state in enumerate(states)}
            made["optimizer"] = states[0] if len(states) == 1 else named
    made.setdefault("message_hub", empty_hub())
    return made


def empty_hub() -> dict[str, dict[str, Any]]:
    """Return the state of a message hub that has seen nothing."""
    # MMEngine 0.10.7 asserts that all three keys are there.
    return {"log_scalars": {}, "runtime_info": {}, "resumed_keys": {}}


def without_prefix(state_dict: Mapping[str, Any], prefix: str = "model.") -> Mapping[str, Any]:
    """Return weights without a prefix that all of them have.

    >>> list(without_prefix({"model.a": 0, "model.b": 1})), list(without_prefix({"model.a": 0, "b": 1}))
    (['a', 'b'], ['model.a', 'b'])
    """
    if not state_dict or not all(key.startswith(prefix) for key in state_dict):
        return state_dict
    return OrderedDict((key.removeprefix(prefix), value) for key, value in state_dict.items())


# Lightning's side


def from_mmengine(
    checkpoint: Mapping[str, Any],
    *,
    epoch_length: int | None = None,
    by_epoch: bool | None = None,
    resume: bool = True,
) -> dict[str, Any]:
    """Return any checkpoint with the keys that Lightning's ``Trainer.fit(ckpt_path=…)`` needs.

    Args:
        checkpoint: Of any :func:`kind`; its own keys are kept, the tensors are shared.
        epoch_length: Batches per epoch, or ``max_iters`` of a run by iterations. Without it, a file from within an
            epoch restarts that epoch, as MMEngine does.
        by_epoch: Whether the run counts epochs. ``None``: unless ``meta.epoch`` is 0, as in all files of
            iteration-based runs.
        resume: Refuse a file that holds weights only.

    Raises:
        CheckpointError: It is not a checkpoint; or ``resume`` and it holds weights only.
    """
    source = kind(checkpoint)
    if resume:
        require_resumable(checkpoint)
    if source == "lightning":
        return dict(checkpoint)
    made = _with_own_keys(checkpoint)
    meta = made.get("meta", {})
    # A place that Lightning itself has written is more exact than what can be told from `meta`.
    placed = "loops" in made and epoch_length is None
    if is_resumable(made) and {"epoch", "iter"} <= meta.keys() and not placed:
        epoch, batch = _place(meta["epoch"], meta["iter"], epoch_length, by_epoch)
        # MMEngine counts batches only, so with accumulation this is too many, and nothing better is known.
        steps = made.get("global_step", meta["iter"])
        made.update(
            epoch=epoch,
            global_step=steps,
            loops=loops_state(
                epoch=epoch,
                iter=meta["iter"],
                batch_idx=batch,
                steps=steps,
                epoch_length=epoch_length,
            ),
        )
        made.setdefault("optimizer_states", _optimizer_states(made["optimizer"]))
        scaler = _scaler_state(made.get("optimizer", {}))
        if scaler is not None:
            made.setdefault("MixedPrecision", scaler)
        made.setdefault("lr_schedulers", _lr_schedulers(made))
        made.setdefault("callbacks", {})
    made.setdefault("pytorch-lightning_version", _lightning_version())
    return made


def _with_own_keys(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    if kind(checkpoint) == "state_dict":
        return {"state_dict": checkpoint.get("state_dict", checkpoint)}
    made = dict(checkpoint)
    made.setdefault("message_hub", empty_hub())
    return made


def _lightning_version() -> str:
    # Of the installed package: this room does not import Lightning, which takes seconds.
    return version("lightning")


def _place(
    epoch: int, done: int, epoch_length: int | None, by_epoch: bool | None
) -> tuple[int, int]:
    """Return the epoch to continue and how many of its batches are done."""
    # MMEngine's loop by iterations never counts an epoch: what it saves by iterations has 0 here.
    if by_epoch is False or (by_epoch is None and not epoch):
        return 0, done
    # Counted, since MMEngine's files do not hold the place within an epoch.
    batch = done - epoch * epoch_length if epoch_length else 0
    return (epoch, batch) if epoch_length and 0 <= batch < epoch_length else (epoch, 0)


def _optimizer_states(optimizer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the torch optimizers' own states from a wrapper's, or from a dict of wrappers'."""
    # Several wrappers are saved by name, and only a single one's state has `param_groups`.
    wrappers = [optimizer] if "param_groups" in optimizer else list(optimizer.values())
    return [
        {k: v for k, v in state.items() if k not in _WRAPPER_KEYS}
        for state in wrappers
        # A sharded checkpoint holds it apart.
        if isinstance(state, Mapping) and "param_groups" in state
    ]


def _lr_schedulers(checkpoint: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the states of MMLightningModule's views of the schedules, one per optimizer that has some."""
    schedulers = checkpoint.get("param_schedulers") or []
    if isinstance(schedulers, Mapping):
        # In the order of the optimizers: Lightning restores its schedulers by their position.
        groups = [schedulers.get(name, []) for name in checkpoint["optimizer"]]
    else:
        groups = [schedulers]
    return [{"schedulers": group} for group in groups if group]


def _scaler_state(optimizer: Mapping[str, Any]) -> Any:
    if "loss_scaler" in optimizer:
        return optimizer["loss_scaler"]
    parts = [part for part in optimizer.values() if isinstance(part, Mapping)]
    # Lightning 2.6 keeps one scaler, under its plugin's class name; MMEngine has one for each wrapper.
    return next((part["loss_scaler"] for part in parts if "loss_scaler" in part), None)


# Files


def join(out_dir: str, filename: str) -> str:
    """Join a folder or URI and a file name.

    >>> join("s3://bucket/run/", "epoch_1.pth")
    's3://bucket/run/epoch_1.pth'
    """
    if "://" in out_dir:
        return f"{out_dir.rstrip('/')}/{filename}"
    return os.path.join(out_dir, filename)


def convert_checkpoint(
    src: str,
    dst: str,
    to: Literal["lightning", "mmengine", "weights"] = "lightning",
    *,
    epoch_length: int | None = None,
    by_epoch: bool | None = None,
    weights_only: bool = True,
) -> None:
    """Rewrite a checkpoint of mm2pl, MMEngine, MMCV or Lightning for another program.

    Args:
        src: A path, URL or model zoo name.
        dst: Where to write; an existing file is replaced when the new one is complete.
        to: ``lightning`` and ``mmengine`` can be resumed there if ``src`` can; ``weights`` keeps ``meta`` and
            ``state_dict``.
        epoch_length: See :func:`from_mmengine`.
        by_epoch: See :func:`from_mmengine`.
        weights_only: ``False`` runs any code that ``src`` contains.

    Raises:
        CheckpointError: ``src`` cannot be read or is not a checkpoint.
        ValueError: ``to`` is none of the three, or ``epoch_length`` is not a number of batches.
    """
    if epoch_length is not None and epoch_length < 1:
        raise ArgumentError(
            f"epoch_length={epoch_length!r} → a number of batches from 1 on is needed"
        )
    converters: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
        "lightning": lambda c: from_mmengine(
            c, epoch_length=epoch_length, by_epoch=by_epoch, resume=False
        ),
        "mmengine": to_mmengine,
        "weights": weights_of,
    }
    if to not in converters:
        raise ArgumentError(f"to={to!r} → one of {', '.join(converters)} is needed")
    checkpoint = CheckpointLoader.load_checkpoint(src, "cpu", weights_only=weights_only)
    try:
        made = converters[to](checkpoint)
    except CheckpointError as error:
        raise CheckpointError(f"{src}: {error}") from None
    save_checkpoint(made, dst)


def weights_of(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return only ``meta`` and ``state_dict``; of a run with EMA these are the averaged weights."""
    made = to_mmengine(checkpoint)
    return {key: made[key] for key in ("meta", "state_dict")}
