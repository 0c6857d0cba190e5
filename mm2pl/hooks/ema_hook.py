"""Keep a moving average of the model, and validate, test and publish that one."""

from __future__ import annotations

import copy
import itertools
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from mm2pl.checkpoint.errors import CheckpointError
from mm2pl.checkpoint.fitting import differences
from mm2pl.checkpoint.weights import load_state_dict
from mm2pl.errors import ArgumentError
from mm2pl.hooks.hook import DATA_BATCH, Hook
from mm2pl.logging import print_log
from mm2pl.model import is_model_wrapper
from mm2pl.registry import HOOKS, MODELS

if TYPE_CHECKING:
    from mm2pl.run.protocols import RunnerLike


@HOOKS.register_module()
class EMAHook(Hook):
    """Average the weights after every iteration (``mmengine.hooks.EMAHook``).

    Validation and test run with the averaged weights; training never sees them. In a checkpoint
    ``state_dict`` holds the *averaged* model, ready to deploy, and ``ema_state_dict`` the raw one.

    Args:
        ema_type: a registered averaged model: ``ExponentialMovingAverage``,
            ``MomentumAnnealingEMA``, ``StochasticWeightAverage`` or your own.
        strict_load: whether the keys of a loaded model must match exactly.
        begin_iter: the iteration from which to average; until then the average is a copy.
        begin_epoch: the same in epochs; only one of the two may be set.
        momentum: weight of the *new* value in an exponential average; this and what follows default
            to what the averaged model takes.
        gamma: ``MomentumAnnealingEMA``: the larger, the longer the average follows closely.
        interval: updates between two averages.
        update_buffers: average floating-point buffers too, instead of copying all of them.
        device: where the average is kept; ``None``: where the model is.
        kwargs: further arguments of an averaged model of your own.

    Raises:
        ArgumentError: both beginnings are set, one is negative, or (at the start) the run ends before.
    """

    priority = "NORMAL"
    _swapped = False

    def __init__(
        self,
        ema_type: str = "ExponentialMovingAverage",
        strict_load: bool = False,
        begin_iter: int = 0,
        begin_epoch: int = 0,
        *,
        momentum: float | None = None,
        gamma: int | None = None,
        interval: int | None = None,
        update_buffers: bool | None = None,
        device: str | torch.device | None = None,
        **kwargs: Any,
    ) -> None:
        if begin_iter and begin_epoch:
            raise ArgumentError(
                "`begin_iter` and `begin_epoch` should not be both set, "
                f"but got {begin_iter} and {begin_epoch}"
            )
        for name, value in (("begin_iter", begin_iter), ("begin_epoch", begin_epoch)):
            if value < 0:
                raise ArgumentError(f"`{name}` must be larger than or equal to 0, but got {value}")
        self.strict_load = strict_load
        named = {
            "momentum": momentum,
            "gamma": gamma,
            "interval": interval,
            "update_buffers": update_buffers,
            "device": device,
        }
        given = {name: value for name, value in named.items() if value is not None}
        self.ema_cfg = {"type": ema_type, **given, **kwargs}
        self.begin_iter = begin_iter
        self.begin_epoch = begin_epoch
        self.enabled_by_epoch = begin_epoch > 0

    def before_run(self, runner: RunnerLike) -> None:
        """Copy the model as it is now, before ``init_weights`` or loading."""
        if self._swapped:  # an exception has ended a validation
            self._swap_ema_parameters()
        # torch types what a Module does not know as a tensor or a module; a wrapper's ``module`` is one.
        model: Any = runner.model
        self.src_model: torch.nn.Module = model.module if is_model_wrapper(model) else model
        self.ema_model = MODELS.build(dict(self.ema_cfg), default_args={"model": self.src_model})

    def before_train(self, runner: RunnerLike) -> None:
        """Check the beginning, and follow the model to its device.

        Raises:
            ArgumentError: The run ends before the averaging would begin, or the strategy has sharded the model.
        """
        unit = "epoch" if self.enabled_by_epoch else "iter"
        begin, last = getattr(self, f"begin_{unit}"), getattr(runner, f"max_{unit}s")
        # 0: a Trainer of the user's own, whose data have no length, does not know.
        if 0 < last < begin:
            raise ArgumentError(
                f"self.begin_{unit} should be smaller than or equal to runner.max_{unit}s: {last}, "
                f"but got begin_{unit}: {begin}; EMAHook would never begin"
            )
        if hasattr(self, "src_model"):  # not if a caller has left out before_run
            self._require_whole()
            for parameter in itertools.islice(self.src_model.parameters(), 1):
                self.ema_model.to(parameter.device)

    def after_train_iter(
        self,
        runner: RunnerLike,
        batch_idx: int,
        data_batch: DATA_BATCH = None,
        outputs: dict | None = None,
    ) -> None:
        """Move the average towards the model."""
        if self._ema_started(runner):
            self.ema_model.update_parameters(self.src_model)
        else:
            source = self.src_model.state_dict()
            for key, value in self.ema_model.module.state_dict().items():
                value.data.copy_(source[key].data)

    def before_val_epoch(self, runner: RunnerLike) -> None:
        """Validate the average."""
        self._swap_ema_parameters()

    def after_val_epoch(self, runner: RunnerLike, metrics: dict[str, float] | None = None) -> None:
        """Take the trained weights back."""
        self._swap_ema_parameters()

    def before_test_epoch(self, runner: RunnerLike) -> None:
        """Test the average."""
        self._swap_ema_parameters()

    def after_test_epoch(self, runner: RunnerLike, metrics: dict[str, float] | None = None) -> None:
        """Take the trained weights back."""
        self._swap_ema_parameters()

    def before_save_checkpoint(self, runner: RunnerLike, checkpoint: dict) -> None:
        """Put the average into ``state_dict`` and the model into ``ema_state_dict``."""
        ema = self.ema_model.state_dict()
        checkpoint["ema_state_dict"] = {key: value.cpu() for key, value in ema.items()}
        # In a validation, where SIGTERM may be heard, the two have changed places already.
        if not self._swapped:
            self._swap_ema_state_dict(checkpoint)

    def after_load_checkpoint(self, runner: RunnerLike, checkpoint: dict) -> None:
        """Resume the average, or start it from the loaded weights."""
        resume = getattr(runner, "_resume", False)
        if "ema_state_dict" in checkpoint and resume:
            self._swap_ema_state_dict(checkpoint)
            _load_average(self.ema_model, checkpoint["ema_state_dict"], self.strict_load)
            return
        if resume:
            print_log(
                "There is no `ema_state_dict` in checkpoint. `EMAHook` will make a copy of "
                "`state_dict` as the initial `ema_state_dict`",
                "current",
                logging.WARNING,
            )
        load_state_dict(
            self.ema_model.module,
            copy.deepcopy(checkpoint["state_dict"]),
            strict=self.strict_load,
        )

    def _swap_ema_parameters(self) -> None:
        """Exchange values, not tensors: optimizer, DDP and CUDA graphs keep what they hold."""
        self._require_whole()
        self._swapped = not self._swapped
        averages, sources = self._averaged(self.ema_model.module), self._averaged(self.src_model)
        for average, source in zip(averages, sources, strict=True):
            kept = average.data.clone()
            average.data.copy_(source.data)
            source.data.copy_(kept)

    def _require_whole(self) -> None:
        pairs = zip(self.ema_model.module.parameters(), self.src_model.parameters(), strict=False)
        # FSDP's parts have another shape; FSDP2's show the whole one, and are torch's DTensors.
        if any(a.shape != s.shape or type(a.data) is not type(s.data) for a, s in pairs):
            raise ArgumentError(
                "EMAHook averages whole weights, and the strategy keeps a part of them in each process → leave one "
                "of the two out: DDPStrategy keeps them whole"
            )

    def _averaged(self, model: torch.nn.Module) -> Iterator[torch.Tensor]:
        yield from model.parameters()
        if self.ema_model.update_buffers:
            yield from model.buffers()

    def _swap_ema_state_dict(self, checkpoint: dict) -> None:
        model, ema = checkpoint["state_dict"], checkpoint["ema_state_dict"]
        for key in ema:
            name = key.removeprefix("module.")
            # A model may keep weights out of its files; of those only the average is stored.
            if key.startswith("module.") and name in model:
                ema[key], model[name] = model[name], ema[key]

    def _ema_started(self, runner: RunnerLike) -> bool:
        if self.enabled_by_epoch:
            return runner.epoch + 1 >= self.begin_epoch
        return runner.iter + 1 >= self.begin_iter


def _load_average(average: torch.nn.Module, state: dict, strict: bool) -> None:
    """Load the average of a file.

    Raises:
        CheckpointError: It is none of this model.
    """
    try:
        average.load_state_dict(state, strict=strict)
    except RuntimeError as error:
        # torch has a line for each weight; without `strict` it refuses another shape all the same.
        found = differences(average.state_dict(), state)
        names_only = strict and not found.shapes
        way_out = "EMAHook(strict_load=False)" if names_only else "load_from without resume"
        raise CheckpointError(
            f"the average of the weights does not fit this model: {found or error} → {way_out} takes what fits"
        ) from error
