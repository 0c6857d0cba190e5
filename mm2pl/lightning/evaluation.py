"""Validation, test and prediction with MMEngine's loops and evaluators, as stages of a LightningModule."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from mm2pl.errors import StateError
from mm2pl.lightning.named_weights import NamedWeights
from mm2pl.lightning.private import trainer_of

if TYPE_CHECKING:
    from mm2pl.lightning.driver import ModuleDriver
    from mm2pl.run.eval_loops import EvalLoop


class EvaluatedModule(NamedWeights):
    """The stages of :class:`~mm2pl.lightning.MMLightningModule` in which nothing is learned.

    Args:
        evaluators: Metrics of ``val`` and ``test``, as in a config or built; ``None`` for the mean losses.
    """

    model: Any
    driver: ModuleDriver

    def __init__(self, evaluators: dict[str, Any]) -> None:
        super().__init__()
        self.evaluators = evaluators
        self.eval_metrics: dict[str, Any] = {}

    def compile_step(self, stage: str) -> None:
        """Compile the model's ``val_step`` or ``test_step``, if that is wanted."""
        raise NotImplementedError

    @property
    def loops(self) -> dict[str, EvalLoop]:
        """Per stage the loop that feeds its evaluator; with whoever drives, since no loop can be copied or pickled."""
        return self.driver.loops

    def use_loop(self, stage: str, loop: EvalLoop) -> None:
        """Feed the predictions of ``val`` or ``test`` to this loop's evaluator."""
        self.loops[stage] = loop

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        """Return the model's predictions; the evaluator has seen them."""
        return self._evaluate("val", batch, batch_idx)

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        """Return the model's predictions; the evaluator has seen them."""
        return self._evaluate("test", batch, batch_idx)

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        """Return the model's predictions for one batch, as ``test_step`` of the model gives them."""
        return self.model.test_step(batch)

    def _evaluate(self, stage: str, batch: object, batch_idx: int) -> Any:
        """Run one batch through the loop of ``val`` or ``test``; without one, log the loss.

        Raises:
            StateError: An iterator in the model's step has run out.
        """
        loop = self.loops.get(stage)
        if loop is None:
            self._say_who_is_not_asked(stage)
            data = self.model.data_preprocessor(batch, False)
            loss, log_vars = self.model.parse_losses(self.model._run_forward(data, mode="loss"))
            trainer = trainer_of(self)
            # Lightning 2.6 refuses `log` of a module inside another one.
            logs: Any = self if trainer is None else trainer.lightning_module
            # Weighs the mean over batches. Lightning would guess it from the first tensor, often (C, H, W).
            logs.log(
                f"{stage}_loss",
                loss,
                logger=False if self.driver.hooks_log else None,
                batch_size=samples_in(batch),
                sync_dist=True,
            )
            return log_vars
        try:
            return loop.run_iter(batch_idx, batch) if loop.overrides_run_iter else loop.step(batch)
        except StopIteration as error:
            raise ran_out(f"{stage}_step") from error

    def _say_who_is_not_asked(self, stage: str) -> None:
        if self.evaluators[stage] is not None:
            warnings.warn(
                f"{stage}_evaluator gets nothing: no Trainer drives this {type(self).__name__}, in Fabric or as a "
                "part of another module. Its mean loss is logged → EvaluatorCallback(…) in the Trainer of that module, "
                "or an Evaluator fed by hand",
                stacklevel=3,
            )


def samples_in(batch: object) -> int:
    """Return how many samples a batch holds: one of MMEngine's dicts, a tuple or a tensor; else 1.

    >>> samples_in({"inputs": [torch.zeros(3, 8, 8)] * 2, "data_samples": [None, None]})
    2
    >>> samples_in((torch.zeros(5, 3), torch.zeros(5)))
    5
    """
    if isinstance(batch, Mapping):
        # One entry per sample in both; but `inputs` may itself be a dict, of modalities.
        parts = [batch[name] for name in ("data_samples", "inputs") if batch.get(name) is not None]
        part = next(iter(parts or batch.values()), None)
        return len(part) if isinstance(part, list | tuple) else samples_in(part)
    if isinstance(batch, torch.Tensor):
        return len(batch) if batch.dim() else 1
    if isinstance(batch, list | tuple) and batch:
        return len(batch[0]) if isinstance(batch[0], list | tuple) else samples_in(batch[0])
    return 1


def ran_out(step: str) -> StateError:
    """Return what to raise for a StopIteration of the user's code: Lightning would end the epoch silently.

    MMEngine's loops let it through as an error.
    """
    return StateError(
        f"{step} raised StopIteration → an iterator in it has run out: begin it again, or make it endless"
    )


def scalars_of(values: dict[str, Any]) -> dict[str, Any]:
    """Keep what Lightning can log: numbers and tensors with one element.

    >>> scalars_of({"accuracy": 97.5, "per_class": [1.0, 2.0], "name": "val"})
    {'accuracy': 97.5}
    """
    return {
        name: value.detach() if isinstance(value, torch.Tensor) else float(value)
        for name, value in values.items()
        if (isinstance(value, torch.Tensor) and value.numel() == 1)
        or (
            hasattr(value, "__float__")
            and not isinstance(value, torch.Tensor)
            # Every NumPy array has `__float__`, which fails where it has more than one element.
            and getattr(value, "size", 1) == 1
        )
    }
