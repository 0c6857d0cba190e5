"""MMEngine's metrics on what the steps of a module of its user return."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch.utils.data import DataLoader, IterableDataset

from mm2pl.errors import ArgumentError
from mm2pl.evaluator import BaseMetric, Evaluator
from mm2pl.hooks import CheckpointHook
from mm2pl.lightning import EvaluatorCallback, MMLightningModule
from mm2pl.registry import METRICS
from tests.bridges import SGD, loader, module, trainer
from tests.scenarios import Points, accuracy, models

pytestmark = pytest.mark.filterwarnings(
    "ignore::lightning.fabric.utilities.warnings.PossibleUserWarning",
    "ignore:.*has logged .* with several values",
)


class Seen(BaseMetric):
    """Count the samples, and say what the data set is."""

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results += [len(data_batch["inputs"])] * len(data_samples)

    def compute_metrics(self, results: list) -> dict:
        meta = (self.dataset_meta or {}).get("number", 0)
        return {"samples": len(results), "meta": meta, "first": results[0], "list": [1, 2]}


class ByHand(LightningModule):
    """A module whose steps return what ``returns`` makes of a batch."""

    def __init__(self, returns: Callable[[Any], Any] | None = None) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.model = models("mm2pl")["plain"]()
        self.returns = returns or (lambda batch: self.model(**batch, mode="predict"))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return self.model(**batch, mode="loss")["loss_ce"]

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        return self.returns(batch)

    test_step = validation_step

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.parametrize("verb", ["validate", "test"])
def test_equal_to_the_evaluator_of_an_mm_lightning_module(verb: str) -> None:
    metric = {"type": accuracy("mm2pl")}
    ours, callback = ByHand(), EvaluatorCallback(metric)
    theirs = module(val_evaluator=metric, test_evaluator=metric)
    ours.model.load_state_dict(theirs.model.state_dict())
    run = trainer(callbacks=[callback])
    assert getattr(run, verb)(ours, loader(40), verbose=False) == getattr(trainer(), verb)(
        theirs, loader(40), verbose=False
    )
    assert callback.values == theirs.eval_metrics


def test_other_callbacks_find_the_metrics(tmp_path: Path) -> None:
    kept = ModelCheckpoint(tmp_path, monitor="accuracy", mode="max")
    hook = CheckpointHook(save_best="accuracy", rule="greater", out_dir=str(tmp_path / "hook"))
    stopping = EarlyStopping("accuracy", mode="max", patience=9)
    callbacks = [EvaluatorCallback({"type": accuracy("mm2pl")}), kept, hook, stopping]
    flags = {"enable_checkpointing": True, "default_root_dir": str(tmp_path)}
    run = trainer(callbacks=callbacks, num_sanity_val_steps=2, **flags)
    run.fit(ByHand(), loader(), loader(40))
    assert 0 < kept.best_model_score == stopping.best_score == hook.best_model_score


METRICS_GIVEN: dict[str, Any] = {
    "dict": {"type": "Seen"},
    "list": [{"type": "Seen"}],
    "metric": Seen(),
    "evaluator": Evaluator([Seen()]),
}


@pytest.mark.parametrize("given", METRICS_GIVEN.values(), ids=METRICS_GIVEN)
def test_each_evaluation_counts_its_own_samples(given: Any) -> None:
    METRICS.register_module(module=Seen, force=True)
    run = trainer(callbacks=[callback := EvaluatorCallback(given)])
    held = DataLoader(points := Points(20), batch_size=8)
    points.metainfo = {"number": 5}  # type: ignore[attr-defined]
    for _ in range(2):
        run.validate(ByHand(), held, verbose=False)
        assert callback.values == {"samples": 20, "meta": 5, "first": 8, "list": [1, 2]}
    assert {name: value.item() for name, value in run.callback_metrics.items()} == {
        "samples": 20,
        "meta": 5,
        "first": 8,
    }


class Stream(IterableDataset):
    def __iter__(self) -> Any:
        yield from (Points(20)[index] for index in range(20))


LOADERS: dict[str, Any] = {
    "no length": (lambda: DataLoader(Stream(), batch_size=8), {}, 20),
    "limited": (lambda: loader(40), {"limit_val_batches": 2}, 16),
    "the first of two": (lambda: [loader(24), loader(40)], {}, 24),
}


@pytest.mark.parametrize(("held", "flags", "samples"), LOADERS.values(), ids=LOADERS)
def test_samples_of_loaders(held: Any, flags: Any, samples: int) -> None:
    run = trainer(callbacks=[callback := EvaluatorCallback(Seen())], **flags)
    run.validate(ByHand(), held(), verbose=False)
    assert callback.values["samples"] == samples


def test_the_second_loader() -> None:
    run = trainer(callbacks=[callback := EvaluatorCallback(Seen(), dataloader_idx=1)])
    held = DataLoader(Points(40), batch_size=5)
    run.validate(ByHand(), [loader(24), held], verbose=False)
    assert (callback.values["samples"], callback.values["first"]) == (40, 5)


def test_a_stage_that_is_left_out() -> None:
    run = trainer(callbacks=[callback := EvaluatorCallback(Seen(), stages=["val"])])
    run.test(ByHand(), loader(24), verbose=False)
    assert callback.values == {}


def test_samples_are_made_of_what_a_step_returns() -> None:
    def samples(outputs: Any, batch: Any) -> Any:
        return [
            {"pred": p, "label": t} for p, t in zip(outputs["hits"], batch["labels"], strict=True)
        ]

    ours = ByHand(lambda batch: {"hits": batch["labels"]})
    callback = EvaluatorCallback({"type": accuracy("mm2pl")}, samples=samples)
    trainer(callbacks=[callback]).validate(ours, loader(40), verbose=False)
    assert callback.values == {"accuracy": 1.0}


def test_torchmetrics() -> None:
    pytest.importorskip("torchmetrics")
    metric = {"type": "torchmetrics.classification.MulticlassAccuracy", "num_classes": 4}
    ours = ByHand(lambda batch: (batch["labels"], batch["labels"]))
    callback = EvaluatorCallback(metric)
    trainer(callbacks=[callback]).validate(ours, loader(40), verbose=False)
    assert callback.values == {"MulticlassAccuracy": 1.0}


def test_steps_that_return_something_else() -> None:
    run = trainer(callbacks=[EvaluatorCallback(Seen())])
    with pytest.raises(
        TypeError,
        match=r"val step returned dict → .* a pair \(preds, target\) → return one, or give Evalua",
    ):
        run.validate(ByHand(lambda batch: {"loss": 1}), loader(16), verbose=False)


@pytest.mark.parametrize("stages", ["val", ["train"]])
def test_stages_are_checked(stages: Any) -> None:
    with pytest.raises(ValueError, match=r"stages=.* → a list of 'val' and 'test'"):
        EvaluatorCallback(Seen(), stages=stages)


class Lenient(Seen):
    """Has a value for no sample too."""

    def compute_metrics(self, results: list) -> dict:
        return {"samples": len(results)}


LOADERS: dict[str, Any] = {"one": lambda: loader(16), "two": lambda: [loader(16), loader(16)]}


@pytest.mark.parametrize("verb", ["validate", "test"])
@pytest.mark.parametrize(("held", "count"), [("one", 1), ("two", 2)])
def test_a_loader_that_is_not_there_is_named(verb: str, held: str, count: int) -> None:
    run = trainer(callbacks=[EvaluatorCallback(Lenient(), dataloader_idx=count)])
    message = rf"dataloader_idx={count}\) → .* loaders are numbered 0 to {count - 1} →"
    with pytest.raises(ArgumentError, match=message):
        getattr(run, verb)(ByHand(), LOADERS[held]())


class Bypasses(MMLightningModule):
    """Returns predictions by itself, with or without the evaluator."""

    feeds = False

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        outputs = self.model.val_step(batch)
        if self.feeds:
            self.loops["val"].evaluator.process(data_samples=outputs, data_batch=batch)
        return outputs


def made(metric: Any, kind: Any = Bypasses) -> Any:
    return kind(models("mm2pl")["plain"](), {"optimizer": SGD}, val_evaluator=metric)


@pytest.mark.parametrize("verb", ["validate", "fit"])
def test_an_evaluator_that_a_step_bypasses_is_named(verb: str) -> None:
    given = (loader(16),) if verb == "validate" else (loader(16), loader(16))
    with pytest.raises(ArgumentError, match=r"Bypasses.validation_step gave nothing to val_eva"):
        getattr(trainer(), verb)(made(Lenient()), *given)


def test_a_step_may_feed_the_evaluator_itself() -> None:
    feeds = type("Feeds", (Bypasses,), {"feeds": True})
    assert trainer().validate(made(Lenient(), feeds), loader(16)) == [{"samples": 16}]


class Idle(Lenient):
    """Finds nothing to collect."""

    def process(self, data_batch: Any, data_samples: Any) -> None: ...


def test_a_metric_may_find_nothing() -> None:
    assert trainer().validate(made(Idle(), MMLightningModule), loader(16)) == [{"samples": 0}]
