"""What every loop derives from, and which loops go through the data themselves."""

from __future__ import annotations

from collections.abc import Callable
from types import new_class
from typing import TYPE_CHECKING, Any, ClassVar

from mm2pl.errors import under_key

if TYPE_CHECKING:
    from torch.utils.data import DataLoader
    from typing_extensions import Self

    from mm2pl.run.protocols import LoaderLike, RunnerLike


class BaseLoop:
    """Hold one stage of a run.

    Args:
        runner: The run this loop belongs to; hooks are called through it.
        dataloader: A loader, or the dict to build one from.
    """

    #: MMEngine's methods of these names; a class whose method is another has one of its own.
    standard: ClassVar[dict[str, Any]] = {}

    # Of a training loop that derives from here, as MMEngine's Runner takes it too.
    by_epoch: ClassVar[bool] = True
    epoch_length: int | None = None
    stop_training = False

    def __init__(self, runner: RunnerLike, dataloader: DataLoader | dict) -> None:
        self._runner = runner
        if isinstance(dataloader, dict):
            with under_key("dataloader"):
                dataloader = runner.build_dataloader(
                    dataloader, seed=runner.seed, diff_rank_seed=runner.diff_rank_seed
                )
        self.dataloader: LoaderLike = dataloader

    @property
    def runner(self) -> RunnerLike:
        """The run this loop belongs to."""
        return self._runner

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # Lightning's weight averaging copies the module, which knows its loops; the run behind them is not part of it.
        return self

    @property
    def overrides_run_iter(self) -> bool:
        """Return whether a user's class replaces the single step, or a program has replaced this loop's."""
        own = "run_iter" in vars(self)
        return own or type(self).run_iter is not self.standard.get("run_iter")

    @property
    def drives(self) -> bool:
        """Return whether a user's class goes through the data itself; else the Trainer stands for these methods."""
        own, kind = vars(self), type(self)
        return any(
            name in own or getattr(kind, name, None) is not self.standard.get(name)
            for name in ("run", "run_epoch")
        )

    @property
    def loader_holders(self) -> list[Any]:
        """The objects whose attributes are the loaders of this loop, for who limits the batches of them."""
        return [self]

    def go_to(self, epoch: int, iter: int) -> None:
        """Stand where a resumed run stood."""
        self._epoch, self._iter = epoch, iter

    def run(self) -> Any:
        """Go through the data."""
        raise NotImplementedError

    # Any arguments: MMEngine's loop by iterations takes the batch alone, all others its number and the batch.
    def run_iter(self, *args: Any, **kwargs: Any) -> None:
        """Process one batch."""
        raise NotImplementedError

    def _share_metainfo(self, *holders: Any) -> None:
        """Give the data set's ``metainfo`` to the evaluator and the visualizer, as MMEngine does."""
        metainfo = getattr(getattr(self.dataloader, "dataset", None), "metainfo", None)
        for holder in holders:
            if holder is not None and metainfo is not None:
                holder.dataset_meta = metainfo


def drives(loop: Any) -> bool:
    """Return whether a loop of the run goes through the data itself; one of a foreign class can do nothing else."""
    return loop is not None and getattr(loop, "drives", True)


class _Unless:
    """A value that is worked out each time, unless an object has set its own, as a property would not let it."""

    def __init__(self, work_out: Callable[[Any], Any]) -> None:
        self._work_out = work_out

    def __get__(self, loop: Any, owner: type) -> Any:
        return self if loop is None else self._work_out(loop)


class ForeignTrainLoop(BaseLoop):
    """What a run asks of a training loop, for classes that derive from another package's, as the real MMEngine's."""

    @_Unless
    def by_epoch(self) -> bool:
        """Return whether it counts epochs: MMEngine's loop by iterations has an iterator that never ends."""
        return not hasattr(self, "dataloader_iterator")

    @_Unless
    def epoch_length(self) -> int:
        """Batches of one of Lightning's epochs: of an epoch, or by iterations of the whole run."""
        own: Any = self
        return own.max_iters // max(own.max_epochs, 1) if self.by_epoch else own.max_iters


def as_own(cls: type) -> type:
    """Return a class of training loops, or one derived from it that has what a run needs."""
    if issubclass(cls, BaseLoop):
        return cls
    named = {name: getattr(cls, name) for name in ("__module__", "__qualname__", "__doc__")}
    return new_class(
        cls.__name__, (cls, ForeignTrainLoop), exec_body=lambda body: body.update(named)
    )
