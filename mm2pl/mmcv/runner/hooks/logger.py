"""The hooks that log, and their base; `services` has those of other services."""

from __future__ import annotations

import datetime
import json
import numbers
import os
import shutil
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from mm2pl.mmcv.runner.builder import HOOKS
from mm2pl.mmcv.runner.dist_utils import master_only
from mm2pl.mmcv.runner.hooks.hook import Hook
from mm2pl.mmcv.runner.hooks.others import IterTimerHook
from mm2pl.utils import to_lists

if TYPE_CHECKING:
    from mm2pl.mmcv.runner.base_runner import BaseRunner


class LoggerHook(Hook):
    """Average the log buffer every so many iterations; subclasses define `log`.

    Args:
        interval: Iterations between logs.
        ignore_last: Whether the rest of an epoch that is shorter than ``interval`` is left out.
        reset_flag: Whether to clear the averages after logging; the last logger does it for all.
        by_epoch: Whether the run counts epochs.
    """

    def __init__(
        self,
        interval: int = 10,
        ignore_last: bool = True,
        reset_flag: bool = False,
        by_epoch: bool = True,
    ) -> None:
        self.interval = interval
        self.ignore_last = ignore_last
        self.reset_flag = reset_flag
        self.by_epoch = by_epoch

    def log(self, runner: BaseRunner) -> Any:
        """Write what is in ``runner.log_buffer.output``."""
        raise NotImplementedError

    @staticmethod
    def is_scalar(value: Any, include_np: bool = True, include_torch: bool = True) -> bool:
        """Return whether ``value`` is a number, or an array or tensor with one element."""
        if isinstance(value, numbers.Number):
            return True
        if isinstance(value, np.ndarray):
            # MMCV 1.7.2 takes only arrays without dimensions, but tensors with one element.
            return include_np and value.ndim == 0
        # MMCV 1.7.2 asks `len(tensor) == 1`, which raises for a tensor without dimensions.
        return include_torch and isinstance(value, torch.Tensor) and value.numel() == 1

    def get_mode(self, runner: BaseRunner) -> str:
        """Return ``'train'`` or ``'val'``: results of an `EvalHook` are logged during training."""
        # IterTimerHook puts 'time' among training values. EvalHook's
        # results come without it, while the mode is still 'train'.
        output = runner.log_buffer.output
        timed = "time" in output
        # The EvalHooks of toolboxes for MMCV <= 1.3 clear the buffer, and run before the timer, whose priority is LOW
        # by now: only 'time' is left of the iteration's own values, and MMCV 1.7.2 fails on 'data_time'.
        if timed and "data_time" not in output and _has_timer(runner):
            return "val"
        return "train" if runner.mode == "train" and timed else "val"

    def get_epoch(self, runner: BaseRunner) -> int:
        """Return the epoch from 1; a validation belongs to the one before."""
        # During a validation flow EpochBasedRunner has counted up already.
        return runner.epoch + 1 if runner.mode == "train" else runner.epoch

    def get_iter(self, runner: BaseRunner, inner_iter: bool = False) -> int:
        """Return the iteration from 1, of the epoch or of the run."""
        # An epoch run prints the iteration within the epoch, but sends
        # loggers such as TensorBoard the one of the run.
        return (runner.inner_iter if self.by_epoch and inner_iter else runner.iter) + 1

    def get_lr_tags(self, runner: BaseRunner) -> dict[str, float]:
        """Return the learning rate of the first group of each optimizer."""
        return _tags("learning_rate", runner.current_lr())

    def get_momentum_tags(self, runner: BaseRunner) -> dict[str, float]:
        """Return the momentum of the first group of each optimizer."""
        return _tags("momentum", runner.current_momentum())

    def get_loggable_tags(
        self,
        runner: BaseRunner,
        allow_scalar: bool = True,
        allow_text: bool = False,
        add_mode: bool = True,
        tags_to_skip: tuple[str, ...] = ("time", "data_time"),
    ) -> dict[str, Any]:
        """Return what loggers can take, under names such as ``train/loss``."""
        tags: dict[str, Any] = {}
        prefix = f"{self.get_mode(runner)}/" if add_mode else ""
        for name, value in runner.log_buffer.output.items():
            allowed = self.is_scalar(value) and allow_scalar
            if name not in tags_to_skip and (allowed or (isinstance(value, str) and allow_text)):
                tags[prefix + name] = value
        return {**tags, **self.get_lr_tags(runner), **self.get_momentum_tags(runner)}

    def before_run(self, runner: BaseRunner) -> None:
        """Make the last logger clear the averages."""
        # All loggers read one buffer. MMCV 1.7.2 lets the last one clear it, so that the others see the values.
        loggers = [hook for hook in runner.hooks if isinstance(hook, LoggerHook)]
        if loggers:
            loggers[-1].reset_flag = True

    def before_epoch(self, runner: BaseRunner) -> None:
        """Forget the last epoch."""
        # MMCV 1.7.2 drops the rest of an epoch that is shorter than
        # the interval, unless `ignore_last=False` logged it.
        runner.log_buffer.clear()

    def after_train_iter(self, runner: BaseRunner) -> None:
        """Average and log, if it is time."""
        # By inner iteration in an epoch run: each epoch starts its
        # count anew, so that its lines have the same numbers.
        every = self.every_n_inner_iters if self.by_epoch else self.every_n_iters
        if every(runner, self.interval) or (self.end_of_epoch(runner) and not self.ignore_last):
            # Also at the end of a shorter rest, as in MMCV 1.7.2:
            # iterations that were logged before then count again.
            runner.log_buffer.average(self.interval)
        # `ready` may have been set by another logger with a smaller interval; this one logs too, as in MMCV 1.7.2.
        self._log_if_ready(runner)

    def after_train_epoch(self, runner: BaseRunner) -> None:
        """Log what an `EvalHook` has found."""
        self._log_if_ready(runner)

    def after_val_epoch(self, runner: BaseRunner) -> None:
        """Average and log a validation epoch."""
        # All values of the validation epoch: MMCV 1.7.2 has no interval for it.
        runner.log_buffer.average()
        self._log_if_ready(runner)

    def _log_if_ready(self, runner: BaseRunner) -> None:
        if runner.log_buffer.ready:
            self.log(runner)
            if self.reset_flag:
                runner.log_buffer.clear_output()


def _tags(name: str, values: Any) -> dict[str, float]:
    if isinstance(values, dict):
        # MMCV 1.7.2 shows the first group only; others differ by `paramwise_cfg`.
        return {f"{name}/{key}": own[0] for key, own in values.items()}
    return {name: values[0]}


@HOOKS.register_module()
class TextLoggerHook(LoggerHook):
    """Log lines as MMCV's, and ``<timestamp>.log.json`` with one JSON object per line.

    Args:
        by_epoch: See `LoggerHook`.
        interval: See `LoggerHook`.
        ignore_last: See `LoggerHook`.
        reset_flag: See `LoggerHook`.
        interval_exp_name: Iterations between lines with the experiment's name.
        out_dir: Where the logs are copied at the end, into a folder named as the work folder.
        out_suffix: Endings of the files that are copied.
        keep_local: Whether the originals stay.
        file_client_args: Unused.
    """

    _SHOWN: ClassVar[frozenset[str]] = frozenset(
        # 'Epoch' with a capital stands in MMCV 1.7.2's list too.
        {"mode", "Epoch", "iter", "lr", "time", "data_time", "memory", "epoch"}
    )

    def __init__(
        self,
        by_epoch: bool = True,
        interval: int = 10,
        ignore_last: bool = True,
        reset_flag: bool = False,
        interval_exp_name: int = 1000,
        out_dir: str | None = None,
        out_suffix: str | tuple[str, ...] = (".log.json", ".log", ".py"),
        keep_local: bool = True,
        file_client_args: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(interval, ignore_last, reset_flag, by_epoch)
        self.time_sec_tot = 0.0
        self.interval_exp_name = interval_exp_name
        self.out_dir = out_dir
        self.out_suffix = out_suffix
        self.keep_local = keep_local

    def before_run(self, runner: BaseRunner) -> None:
        """Begin the JSON file with ``meta``."""
        super().before_run(runner)
        # A resumed run estimates its remaining time from its own iterations only.
        self.start_iter = runner.iter
        self.json_log_path = os.path.join(runner.work_dir, f"{runner.timestamp}.log.json")
        # The first line of the JSON file is the meta; MMDetection 2's
        # tools/analysis_tools/analyze_logs.py skips it.
        if runner.meta is not None:
            self._dump_log(runner.meta, runner)

    def log(self, runner: BaseRunner) -> OrderedDict[str, Any]:
        """Write a line of text and one of JSON; return what they say."""
        output = runner.log_buffer.output
        # EvalHook's number of batches. It must go, or it would be printed as a result.
        iteration = output.pop("eval_iter_num", None)
        values: OrderedDict[str, Any] = OrderedDict(
            mode=self.get_mode(runner),
            epoch=self.get_epoch(runner),
            iter=self.get_iter(runner, inner_iter=True) if iteration is None else iteration,
        )
        lr = runner.current_lr()
        values["lr"] = {k: v[0] for k, v in lr.items()} if isinstance(lr, dict) else lr[0]
        # Validation lines have no memory in MMCV 1.7.2.
        if "time" in output and torch.cuda.is_available():
            values["memory"] = self._get_max_memory(runner)
        values.update(output)
        self._log_info(values, runner)
        self._dump_log(values, runner)
        return values

    def _log_info(self, values: dict[str, Any], runner: BaseRunner) -> None:
        if runner.meta is not None and "exp_name" in runner.meta:
            at_end = self.by_epoch and self.end_of_epoch(runner)
            if self.every_n_iters(runner, self.interval_exp_name) or at_end:
                runner.logger.info(f"Exp name: {runner.meta['exp_name']}")
        head = (
            self._train_head(values, runner)
            if values["mode"] == "train"
            else _val_head(values, self.by_epoch)
        )
        rest = [
            f"{name}: {f'{value:.4f}' if isinstance(value, float) else value}"
            for name, value in values.items()
            if name not in self._SHOWN
        ]
        runner.logger.info(head + ", ".join(rest))

    def _train_head(self, values: dict[str, Any], runner: BaseRunner) -> str:
        lr = values["lr"]
        rates = (
            " ".join(f"lr_{name}: {value:.3e}" for name, value in lr.items())
            if isinstance(lr, dict)
            else f"lr: {lr:.3e}"
        )
        if self.by_epoch:
            head = (
                f"Epoch [{values['epoch']}][{values['iter']}/{len(runner.data_loader)}]\t{rates}, "
            )
        else:
            head = f"Iter [{values['iter']}/{runner.max_iters}]\t{rates}, "
        if "time" in values:
            self.time_sec_tot += values["time"] * self.interval
            average = self.time_sec_tot / (runner.iter - self.start_iter + 1)
            left = datetime.timedelta(seconds=int(average * (runner.max_iters - runner.iter - 1)))
            head += (
                f"eta: {left}, time: {values['time']:.3f}, data_time: {values['data_time']:.3f}, "
            )
            if "memory" in values:
                head += f"memory: {values['memory']}, "
        return head

    @master_only
    def _dump_log(self, values: dict[str, Any], runner: BaseRunner) -> None:
        with open(self.json_log_path, "a", encoding="utf-8") as file:
            # MMCV 1.7.2's JSON handler writes arrays as lists and fails on objects that it does not know.
            # MMCV 1.7.2 rounds in the JSON file only; the text has four digits.
            rounded = {name: self._round_float(value) for name, value in values.items()}
            file.write(json.dumps(to_lists(rounded), default=str) + "\n")

    def _get_max_memory(self, runner: BaseRunner) -> int:
        """Return the most memory that tensors have taken, in MiB."""
        return torch.cuda.max_memory_allocated() // 2**20

    def _round_float(self, items: Any) -> Any:
        if isinstance(items, list):
            return [self._round_float(item) for item in items]
        return round(items, 5) if isinstance(items, float) else items

    @master_only
    def after_run(self, runner: BaseRunner) -> None:
        """Copy the logs to ``out_dir``."""
        if self.out_dir is None:
            return
        target = os.path.join(self.out_dir, os.path.basename(runner.work_dir.rstrip(os.sep)))
        os.makedirs(target, exist_ok=True)
        # Only at the end: MMCV 1.7.2 uploads finished files, since remote storage cannot append.
        for name in sorted(os.listdir(runner.work_dir)):
            if name.endswith(self.out_suffix):
                path = os.path.join(runner.work_dir, name)
                shutil.copy(path, os.path.join(target, name))
                if not self.keep_local:
                    os.remove(path)


def _val_head(values: dict[str, Any], by_epoch: bool) -> str:
    if by_epoch:
        return f"Epoch({values['mode']}) [{values['epoch']}][{values['iter']}]\t"
    return f"Iter({values['mode']}) [{values['iter']}]\t"


def _has_timer(runner: BaseRunner) -> bool:
    return any(isinstance(hook, IterTimerHook) for hook in runner.hooks)
