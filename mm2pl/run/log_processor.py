"""Turn the message hub's histories into lines of text and into scalars for the visualizer."""

from __future__ import annotations

import copy
import datetime
import re
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mm2pl.dataset.utils import length_of
from mm2pl.errors import ArgumentError
from mm2pl.registry import LOG_PROCESSORS

if TYPE_CHECKING:
    from mm2pl.run.protocols import RunnerLike


@LOG_PROCESSORS.register_module()
class LogProcessor:
    """Format what has been logged, byte for byte as ``mmengine.runner.LogProcessor``.

    A training line is ``Epoch(train) [1][10/1563]  lr: …  eta: …  time: …  data_time: …  loss: …``;
    with ``by_epoch=False`` it begins with ``Iter(train) [10/20000]``.

    Args:
        window_size: iterations over which values that match ``mean_pattern`` are averaged.
        by_epoch: count lines by epochs.
        custom_cfg: further statistics, each ``dict(data_src=…, method_name=…, window_size=…,
            log_name=…)``. ``data_src`` is a name in the log, the method one of ``HistoryBuffer``'s
            (``mean``, ``max``, ``min``, ``current`` or a registered one), the window a number,
            ``"epoch"`` or ``"global"``. Without ``log_name`` the value replaces ``data_src``.
        num_digits: digits after the decimal point.
        log_with_hierarchy: name scalars ``train/loss`` instead of ``loss`` for the visualizer.
        mean_pattern: regular expression of the names to average; others are logged as they are.

    Raises:
        ValueError: two entries of ``custom_cfg`` write the same name, or a window of ``"epoch"``
            is asked for when counting by iterations.
    """

    def __init__(
        self,
        window_size: int = 10,
        by_epoch: bool = True,
        custom_cfg: list[dict] | None = None,
        num_digits: int = 4,
        log_with_hierarchy: bool = False,
        mean_pattern: str = r".*(loss|time|data_time|grad_norm).*",
    ) -> None:
        self.window_size = window_size
        self.by_epoch = by_epoch
        self.custom_cfg = custom_cfg or []
        self.num_digits = num_digits
        self.log_with_hierarchy = log_with_hierarchy
        self.mean_pattern = re.compile(mean_pattern)
        self._check_custom_cfg()

    def get_log_after_iter(self, runner: RunnerLike, batch_idx: int, mode: str) -> tuple[dict, str]:
        """Return the scalars and the line after an iteration of ``mode``: train, val or test."""
        parsed = self._parse_windows_size(runner, batch_idx)
        shown = self._collect_scalars(parsed, runner, mode)
        tag = (
            self._collect_scalars(parsed, runner, mode, True)
            if self.log_with_hierarchy
            else dict(shown)
        )
        rates = []
        for key in [key for key in tag if key.endswith("lr")]:
            name = self._remove_prefix(key, f"{mode}/")
            shown.pop(name)
            rates.append(f"{name}: {tag[key]:.{self.num_digits}e}")

        line = f"{self._header(runner, batch_idx, mode, tag)}  {' '.join(rates)}  "
        tag["iter"] = runner.iter + 1 if _is_training_built(runner) else 0
        if "time" in shown and "data_time" in shown and "eta" in runner.message_hub.runtime_info:
            seconds = int(runner.message_hub.get_info("eta"))
            line += f"eta: {datetime.timedelta(seconds=seconds)}  "
            line += "".join(
                f"{name}: {shown.pop(name):.{self.num_digits}f}  " for name in ("time", "data_time")
            )
        if torch.cuda.is_available():
            tag["memory"] = self._get_max_memory(runner)
            line += f"memory: {tag['memory']}  "
        if mode != "test":
            line += "  ".join(
                f"{name}: {self._text(value)}"
                for name, value in shown.items()
                # MMEngine 0.10.7 looks for the prefix that it has just removed: nothing is shown.
                if mode == "train" or name.startswith("val/loss")
            )
        return tag, line

    def get_log_after_epoch(
        self, runner: RunnerLike, batch_idx: int, mode: str, with_non_scalar: bool = False
    ) -> tuple[dict, str]:
        """Return the scalars and the line after a validation or test.

        Args:
            runner: the run.
            batch_idx: the number of batches.
            mode: val or test.
            with_non_scalar: return metrics that are not numbers too.

        Raises:
            ArgumentError: ``mode`` is neither ``val`` nor ``test``.
        """
        if mode not in ("val", "test"):
            raise ArgumentError(f"mode={mode!r}: only 'val' and 'test' have a line after the epoch")
        size = self._get_dataloader_size(runner, mode)
        kind = "Epoch" if self.by_epoch else "Iter"
        epoch = f"[{self._get_epoch(runner, mode)}]" if self.by_epoch and mode == "val" else ""
        line = f"{kind}({mode}) {epoch}[{size}/{size}]  "

        named = {self._remove_prefix(cfg["data_src"], f"{mode}/") for cfg in self.custom_cfg}
        over_epoch = [
            {"data_src": name, "window_size": "epoch", "method_name": "mean"}
            for name in ("time", "data_time")
            if name not in named
        ]
        parsed = self._parse_windows_size(runner, batch_idx, [*self.custom_cfg, *over_epoch])
        scalars = self._collect_scalars(parsed, runner, mode, self.log_with_hierarchy)
        times = {f"{prefix}{name}" for prefix in ("", f"{mode}/") for name in ("time", "data_time")}
        tag = {key: value for key, value in scalars.items() if key not in times}
        time_tag = {key: value for key, value in scalars.items() if key in times}
        others = self._collect_non_scalars(runner, mode)
        line += "  " + "  ".join(
            f"{name}: {self._text(value)}"
            for name, value in chain(tag.items(), others.items(), time_tag.items())
        )
        if with_non_scalar:
            tag.update(others)
        tag.update(time_tag)
        return tag, line

    def _header(self, runner: RunnerLike, batch_idx: int, mode: str, tag: dict) -> str:
        """Write ``Epoch(train)  [3][ 10/1563]``, aligned; the epoch goes into ``tag`` too."""
        if mode == "train" and not self.by_epoch:
            return f"Iter(train) [{_aligned(self._get_iter(runner, batch_idx), runner.max_iters)}]"
        size = self._get_dataloader_size(runner, mode)
        if not self.by_epoch:
            return f"Iter({mode}) [{_aligned(batch_idx + 1, size)}]"
        count = _aligned(self._get_iter(runner, batch_idx), size)
        if mode == "test":
            return f"Epoch(test) [{count}]"
        tag["epoch"] = self._get_epoch(runner, mode)
        epoch = f"[{tag['epoch']}]"
        if _is_training_built(runner):
            epoch = epoch.rjust(len(str(runner.max_epochs)) + 3)
        return f"Epoch({mode}){epoch}[{count}]"

    def _text(self, value: object) -> str:
        if isinstance(value, float):
            return f"{value:.{self.num_digits}f}"
        if isinstance(value, torch.Tensor | np.ndarray):
            return f"\n{value}\n"
        return str(value)

    def _collect_scalars(
        self, custom_cfg: list[dict], runner: RunnerLike, mode: str, reserve_prefix: bool = False
    ) -> dict:
        """Reduce the histories of ``mode`` to one value each, then add the custom statistics."""
        prefix = f"{mode}/"
        histories = {
            key if reserve_prefix else self._remove_prefix(key, prefix): history
            for key, history in runner.message_hub.log_scalars.items()
            if key.startswith(mode)
        }
        tag = {
            key: history.mean(self.window_size)
            if self.mean_pattern.search(key)
            else history.current()
            for key, history in histories.items()
        }
        for cfg in custom_cfg:
            statistic = dict(cfg)
            source = statistic.pop("data_src")
            name = statistic.pop("log_name", source)
            if reserve_prefix:
                source, name = prefix + source, prefix + name
            if source in histories:
                tag[name] = histories[source].statistics(**statistic)
        return tag

    def _collect_non_scalars(self, runner: RunnerLike, mode: str) -> dict:
        """Collect what was recorded of ``mode`` that is not a number, such as tables."""
        return {
            key if self.log_with_hierarchy else self._remove_prefix(key, f"{mode}/"): value
            for key, value in runner.message_hub.runtime_info.items()
            if key.startswith(mode)
        }

    def _remove_prefix(self, string: str, prefix: str) -> str:
        return string.removeprefix(prefix)

    def _check_custom_cfg(self) -> None:
        names: set[str] = set()
        for cfg in self.custom_cfg:
            if "data_src" not in cfg:
                raise ArgumentError(f"custom_cfg: {cfg!r} has no data_src to take values from")
            name = cfg.get("log_name", cfg["data_src"])
            if name in names:
                raise ArgumentError(
                    f"custom_cfg: Found duplicate {name} for {cfg['data_src']}. Give each "
                    "statistic its own log_name; only one of a data_src may go without"
                )
            names.add(name)
            if not self.by_epoch and cfg.get("window_size") == "epoch":
                raise ArgumentError(
                    f"custom_cfg: window_size cannot be epoch if by_epoch is False, but got {cfg!r}"
                )

    def _parse_windows_size(
        self, runner: RunnerLike, batch_idx: int, custom_cfg: list | None = None
    ) -> list[dict]:
        """Return ``custom_cfg`` with windows as numbers of iterations."""
        parsed = copy.deepcopy(self.custom_cfg if custom_cfg is None else custom_cfg)
        for cfg in parsed:
            window = cfg.get("window_size")
            if window == "epoch":
                cfg["window_size"] = batch_idx + 1
            elif window == "global":
                cfg["window_size"] = runner.iter + 1
            elif not (window is None or isinstance(window, int)):
                raise ArgumentError(
                    f"window_size should be int, epoch or global, but got invalid {window!r}"
                )
        return parsed

    def _get_max_memory(self, runner: RunnerLike) -> int:
        """Return the peak memory on the GPU in MiB since the last call."""
        device = getattr(runner.model, "output_device", None)
        peak = torch.cuda.max_memory_allocated(device) // 2**20
        torch.cuda.reset_peak_memory_stats(device)
        return peak

    def _get_iter(self, runner: RunnerLike, batch_idx: int) -> int:
        return batch_idx + 1 if self.by_epoch else runner.iter + 1

    def _get_epoch(self, runner: RunnerLike, mode: str) -> int:
        """Return the epoch to show; ``runner.epoch`` has gone up already when validation runs."""
        if mode == "train":
            return runner.epoch + 1
        if mode == "val":
            return runner.epoch if _is_training_built(runner) else 0
        raise ArgumentError(f"runner mode should be 'train' or 'val', but got {mode!r}")

    def _get_cur_loop(self, runner: RunnerLike, mode: str) -> Any:
        return getattr(runner, f"{mode}_loop")

    def _get_dataloader_size(self, runner: RunnerLike, mode: str) -> int | str:
        size = length_of(self._get_cur_loop(runner=runner, mode=mode).dataloader)
        return "?" if size is None else size


def _aligned(count: int, total: int | str) -> str:
    """Write ``" 10/1563"``."""
    return f"{str(count).rjust(len(str(total)))}/{total}"


def _is_training_built(runner: RunnerLike) -> bool:
    """Return whether there is a training loop to read counters from: not so in a pure test."""
    loop = runner._train_loop if hasattr(runner, "_train_loop") else runner.train_loop
    return loop is not None and not isinstance(loop, dict)
