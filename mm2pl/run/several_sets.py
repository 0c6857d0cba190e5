"""A validation or test of several data sets, each with metrics of its own: ``val_dataloader=[…]``."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from mm2pl.errors import ArgumentError
from mm2pl.run.base_loop import BaseLoop
from mm2pl.run.eval_loops import EvalLoop

if TYPE_CHECKING:
    from mm2pl.run.protocols import RunnerLike


class SeveralSets(BaseLoop):
    """Evaluate one set after the other, as one validation or test; MMEngine 0.10.7 knows one set only.

    The metrics of a set begin with the ``dataset_name`` in its ``metainfo`` if all have one, else with its number:
    ``0/accuracy``, ``1/accuracy``.

    Args:
        runner: The run this loop belongs to.
        dataloader: Loaders, or the dicts to build them from.
        evaluator: One per loader, or the dict of one metric for all.
        kind: The loop of a single set.
        fp16: Whether to evaluate under autocast.

    Raises:
        ValueError: There are not as many evaluators as loaders.
    """

    def __init__(
        self,
        runner: RunnerLike,
        dataloader: Sequence[Any],
        evaluator: Any,
        kind: type[EvalLoop],
        fp16: bool = False,
    ) -> None:
        if isinstance(evaluator, Mapping):
            evaluator = [copy.deepcopy(evaluator) for _ in dataloader]
        if not isinstance(evaluator, list) or len(evaluator) != len(dataloader):
            count = len(evaluator) if isinstance(evaluator, list) else 1
            raise ArgumentError(
                f"{kind.stage}_evaluator is {count} for {len(dataloader)} loaders in {kind.stage}_dataloader → one "
                "each, [dict(type=…), [dict(type=…), dict(type=…)]], or one dict for all"
            )
        self._runner = runner
        pairs = zip(dataloader, evaluator, strict=True)
        self.parts = [kind(runner, loader, own, fp16) for loader, own in pairs]
        self.stage = kind.stage

    @property
    def dataloader(self) -> Chained:  # type: ignore[override]
        """The loaders as one, as they are now."""
        return Chained([part.dataloader for part in self.parts])

    @property
    def loader_holders(self) -> list[Any]:
        """The loops of the single sets."""
        return [*self.parts]

    @property
    def evaluator(self) -> list[Any]:
        """The evaluators, in the order of their sets."""
        return [part.evaluator for part in self.parts]

    def names(self) -> list[str]:
        """Return what the metrics of each set begin with."""
        sets = [part.dataloader.dataset for part in self.parts]
        metas = [getattr(each, "metainfo", None) or {} for each in sets]
        names = [str(meta.get("dataset_name", "")) for meta in metas]
        whole = all(names) and len(set(names)) == len(names)
        return names if whole else [str(number) for number in range(len(names))]

    def run(self) -> dict[str, Any]:
        """Evaluate all sets, and return the metrics of all."""
        runner, metrics, count = self._runner, {}, 0
        runner.call_hook(f"before_{self.stage}")
        runner.call_hook(f"before_{self.stage}_epoch")
        runner.model.eval()
        for name, part in zip(self.names(), self.parts, strict=True):
            part.losses.clear()
            for batch in part.dataloader:
                # Hooks count through: the log and the progress bar show one evaluation.
                part.run_iter(count, batch)
                count += 1
            metrics.update({f"{name}/{key}": value for key, value in part.metrics().items()})
        runner.call_hook(f"after_{self.stage}_epoch", metrics=metrics)
        runner.call_hook(f"after_{self.stage}")
        return metrics


class Chained:
    """Loaders as one, for hooks that ask how many batches an evaluation has."""

    def __init__(self, loaders: list[Any]) -> None:
        self.loaders = loaders

    @property
    def dataset(self) -> Any:
        """The data sets as one."""
        return torch.utils.data.ConcatDataset([loader.dataset for loader in self.loaders])

    def __len__(self) -> int:
        return sum(len(loader) for loader in self.loaders)

    def __iter__(self) -> Iterator[Any]:
        for loader in self.loaders:
            yield from loader
