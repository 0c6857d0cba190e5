"""Write the log: text lines, scalars for the visualizer, and copies elsewhere."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mm2pl.dataset.utils import length_of
from mm2pl.dist import is_main_process
from mm2pl.errors import ArgumentError
from mm2pl.fileio import dump, get_file_backend
from mm2pl.hooks.hook import DATA_BATCH, Hook
from mm2pl.hooks.iter_timer_hook import IterTimerHook
from mm2pl.hooks.loss_watch import LossWatch
from mm2pl.hooks.runtime_info_hook import RuntimeInfoHook
from mm2pl.hooks.storage import chosen_backend_args
from mm2pl.registry import HOOKS
from mm2pl.utils import is_seq_of, scandir

if TYPE_CHECKING:
    from mm2pl.run.protocols import RunnerLike

SUFFIX_TYPE = Sequence[str] | str


@HOOKS.register_module()
class LoggerHook(Hook):
    """Log what ``runner.log_processor`` makes of the message hub (``mmengine.hooks.LoggerHook``).

    Args:
        interval: iterations between two lines of an epoch.
        ignore_last: leave out the last iterations of an epoch if they are fewer than ``interval``.
        interval_exp_name: iterations between two lines with the experiment's name.
        out_dir: a directory or URI; after the run the logs are copied to a folder there that is
            named as the last part of ``work_dir``.
        out_suffix: endings of the files to copy.
        keep_local: keep the originals of the copied files.
        file_client_args: the old form of ``backend_args``.
        log_metric_by_epoch: count validation metrics by epoch rather than by iteration.
        backend_args: arguments of the storage backend of ``out_dir``.

    Raises:
        TypeError: an argument is of another type.
        ValueError: an interval is not positive, or ``file_client_args`` has no ``out_dir`` to apply to.

    Example:
    >>> LoggerHook(interval=0)
    Traceback (most recent call last):
        ...
    mm2pl.errors.ArgumentError: interval must be greater than 0, but got 0
    """

    priority = "BELOW_NORMAL"
    sources = (RuntimeInfoHook, IterTimerHook)
    """Hooks that record what is logged. A run has them by default; in a user's own Trainer they come with this one."""

    def __init__(
        self,
        interval: int = 10,
        ignore_last: bool = True,
        interval_exp_name: int = 1000,
        out_dir: str | Path | None = None,
        out_suffix: SUFFIX_TYPE = (".json", ".log", ".py", "yaml"),
        keep_local: bool = True,
        file_client_args: dict | None = None,
        log_metric_by_epoch: bool = True,
        backend_args: dict | None = None,
    ) -> None:
        for name, value in (("interval", interval), ("interval_exp_name", interval_exp_name)):
            if not isinstance(value, int):
                raise ArgumentError(f"{name} must be an integer, but got {value!r}")
            if value <= 0:
                raise ArgumentError(f"{name} must be greater than 0, but got {value}")
        for name, flag in (("ignore_last", ignore_last), ("keep_local", keep_local)):
            if not isinstance(flag, bool):
                raise ArgumentError(f"{name} must be a boolean, but got {flag!r}")
        if out_dir is not None and not isinstance(out_dir, str | Path):
            raise ArgumentError(f"out_dir must be a str or Path object, but got {out_dir!r}")
        if out_dir is None and file_client_args is not None:
            raise ArgumentError(
                'file_client_args should be "None" when `out_dir` is not specified.'
            )
        if not (isinstance(out_suffix, str) or is_seq_of(out_suffix, str)):
            raise ArgumentError(
                f"out_suffix should be a string or a sequence of string, but got {out_suffix!r}"
            )
        self.interval = interval
        self.ignore_last = ignore_last
        self.interval_exp_name = interval_exp_name
        self.out_suffix = out_suffix if isinstance(out_suffix, str) else tuple(out_suffix)
        self.keep_local = keep_local
        self.file_client_args = file_client_args
        self.backend_args = chosen_backend_args(backend_args, file_client_args)
        self.log_metric_by_epoch = log_metric_by_epoch
        self.json_log_path: str | None = None
        self._seen = 0
        self._epoch_length: int | None = None
        self._losses = LossWatch()
        self._out_root = out_dir
        self.out_dir: str | Path | None = out_dir
        if out_dir is not None:
            self.file_backend = get_file_backend(out_dir, backend_args=self.backend_args)

    def before_run(self, runner: RunnerLike) -> None:
        """Name the files of this run."""
        self._epoch_length = None
        if self._out_root is not None:
            self.out_dir = self.file_backend.join_path(
                self._out_root, os.path.basename(runner.work_dir.rstrip(os.sep))
            )
            runner.logger.info(
                f"Text logs will be saved to {self.out_dir} after the training process."
            )
        self.json_log_path = f"{runner.timestamp}.json"

    def after_train_iter(
        self,
        runner: RunnerLike,
        batch_idx: int,
        data_batch: DATA_BATCH = None,
        outputs: dict | None = None,
    ) -> None:
        """Log a line every ``interval`` iterations of an epoch."""
        due = self.every_n_inner_iters(batch_idx, self.interval)
        if due or batch_idx == 0 or self._epoch_length is None:
            # Not in each iteration: a loader asks its samplers and its data set.
            self._epoch_length = length_of(runner.train_dataloader) or 0
        last = batch_idx + 1 == self._epoch_length
        if type(self).end_of_epoch is not Hook.end_of_epoch:  # of a project's subclass
            last = self.end_of_epoch(runner.train_dataloader, batch_idx)
        if last or self.every_n_train_iters(runner, self.interval_exp_name):
            runner.logger.info(f"Exp name: {runner.experiment_name}")
        if due or (last and (not self.ignore_last or self._epoch_length <= self.interval)):
            tag, line = runner.log_processor.get_log_after_iter(runner, batch_idx, "train")
            runner.logger.info(line)
            said = self._losses.look(tag, lambda: runner.message_hub.log_scalars, runner.iter + 1)
            if said is not None:
                runner.logger.warning(said)
            runner.visualizer.add_scalars(tag, step=runner.iter + 1, file_path=self.json_log_path)
            # A runner of the user's own making may have none.
            if hasattr(runner, "publish_scalars"):
                runner.publish_scalars(tag)

    def after_val_iter(
        self,
        runner: RunnerLike,
        batch_idx: int,
        data_batch: DATA_BATCH = None,
        outputs: Sequence | None = None,
    ) -> None:
        """Log a line every ``interval`` validation batches."""
        self._log_progress(runner, batch_idx, "val")

    def after_test_iter(
        self,
        runner: RunnerLike,
        batch_idx: int,
        data_batch: DATA_BATCH = None,
        outputs: Sequence | None = None,
    ) -> None:
        """Log a line every ``interval`` test batches."""
        self._log_progress(runner, batch_idx, "test")

    def _log_progress(self, runner: RunnerLike, batch_idx: int, mode: str) -> None:
        self._seen = batch_idx + 1
        if self.every_n_inner_iters(batch_idx, self.interval):
            _, line = runner.log_processor.get_log_after_iter(runner, batch_idx, mode)
            runner.logger.info(line)

    def after_val_epoch(self, runner: RunnerLike, metrics: dict[str, float] | None = None) -> None:
        """Log the validation metrics."""
        tag, line = runner.log_processor.get_log_after_epoch(
            runner, self._batches(runner.val_dataloader), "val"
        )
        runner.logger.info(line)
        # A run that only validates must not build its training loop just to read a counter.
        loop = getattr(runner, "_train_loop", runner)
        step, visualizer = 0, runner.visualizer
        place: AbstractContextManager[Any] = nullcontext()
        if loop is not None and not isinstance(loop, dict):
            step = runner.epoch if self.log_metric_by_epoch else runner.iter
            # MMEngine 0.10.7 logs every validation of a run by iterations at step 0, the epoch that never ends. Its
            # files are read by tools and stay as they are.
            if not getattr(loop, "by_epoch", True) and hasattr(visualizer, "counting"):
                place = visualizer.counting(runner.iter)
        with place:
            visualizer.add_scalars(tag, step=step, file_path=self.json_log_path)

    def after_test_epoch(self, runner: RunnerLike, metrics: dict[str, float] | None = None) -> None:
        """Log the test metrics, and write them to ``<log_dir>/<timestamp>.json``."""
        tag, line = runner.log_processor.get_log_after_epoch(
            runner, self._batches(runner.test_dataloader), "test", with_non_scalar=True
        )
        runner.logger.info(line)
        if is_main_process():
            os.makedirs(runner.log_dir, exist_ok=True)
            dump(self._process_tags(tag), os.path.join(runner.log_dir, str(self.json_log_path)))

    def _batches(self, dataloader: Any) -> int:
        """Return the length of a loader, or what was seen of one that has none."""
        length = length_of(dataloader)
        return self._seen if length is None else length

    @staticmethod
    def _process_tags(tags: dict) -> dict:
        """Convert values to what JSON knows; what it cannot hold becomes null."""
        return {key: _json_or_null(value) for key, value in tags.items()}

    def after_run(self, runner: RunnerLike) -> None:
        """Close the visualizer and copy the logs to ``out_dir``."""
        runner.visualizer.close()
        if self.out_dir is None or not is_main_process():
            return
        # In a user's own Trainer nobody else writes there; its loggers have folders of their own.
        if not os.path.isdir(runner.log_dir):
            runner.logger.info(f"There are no logs in {runner.log_dir} to copy to {self.out_dir}.")
            return
        copied = []
        for name in scandir(runner.log_dir, self.out_suffix, True):
            source = os.path.join(runner.log_dir, name)
            target = self.file_backend.join_path(self.out_dir, name)
            self.file_backend.put_text(Path(source).read_text(encoding="utf-8"), target)
            copied.append(source)
            runner.logger.info(f"The file {source} has been uploaded to {target}.")
            if not self.keep_local:
                runner.logger.info(
                    f"{source} was removed due to the `self.keep_local=False`. "
                    f"You can check the running logs in {target}"
                )
        if not self.keep_local:
            for handler in runner.logger.handlers:
                if isinstance(handler, logging.FileHandler):  # Windows removes no open file
                    handler.close()
            for path in copied:
                os.remove(path)


def _json_or_null(value: object) -> Any:
    """Return what JSON can hold; as in MMEngine 0.10.7, NumPy's numbers but ``float64``, a float, are lost too."""
    if isinstance(value, list | tuple):
        return [_json_or_null(item) for item in value]
    if isinstance(value, dict):
        return {key: _json_or_null(item) for key, item in value.items()}
    if isinstance(value, torch.Tensor | np.ndarray):
        return value.tolist()
    return value if isinstance(value, str | int | float | bool) else None
