"""The loops of validation and test, as MMEngine's hooks and users know them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from mm2pl.dataset.utils import length_of
from mm2pl.errors import under_key
from mm2pl.logging import HistoryBuffer
from mm2pl.registry import LOOPS
from mm2pl.run.base_loop import BaseLoop
from mm2pl.run.collation import unstacked
from mm2pl.structures import BaseDataElement

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

    from mm2pl.evaluator import Evaluator
    from mm2pl.run.protocols import RunnerLike

# One for all: it keeps no state, and is entered for each batch.
_NOTHING = nullcontext()


class EvalLoop(BaseLoop):
    """What validation and test share: an evaluator, and losses that a model may report.

    Args:
        runner: Whose loop it is.
        dataloader: Of the set, or its dict.
        evaluator: Of the set, or its dict, or a list of metrics.
        fp16: Whether the model's step is cast to half precision; without it nothing is cast.

    Attributes:
        has_fed: Whether :meth:`step` has given the evaluator anything.
    """

    stage: ClassVar[str]
    has_fed = False

    def __init__(
        self,
        runner: RunnerLike,
        dataloader: DataLoader | dict,
        evaluator: Evaluator | dict | list,
        fp16: bool = False,
    ) -> None:
        super().__init__(runner, dataloader)
        with under_key("evaluator"):
            self.evaluator = runner.build_evaluator(evaluator)
        self.fp16 = fp16
        self.losses: dict[str, HistoryBuffer] = {}
        self._share_metainfo(self.evaluator, runner.visualizer)

    def step(self, data_batch: object) -> Any:
        """Run the model on one batch, feed the evaluator, return the predictions."""
        step = getattr(self.runner.model, f"{self.stage}_step")
        with torch.autocast(self.runner.device.type) if self.fp16 else _NOTHING:
            try:
                outputs = step(data_batch)
            except (TypeError, AttributeError) as error:
                plainer = unstacked(error, self.stage, self.dataloader, data_batch)
                if plainer is None:
                    raise
                raise plainer from error
        outputs = split_losses(outputs, self.losses)
        self.evaluator.process(data_samples=outputs, data_batch=data_batch)
        self.has_fed = True
        return outputs

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: Any) -> None:
        """Evaluate one batch, hooks included."""
        call_hook = self.runner.call_hook
        call_hook(f"before_{self.stage}_iter", batch_idx=idx, data_batch=data_batch)
        outputs = self.step(data_batch)
        call_hook(f"after_{self.stage}_iter", batch_idx=idx, data_batch=data_batch, outputs=outputs)

    def metrics(self) -> dict[str, Any]:
        """Reduce what ``run_iter`` collected over the data set (all ranks) to named values."""
        size = length_of(getattr(self.dataloader, "dataset", None))
        # Without a length nothing is cut off: metrics cut a list.
        metrics = self.evaluator.evaluate(sys.maxsize if size is None else size)
        if self.losses:
            metrics.update(mean_losses(self.losses, self.stage))
        self.losses.clear()
        return metrics

    def run(self) -> dict[str, Any]:
        """Evaluate the whole data set now, outside Lightning's loop, for hooks that ask for it."""
        runner = self.runner
        runner.call_hook(f"before_{self.stage}")
        runner.call_hook(f"before_{self.stage}_epoch")
        runner.model.eval()
        self.losses.clear()
        for idx, data_batch in enumerate(self.dataloader):
            self.run_iter(idx, data_batch)
        metrics = self.metrics()
        runner.call_hook(f"after_{self.stage}_epoch", metrics=metrics)
        runner.call_hook(f"after_{self.stage}")
        return metrics

    standard: ClassVar[dict[str, Any]] = {"run_iter": run_iter, "run": run}


@LOOPS.register_module()
class ValLoop(EvalLoop):
    """Validate; stands for ``val_cfg=dict(fp16=…)``. The arguments are those of `EvalLoop`."""

    stage = "val"

    @property
    def val_loss(self) -> dict[str, HistoryBuffer]:
        """Losses that the model reported among its predictions."""
        return self.losses

    @val_loss.setter
    def val_loss(self, losses: dict[str, HistoryBuffer]) -> None:
        self.losses = losses


@LOOPS.register_module()
class TestLoop(EvalLoop):
    """Test; stands for ``test_cfg=dict(fp16=…)``. The arguments are those of `EvalLoop`."""

    __test__ = False
    stage = "test"

    @property
    def test_loss(self) -> dict[str, HistoryBuffer]:
        """Losses that the model reported among its predictions."""
        return self.losses

    @test_loss.setter
    def test_loss(self, losses: dict[str, HistoryBuffer]) -> None:
        self.losses = losses


def mean_losses(losses: dict[str, HistoryBuffer], stage: str) -> dict[str, Any]:
    """Return the mean of each, and under ``{stage}_loss`` the sum of those with "loss" in their name."""
    means = {name: buffer.mean() for name, buffer in losses.items()}
    total = sum(value for name, value in means.items() if "loss" in name)
    return {**means, f"{stage}_loss": total}


def split_losses(outputs: object, losses: dict[str, HistoryBuffer]) -> Any:
    """Move a last element that carries only ``loss`` from the predictions into ``losses``."""
    # A list first: Sequence asks through Python's abstract classes, which takes longer.
    if not isinstance(outputs, (list, Sequence)) or not outputs:
        return outputs
    last: Any = outputs[-1]
    if not (isinstance(last, BaseDataElement) and last.keys() == ["loss"]):
        return outputs
    losses_of_batch: Any = last.get("loss")
    for name, value in losses_of_batch.items():
        buffer = losses.setdefault(name, HistoryBuffer())
        for part in value if isinstance(value, (list, tuple)) else [value]:
            buffer.update(part.item())
    return outputs[:-1]
