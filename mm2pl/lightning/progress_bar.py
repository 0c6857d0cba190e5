"""The progress bar of a config-driven run, on a terminal."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from lightning.pytorch.callbacks import ProgressBar

from mm2pl.lightning.private import TQDMBar
from mm2pl.run.trainer_view import runner_of

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm


class RunProgressBar(TQDMBar):
    """Show loss, learning rate, remaining time and iterations per second below the log lines.

    Loss and learning rate are those of the last log line: nothing is fetched from the device for the bar. The
    terminal is written to at most every ``seconds``, however fast the iterations are.

    Args:
        seconds: Least time between two refreshes.
    """

    def __init__(self, seconds: float = 0.2) -> None:
        super().__init__(refresh_rate=1)  # in batches; the clock decides
        self.seconds = seconds
        self._next = 0.0
        self._eta: float | None = None

    def init_train_tqdm(self) -> Any:
        """Return the bar of the training, as wide as the terminal says it is."""
        return _sized(super().init_train_tqdm())

    def init_validation_tqdm(self) -> Any:
        """Return the bar of a validation."""
        return _sized(super().init_validation_tqdm())

    def init_test_tqdm(self) -> Any:
        """Return the bar of a test."""
        return _sized(super().init_test_tqdm())

    def init_predict_tqdm(self) -> Any:
        """Return the bar of a prediction."""
        return _sized(super().init_predict_tqdm())

    def is_due(self, current: int, total: int | float) -> bool:
        """Return whether ``seconds`` have passed, or the stage is over; asked at the end of each batch of any stage."""
        now = time.monotonic()
        # The last one always, or the bar would stop before its end.
        if now < self._next and current != total:
            return False
        self._next = now + self.seconds
        return self.is_enabled

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return the values behind the bar: of the run, and what the user has logged with ``prog_bar=True``."""
        runner = runner_of(trainer)
        values: dict[str, Any] = brief(runner.logged_scalars)
        if trainer.state.fn != "fit":
            return {**values, **trainer.progress_bar_metrics}
        if (eta := self._eta_of(runner)) is not None:
            values["eta"] = clock(eta)
        # Not `super()`: it adds `v_num`, which would be the end of the run's time stamp.
        return _fitting({**values, **trainer.progress_bar_metrics}, self.train_progress_bar)

    def _eta_of(self, runner: Any) -> float | None:
        return runner.message_hub.get_info("eta") if self._eta is None else self._eta

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember when the training ends: a validation of MMEngine's says when it ends itself, in the same place."""
        super().on_validation_start(trainer, pl_module)
        if trainer.state.fn == "fit":
            self._eta = self._eta_of(runner_of(trainer))

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """Show a batch; the hooks, which come later, have then foretold the end anew."""
        super().on_train_batch_end(trainer, *args)
        self._eta = None

    def _describe(self, trainer: Trainer) -> None:
        runner, bar = runner_of(trainer), self.train_progress_bar
        bar.total = int(self.total_train_batches)
        by_epoch = getattr(runner, "by_epoch", True)
        bar.set_description(f"Epoch {runner.epoch + 1}/{runner.max_epochs}" if by_epoch else "Iter")

    def on_train_start(self, trainer: Trainer, *_: Any) -> None:
        """Open the bar where the run begins or goes on, so that its rate counts only what is trained now."""
        super().on_train_start()
        if trainer.fit_loop.restarted_mid_epoch:
            batches: Any = trainer.fit_loop.epoch_loop.batch_progress.current
            self.train_progress_bar.n = self.train_progress_bar.initial = batches.processed
        self._describe(trainer)

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        """Begin at 0 again."""
        super().on_train_epoch_start(trainer)
        self._describe(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the line to what comes between two epochs: Lightning says at the end why it stops."""
        self.train_progress_bar.set_postfix(self.get_metrics(trainer, pl_module), refresh=False)
        self.train_progress_bar.clear()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Leave the terminal to the message."""
        self.close()


def _sized(bar: Tqdm) -> Any:
    # A terminal that tells no size says 0 columns and rows, and tqdm would show nothing.
    if not bar.disable:
        bar.dynamic_ncols = lambda _: shutil.get_terminal_size()
        bar.ncols, bar.nrows = shutil.get_terminal_size()
    return bar


_NARROW = 110
"""Columns below which a bar shows neither the time that it has taken nor that which the epoch takes."""
_SHORT_FORMAT = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{rate_noinv_fmt}{postfix}]"
_CELLS = 8
"""Of the bar itself, at least."""


def _fitting(values: dict[str, Any], bar: Tqdm) -> dict[str, Any]:
    """Return what fits the width of the bar, the learning rates going first, and then what is longest."""
    # tqdm 4.70 gives a disabled bar no `ncols`: Lightning's of every process but the first.
    if bar.disable or not bar.ncols:
        return values
    width = bar.ncols
    bar.bar_format = _SHORT_FORMAT if width < _NARROW else RunProgressBar.BAR_FORMAT
    count = 2 * len(str(bar.total)) + 1
    times = 0 if width < _NARROW else len("00:00<00:00, ")
    left = width - len(f"{bar.desc}100%|| [000.00it/s]") - _CELLS - count - times
    shown = dict(values)
    # The loss goes last, and the eta, which stands nowhere else, never.
    for name in sorted(shown, key=lambda n: (not n.endswith("lr"), n == "loss", -len(n))):
        if sum(len(f", {key}={value}") for key, value in shown.items()) <= left:
            break
        if name != "eta":
            del shown[name]
    return shown


def clock(seconds: float) -> str:
    """Write a time without a comma, which separates values.

    >>> clock(71), clock(90_000)
    ('0:01:11', '25:00:00')
    """
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def brief(scalars: Mapping[str, Any]) -> dict[str, str]:
    """Choose what a bar has room for: the loss (or the losses), the learning rates, and a few metrics.

    >>> brief({"train/lr": 0.01, "train/loss": 0.5, "train/loss_ce": 0.4, "train/time": 0.1})
    {'loss': '0.5000', 'lr': '1.0000e-02'}
    >>> brief({"loss_d": 0.5, "loss_g": 0.25})
    {'loss_d': '0.5000', 'loss_g': '0.2500'}
    """
    values = {name.removeprefix("train/"): value for name, value in scalars.items()}
    losses = [n for n in values if "loss" in n]
    rates = [n for n in values if n.endswith("lr") and not n.endswith("base_lr")]
    chosen = {n: f"{values[n]:.4f}" for n in _total(losses, "loss")}
    return {**chosen, **{n: f"{values[n]:.4e}" for n in _total(rates, "lr")}}


def _total(names: list[str], total: str) -> Iterable[str]:
    return [total] if total in names else names[:3]


def with_progress_bar(wanted: bool | None, callbacks: Iterable[Any]) -> dict[str, Any]:
    """Return ``enable_progress_bar`` and ``callbacks`` for a Trainer.

    Args:
        wanted: ``Trainer(enable_progress_bar=…)``; ``None``: on a terminal, and in a notebook Lightning's own.
        callbacks: The other callbacks; a bar among them is kept, and no other is added.
    """
    callbacks = list(callbacks)
    given = any(isinstance(callback, ProgressBar) for callback in callbacks)
    if wanted is None:
        wanted = given or is_terminal() or is_notebook()
    bar = [RunProgressBar()] if wanted and not given and not is_notebook() else []
    return {"enable_progress_bar": wanted, "callbacks": [*callbacks, *bar]}


def is_terminal() -> bool:
    """Return whether standard output is a terminal on which a line can be written again."""
    out = sys.stdout
    # Python has no standard output under pythonw and some services.
    return out is not None and out.isatty() and os.environ.get("TERM") != "dumb"


def is_notebook() -> bool:
    """Return whether a notebook runs this, in which a bar is an element of the page."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    # As tqdm 4.67 asks: a terminal's IPython has no kernel.
    return "IPKernelApp" in getattr(shell, "config", {})
