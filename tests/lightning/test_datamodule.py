"""What each of two processes gets to see of an MMDataModule's data, with a module and a Trainer of their user's."""

from __future__ import annotations

import warnings
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch.utils.data import DataLoader

from mm2pl.dataset import DefaultSampler, InfiniteSampler
from mm2pl.errors import ArgumentError
from mm2pl.lightning import MMDataModule
from tests.bridges import loader, module, trainer
from tests.lightning.test_two_processes import PROJECT
from tests.processes import trained
from tests.scenarios import Points

pytestmark = pytest.mark.filterwarnings(
    "ignore::lightning.fabric.utilities.warnings.PossibleUserWarning",
    "ignore:.*It will use the implementation from .LightningDataModule. instance",
    "ignore:You requested to overfit but enabled train dataloader shuffling",
)

NUMBERS = range(23)
EPOCHS = 3


@pytest.fixture(scope="module")
def seen(tmp_path_factory: Any) -> list[dict[str, Any]]:
    """Return what ``processes/dealt_data.py`` noted in each of its two processes."""
    folder = tmp_path_factory.mktemp("dealt")
    trained(PROJECT / "dealt_data.py", folder)
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


def dealt(sampler: Any, length: int | None = None) -> list[list[int]]:
    """Return what a sampler yields in each epoch; an endless one is cut into epochs of ``length``."""
    if length is not None:
        stream = iter(sampler)
        return [list(islice(stream, length)) for _ in range(EPOCHS)]
    epochs = []
    for epoch in range(EPOCHS):
        if hasattr(sampler, "set_epoch"):
            sampler.set_epoch(epoch)
        epochs.append(list(sampler))
    return epochs


SEEN: dict[str, Any] = {
    "shuffled": (DefaultSampler, {"shuffle": True, "seed": 5}),
    "in order": (DefaultSampler, {"shuffle": False}),
    "uneven": (DefaultSampler, {"shuffle": False, "round_up": False}),
    "endless": (InfiniteSampler, {"shuffle": True, "seed": 5}),
    "asked early": (DefaultSampler, {"shuffle": True, "seed": 5}),
    "no sampler": (DefaultSampler, {"shuffle": True, "seed": 5}),
    "reloaded": (DefaultSampler, {"shuffle": True, "seed": 5}),
    "endless, reloaded": (InfiniteSampler, {"shuffle": True, "seed": 5}),
}


@pytest.mark.slow
@pytest.mark.parity
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize(("case", "sampler"), SEEN.items(), ids=SEEN)
def test_each_process_sees_what_mmengine_deals_it(
    monkeypatch: Any, seen: Any, case: str, sampler: Any, rank: int
) -> None:
    from mmengine.dataset import sampler as theirs

    kind, arguments = sampler
    monkeypatch.setattr(theirs, "get_dist_info", lambda: (rank, 2))
    # Of the endless one, Lightning's epoch is as many batches as the loader's length says: 8 of 3 samples.
    length = 24 if kind is InfiniteSampler else None
    expected = dealt(getattr(theirs, kind.__name__)(NUMBERS, **arguments), length)
    assert seen[rank][case]["train"] == expected
    held = theirs.DefaultSampler(NUMBERS, shuffle=False)
    assert seen[rank][case]["val"] == dealt(held)


@pytest.mark.slow
def test_limits_cut_what_was_dealt(seen: Any) -> None:
    for rank in (0, 1):
        whole = seen[rank]["shuffled"]["train"]
        assert seen[rank]["limited"]["train"] == [epoch[:6] for epoch in whole]
        assert seen[rank]["overfit"]["train"] == [list(range(rank, 12, 2))] * EPOCHS


@pytest.mark.slow
def test_without_a_seed_the_processes_agree_on_one(seen: Any) -> None:
    for one, other in zip(*(part["random seed"]["train"] for part in seen), strict=True):
        assert set(one + other) == set(NUMBERS)
        assert len(one) == len(other) == 12


@pytest.mark.slow
def test_parts_in_a_module_by_hand(seen: Any) -> None:
    """Metrics are those of the whole data set, and schedules count each process's batches."""
    for part in seen:
        assert part["parts"]["metrics"] == {"samples": 23, "order": list(NUMBERS)}
        assert part["parts"]["rates"] == pytest.approx([0.1 * (1 - n / 11) for n in range(12)])


@pytest.mark.slow
def test_tensor_parallel_processes_see_the_same(seen: Any) -> None:
    one, other = (part["tensor parallel"]["train"] for part in seen)
    assert one == other
    assert [sorted(epoch) for epoch in one] == [list(NUMBERS)] * EPOCHS


@pytest.mark.slow
def test_a_loader_that_knows_of_no_processes_is_dealt_by_lightning(seen: Any) -> None:
    for stage in ("train", "val"):
        for one, other in zip(*(part["given"][stage] for part in seen), strict=True):
            assert set(one + other) == set(NUMBERS)
            assert len(one) == len(other) == 12


@pytest.mark.slow
def test_a_sampler_made_for_other_processes_is_refused(seen: Any) -> None:
    assert [part["stale"][:57] for part in seen] == [
        "a sampler made for process 0 of 1, in process 0 of 2 → gi",
        "a sampler made for process 0 of 1, in process 1 of 2 → gi",
    ]


def numbers(**more: Any) -> MMDataModule:
    batches = {"batch_size": 3, "num_workers": 0, "collate_fn": {"type": "default_collate"}}
    return MMDataModule({**batches, "dataset": list(NUMBERS), **more}, seed=5)


class Watch(LightningModule):
    """Not one of ours."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[list[int]] = []

    def on_train_epoch_start(self) -> None:
        self.seen.append([])

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.seen[-1] += batch.tolist()
        return (self.weight * batch.float().mean()).sum()

    def validation_step(self, batch: Any, batch_idx: int) -> None: ...

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Shifted(Watch):
    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        return batch + 100


class Plain(LightningDataModule):
    """Of the user's, and without a word about batches."""

    def train_dataloader(self) -> Any:
        return loader(16)


def test_a_data_module_that_moves_nothing_is_not_warned_of() -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        trainer(max_epochs=1).fit(module(), datamodule=Plain())
    assert not [each for each in said if "transfer_batch" in str(each.message)]


def test_batches_go_where_the_module_wants_them() -> None:
    watch = Shifted()
    trainer(max_epochs=1).fit(watch, datamodule=numbers(sampler={"type": "DefaultSampler"}))
    assert sorted(watch.seen[0]) == [number + 100 for number in NUMBERS]
    data = MMDataModule()
    for owner, where in ((Watch(), "meta"), (module(), "cpu")):
        data.trainer = SimpleNamespace(lightning_module=owner)
        batch = data.transfer_batch_to_device(torch.ones(1), torch.device("meta"), 0)
        assert batch.device.type == where


def test_a_resumed_endless_sampler_goes_on(tmp_path: Path) -> None:
    def fit(epochs: int, path: Any = None) -> tuple[Any, list[list[int]]]:
        watch, run = Watch(), trainer(max_epochs=epochs)
        run.fit(watch, datamodule=numbers(sampler={"type": "InfiniteSampler"}), ckpt_path=path)
        return run, watch.seen

    run, begun = fit(1)
    run.save_checkpoint(tmp_path / "one.ckpt")
    assert begun + fit(3, tmp_path / "one.ckpt")[1] == fit(3)[1]


def test_what_lightning_asks_of_a_loader() -> None:
    data = numbers(sampler={"type": "DefaultSampler"})
    view = data.train_dataloader()
    assert (len(view), view.batch_size, view.dataset) == (8, 3, list(NUMBERS))
    assert view.sampler is data.loader("train").sampler
    view.worker_init_fn = print
    assert data.loader("train").worker_init_fn is print


def test_with_one_process_a_built_loader_is_taken_as_it_is() -> None:
    built = DataLoader(Points(20), batch_size=5, shuffle=True)
    run, bridge = trainer(max_epochs=1), module()
    run.fit(bridge, datamodule=MMDataModule(built, built))
    assert (run.num_training_batches, run.num_val_batches) == (4, [4])


def test_a_trainer_of_ones_own_has_one_set() -> None:
    built = DataLoader(Points(20), batch_size=5)
    with pytest.raises(ArgumentError, match=r"val_dataloader is a list of 2 → a run evaluates"):
        trainer(max_epochs=1).fit(module(), datamodule=MMDataModule(built, [built, built]))


MISSING = {
    "train in a fit": ("fit", {"val_dataloader": True}, {}, "train"),
    "train for overfitting": ("fit", {"val_dataloader": True}, {"overfit_batches": 2}, "train"),
    "val": ("validate", {"train_dataloader": True}, {}, "val"),
    "test": ("test", {"train_dataloader": True, "val_dataloader": True}, {}, "test"),
    "test for predicting": ("predict", {"train_dataloader": True}, {}, "test"),
}


@pytest.mark.parametrize(("function", "given", "flags", "lacks"), MISSING.values(), ids=MISSING)
def test_a_loader_that_is_missing_is_named(
    function: str, given: dict[str, bool], flags: dict[str, Any], lacks: str
) -> None:
    data = MMDataModule(**{name: loader() for name in given})
    message = rf"no {lacks}_dataloader, and Trainer.{function} .* MMDataModule\({lacks}_dataloader="
    with pytest.raises(ArgumentError, match=message):
        getattr(trainer(max_epochs=1, **flags), function)(module(), datamodule=data)


class OwnSetup(MMDataModule):
    def setup(self, stage: str) -> None: ...


@pytest.mark.filterwarnings("ignore:Total length of .list. across ranks is zero")
@pytest.mark.parametrize("kind", [MMDataModule, OwnSetup])
def test_a_fit_needs_no_validation(kind: Any) -> None:
    run = trainer(max_epochs=1)
    run.fit(module(), datamodule=kind(loader()))
    assert (run.global_step, sum(run.num_val_batches)) == (8, 0)


class OwnValidation(MMDataModule):
    def val_dataloader(self) -> Any:
        return loader(16)


def test_a_subclass_may_bring_the_loader_itself() -> None:
    run = trainer(max_epochs=1)
    run.fit(module(), datamodule=OwnValidation(loader()))
    assert run.num_val_batches == [2]
