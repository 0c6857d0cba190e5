"""What a run takes of a checkpoint, what it says, and how it is steered."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from mm2pl.checkpoint.compare import KEY
from mm2pl.checkpoint.reader import CheckpointError
from mm2pl.lightning import MMLightningModule
from tests.bridges import loader, module, trainer
from tests.scenarios import Scenario, build, models, record

pytestmark = pytest.mark.filterwarnings("ignore")

SGD = {"type": "SGD", "lr": 0.05, "momentum": 0.9}
ADAM = {"type": "AdamW", "lr": 0.01}
WARMUP = {"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "end": 12}
STEPS = {"type": "MultiStepLR", "milestones": [1, 2], "gamma": 0.3}
DECAY = {"type": "ExponentialLR", "gamma": 0.8}
COSINE = {"type": "CosineAnnealingLR", "by_epoch": True, "convert_to_iter_based": True}
PLATEAU = {"type": "ReduceOnPlateauLR", "monitor": "accuracy", "rule": "greater", "patience": 0}
LONGER = {"by_epoch": True, "max_epochs": 4}
SAVING = {"checkpoint": {"type": "CheckpointHook", "interval": 1}}
PER_EPOCH = 9


def scenario(schedules: Any, **changes: Any) -> Scenario:
    made = Scenario(optim_wrapper={"optimizer": SGD}, param_scheduler=schedules)
    made.default_hooks = dict(SAVING)
    for name, value in changes.items():
        setattr(made, name, value)
    return copy.deepcopy(made)


def run(folder: Path, made: Scenario, **options: Any) -> dict[str, Any]:
    made.options = {**options, "log_level": "INFO"}
    return record("mm2pl", made, str(folder))


def written(folder: Path, schedules: Any = STEPS, **changes: Any) -> str:
    run(folder, scenario(schedules, **changes))
    return str(folder / "epoch_2.pth")


def block(folder: Path) -> list[str]:
    """Return the lines of the report in the newest log."""
    log = max(folder.glob("*/*.log")).read_text().splitlines()
    start = next(i for i, line in enumerate(log) if "Checkpoint ↔ this run" in line)
    lines = [log[start].split("INFO - ")[1]]
    for line in log[start + 1 :]:
        if not line.startswith("  "):
            break
        lines.append(line.strip())
    return lines


MULTIPLIED = {"optimizer": SGD, "paramwise_cfg": {"custom_keys": {"net.4": {"lr_mult": 0.1}}}}
PLANS: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    # Schedules and other keys of the file's run, and what changes.
    "longer cosine": (COSINE, {}, {"train_cfg": LONGER}),
    "other rate": ([WARMUP, STEPS], {}, {"optim_wrapper": {"optimizer": {**SGD, "lr": 0.7}}}),
    "other schedules": (STEPS, {}, {"param_scheduler": [WARMUP, DECAY]}),
    "groups": (COSINE, {"optim_wrapper": MULTIPLIED}, {"train_cfg": LONGER}),
}


@pytest.mark.parametrize(("schedules", "both", "change"), PLANS.values(), ids=PLANS)
def test_a_run_planned_anew_has_the_rates_of_one_that_had_this_plan_from_the_start(
    tmp_path, schedules, both, change
):
    path = written(tmp_path / "file", schedules, **both)
    asked = {"filename": path, "resume_param_scheduler": "replan"}
    got = run(tmp_path / "rest", scenario(schedules, **both, **change), resume=asked)
    whole = run(tmp_path / "whole", scenario(schedules, **both, **change))
    assert got["lr"] == whole["lr"][2 * PER_EPOCH :]


def test_where_nothing_differs_one_line_says_so(tmp_path):
    path = written(tmp_path / "file", [WARMUP, STEPS])
    run(tmp_path / "rest", scenario([WARMUP, STEPS]), load_from=path, resume=True)
    assert block(tmp_path / "rest") == ["Checkpoint ↔ this run: nothing differs."]


def test_what_differs_is_said_and_which_is_used(tmp_path):
    path = written(tmp_path / "file", [WARMUP, STEPS])
    made = scenario([{**STEPS, "gamma": 0.5}, DECAY], train_cfg=LONGER)
    made.optim_wrapper["optimizer"] = {**SGD, "lr": 0.7}
    run(tmp_path / "rest", made, load_from=path, resume=True, randomness={"seed": 6})
    file = "the checkpoint's"
    replan = "(resume_param_scheduler='replan' or --resume-param-scheduler replan takes this run's)"
    anew = "(resume_optimizer=False or --resume-optimizer false takes this run's)"
    assert block(tmp_path / "rest") == [
        "Checkpoint ↔ this run, where they differ:",
        f"lr: checkpoint 0.05 ↔ here 0.7 → {file} {anew}",
        "length: checkpoint 3 epochs, 27 iterations ↔ here 4 epochs, 36 iterations → this run's",
        f"seed: checkpoint 5 ↔ here 6 → {file}",
        "schedule MultiStepLR: checkpoint gamma=0.3, end=3 ↔ here gamma=0.5, end=4 → "
        f"{file} {replan}",
        "schedule ExponentialLR: not in the checkpoint → it begins at the progress of the run, without a jump",
        "schedule LinearLR of the checkpoint: not in this run → dropped",
    ]


def test_each_schedule_gets_its_own_state_and_a_new_one_begins_without_a_jump(tmp_path):
    path = written(tmp_path / "file", [WARMUP, STEPS], train_cfg=LONGER)
    made = scenario([DECAY, STEPS], train_cfg=LONGER)
    got = run(tmp_path / "rest", made, load_from=path, resume=True)
    rates = [float.fromhex(each["lr"][0]) for each in got["lr"]]
    # Both milestones are passed; then only the new one acts, from the third epoch's end on.
    before = 0.05 * 0.3 * 0.3
    assert rates[0] == pytest.approx(before)
    assert rates[PER_EPOCH] == pytest.approx(before * 0.8)
    assert len(rates) == 2 * PER_EPOCH


ANOTHER = {
    "class": ({"optimizer": ADAM}, "optimizer is SGD with 1 group of 6 parameters, .* is AdamW"),
    "groups": (
        MULTIPLIED,
        "SGD with 1 group of 6 parameters, this run's is SGD with 6 groups",
    ),
}


@pytest.mark.parametrize(("wrapper", "message"), ANOTHER.values(), ids=ANOTHER)
def test_another_optimizer_is_refused_before_anything_is_changed(tmp_path, wrapper, message):
    path = written(tmp_path / "file")
    made = scenario(STEPS, optim_wrapper=wrapper)
    with pytest.raises(
        CheckpointError, match=rf"epoch_2.pth: .*{message}.*--resume-optimizer false"
    ):
        run(tmp_path / "rest", made, load_from=path, resume=True)


def with_weights(path: str, change: Any) -> str:
    file = torch.load(path, weights_only=True)
    change(file["state_dict"])
    torch.save(file, path)
    return path


def test_a_parameter_of_another_shape_keeps_its_own_values_and_begins_its_state_anew(tmp_path):
    path = written(tmp_path / "file")
    with_weights(path, lambda weights: weights.update({"net.4.bias": torch.ones(7)}))
    run(tmp_path / "rest", scenario(STEPS), load_from=path, resume=True)
    report = block(tmp_path / "rest")
    assert "net.4.bias is (7,) in the file and (4,) in the model" in report[1]
    assert report[2].startswith("optimizer: the state of parameters of another shape begins anew")


AVERAGE = [{"type": "EMAHook", "momentum": 0.05}]


def test_an_average_of_another_width_is_one_message_and_load_from_takes_it(tmp_path):
    path = written(tmp_path / "file", custom_hooks=AVERAGE)
    file = torch.load(path, weights_only=True)
    file["state_dict"]["net.4.bias"] = file["ema_state_dict"]["module.net.4.bias"] = torch.ones(7)
    torch.save(file, path)
    said = (
        r"file/epoch_2\.pth: the average .*: module\.net\.4\.bias is \(7,\) in the file and \(4,\) "
    )
    with pytest.raises(CheckpointError, match=f"{said}.* → load_from without resume takes"):
        run(tmp_path / "rest", scenario(STEPS, custom_hooks=AVERAGE), load_from=path, resume=True)
    again = run(tmp_path / "new", scenario(STEPS, custom_hooks=AVERAGE), load_from=path)
    assert len(again["loss"]) == 3 * PER_EPOCH


@pytest.mark.parametrize("verb", ["val", "test"])
def test_weights_that_differ_are_taken_by_an_evaluation_too(tmp_path, verb):
    path = with_weights(written(tmp_path / "file"), lambda weights: weights.pop("net.4.bias"))
    book: dict[str, list] = {key: [] for key in ("loss", "lr", "momentum", "place", "metrics")}
    runner = build(
        "mm2pl",
        scenario(STEPS),
        str(tmp_path / "rest"),
        {**book, "validated_at": []},
        test_dataloader=loader(),
        test_evaluator=[],
        test_cfg={},
    )
    runner.restore(path)
    getattr(runner, verb)()
    weight = torch.load(path, weights_only=True)["state_dict"]["net.0.weight"]
    assert torch.equal(runner.model.net[0].weight, weight)


def test_what_a_metric_has_decided_stays_when_a_run_is_planned_anew(tmp_path):
    path = written(tmp_path / "file", [STEPS, PLATEAU])
    state = torch.load(path, weights_only=True)["param_schedulers"][1]
    book: dict[str, list] = {key: [] for key in ("loss", "lr", "momentum", "place", "metrics")}
    asked = {"filename": path, "resume_param_scheduler": "replan"}
    made = scenario([STEPS, PLATEAU], train_cfg=LONGER)
    runner = build(
        "mm2pl", made, str(tmp_path / "rest"), {**book, "validated_at": []}, resume=asked
    )
    seen: list[Any] = []
    runner.register_hook(Spy(seen))
    runner.train()
    assert seen[0] == {**state, "end": 4}


class Spy:
    """Read the second schedule when the training starts."""

    priority = "VERY_LOW"

    def __init__(self, seen: list[Any]) -> None:
        self.seen = seen

    def get_triggered_stages(self) -> list[str]:
        return ["before_train"]

    def before_train(self, runner: Any) -> None:
        self.seen.append(runner.param_schedulers[1].state_dict())


def test_a_file_holds_the_facts_of_its_run_as_plain_data(tmp_path):
    facts = torch.load(written(tmp_path / "file"), weights_only=True)[KEY]
    assert facts.pop("versions").keys() == {"mm2pl", "torch"}
    assert facts == {
        "loop": "by epoch",
        "max_epochs": 3,
        "max_iters": 27,
        "epoch_length": 9,
        "batch_size": 8,
        "data_length": 70,
        "seed": 5,
        "processes": 1,
        "optimizers": {"": "SGD"},
        "schedules": {"": ["MultiStepLR"]},
    }


# In a Trainer of the user's own


def own_file(folder: Path, **options: Any) -> tuple[str, dict[str, Any]]:
    bridge = module(**options)
    once = trainer(max_epochs=1)
    once.fit(bridge, loader())
    once.save_checkpoint(folder / "x.ckpt")
    return str(folder / "x.ckpt"), bridge.state_dict()


def test_a_strict_module_refuses_what_another_one_takes(tmp_path):
    path, _ = own_file(tmp_path)
    with_weights(path, lambda weights: weights.pop("net.0.bias"))
    trainer(max_epochs=2).fit(module(), loader(), ckpt_path=path)
    strict = module()
    strict.strict_loading = True
    with pytest.raises(
        CheckpointError, match=r"x.ckpt: .*1 missing \(net.0.bias\).*strict_loading"
    ):
        trainer(max_epochs=2).fit(strict, loader(), ckpt_path=path)


class Renaming(MMLightningModule):
    """Know an older name, in the way of Lightning's users; and schedule in the way of torch."""

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        weights = checkpoint["state_dict"]
        weights["model.net.0.bias"] = weights.pop("model.old_bias")

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)]


def renaming() -> Renaming:
    torch.manual_seed(3)
    return Renaming(models("mm2pl")["plain"]())


def test_a_users_own_hook_and_optimizers_are_left_alone(tmp_path):
    once = trainer(max_epochs=1)
    once.fit(renaming(), loader())
    once.save_checkpoint(tmp_path / "x.ckpt")
    path = str(tmp_path / "x.ckpt")
    with_weights(path, lambda weights: weights.update({"old_bias": weights.pop("net.0.bias")}))
    rest, whole = renaming(), renaming()
    trainer(max_epochs=2).fit(rest, loader(), ckpt_path=path)
    trainer(max_epochs=2).fit(whole, loader())
    assert rest.trainer.optimizers[0].param_groups[0]["lr"] == 0.1 * 0.5 * 0.5
    assert rest.trainer.lr_scheduler_configs[0].scheduler.last_epoch == 2
    assert whole.trainer.lr_scheduler_configs[0].scheduler.last_epoch == 2


def test_another_optimizer_is_refused_in_a_users_trainer(tmp_path):
    path, _ = own_file(tmp_path)
    with pytest.raises(CheckpointError, match=r"optimizer is SGD .* is AdamW with"):
        trainer().fit(module(optim_wrapper={"optimizer": ADAM}), loader(), ckpt_path=path)


def test_weights_only_are_refused_in_a_users_trainer(tmp_path):
    bridge = module()
    once = trainer(max_epochs=1)
    once.fit(bridge, loader())
    once.save_checkpoint(tmp_path / "w.ckpt", weights_only=True)
    with pytest.raises(CheckpointError, match=r"w.ckpt holds weights only"):
        trainer().fit(module(), loader(), ckpt_path=tmp_path / "w.ckpt")


class ByHand(pl.LightningModule):
    """A module as people write it without mm2pl, around the same network, with a schedule of torch."""

    def __init__(self, network: Any, **options: Any) -> None:
        super().__init__()
        self.model, self.options = network, {"lr": 0.1, **options}

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return self.model(**batch, mode="loss")["loss_ce"]

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.model.parameters(), **self.options)
        return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)]


def file_by_hand(folder: Path, network: Any) -> str:
    once = trainer(max_epochs=1)
    once.fit(ByHand(network), loader())
    once.save_checkpoint(folder / "hand.ckpt")
    return str(folder / "hand.ckpt")


def test_a_file_of_a_module_written_by_hand_is_continued(tmp_path):
    path = file_by_hand(tmp_path, module().model)
    bridge = module(param_scheduler=DECAY)
    once = trainer(max_epochs=3)
    once.fit(bridge, loader(), ckpt_path=path)
    assert once.global_step == 24
    # From the rate that torch's schedule has left, and without a jump.
    assert bridge.optim_wrapper.get_lr()["lr"] == pytest.approx([0.1 * 0.5 * 0.8])


def test_a_file_of_another_module_written_by_hand_is_refused_in_one_message(tmp_path):
    network = module().model
    network.net = torch.nn.Sequential(torch.nn.Linear(8, 99), torch.nn.Linear(99, 4))
    path = file_by_hand(tmp_path, network)
    with pytest.raises(
        CheckpointError, match=r"hand.ckpt: .*net.0.weight is \(99, 8\) in the file"
    ):
        trainer(max_epochs=2).fit(module(), loader(), ckpt_path=path)
