"""The base of every hook: MMEngine's points, doing nothing, on a Lightning callback."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from lightning.pytorch import Callback

from mm2pl.dataset.utils import length_of
from mm2pl.errors import ArgumentError
from mm2pl.hooks.stages import HookStages
from mm2pl.hooks.state_key import described_arguments
from mm2pl.run.points import GENERIC, STAGES, overridden_stages
from mm2pl.run.priority import Priority

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer
    from typing_extensions import Self

    from mm2pl.run.protocols import RunnerLike

DATA_BATCH = dict | tuple | list | None


def _point(name: str) -> Any:
    """Write the method of one point: it calls the generic behind it, if there is one.

    Its arguments follow from the name: iterations get ``(runner, batch_idx, data_batch=None)``
    and afterwards ``outputs=None``, the end of an evaluation gets ``metrics=None``, checkpoints
    get ``checkpoint``.
    """
    generic = GENERIC.get(name)
    when, mode, _ = [*name.split("_"), ""][:3]

    def plain(self: Hook, runner: RunnerLike) -> None:
        if generic:
            getattr(self, generic)(runner, mode=mode)

    def with_metrics(
        self: Hook, runner: RunnerLike, metrics: dict[str, float] | None = None
    ) -> None:
        getattr(self, f"_{when}_epoch")(runner, mode=mode)

    def with_batch(
        self: Hook, runner: RunnerLike, batch_idx: int, data_batch: DATA_BATCH = None
    ) -> None:
        self._before_iter(runner, batch_idx=batch_idx, data_batch=data_batch, mode=mode)

    def with_outputs(
        self: Hook,
        runner: RunnerLike,
        batch_idx: int,
        data_batch: DATA_BATCH = None,
        outputs: dict | Sequence | None = None,
    ) -> None:
        batch = {"batch_idx": batch_idx, "data_batch": data_batch, "outputs": outputs}
        self._after_iter(runner, **batch, mode=mode)  # type: ignore[arg-type]

    def with_checkpoint(self: Hook, runner: RunnerLike, checkpoint: dict) -> None:
        pass

    method: Callable[..., None] = plain
    if name.endswith("_iter"):
        method = with_batch if when == "before" else with_outputs
    elif name.endswith("_checkpoint"):
        method = with_checkpoint
    elif name in ("after_val_epoch", "after_test_epoch"):
        method = with_metrics
    method.__name__ = name
    method.__qualname__ = f"Hook.{name}"
    method.__doc__ = f"Do something at ``{name}``; :mod:`mm2pl.hooks.stages` shows when that is."
    return method


class Hook(Callback):
    """Do something at any of MMEngine's points (``mmengine.hooks.Hook``).

    Override the points you need; each gets the ``runner``. The same object works in a config's
    ``custom_hooks`` and in ``lightning.pytorch.Trainer(callbacks=[hook])``.

    >>> class Count(Hook):
    ...     seen = 0
    ...     def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
    ...         self.seen += 1
    >>> Count().get_triggered_stages()
    ['after_train_iter']
    """

    priority: int | str | Priority = "NORMAL"
    stages: ClassVar[tuple[str, ...]] = STAGES

    driven: bool = False
    """Whether a run calls the points, so that Lightning's stages must not."""

    _state_key: str

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Make a hook, and note what it is made from, whether or not its ``__init__`` calls ours."""
        if cls.__init__ is object.__init__ and (args or kwargs):
            # Python leaves this to `__new__` where that is overridden.
            raise ArgumentError(f"{cls.__name__}() takes no arguments, but got {args or kwargs!r}")
        made = super().__new__(cls)
        made._state_key = f"{cls.__qualname__}{described_arguments(cls, args, kwargs)}"
        return made

    @property
    def state_key(self) -> str:
        """The hook's name in a file: its class and the arguments it was given.

        So a Trainer can hold several hooks of one class; Lightning 2.6 refuses two that have a state and one key.
        """
        return self._state_key

    def leave_to_run(self) -> None:
        """Let a run call the points; the stages of the Trainer that this hook is in do nothing any more."""
        self.driven, self.is_callback = True, False

    is_callback = False
    """Whether this hook is itself a callback of the Trainer, rather than part of a Runner."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Have somebody call the points of all hooks in this Trainer, unless the module brings that already."""
        if not self.driven:
            self.is_callback = True
            HookStages.drive(trainer)

    before_run = _point("before_run")
    after_load_checkpoint = _point("after_load_checkpoint")
    before_train = _point("before_train")
    before_train_epoch = _point("before_train_epoch")
    before_train_iter = _point("before_train_iter")
    after_train_iter = _point("after_train_iter")
    after_train_epoch = _point("after_train_epoch")
    before_val = _point("before_val")
    before_val_epoch = _point("before_val_epoch")
    before_val_iter = _point("before_val_iter")
    after_val_iter = _point("after_val_iter")
    after_val_epoch = _point("after_val_epoch")
    after_val = _point("after_val")
    before_save_checkpoint = _point("before_save_checkpoint")
    after_train = _point("after_train")
    before_test = _point("before_test")
    before_test_epoch = _point("before_test_epoch")
    before_test_iter = _point("before_test_iter")
    after_test_iter = _point("after_test_iter")
    after_test_epoch = _point("after_test_epoch")
    after_test = _point("after_test")
    after_run = _point("after_run")

    def _before_epoch(self, runner: RunnerLike, mode: str = "train") -> None:
        """Do something before an epoch of any ``mode``: train, val or test."""

    def _after_epoch(self, runner: RunnerLike, mode: str = "train") -> None:
        """Do something after an epoch of any ``mode``."""

    def _before_iter(
        self, runner: RunnerLike, batch_idx: int, data_batch: DATA_BATCH = None, mode: str = "train"
    ) -> None:
        """Do something before an iteration of any ``mode``."""

    def _after_iter(
        self,
        runner: RunnerLike,
        batch_idx: int,
        data_batch: DATA_BATCH = None,
        outputs: dict | Sequence | None = None,
        mode: str = "train",
    ) -> None:
        """Do something after an iteration of any ``mode``."""

    def every_n_epochs(self, runner: RunnerLike, n: int, start: int = 0) -> bool:
        """Return whether the epoch, counted from 1, is ``start`` plus a multiple of ``n``."""
        return _is_multiple(runner.epoch + 1 - start, n)

    def every_n_inner_iters(self, batch_idx: int, n: int) -> bool:
        """Return whether the current batch, counted from 1 in its epoch, is a multiple of ``n``."""
        return _is_multiple(batch_idx + 1, n)

    def every_n_train_iters(self, runner: RunnerLike, n: int, start: int = 0) -> bool:
        """Return whether the iteration, counted from 1, is ``start`` plus a multiple of ``n``."""
        return _is_multiple(runner.iter + 1 - start, n)

    def end_of_epoch(self, dataloader: Any, batch_idx: int) -> bool:
        """Return whether ``batch_idx`` is the last of ``dataloader``, if that has a length."""
        return batch_idx + 1 == length_of(dataloader)

    def is_last_train_epoch(self, runner: RunnerLike) -> bool:
        """Return whether the current training epoch is the last one."""
        return runner.epoch + 1 == runner.max_epochs

    def is_last_train_iter(self, runner: RunnerLike) -> bool:
        """Return whether the current training iteration is the last one."""
        return runner.iter + 1 == runner.max_iters

    def get_triggered_stages(self) -> list[str]:
        """List the points this hook does something at."""
        return overridden_stages(self)


def _is_multiple(count: int, n: int) -> bool:
    return n > 0 and count >= 0 and count % n == 0
