"""Save checkpoints periodically and the best ones, and keep the folder tidy."""

from __future__ import annotations

import os
from collections import deque
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mm2pl.dist import is_main_process, master_only
from mm2pl.errors import ArgumentError, under_key
from mm2pl.fileio import FileClient, get_file_backend
from mm2pl.hooks.checkpoint_args import keys, names, refuse_unknown
from mm2pl.hooks.checkpoint_callback import CheckpointCallback
from mm2pl.hooks.checkpoint_files import CheckpointFiles, best_name, is_among, is_below, number_in
from mm2pl.hooks.checkpoint_memory import CheckpointMemory
from mm2pl.hooks.checkpoint_publish import publish
from mm2pl.hooks.hook import DATA_BATCH, Hook
from mm2pl.hooks.storage import chosen_backend_args
from mm2pl.registry import HOOKS
from mm2pl.run import metric_rule
from mm2pl.run.metric_rule import GREATER_KEYS, LESS_KEYS, RULES, WORST, check_rule, infer_rule

if TYPE_CHECKING:
    from mm2pl.run.protocols import RunnerLike


@HOOKS.register_module()
class CheckpointHook(Hook, CheckpointCallback):
    """Save ``epoch_N.pth`` or ``iter_N.pth``, ``best_*.pth`` and the text file ``last_checkpoint``.

    File names, the order of saving and what the message hub remembers are those of
    ``mmengine.hooks.CheckpointHook``: the best checkpoint is decided after validation, and then the
    last periodic one is written again so that it knows the best score. Files are deleted only after
    those that replace them are complete, so a kill leaves one too many, never one too few.

    To Lightning it is the ``trainer.checkpoint_callback``, with ``best_model_path``.

    Args:
        interval: epochs or iterations between two checkpoints; -1 means never.
        by_epoch: count epochs rather than iterations.
        save_optimizer: put the optimizer's state into periodic checkpoints.
        save_param_scheduler: put the schedulers' state into periodic checkpoints.
        out_dir: a directory or URI; checkpoints go to a folder there that is named as the last
            part of ``work_dir``. Default: ``work_dir`` itself.
        max_keep_ckpts: keep only so many periodic checkpoints; -1 keeps all.
        save_last: save at the end of training too, with any ``interval``, and where a Trainer ends it earlier
            (``max_steps``, ``max_time``, ``EarlyStopping``). By epochs, a file from the middle of one is named by
            iterations: ``iter_N.pth``.
        save_best: a metric, a list of metrics (one best file each), or ``"auto"`` (the first).
        rule: ``"greater"`` or ``"less"``, one for all or a list; guessed from names by default.
        greater_keys: what the guess takes for "more is better".
        less_keys: what the guess takes for "less is better".
        file_client_args: the old form of ``backend_args``.
        filename_tmpl: a name with one ``{}`` for the epoch or iteration.
        backend_args: arguments of the storage backend of ``out_dir``.
        published_keys: after training, also write last and best with these keys only and a hash in
            their names.
        save_begin: the epoch or iteration from which ``interval`` is counted.

    Raises:
        TypeError: an unknown argument (MMEngine fails on it at the first save, hours later).
    """

    priority = "VERY_LOW"

    #: The best checkpoint so far: the path if ``save_best`` is one metric, a dict of paths if it is several.
    best_ckpt_path: str | None
    best_ckpt_path_dict: dict[str, str | None]
    rule_map = RULES
    init_value_map = WORST
    _default_greater_keys: ClassVar[list[str]] = GREATER_KEYS
    _default_less_keys: ClassVar[list[str]] = LESS_KEYS
    _files: CheckpointFiles
    _is_trial = False
    _unsettled = False  # whether `last_ckpt` has been saved and not been seen yet
    _saved_iter = -1  # where nothing would be new in a checkpoint

    def __init__(
        self,
        interval: int = -1,
        by_epoch: bool = True,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        out_dir: str | Path | None = None,
        max_keep_ckpts: int = -1,
        save_last: bool = True,
        save_best: str | list[str] | None = None,
        rule: str | list[str] | None = None,
        greater_keys: list[str] | tuple[str, ...] | str | None = None,
        less_keys: list[str] | tuple[str, ...] | str | None = None,
        file_client_args: dict | None = None,
        filename_tmpl: str | None = None,
        backend_args: dict | None = None,
        published_keys: str | list[str] | None = None,
        save_begin: int = 0,
        **kwargs: Any,
    ) -> None:
        refuse_unknown(CheckpointHook.__init__, kwargs)
        if save_begin < 0:
            raise ArgumentError(f"save_begin should not be less than 0, but got {save_begin}")
        self.interval = interval
        self.by_epoch = by_epoch
        self.save_optimizer = save_optimizer
        self.save_param_scheduler = save_param_scheduler
        self.max_keep_ckpts = max_keep_ckpts
        self.save_last = save_last
        self.save_begin = save_begin
        self.filename_tmpl = filename_tmpl or ("epoch_{}.pth" if by_epoch else "iter_{}.pth")
        self.file_client_args = file_client_args
        self.backend_args = chosen_backend_args(backend_args, file_client_args)
        self._out_root = out_dir
        self.out_dir: Any = out_dir
        self.keep_ckpt_ids: deque[int] = deque(maxlen=max(max_keep_ckpts, 0))
        self._outdated: list[str] = []
        self.last_ckpt: str | None = None
        self.published_keys = names("published_keys", published_keys)
        self._unpublished: list[str] = []
        self.greater_keys = keys("greater_keys", greater_keys, self._default_greater_keys)
        self.less_keys = keys("less_keys", less_keys, self._default_less_keys)
        self.save_best = names("save_best", save_best)
        self._start_best(rule)

    def _start_best(self, rule: str | list[str] | None) -> None:
        rules: list[str | None] = rule if isinstance(rule, list) else [rule]  # type: ignore[assignment]
        if not all(each is None or isinstance(each, str) for each in rules):
            raise ArgumentError(f'"rule" should be a str or list of str or None, but got {rule!r}')
        self.is_better_than: dict[str, Any] = {}
        self.key_indicators: list[str] = []
        self.rules: list[str | None] = []
        self._best_score: float | None = None
        if self.save_best is None:
            return
        if "auto" in self.save_best and len(self.save_best) > 1:
            raise ArgumentError(
                f'Only support one "auto" in "save_best" list, but got {self.save_best}'
            )
        if len(rules) not in (1, len(self.save_best)):
            raise ArgumentError(
                'Number of "rule" must be 1 or the same as number of "save_best" '
                f"({len(self.save_best)}), but got {len(rules)}: {rules!r}"
            )
        self._init_rule(rules, self.save_best)
        for key in self.key_indicators:
            self.set_best(key, None)

    def _init_rule(self, rules: list[str | None], key_indicators: list[str]) -> None:
        """Settle how each metric is compared; for ``"auto"`` that is at the first validation."""
        self.rules = []
        for rule, key in zip(
            rules * len(key_indicators) if len(rules) == 1 else rules, key_indicators, strict=True
        ):
            check_rule(rule)
            if rule is None and key != "auto":
                rule = infer_rule(key, self.greater_keys, self.less_keys)
            if rule is not None:
                self.is_better_than[key] = self.rule_map[rule]
            self.rules.append(rule)
        self.key_indicators = key_indicators

    # When to save

    def checkpoint_folder(self, work_dir: str) -> str:
        """Return the folder of the checkpoints of a run in ``work_dir``; the storage backend joins the names."""
        root: Any = work_dir if self._out_root is None else self._out_root
        # MMEngine 0.10.7 makes a FileClient in any case, which knows no backend but its own and says that it is old.
        with under_key("work_dir" if self._out_root is None else f"{type(self).__name__}.out_dir"):
            self.file_client: Any = (
                get_file_backend(root, backend_args=self.backend_args)
                if self.file_client_args is None
                else FileClient.infer_client(self.file_client_args, root)
            )
        self.file_backend = self.file_client
        if root == work_dir:
            return root
        return self.file_backend.join_path(root, os.path.basename(work_dir.rstrip(os.sep)))

    def before_train(self, runner: RunnerLike) -> None:
        """Find the folder, and take up what a resumed message hub remembers."""
        self.out_dir = self.checkpoint_folder(runner.work_dir)
        self._saved_iter = runner.iter  # nothing is lost where nothing is trained
        later = getattr(runner, "writes_later", False) is True
        self._files = CheckpointFiles(self.out_dir, self.file_backend, later)
        # The stub of a runner that a toolbox's tests make may answer anything to anything.
        self._is_trial = getattr(runner, "is_trial", False) is True
        if self._is_trial:
            runner.logger.info("fast_dev_run: no checkpoint is written or deleted.")
            return
        runner.logger.info(f"Checkpoints will be saved to {self.out_dir}.")

        memory = CheckpointMemory(runner.message_hub, self, getattr(runner, "hooks", ()))
        self._memory = memory
        memory.load_state_dict(self._restored)
        self._restored = {}
        source, folder = getattr(runner, "resumed_from", None), os.path.dirname(self._path(0))
        if isinstance(source, str) and not (
            self._files.holds(source, folder) or is_below(source, runner.work_dir)
        ):
            memory.forget()
        self._take_up(memory)

    def _take_up(self, memory: CheckpointMemory) -> None:
        """Go on with the files that a checkpoint of this folder remembers; what it says are names, not paths."""
        for key in self.key_indicators:
            path = memory.get(self._hub_key("best_ckpt", key))
            self.set_best(key, self._files.own(path) if isinstance(path, str) else None)
        if self.max_keep_ckpts > 0:
            kept = [step for step in memory.get("keep_ckpt_ids") or [] if isinstance(step, int)]
            self.keep_ckpt_ids = deque(kept, self.max_keep_ckpts)
            # A kill between saving a checkpoint and deleting the one it replaces leaves the latter.
            left = memory.get("outdated_ckpts") or []
            steps = [number_in(path, self.filename_tmpl.format) for path in left]
            too_many = [
                *kept[: -self.max_keep_ckpts],
                *(step for step in steps if step is not None),
            ]
            self._files.remove(map(self._path, too_many), self._kept)

    def after_train_epoch(self, runner: RunnerLike) -> None:
        """Save every ``interval`` epochs, and at the last one."""
        if self._saves(by_epoch=True) and (
            self.every_n_epochs(runner, self.interval, self.save_begin)
            or (self.save_last and self.is_last_train_epoch(runner))
        ):
            runner.logger.info(f"Saving checkpoint at {runner.epoch + 1} epochs")
            self._save_checkpoint(runner)

    def after_train_iter(
        self,
        runner: RunnerLike,
        batch_idx: int,
        data_batch: DATA_BATCH = None,
        outputs: dict | None = None,
    ) -> None:
        """Save every ``interval`` iterations, and at the last one."""
        if self._saves(by_epoch=False) and (
            self.every_n_train_iters(runner, self.interval, self.save_begin)
            or (self.save_last and self.is_last_train_iter(runner))
        ):
            runner.logger.info(f"Saving checkpoint at {runner.iter + 1} iterations")
            self._save_checkpoint(runner)

    def after_val_epoch(self, runner: RunnerLike, metrics: dict[str, float] | None = None) -> None:
        """Save the model if a watched metric is better than ever."""
        if not metrics:
            runner.logger.warning(
                "Since `metrics` is an empty dict, the behavior to save "
                "the best checkpoint will be skipped in this evaluation."
            )
            return
        # Evaluation alone has no new weights to save.
        if self._memory is not None and not self._is_trial:
            self._save_best_checkpoint(runner, metrics)

    def after_train(self, runner: RunnerLike) -> None:
        """Save where a Trainer has ended the run before its end; publish the last and the best checkpoints."""
        if self._is_trial:
            return
        # The stub of a runner has no such answer, or any.
        if self.save_last and getattr(runner, "is_cut_short", False) is True:
            self._save_here(runner)
        self._settle(runner)
        if self.published_keys is None:
            return
        paths = [self.last_ckpt] if self.save_last else []
        found = [p for p in (*paths, *map(self.get_best, self.key_indicators)) if p is not None]
        if self._files.writes_later:
            self._unpublished, found = found, []
        for path in found:
            self._publish_model(runner, path)

    def all_written(self, runner: RunnerLike) -> None:
        """Do what had to wait for a plugin that writes in the background: by now it has written everything."""
        if self._memory is None or self._is_trial:
            return
        self._files.all_written()
        self._settle(runner)
        self._files.remove_replaced(self._kept)
        while self._unpublished:
            self._publish_model(runner, self._unpublished.pop(0))

    def _saves(self, *, by_epoch: bool) -> bool:
        return self.by_epoch == by_epoch and not self._is_trial

    # How to save

    def _save_checkpoint(self, runner: RunnerLike) -> None:
        step = (runner.epoch if self.by_epoch else runner.iter) + 1
        meta = {"epoch": runner.epoch, "iter": runner.iter}
        meta["epoch" if self.by_epoch else "iter"] = step
        self._save_checkpoint_with_step(runner, step, meta)

    def _save_here(self, runner: RunnerLike) -> None:
        """Save the place where the run stands between two batches, unless that is the last checkpoint's."""
        if runner.iter == self._saved_iter:
            return
        runner.logger.info(f"Saving checkpoint at {runner.iter} iterations, where the Trainer ends")
        meta = {"epoch": runner.epoch, "iter": runner.iter}
        if self.by_epoch and runner.is_inside_epoch:
            # No number of epochs names it, so it is none of those that `max_keep_ckpts` counts.
            self._settle(runner)
            self._write_last(runner, f"iter_{runner.iter}.pth", meta)
        else:
            step = runner.epoch if self.by_epoch else runner.iter
            self._save_checkpoint_with_step(runner, step, meta)

    def _save_checkpoint_with_step(self, runner: RunnerLike, step: int, meta: dict) -> None:
        """Write the periodic checkpoint of ``step``, then delete the one that is too many."""
        self._settle(runner)
        self.last_ckpt = self._path(step)
        if self.max_keep_ckpts > 0 and step not in list(self.keep_ckpt_ids)[-1:]:
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                self._outdated.append(self._path(self.keep_ckpt_ids.popleft()))
            self.keep_ckpt_ids.append(step)
            # A name without a number is written again and again: then what is too many is also what is new.
            self._outdated = [p for p in self._outdated if not is_among(p, self._kept)]
            self._memory.put("keep_ckpt_ids", list(self.keep_ckpt_ids))
            self._memory.put("outdated_ckpts", list(self._outdated))
        self._write_last(runner, self.filename_tmpl.format(step), meta)

    def _write_last(self, runner: RunnerLike, name: str, meta: dict) -> None:
        self.last_ckpt = self._files.path(name)
        self._saved_iter = meta["iter"]
        self._memory.put("last_ckpt", self.last_ckpt)
        self._files.note(self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            name,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
        )
        self._unsettled = True
        self._settle(runner)

    def _settle(self, runner: RunnerLike) -> None:
        """Name the newest file in ``last_checkpoint`` and delete what it replaces, as soon as it is there.

        A plugin such as Lightning's ``AsyncCheckpointIO`` may still be writing it: then the next save asks again.
        """
        if self._unsettled and (not is_main_process() or self._files.is_there(str(self.last_ckpt))):
            if is_main_process():
                self._files.name_newest(str(self.last_ckpt), runner.work_dir)
            self._files.remove(self._outdated, self._kept)
            self._outdated, self._unsettled = [], False

    def _save_best_checkpoint(self, runner: RunnerLike, metrics: dict[str, Any]) -> None:
        """Write the best checkpoint of each metric that improved, and the periodic one again."""
        if not self.save_best:
            return
        unit, step = ("epoch", runner.epoch) if self.by_epoch else ("iter", runner.iter)
        meta = {"epoch": runner.epoch, "iter": runner.iter}
        if "auto" in self.key_indicators:
            self._init_rule(self.rules, [next(iter(metrics))])

        improved = False
        for key, rule in zip(self.key_indicators, self.rules, strict=True):
            assert rule is not None
            score = metric_rule.score_of(key, metrics)
            score_key = self._hub_key("best_score", key)
            best = self._memory.get(score_key, self.init_value_map[rule])
            if score is None or not self.is_better_than[key](score, best):
                continue
            improved = True
            self._memory.put(score_key, score)
            name_at = partial(best_name, key, self.filename_tmpl)
            name, previous = name_at(step), self.get_best(key)
            path = self._files.path(name)
            own = previous is not None and number_in(previous, name_at) is not None
            if own and self._files.replace(str(previous), path):
                runner.logger.info(f"The previous best checkpoint {previous} is removed")
            self.set_best(key, path)
            self._files.note(path)
            self._best_score = score
            self._memory.put(self._hub_key("best_ckpt", key), path)
            runner.save_checkpoint(
                self.out_dir,
                name,
                save_optimizer=False,
                save_param_scheduler=False,
                meta=dict(meta),
                by_epoch=False,
                backend_args=self.backend_args,
            )
            runner.logger.info(
                f"The best checkpoint with {score:0.4f} {key} at {step} {unit} is saved to {name}."
            )
        # The periodic checkpoint, written before this validation, knows only the previous best.
        if improved and self._memory.get("last_ckpt") is not None:
            self._save_checkpoint_with_step(runner, step, meta)
        self._files.remove_replaced(self._kept)

    @master_only
    def _publish_model(self, runner: RunnerLike, ckpt_path: str) -> None:
        assert self.published_keys is not None
        publish(ckpt_path, self.published_keys)

    # Where things are

    def _hub_key(self, what: str, key: str) -> str:
        return what if len(self.key_indicators) == 1 else f"{what}_{key}"

    @property
    def _kept(self) -> list[str | None]:
        """What must not be deleted."""
        periodic = map(self._path, self.keep_ckpt_ids)
        return [*periodic, self.last_ckpt, *map(self.get_best, self.key_indicators)]

    def get_best(self, key: str) -> str | None:
        """Return the path of the best checkpoint by the metric ``key``."""
        return (
            self.best_ckpt_path if len(self.key_indicators) == 1 else self.best_ckpt_path_dict[key]
        )

    def set_best(self, key: str, path: str | None) -> None:
        """Remember the path of the best checkpoint by the metric ``key``."""
        if len(self.key_indicators) == 1:
            self.best_ckpt_path = path
        else:
            self.best_ckpt_path_dict = {**getattr(self, "best_ckpt_path_dict", {}), key: path}

    def _path(self, step: int) -> str:
        return self._files.path(self.filename_tmpl.format(step))
