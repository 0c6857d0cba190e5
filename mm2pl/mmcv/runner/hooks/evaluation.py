"""Evaluation by the data set's own ``evaluate``."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader

from mm2pl.dist import broadcast
from mm2pl.errors import ArgumentError
from mm2pl.fileio import get_file_backend
from mm2pl.hooks.checkpoint_files import number_in
from mm2pl.mmcv.engine import multi_gpu_test, single_gpu_test
from mm2pl.mmcv.runner.hooks.checkpoint import out_folder
from mm2pl.mmcv.runner.hooks.hook import Hook
from mm2pl.mmcv.runner.hooks.logger import LoggerHook
from mm2pl.run.metric_rule import GREATER_KEYS, LESS_KEYS, RULES, WORST, check_rule, infer_rule

if TYPE_CHECKING:
    from mm2pl.mmcv.runner.base_runner import BaseRunner


class EvalHook(Hook):
    """Evaluate the model now and then; stands for `mmcv.runner.EvalHook`.

    Args:
        dataloader: Its data set has ``evaluate(results, logger=…, **eval_kwargs)``.
        start: The first epoch or iteration that is evaluated; also before training, if that starts later.
        interval: Epochs or iterations in between.
        by_epoch: Which of the two.
        save_best: The result that decides which checkpoint is the best; ``'auto'`` for the first one.
        rule: ``'greater'`` or ``'less'``; default: what the name of the result tells.
        test_fn: ``(model, dataloader) -> results``; default: `mm2pl.mmcv.engine.single_gpu_test`.
        greater_keys: Results that are better when greater.
        less_keys: Results that are better when smaller.
        out_dir: Where best checkpoints go, in a folder named as the work folder.
        file_client_args: Arguments of the storage backend.
        eval_kwargs: Further arguments of ``evaluate``.

    Raises:
        TypeError: ``dataloader`` is not a DataLoader.
        ValueError: ``start`` or ``interval`` is out of range.
    """

    # MMSegmentation's and MMAction's subclasses of 1.x read and replace these attributes.
    rule_map = RULES
    init_value_map = WORST
    _default_greater_keys: ClassVar[list[str]] = GREATER_KEYS
    _default_less_keys: ClassVar[list[str]] = LESS_KEYS

    def __init__(
        self,
        dataloader: DataLoader,
        start: int | None = None,
        interval: int = 1,
        by_epoch: bool = True,
        save_best: str | None = None,
        rule: str | None = None,
        test_fn: Callable[..., Any] | None = None,
        greater_keys: list[str] | str | None = None,
        less_keys: list[str] | str | None = None,
        out_dir: str | None = None,
        file_client_args: dict[str, Any] | None = None,
        **eval_kwargs: Any,
    ) -> None:
        if not isinstance(dataloader, DataLoader):
            raise ArgumentError(
                f"dataloader={type(dataloader).__name__} must be a torch DataLoader."
            )
        if interval <= 0 or (start is not None and start < 0):
            raise ArgumentError(
                f"start={start!r}, interval={interval!r}: the interval must be positive, the start not negative."
            )
        self.dataloader = dataloader
        self.start = start
        self.interval = interval
        self.by_epoch = by_epoch
        self.save_best = save_best
        self.eval_kwargs = eval_kwargs
        # A resumed run past `start` evaluates once before it trains; the flag keeps it from doing so in each epoch.
        self.initial_flag = True
        # A method, as DistEvalHook needs another default while toolboxes pass a `test_fn` of their own.
        self.test_fn = test_fn or self._default_test_fn()
        self.greater_keys = _names(greater_keys, self._default_greater_keys)
        self.less_keys = _names(less_keys, self._default_less_keys)
        self.best_ckpt_path: str | None = None
        self.out_dir = out_dir
        self.file_client_args = file_client_args
        # MMCV 1.7.2 sets `rule` and `key_indicator` only then.
        if save_best is not None:
            self._init_rule(rule, save_best)

    def _default_test_fn(self) -> Callable[..., Any]:

        return single_gpu_test

    def _init_rule(self, rule: str | None, key_indicator: str) -> None:
        """Choose whether more or less of a result is better; exact names win over parts of names."""
        check_rule(rule)
        # With 'auto' the first result of the first evaluation names the indicator, so its rule is not known yet.
        if rule is None and key_indicator != "auto":
            rule = infer_rule(key_indicator, self.greater_keys, self.less_keys)
        self.rule = rule
        self.key_indicator = key_indicator

    def before_run(self, runner: BaseRunner) -> None:
        """Decide where best checkpoints go, and which was the best before a resume."""
        self.out_dir = out_folder(self.out_dir, runner.work_dir)
        if self.save_best is not None:
            runner.meta = {} if runner.meta is None else runner.meta
            messages = runner.meta.setdefault("hook_msgs", {})
            self.best_ckpt_path = messages.get("best_ckpt")

    def before_train_iter(self, runner: BaseRunner) -> None:
        """Evaluate before the first iteration, if it is past ``start``."""
        if not self.by_epoch and self.initial_flag:
            # Without `start` MMCV 1.7.2 never evaluates before training. The interval counts the iteration to come:
            # start=0, interval=2 evaluates nothing here, since iteration 1 is not due.
            if self.start is not None and runner.iter >= self.start:
                self.after_train_iter(runner)
            self.initial_flag = False

    def before_train_epoch(self, runner: BaseRunner) -> None:
        """Evaluate before the first epoch, if it is past ``start``."""
        if self.by_epoch and self.initial_flag:
            if self.start is not None and runner.epoch >= self.start:
                self.after_train_epoch(runner)
            self.initial_flag = False

    def after_train_iter(self, runner: BaseRunner) -> None:
        """Evaluate, if it is time; what was logged of the training is written before."""
        if not self.by_epoch and self._should_evaluate(runner):
            # EvalHook has priority LOW, the loggers VERY_LOW: without this
            # the results would be mixed with training values.
            # In an epoch run the loggers have written before, at the end of the iteration.
            for hook in runner.hooks:
                if isinstance(hook, LoggerHook):
                    hook.after_train_iter(runner)
            runner.log_buffer.clear()
            self._do_evaluate(runner)

    def after_train_epoch(self, runner: BaseRunner) -> None:
        """Evaluate, if it is time."""
        if self.by_epoch and self._should_evaluate(runner):
            self._do_evaluate(runner)

    def _should_evaluate(self, runner: BaseRunner) -> bool:
        now = (runner.epoch if self.by_epoch else runner.iter) + 1
        # `now` is one more, since the loops count up after the hooks.
        if self.start is None:
            return now % self.interval == 0
        # Counted from `start`, as in MMCV 1.7.2; MMEngine 0.10.7
        # validates at multiples of the interval from there on.
        return now >= self.start and (now - self.start) % self.interval == 0

    def _do_evaluate(self, runner: BaseRunner) -> None:
        results = self.test_fn(runner.model, self.dataloader)
        self._report(runner, results)

    def _report(self, runner: BaseRunner, results: object) -> None:
        runner.log_buffer.output["eval_iter_num"] = len(self.dataloader)
        # TextLoggerHook prints `eval_iter_num` as the iteration of the line.
        score = self.evaluate(runner, results)
        # MMCV 1.7.2 asks for truth: a score of exactly 0 never becomes the best.
        if self.save_best and score:
            self._save_ckpt(runner, score)

    def _save_ckpt(self, runner: BaseRunner, key_score: float) -> None:
        """Save the checkpoint if its score is the best so far, and remove the one before."""
        assert runner.meta is not None  # made in before_run
        messages, rule = runner.meta["hook_msgs"], str(self.rule)
        if not self.rule_map[rule](
            key_score, messages.get("best_score", self.init_value_map[rule])
        ):
            return
        messages["best_score"] = key_score
        unit, number = ("epoch", runner.epoch + 1) if self.by_epoch else ("iter", runner.iter + 1)
        folder = str(self.out_dir)
        backend = get_file_backend(folder, backend_args=self.file_client_args)
        # The path may come from a file that was resumed: MMCV 1.7.2 deletes any file that it names.
        name_at = f"best_{self.key_indicator}_{unit}_{{}}.pth".format
        old = number_in(self.best_ckpt_path, name_at)
        previous = None if old is None else backend.join_path(folder, name_at(old))
        if previous is not None and backend.isfile(previous):
            backend.remove(previous)
            runner.logger.info(f"The previous best checkpoint {previous} was removed")
        name = name_at(number)
        self.best_ckpt_path = messages["best_ckpt"] = backend.join_path(folder, name)
        # MMCV 1.7.2 keeps `latest.pth` on the periodic checkpoint, from which a run resumes.
        # `best_score` stands in the meta before, so the file holds it.
        runner.save_checkpoint(folder, filename_tmpl=name, create_symlink=False)
        runner.logger.info(f"Now best checkpoint is saved as {name}.")
        runner.logger.info(f"Best {self.key_indicator} is {key_score:0.4f} at {number} {unit}.")

    def evaluate(self, runner: BaseRunner, results: Any) -> Any:
        """Let the data set evaluate; log its results and return the one that ``save_best`` names."""
        dataset: Any = self.dataloader.dataset
        values = dataset.evaluate(results, logger=runner.logger, **self.eval_kwargs)
        runner.log_buffer.output.update(values)
        # The logger writes what is ready in `after_train_epoch`, where it averages nothing.
        runner.log_buffer.ready = True
        if self.save_best is None:
            return None
        if not values:
            warnings.warn(
                "the data set's evaluate() returned nothing → no best checkpoint this time.",
                stacklevel=2,
            )
            return None
        if self.key_indicator == "auto":
            self._init_rule(self.rule, next(iter(values)))
        return values[self.key_indicator]


class DistEvalHook(EvalHook):
    """Evaluate with all processes; see `EvalHook`.

    Args:
        dataloader: See `EvalHook`, as the arguments that are not listed here.
        broadcast_bn_buffer: Whether the running statistics of rank 0 are used by all.
        tmpdir: A shared folder to collect results in.
        gpu_collect: Collect them over the network instead.
        kwargs: See ``dataloader``.
    """

    def __init__(
        self,
        dataloader: DataLoader,
        *args: Any,
        broadcast_bn_buffer: bool = True,
        tmpdir: str | None = None,
        gpu_collect: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(dataloader, *args, **kwargs)
        self.broadcast_bn_buffer = broadcast_bn_buffer
        self.tmpdir = tmpdir
        self.gpu_collect = gpu_collect

    def _default_test_fn(self) -> Callable[..., Any]:

        return multi_gpu_test

    def _do_evaluate(self, runner: BaseRunner) -> None:
        if self.broadcast_bn_buffer:
            # Running statistics differ between processes, as 1.x toolboxes train with broadcast_buffers=False.
            # All must evaluate one model: MMCV 1.7.2 takes that of rank 0.
            for module in runner.model.modules():
                if isinstance(module, _BatchNorm) and module.track_running_stats:
                    broadcast(module.running_var)  # type: ignore[arg-type]
                    broadcast(module.running_mean)  # type: ignore[arg-type]
        # MMCV 1.7.2 collects through files by default: results of a
        # large data set may not fit on the GPU next to the model.
        folder = self.tmpdir or os.path.join(runner.work_dir, ".eval_hook")
        results = self.test_fn(
            runner.model, self.dataloader, tmpdir=folder, gpu_collect=self.gpu_collect
        )
        # Only rank 0 has the results; the others must not touch the log or the best checkpoint.
        if runner.rank == 0:
            self._report(runner, results)


def _names(given: list[str] | str | None, default: list[str]) -> list[str]:
    if given is None:
        return default
    return [given] if isinstance(given, str) else list(given)
