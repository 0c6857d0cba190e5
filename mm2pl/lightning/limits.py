"""The Trainer's limits on batches, for loops that take them by themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import Any

from torch.utils.data import Sampler

from mm2pl.dataset.utils import length_of
from mm2pl.errors import ArgumentError
from mm2pl.lightning.epoch_loop import NEVER


class FirstBatches:
    """Stand for a loader whose passes end early.

    Everything else that is asked of it, such as its ``dataset`` and ``sampler``, is the loader's own.

    Args:
        loader: Any loader.
        limit: Batches of a pass, or a part of them.
        flag: What set it, for the message.

    Raises:
        ValueError: No batch is left, or the loader does not know how many it has.
    """

    def __init__(self, loader: Any, limit: int | float, flag: str) -> None:
        self._loader = loader
        self.taken = 0
        length = length_of(loader)
        if length is None and isinstance(limit, float):
            raise ArgumentError(
                f"Trainer({flag}={limit!r}) → a part of the batches of {type(loader).__name__}, which has no length → "
                "give a number of batches"
            )
        wanted = int(length * limit) if isinstance(limit, float) else limit  # type: ignore[operator]
        self._length = wanted if length is None else min(length, wanted)
        if wanted < 1:
            raise ArgumentError(
                f"Trainer({flag}={limit!r}) → none of the {length} batches of {type(loader).__name__} is left → at "
                "least 1; to leave a stage out, leave out its *_cfg"
            )

    def __getattr__(self, name: str) -> Any:
        if name == "_loader":  # asked for by copies, which have nothing yet
            raise AttributeError(name)
        return getattr(self._loader, name)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Any]:
        for batch in islice(self._loader, self._length):
            self.taken += 1
            yield batch


class Limit:
    """Hold a loop that drives to the batches that the Trainer allows it.

    Its loaders are cut. A loop that begins more batches than they have handed out takes them from elsewhere.

    Args:
        kind: The name of its class.
        flag: What limits it, as the user gave it.
        value: The limit.
    """

    def __init__(self, kind: str, flag: str, value: int | float) -> None:
        self._kind, self._flag, self._value = kind, flag, value
        self._cut: list[FirstBatches] = []
        self._begun = 0

    @contextmanager
    def on(self, holder: Any) -> Iterator[None]:
        """Cut the loaders among an object's attributes inside."""
        given = {name: value for name, value in vars(holder).items() if _has_loader(value)}
        cut = {name: self._shortened(value) for name, value in given.items()}
        for name, value in cut.items():
            setattr(holder, name, value)
        try:
            yield
        finally:
            for name, value in cut.items():
                # A loop may have taken another loader.
                if vars(holder).get(name) is value:
                    setattr(holder, name, given[name])

    def _shortened(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: self._shortened(each) for name, each in value.items()}
        if isinstance(value, list | tuple):
            kind = tuple if isinstance(value, tuple) else list
            return kind(map(self._shortened, value))
        if not _is_loader(value):
            return value
        self._cut.append(FirstBatches(value, self._value, self._flag))
        return self._cut[-1]

    def begin_batch(self) -> None:
        """Count a batch that the loop begins.

        Raises:
            ValueError: No loader that is cut has handed it out.
        """
        self._begun += 1
        if self._begun > sum(loader.taken for loader in self._cut):
            raise ArgumentError(
                f"Trainer({self._flag}={self._value!r}) → {self._kind} takes batches from something that was not among "
                "its loaders when it began, where no limit reaches them → leave the flag out, and give the data set "
                "fewer samples (indices=…)"
            )


def _is_loader(value: Any) -> bool:
    # A sampler has a data set too, and goes through its indices.
    loads = hasattr(value, "__iter__") and hasattr(value, "dataset")
    return loads and not isinstance(value, Sampler)


def _has_loader(value: Any) -> bool:
    if isinstance(value, Mapping):
        value = list(value.values())
    return any(map(_is_loader, value)) if isinstance(value, list | tuple) else _is_loader(value)


@contextmanager
def limited(trainer: Any, loops: Mapping[str, Any]) -> Iterator[dict[str, Limit]]:
    """Hold loops to the batches that ``Trainer(limit_…_batches=…)`` and ``fast_dev_run`` allow them inside.

    Args:
        trainer: The Trainer.
        loops: Per stage the loop, of those whose batches are counted.
    """
    limits = {}
    with ExitStack() as stack:
        for stage, loop in loops.items():
            value = getattr(trainer, f"limit_{stage}_batches")
            if isinstance(value, float) and value == 1.0:
                continue
            flag = "fast_dev_run" if trainer.fast_dev_run else f"limit_{stage}_batches"
            limits[stage] = Limit(type(loop).__name__, flag, value)
            for holder in getattr(loop, "loader_holders", [loop]):
                stack.enter_context(limits[stage].on(holder))
        yield limits


def refuse(trainer: Any, run: Any, stages: list[str]) -> None:
    """Reject what cannot reach the loops of these stages, which drive; all of it at once.

    Raises:
        ValueError: A flag of the Trainer asks for what a loop decides, or its strategy shards the model.
    """
    kinds = {stage: type(run.loops[stage]).__name__ for stage in stages}
    found = [
        f"Trainer({flag}={getattr(trainer, flag, '…')!r}) → {kind} {why} → {what}"
        for stage, kind in kinds.items()
        for flag, why, what in _out_of_reach(trainer, run, stage)
    ]
    if found:
        raise ArgumentError("\n".join(dict.fromkeys(found)))
    if trainer.strategy.restore_checkpoint_after_setup:
        raise ArgumentError(
            f"{type(trainer.strategy).__name__} → {kinds[stages[0]]} calls the model's steps itself, and where the "
            "model is sharded only Lightning's own loops can → DDPStrategy, or a loop that overrides run_iter alone"
        )


def _out_of_reach(trainer: Any, run: Any, stage: str) -> Iterator[tuple[str, str, str]]:
    limit = f"limit_{stage}_batches"
    if trainer.overfit_batches:
        yield (
            "overfit_batches",
            "takes its batches in an order of its own",
            f"{limit}, and shuffle=False in the config",
        )
    elif getattr(trainer, limit) == 0:
        yield limit, "goes through the data itself", f"at least 1, or leave out {stage}_cfg"
    if stage == "train" and run.loops["val"] is not None:
        for name, default in (("check_val_every_n_epoch", 1), ("val_check_interval", 1.0)):
            if getattr(trainer, name, None) not in (default, NEVER):
                yield (
                    name,
                    "decides itself when to validate",
                    "val_interval in train_cfg, if the loop follows it",
                )
