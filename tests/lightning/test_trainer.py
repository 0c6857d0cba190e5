"""The Trainer of a run: its best and last checkpoints, how long it trains, and the run that it carries."""

from __future__ import annotations

import os

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import LearningRateFinder, StochasticWeightAveraging

from mm2pl.hooks import Hook
from mm2pl.lightning import MMDataModule, MMLightningModule, RunCallback
from mm2pl.lightning.trainer import instantiate
from mm2pl.plan.processes import strategy_of
from tests.scenarios import Points, Scenario, build, models

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def make(tmp_path, max_epochs=3, **options):
    book = {k: [] for k in ("loss", "lr", "momentum", "metrics", "place", "validated_at")}
    best = {"type": "CheckpointHook", "interval": 2, "save_best": "accuracy", "rule": "greater"}
    scenario = Scenario(
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.05}},
        train_cfg={"by_epoch": True, "max_epochs": max_epochs},
        default_hooks={"checkpoint": best},
    )
    return build("mm2pl", scenario, str(tmp_path), book, **options)


@pytest.mark.parametrize(("which", "name"), [("best", "best_accuracy"), ("last", "epoch_3.pth")])
def test_a_checkpoint_of_this_process(tmp_path, which, name):
    runner = make(tmp_path)
    runner.train()
    (metrics,) = runner.trainer.validate(runner.module, None, which, False, runner.datamodule)
    assert metrics == {"accuracy": pytest.approx(runner.module.eval_metrics["accuracy"])}
    assert os.path.basename(runner.trainer.ckpt_path).startswith(name)


def test_the_last_checkpoint_of_another_process(tmp_path):
    make(tmp_path).train()
    runner = make(tmp_path, max_epochs=5)
    runner.trainer.fit(runner.module, datamodule=runner.datamodule, ckpt_path="last")
    assert os.path.basename(runner.trainer.ckpt_path) == "epoch_3.pth"
    assert (runner.epoch, runner.iter) == (5, 45)


# pytest.warns raises what it does not match again, here
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_no_last_checkpoint_yet(tmp_path):
    runner = make(tmp_path, max_epochs=1)
    with pytest.warns(UserWarning, match="no last checkpoint available"):
        runner.trainer.fit(runner.module, datamodule=runner.datamodule, ckpt_path="last")
    assert runner.epoch == 1


@pytest.mark.parametrize(("trains", "count"), [(True, 0), (False, 1)], ids=["trained", "new"])
def test_a_run_is_not_taken_for_untrained_by_its_optimizer_steps(tmp_path, trains, count):
    make(tmp_path, max_epochs=1).train()  # leaves a `last_checkpoint`
    book = {k: [] for k in ("loss", "lr", "momentum", "metrics", "place", "validated_at")}
    sgd = {"optimizer": {"type": "SGD", "lr": 0.05}}
    scenario = Scenario(
        optim_wrapper=sgd, model="only_logs", train_cfg={"by_epoch": True, "max_epochs": 1}
    )
    runner = build("mm2pl", scenario, str(tmp_path), book, log_level="WARNING")
    if trains:
        runner.train()
    assert runner.trainer.global_step == 0
    runner.val()
    (log,) = (tmp_path / runner.timestamp).glob("*.log")
    assert log.read_text().count("this run has neither trained nor loaded weights") == count


class FailsOnce(Hook):
    """Raise in the third iteration, the first time."""

    seen: list

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.seen.append(data_batch["inputs"].sum().item())
        if len(self.seen) == 3:
            raise InterruptedError


def interrupted(tmp_path, resume=None, **train_cfg):
    hook = FailsOnce()
    hook.seen = []
    sgd = {"optimizer": {"type": "SGD", "lr": 0.05}}
    book = {k: [] for k in ("loss", "lr", "momentum", "metrics", "place", "validated_at")}
    scenario = Scenario(optim_wrapper=sgd, train_cfg=train_cfg, custom_hooks=[hook])
    runner = build("mm2pl", scenario, str(tmp_path), book, load_from=resume, resume=bool(resume))
    runner.train_dataloader.dataset.augment = False
    with pytest.raises(InterruptedError):
        runner.train()
    return runner, hook.seen


def test_a_run_by_iterations_goes_on_in_its_data_after_an_exception(tmp_path):
    runner, seen = interrupted(tmp_path, by_epoch=False, max_iters=8)
    runner.train()
    assert runner.iter == 8
    assert len(set(seen)) == 9  # the batch that failed, and eight others: an epoch has nine


def test_weights_are_loaded_after_an_exception(tmp_path):
    make(tmp_path / "other", max_epochs=1).train()
    file = str(tmp_path / "other" / "epoch_1.pth")
    runner, _ = interrupted(tmp_path, file, by_epoch=True, max_epochs=2)
    runner.resume(file)
    stored = torch.load(file, weights_only=False)["state_dict"]
    assert all(
        torch.equal(value, stored[name]) for name, value in runner.model.state_dict().items()
    )
    runner.train()
    assert (runner.epoch, runner.iter) == (2, 18)


@pytest.mark.parametrize(
    ("flags", "ends"),
    [
        ({"max_epochs": -1}, (2, 18)),
        ({"max_steps": 12}, (1, 12)),
        ({"max_steps": 20}, (2, 20)),
        ({"max_epochs": 1}, (1, 9)),
    ],
    ids=str,
)
def test_a_trainer_without_a_length_takes_the_loops(tmp_path, flags, ends):
    sgd, decay = {"optimizer": {"type": "SGD", "lr": 0.05}}, {"type": "LinearLR", "by_epoch": True}
    batches = {"dataset": Points(), "batch_size": 8, "collate_fn": {"type": "default_collate"}}
    run = RunCallback(
        str(tmp_path), train_cfg={"by_epoch": True, "max_epochs": 2}, log_level="ERROR"
    )
    trainer = Trainer(
        callbacks=[run],
        accelerator="cpu",
        default_root_dir=str(tmp_path),
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **flags,
    )
    module = MMLightningModule(models("mm2pl")["plain"](), sgd, [decay])
    sampler = {"type": "DefaultSampler"}
    trainer.fit(module, datamodule=MMDataModule({**batches, "sampler": sampler}))
    assert (run.run.epoch, run.run.iter) == ends


class WithOwnRun(Callback):
    def run(self):
        """Be named as the attribute by which a Trainer's run is found."""


def test_a_callback_with_a_method_called_run_is_not_taken_for_the_run(tmp_path):
    runner = make(tmp_path, max_epochs=1, trainer={"callbacks": [WithOwnRun()]})
    runner.train()
    assert (runner.epoch, runner.trainer.run) == (1, runner._run)


@pytest.mark.parametrize("limit", [0.5, 4])
def test_a_limit_of_batches_holds_once(tmp_path, limit):
    sgd = {"optimizer": {"type": "SGD", "lr": 0.05}}
    book = {k: [] for k in ("loss", "lr", "momentum", "metrics", "place", "validated_at")}
    scenario = Scenario(optim_wrapper=sgd, train_cfg={"by_epoch": False, "max_iters": 8})
    flags = {"limit_train_batches": limit}
    runner = build("mm2pl", scenario, str(tmp_path), book, trainer=flags)
    runner.train()
    assert (runner.iter, runner.max_iters) == (4, 4)


def test_weights_are_averaged_after_a_validation(tmp_path):
    average = StochasticWeightAveraging(swa_lrs=0.01, swa_epoch_start=1)
    runner = make(tmp_path, trainer={"callbacks": [average]})
    runner.val()
    runner.train()
    assert runner.epoch == 3


@pytest.mark.filterwarnings("error:scheduler.step.. was called before:UserWarning")
def test_no_schedule_warns_of_an_accumulation_by_the_trainer(tmp_path):
    book = {k: [] for k in ("loss", "lr", "momentum", "metrics", "place", "validated_at")}
    scenario = Scenario(
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.08}},
        param_scheduler={
            "type": "MultiStepLR",
            "milestones": [1, 2],
            "gamma": 0.5,
            "by_epoch": False,
        },
        train_cfg={"by_epoch": False, "max_iters": 4},
    )
    runner = build("mm2pl", scenario, str(tmp_path), book, trainer={"accumulate_grad_batches": 2})
    runner.train()
    assert runner.optim_wrapper.get_lr()["lr"] == [0.02]


def test_the_one_file_of_a_sharded_run_is_resumed_by_one_process(tmp_path):
    make(tmp_path, max_epochs=1).train()
    file = torch.load(tmp_path / "epoch_1.pth", weights_only=True)
    for name in ("state", "param_groups"):
        del file["optimizer"][name]  # Lightning's entry has them there
    torch.save(file, tmp_path / "sharded.pth")
    weights = []
    for name in ("epoch_1.pth", "sharded.pth"):
        runner = make(tmp_path / name[:-4], max_epochs=2, load_from=tmp_path / name, resume=True)
        runner.train()
        weights.append(runner.model.state_dict())
    assert all(torch.equal(weights[0][key], value) for key, value in weights[1].items())


MISTYPED = {
    "FSDP2": ({"meta_int": True}, "MMModelParallelStrategy has no .* Did you mean 'meta_init'"),
    "DDPStrategy": ({"find_unused": True}, "no argument 'find_unused' → .*find_unused_parameters"),
    "FSDPStrategy": ({"shardings": 1}, "MMFSDPStrategy has no argument 'shardings' → .*use_orig"),
}


@pytest.mark.parametrize("kind", MISTYPED)
def test_a_mistyped_argument_of_a_strategy(kind: str) -> None:
    arguments, message = MISTYPED[kind]
    with pytest.raises(ValueError, match=message):
        instantiate(strategy_of({"strategy": {"type": kind, **arguments}}))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"strategy": {"type": "DDPStrategy", "find_unused": True}}, "no argument 'find_unused'"),
        (
            {"model_wrapper_cfg": {"type": "MMDistributedDataParallel", "static_grph": True}},
            "Did you mean 'static_graph'",
        ),
        ({"model_wrapper_cfg": {"type": "MyOwnWrapper"}}, "model_wrapper_cfg has type="),
        ({"model_wrapper_cfg": {"type": "MMDistributedDataParallel", "static_graph": True}}, None),
    ],
)
def test_one_process_tells_what_several_would_refuse(tmp_path, config, message) -> None:
    make(tmp_path, cfg=config, log_level="WARNING").train()
    log = next(tmp_path.rglob("*.log")).read_text()
    assert ("several will refuse this one" in log) == (message is not None)
    assert message is None or message in log


class Batches(Hook):
    """Keep what each iteration has trained on, and at which learning rate."""

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []
        self.rates: set[float] = set()

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.seen.append(data_batch["inputs"].clone())
        self.rates.update(runner.optim_wrapper.get_lr()["lr"])


@pytest.mark.parametrize("steps", [4, 9, 20], ids=["inside", "an epoch", "further"])
@pytest.mark.parametrize("by_epoch", [True, False])
def test_a_run_begins_anew_with_the_rate_that_the_finder_has_found(tmp_path, by_epoch, steps):
    length = {"max_epochs": 3} if by_epoch else {"max_iters": 27, "val_interval": 9}
    finder = {
        "type": "lightning.pytorch.callbacks.LearningRateFinder",
        "max_lr": 0.01,
        "num_training_steps": steps,
        "early_stop_threshold": None,
    }
    book = {k: [] for k in ("loss", "lr", "momentum", "metrics", "place", "validated_at")}
    trained = {}
    for name, hooks in {"plain": [], "finder": [finder]}.items():
        batches = trained[name] = Batches()
        scenario = Scenario(
            optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.05}},
            train_cfg={"by_epoch": by_epoch, **length},
            custom_hooks=[*hooks, batches],
        )
        runner = build("mm2pl", scenario, str(tmp_path / name), book)
        runner.train()
    assert len(trained["finder"].seen) == 27
    assert all(map(torch.equal, trained["finder"].seen, trained["plain"].seen))
    (used,) = (c for c in runner.trainer.callbacks if isinstance(c, LearningRateFinder))
    assert used.optimal_lr is not None
    # Of fewer than a dozen steps Lightning suggests none.
    assert trained["finder"].rates == {used.optimal_lr.suggestion() or 0.05}
