"""Periodic checkpoints of 1.x runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from mm2pl.fileio import get_file_backend
from mm2pl.mmcv.runner.builder import HOOKS
from mm2pl.mmcv.runner.dist_utils import allreduce_params, master_only
from mm2pl.mmcv.runner.hooks.hook import Hook

if TYPE_CHECKING:
    from mm2pl.mmcv.runner.base_runner import BaseRunner


@HOOKS.register_module()
class CheckpointHook(Hook):
    """Save ``epoch_N.pth`` or ``iter_N.pth`` and link ``latest.pth`` to it.

    Args:
        interval: Epochs or iterations between checkpoints; -1 for none but the last.
        by_epoch: Which of the two.
        save_optimizer: Whether the file holds the optimizer too.
        out_dir: Where the files go, in a folder named as the work folder; default: the work folder.
        max_keep_ckpts: How many of them stay; -1 for all.
        save_last: Whether the last epoch or iteration is saved in any case.
        sync_buffer: Whether buffers are averaged over the processes first.
        file_client_args: Arguments of the storage backend.
        kwargs: Arguments of the runner's ``save_checkpoint``: ``filename_tmpl``, ``create_symlink``, ``meta``.
    """

    def __init__(
        self,
        interval: int = -1,
        by_epoch: bool = True,
        save_optimizer: bool = True,
        out_dir: str | None = None,
        max_keep_ckpts: int = -1,
        save_last: bool = True,
        sync_buffer: bool = False,
        file_client_args: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.interval = interval
        self.by_epoch = by_epoch
        self.save_optimizer = save_optimizer
        self.out_dir: str | Any = out_dir  # ``before_run`` makes it a folder
        self.max_keep_ckpts = max_keep_ckpts
        self.save_last = save_last
        self.sync_buffer = sync_buffer
        self.file_client_args = file_client_args
        self.args = kwargs

    def before_run(self, runner: BaseRunner) -> None:
        """Decide where the files go."""
        self.out_dir = out_folder(self.out_dir, runner.work_dir)
        runner.logger.info(f"Checkpoints will be saved to {self.out_dir}.")

    def after_train_epoch(self, runner: BaseRunner) -> None:
        """Save, if it is time."""
        # IterBasedRunner never calls this point, so by_epoch=True saves nothing there: MMCV 1.7.2 does the same.
        if self.by_epoch and (
            self.every_n_epochs(runner, self.interval)
            or (self.save_last and self.is_last_epoch(runner))
        ):
            self._save(runner, runner.epoch + 1, "epoch")

    def after_train_iter(self, runner: BaseRunner) -> None:
        """Save, if it is time."""
        # `runner.iter` has not counted this iteration yet, so a file's number is `iter + 1`.
        if not self.by_epoch and (
            self.every_n_iters(runner, self.interval)
            or (self.save_last and self.is_last_iter(runner))
        ):
            self._save(runner, runner.iter + 1, "iter")

    def _save(self, runner: BaseRunner, number: int, unit: str) -> None:
        runner.logger.info(f"Saving checkpoint at {number} {unit}s")
        # On all processes, before `master_only`: an all-reduce that only rank 0 enters would wait for ever.
        if self.sync_buffer:
            allreduce_params(runner.model.buffers())
        self._save_checkpoint(runner, number, unit)

    @master_only
    def _save_checkpoint(self, runner: BaseRunner, number: int, unit: str) -> None:
        """Save, and remove what is too old."""
        runner.save_checkpoint(self.out_dir, save_optimizer=self.save_optimizer, **self.args)
        template = self.args.get("filename_tmpl", unit + "_{}.pth")
        folder = str(self.out_dir)
        backend = get_file_backend(folder, backend_args=self.file_client_args)
        # After saving, as in MMCV 1.7.2: the file itself names the checkpoint before it as `last_ckpt`.
        if runner.meta is not None:
            last = backend.join_path(folder, template.format(number))
            runner.meta.setdefault("hook_msgs", {})["last_ckpt"] = last
        if self.max_keep_ckpts > 0:
            # With interval=-1 and `save_last` the range is empty: nothing is ever removed, as in MMCV 1.7.2.
            newest_redundant = number - self.max_keep_ckpts * self.interval
            for old in range(newest_redundant, 0, -self.interval):
                path = backend.join_path(folder, template.format(old))
                # MMCV 1.7.2 stops at the first gap. So it leaves
                # checkpoints of an earlier run with another interval.
                if not backend.isfile(path):
                    break
                backend.remove(path)


def out_folder(out_dir: str | None, work_dir: str) -> str:
    """Return the folder below ``out_dir`` that is named as the work folder; without one, that itself."""
    # Runs may share one `out_dir`, so MMCV 1.7.2 gives each a folder there.
    if not out_dir or out_dir == work_dir:
        return work_dir
    name = os.path.basename(work_dir.rstrip(os.sep))
    return get_file_backend(out_dir).join_path(out_dir, name)
