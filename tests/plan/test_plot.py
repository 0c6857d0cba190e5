"""The curves of a config, as text and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch import nn

from mm2pl.plan.plot import Length, measured_epoch_length, plot_schedule, schedule_curves

SGD = {"type": "SGD", "lr": 0.1, "momentum": 0.9}
STEP = {"type": "MultiStepLR", "milestones": [1], "gamma": 0.5}


def config(**changes: Any) -> dict[str, Any]:
    return {
        "train_cfg": {"by_epoch": True, "max_epochs": 2},
        "optim_wrapper": {"optimizer": SGD},
        "param_scheduler": STEP,
        **changes,
    }


def curves(cfg: dict[str, Any], model: nn.Module | None = None) -> dict[str, list[float]]:
    run = Length(iters=4, epoch_length=2, by_epoch=True, assumed=False)
    return {f"{c.entry} of {c.label}": c.values for c in schedule_curves(cfg, run, model)}


LR = [0.1, 0.1, 0.05, 0.05]
BACKBONE = {"custom_keys": {"backbone": {"lr_mult": 0.5}, "neck": {}, "head": {"decay_mult": 0}}}

CURVES: dict[str, tuple[dict[str, Any], dict[str, list[float]]]] = {
    "one group": (config(), {"lr of all": LR}),
    "no scheduler": (config(param_scheduler=None), {"lr of all": [0.1] * 4}),
    "rules without a curve of their own": (
        config(optim_wrapper={"optimizer": SGD, "paramwise_cfg": {"custom_keys": {"neck": {}}}}),
        {"lr of all": LR},
    ),
    "no momentum": (config(optim_wrapper={"optimizer": {**SGD, "momentum": 0}}), {"lr of all": LR}),
    "betas": (
        config(
            optim_wrapper={"optimizer": {"type": "AdamW"}},
            param_scheduler={"type": "StepMomentum", "step_size": 1, "gamma": 0.5},
        ),
        {"lr of all": [0.001] * 4, "momentum of all": [0.9, 0.9, 0.45, 0.45]},
    ),
    "groups of paramwise_cfg": (
        config(
            optim_wrapper={
                "optimizer": {**SGD, "weight_decay": 0.1},
                "paramwise_cfg": {**BACKBONE, "bias_lr_mult": 2},
            }
        ),
        {
            "lr of others, neck, head": LR,
            "lr of biases": [0.2, 0.2, 0.1, 0.1],
            "lr of backbone": [0.05, 0.05, 0.025, 0.025],
        },
    ),
    "several optimizers": (
        config(
            optim_wrapper={
                "constructor": "Gan",
                "gen": {"optimizer": {"type": "RMSprop", "lr": 0.1}},
                "disc": {"optimizer": {"type": "RMSprop", "lr": 0.2}},
            },
            param_scheduler={"gen": [STEP], "disc": []},
        ),
        {"lr of gen: all": LR, "lr of disc: all": [0.2] * 4},
    ),
}


@pytest.mark.parametrize(("cfg", "expected"), CURVES.values(), ids=CURVES)
def test_curves(cfg: dict[str, Any], expected: dict[str, list[float]]) -> None:
    assert curves(cfg) == expected


def test_with_a_model_groups_are_its_own() -> None:
    model = nn.ModuleDict({"backbone": nn.Linear(1, 1), "head": nn.Linear(1, 1, bias=False)})
    sgd = {**SGD, "weight_decay": 0.1}
    cfg = config(optim_wrapper={"optimizer": sgd, "paramwise_cfg": BACKBONE})
    assert curves(cfg, model) == {
        "lr of backbone.weight, backbone.bias": [0.05, 0.05, 0.025, 0.025],
        "lr of head.weight": LR,
    }


def test_text_has_a_line_per_curve_and_marks_epochs() -> None:
    text = plot_schedule(config(), epoch_length=30)
    assert text.splitlines() == [
        "2 epochs of 30 iterations",
        "█" * 30 + "▁" * 30 + "  lr of all: 0.1 → 0.05, 0.05 to 0.1",
        "'" + " " * 29 + "'" + " " * 29 + "  epochs",
    ]


@pytest.mark.parametrize(
    ("train_cfg", "note"),
    [
        ({"max_epochs": 3}, "3 epochs of 1000 iterations (assumed: "),
        ({"type": "EpochBasedTrainLoop", "max_epochs": 3}, "3 epochs of 1000 iterations (assumed"),
        ({"type": "IterBasedTrainLoop", "max_iters": 50}, "50 iterations"),
        ({"by_epoch": False, "max_iters": 50}, "50 iterations"),
        ({"max_iters": 50}, "50 iterations"),
    ],
    ids=["epochs", "epoch loop", "iteration loop", "by_epoch=False", "max_iters"],
)
def test_the_length_of_the_run(train_cfg: dict[str, Any], note: str) -> None:
    assert plot_schedule(config(train_cfg=train_cfg)).startswith(note)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_cfg": None}, "no `train_cfg` → there is no training"),
        ({"optim_wrapper": None}, "no `optim_wrapper`"),
        ({"train_cfg": {"by_epoch": True}}, "does not say how long to train"),
        ({"optim_wrapper": {"optimizer": {"type": "Unknown"}}}, "has no lr to draw"),
        ({"optim_wrapper": {"optimizer": {"lr": 0.1}}}, "0.1} → a dict with a type is needed"),
        ({"optim_wrapper": {"optimizer": "SGD"}}, "optimizer='SGD' → a dict with a type"),
        ({"optim_wrapper": {"optimizer": {"type": "SGD", "lr": "0.1"}}}, "lr='0.1' in .* a number"),
        ({"param_scheduler": {"step_size": 1}}, "lacks `type`"),
        (
            {"optim_wrapper": {"gen": {"optimizer": SGD}}, "param_scheduler": {"g": STEP}},
            r"for \['g'\] lacks \['gen'\]",
        ),
        (
            {"optim_wrapper": {"optimizer": SGD, "paramwise_cfg": {"custom_keys": {"a": 2}}}},
            r"custom_keys\['a'\]=2 must be a dict such as",
        ),
    ],
    ids=[
        *("train_cfg", "optim_wrapper", "length", "lr", "no type", "no dict", "text"),
        *("type", "names", "custom key"),
    ],
)
def test_refuses(changes: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError, KeyError), match=message):
        plot_schedule(config(**changes))


def test_refuses_an_epoch_of_no_iterations() -> None:
    with pytest.raises(ValueError, match="epoch_length=0 must be a positive integer"):
        plot_schedule(config(), epoch_length=0)


def test_refuses_paths_that_nothing_can_be_drawn_to(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(ValueError, match=r"no picture has this ending → .*png"):
        plot_schedule(config(), tmp_path / "lr.doc")
    with pytest.raises(FileNotFoundError, match=r"the folder .* of 'lr\.png' does not exist"):
        plot_schedule(config(), tmp_path / "missing" / "lr.png")


def test_says_what_a_config_alone_leaves_open() -> None:
    optim_wrapper = {"optimizer": {"type": "SGDD", "lr": 0.1}, "constructor": "LayerDecay"}
    assert plot_schedule(config(optim_wrapper=optim_wrapper)).splitlines()[-2:] == [
        "note: no optimizer 'SGDD' is registered; its defaults are unknown. Did you mean 'SGD'?",
        "note: which param groups LayerDecay makes depends on the model.",
    ]


@pytest.mark.parametrize("train_cfg", [{"max_epochs": 3}, {"max_iters": 50}])
def test_draws(tmp_path: Path, train_cfg: dict[str, Any]) -> None:
    pytest.importorskip("matplotlib")
    plot_schedule(config(train_cfg=train_cfg), tmp_path / "lr.png", epoch_length=10)
    assert (tmp_path / "lr.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mm2pl.plan.plot.find_spec", lambda name: None)
    text = plot_schedule(config(), tmp_path / "lr.png", epoch_length=10)
    assert text.endswith(r"lr.png is not drawn: matplotlib is missing → pip install mm2pl[plot]")
    assert not (tmp_path / "lr.png").exists()


DATA = [{"inputs": index} for index in range(10)]


@pytest.mark.parametrize(
    ("loader", "length"),
    [
        ({"batch_size": 4, "dataset": DATA}, 3),
        ({"batch_size": 4, "dataset": DATA, "drop_last": True}, 2),
    ],
    ids=["all", "drop_last"],
)
def test_an_epoch_is_measured(loader: dict[str, Any], length: int) -> None:
    assert measured_epoch_length(config(train_dataloader=loader)) == length


def test_an_epoch_that_cannot_be_measured() -> None:
    with pytest.raises(ValueError, match="no `train_dataloader` → add it"):
        measured_epoch_length(config())


class Missing:
    def __len__(self) -> int:
        raise FileNotFoundError("data/train.json")


def test_data_that_cannot_be_built() -> None:
    cfg = config(train_dataloader={"batch_size": 4, "dataset": Missing()})
    message = r"FileNotFoundError: data/train.json\) → mm2pl plot schedule --epoch-length"
    with pytest.raises(ValueError, match=message):
        measured_epoch_length(cfg)
