"""Several data sets in one validation or test."""

from __future__ import annotations

import pytest

from tests.loops.driving import loader_dict
from tests.scenarios import Points, Scenario, accuracy, build

pytestmark = pytest.mark.filterwarnings("ignore")

ACCURACY = {"type": accuracy("mm2pl")}


class Named(Points):
    def __init__(self, size: int, name: str) -> None:
        super().__init__(size)
        self.metainfo = {"dataset_name": name}


def runner(tmp_path, **options):
    scenario = Scenario(
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.05}},
        train_cfg={"by_epoch": True, "max_epochs": 2},
        options=options,
    )
    keys = ("loss", "lr", "momentum", "metrics", "place", "validated_at")
    return build("mm2pl", scenario, str(tmp_path), {key: [] for key in keys})


def alone(tmp_path, size):
    made = runner(tmp_path, val_dataloader=loader_dict(size))
    return made.val()["accuracy"]


@pytest.mark.parametrize(
    "evaluator", [[ACCURACY, [ACCURACY]], ACCURACY], ids=["one each", "one for all"]
)
def test_each_set_has_its_metrics(evaluator, tmp_path):
    made = runner(
        tmp_path, val_dataloader=[loader_dict(30), loader_dict(21)], val_evaluator=evaluator
    )
    expected = {"0/accuracy": alone(tmp_path, 30), "1/accuracy": alone(tmp_path, 21)}
    assert made.val() == expected
    assert set(made.trainer.callback_metrics) == set(expected)


def test_the_best_file_is_that_of_one_set(tmp_path):
    sets = [
        {**loader_dict(1), "dataset": Named(30, "day")},
        {**loader_dict(1), "dataset": Named(21, "night")},
    ]
    made = runner(
        tmp_path, val_dataloader=sets, val_evaluator=ACCURACY,
        default_hooks={"checkpoint": {"type": "CheckpointHook", "save_best": "night/accuracy", "rule": "greater"}},
    )  # fmt: skip
    made.train()
    assert len(list(tmp_path.glob("best_night_accuracy_epoch_*.pth"))) == 1


def test_evaluators_are_counted(tmp_path):
    made = runner(tmp_path, val_dataloader=[loader_dict(30)] * 3, val_evaluator=[ACCURACY] * 2)
    with pytest.raises(ValueError, match=r"val_evaluator is 2 for 3 loaders .* → one each"):
        made.val()
