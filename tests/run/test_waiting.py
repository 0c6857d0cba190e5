from __future__ import annotations

import pytest
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from torch import nn
from torch.optim import SGD

from mm2pl.hooks import CheckpointHook, EarlyStoppingHook, LoggerHook
from mm2pl.optim import LinearLR, ReduceOnPlateauLR
from mm2pl.run.clock import Timetable, first_validation, validates_after
from mm2pl.run.waiting import missing_validation, never_acting
from tests.scenarios import Scenario, build

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.mark.parametrize("begin", [0, 1, 3, 7, 13])
@pytest.mark.parametrize(
    ("milestones", "intervals"),
    [((0,), (1,)), ((0,), (5,)), ((0,), (50,)), ((0, 6), (50, 2)), ((0, 8, 4), (9, 3, 4))],
)
def test_the_first_validation(begin, milestones, intervals):
    times = Timetable(
        by_epoch=True, end=12, val_begin=begin, milestones=milestones, intervals=intervals
    )
    expected = next((n for n in range(1, 13) if validates_after(times, n)), None)
    assert first_validation(times) == expected


@pytest.mark.parametrize(
    ("times", "limit", "expected"),
    [
        ({}, 1.0, None),
        ({"validates": False}, None, ("nothing validates → add val_dataloader", False)),
        ({}, 0, ("limit_val_batches=0 → at least 1", False)),
        ({"val_begin": 9}, None, ("val_begin=9 of 4 epochs → a smaller val_begin", False)),
        (
            {"val_begin": 4},
            None,
            ("comes after the last of 4 epochs → a smaller val_interval", True),
        ),
    ],
    ids=["validates", "no-loop", "limited", "begins-too-late", "at-the-end"],
)
def test_what_is_missing(times, limit, expected):
    found = missing_validation(Timetable(**{"by_epoch": True, "end": 4, **times}), limit)
    assert (found is None) == (expected is None)
    if expected is not None:
        assert expected[0] in found[0]
        assert found[1] is expected[1]


def schedule(cls, **arguments):
    return cls(SGD(nn.Linear(1, 1).parameters(), lr=1.0), **arguments)


@pytest.mark.parametrize(
    ("part", "named", "late"),
    [
        (lambda: EarlyStoppingHook("acc", patience=0), ("EarlyStoppingHook.monitor", "acc"), True),
        (lambda: EarlyStopping("x"), ("EarlyStopping.monitor", "x"), True),
        (
            lambda: schedule(ReduceOnPlateauLR, monitor="m"),
            ("ReduceOnPlateauLR.monitor", "m"),
            True,
        ),
        (lambda: CheckpointHook(save_best="auto"), ("CheckpointHook.save_best", ["auto"]), False),
        (CheckpointHook, None, False),
        (LoggerHook, None, False),
        (LearningRateMonitor, None, False),
        # It can save by what training logs.
        (lambda: ModelCheckpoint(monitor="loss", every_n_train_steps=1), None, False),
        (lambda: schedule(LinearLR), None, False),
    ],
)
def test_who_waits(part, named, late):
    made = part()
    assert never_acting([made], at_the_end=False) == ([named] if named else [])
    assert never_acting([made], at_the_end=True) == ([named] if late else [])


@pytest.mark.parametrize(
    ("options", "trainer", "said"),
    [
        ({}, {}, None),
        (
            {"val_cfg": None, "val_dataloader": None, "val_evaluator": None},
            {},
            "ReduceOnPlateauLR.monitor='accuracy' → this will never act: nothing validates; add val_dataloader",
        ),
        (
            {"train_cfg": {"max_epochs": 2, "val_interval": 3}},
            {},
            "the last of 2 epochs; a smaller",
        ),
        ({"train_cfg": {"max_epochs": 2, "val_interval": 3}}, {"check_val_every_n_epoch": 2}, None),
        ({}, {"limit_val_batches": 0}, "limit_val_batches=0"),
        ({"train_cfg": {"max_epochs": 2, "val_begin": 3}}, {"fast_dev_run": True}, None),
    ],
    ids=["validates", "nothing", "late", "by-lightning", "limited", "trial"],
)
def test_a_run_says_it_once(tmp_path, capsys, options, trainer, said):
    keys = ("loss", "lr", "momentum", "metrics", "place", "validated_at")
    scenario = Scenario(
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1}},
        train_cfg={"max_epochs": 2, "by_epoch": True, **options.pop("train_cfg", {})},
        param_scheduler={"type": "ReduceOnPlateauLR", "monitor": "accuracy", "rule": "greater"},
    )
    more = {"log_level": "WARNING", "trainer": {"limit_train_batches": 2, **trainer}, **options}
    build("mm2pl", scenario, str(tmp_path), {key: [] for key in keys}, **more).train()
    printed = capsys.readouterr().out
    assert printed.count("will never act") == (said is not None)
    assert (said or "") in printed
