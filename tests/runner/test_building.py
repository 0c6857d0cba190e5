"""What a Runner builds, when, and what it refuses."""

from __future__ import annotations

import pytest
import torch

from mm2pl.hooks import EMAHook, Hook
from mm2pl.optim import OptimWrapper
from mm2pl.plan.fault import FaultyConfigError
from mm2pl.plan.translate import translate
from mm2pl.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from tests.scenarios import Scenario, accuracy, build

SGD = {"optimizer": {"type": "SGD", "lr": 0.05}}
Accuracy = accuracy("mm2pl")
KEYS = ("loss", "lr", "momentum", "metrics", "place", "validated_at")

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture
def make(tmp_path):
    def runner(name="run", scenario=None, **more):
        scenario = scenario or Scenario(optim_wrapper=SGD)
        return build("mm2pl", scenario, str(tmp_path / name), {key: [] for key in KEYS}, **more)

    return runner


@pytest.mark.parametrize(
    ("train_cfg", "kind", "lengths"),
    [
        ({"by_epoch": True, "max_epochs": 3}, EpochBasedTrainLoop, (3, 27)),
        ({"by_epoch": False, "max_iters": 11}, IterBasedTrainLoop, (1, 11)),
    ],
    ids=["epochs", "iterations"],
)
def test_loops_are_built_when_they_are_read(make, train_cfg, kind, lengths):
    run = make(scenario=Scenario(optim_wrapper=SGD, train_cfg=train_cfg))
    assert (run.epoch, run.iter) == (0, 0)
    assert run._train_loop == train_cfg  # counters need no loop
    assert (run.max_epochs, run.max_iters) == lengths
    assert type(run.train_loop) is kind
    assert run._train_loop is run.train_loop
    assert run.train_dataloader is run.train_loop.dataloader
    assert run._val_loop == {}
    assert len(run.val_dataloader) == 4
    assert run.val_evaluator is run.val_loop.evaluator
    assert run.test_loop is None


def test_a_loop_read_before_the_run_is_the_one_that_runs(make):
    first = make("first")
    first.train()
    second = make("second")
    loop = second.train_loop
    second.train()
    assert second.train_loop is loop
    assert loop.iter == 27
    assert all(map(torch.equal, first.model.parameters(), second.model.parameters()))


def test_a_run_that_only_validates_builds_no_training_loop(make):
    run = make()
    run.val()
    assert isinstance(run._train_loop, dict)


@pytest.mark.parametrize(
    ("method", "value", "error", "message"),
    [
        ("build_train_loop", "no", TypeError, "the loop should be a loop object or a dict"),
        ("build_val_loop", 3, TypeError, "the loop should be a loop object or a dict, but got 3"),
        ("build_log_processor", "no", TypeError, "log_processor should be a built object"),
        ("build_message_hub", "no", TypeError, "message_hub should be a built object or a dict"),
        ("build_visualizer", "no", TypeError, "visualizer should be a built object or a dict"),
        ("build_model", "no", TypeError, "model should be a torch.nn.Module or a dict"),
        (
            "build_evaluator",
            Accuracy(),
            TypeError,
            "evaluator should be one of dict, .* but got Accuracy → ",
        ),
        (
            "build_optim_wrapper",
            {"d": {"type": "OptimWrapper"}},
            ValueError,
            r"each item .* \['d'\] are not",
        ),
        ("register_hook", ["no"], TypeError, "hook should be an instance of Hook or dict"),
        (
            "build_param_scheduler",
            {"type": "StepLR", "step_size": 1},
            AssertionError,
            "`build_optim_wrapper` should be called before",
        ),
        (
            "build_train_loop",
            {"type": "EpochBasedTrainLoop", "by_epoch": True},
            RuntimeError,
            "Only one of the two can be given",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_built(make, method, value, error, message):
    with pytest.raises(error, match=message):
        getattr(make(), method)(value)


def test_mistakes_in_a_hooks_class(make):
    class Short(Hook):
        def after_train_iter(self, runner): ...

    class Own(Hook):
        def after_train_iter(self, runner, **kwargs):
            len(0)

    with pytest.raises(TypeError, match=r"neither a hook nor .* → derive its class from"):
        make().register_hook({"type": list})
    for hook, message in (
        (Own(), "^object of type 'int' has no len"),
        (Short(), r"Short.after_train_iter\(runner\) → is called with \(runner, batch_idx\)"),
    ):
        runner = make()
        runner.register_hook(hook, priority="HIGHEST")
        with pytest.raises(TypeError, match=message):
            runner.call_hook("after_train_iter", batch_idx=0)


@pytest.mark.parametrize(
    ("schedules", "message"),
    [
        ("StepLR", "param_scheduler='StepLR' → a dict or a list or a built scheduler"),
        (
            {"net": "StepLR"},
            r"param_scheduler.net='StepLR' → dict\(type=…\).* Each value of param_scheduler",
        ),
        ([{"gamma": 1}], r"param_scheduler.0={'gamma': 1} → dict\(type=…\)"),
        ({"net": [{"gamma": 1}]}, "param_scheduler.net.0={'gamma': 1}"),
    ],
    ids=["text", "text per optimizer", "no type", "no type per optimizer"],
)
def test_schedules_are_checked_before_anything_is_built(make, schedules, message):
    with pytest.raises(FaultyConfigError, match=message):
        make(scenario=Scenario(optim_wrapper=SGD, param_scheduler=schedules))
    train = {"train_cfg": {"by_epoch": True}, "train_dataloader": {}, "optim_wrapper": SGD}
    with pytest.raises(FaultyConfigError, match=message):  # as the command line does
        translate({**train, "param_scheduler": schedules})


@pytest.mark.parametrize("part", ["log_processor", "message_hub", "visualizer"])
def test_what_is_built_stays(make, part):
    run = make()
    built = getattr(run, part)
    assert getattr(run, f"build_{part}")(built) is built


def test_schedules_by_hand_before_the_run(make):
    run = make()
    run.optim_wrapper = run.build_optim_wrapper(run.optim_wrapper)
    run.scale_lr(run.optim_wrapper, {"enable": True, "base_batch_size": 16})
    assert run.optim_wrapper.get_lr() == {"lr": [0.025]}
    (schedule,) = run.build_param_scheduler(
        {"type": "StepLR", "step_size": 1, "begin": 1, "convert_to_iter_based": True}
    )
    assert (schedule.begin, schedule.end) == (9, 27)


def test_private_names_that_projects_use_can_be_set(make):
    run = make()
    run._hooks = []
    run._experiment_name = "other"
    assert run.hooks == []
    assert run.build_logger().instance_name == "other"
    assert run.build_logger(name="a third").instance_name == "a third"


class TrainsOnly(torch.nn.Module):
    """A model of another kind, without the step of a validation."""

    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.Linear(1, 1)

    def train_step(self, data, optim_wrapper):
        return {}


@pytest.mark.parametrize(
    ("verb", "step"), [("train", "val_step"), ("val", "val_step"), ("test", "test_step")]
)
def test_a_model_without_the_step_of_a_stage(make, verb, step):
    run = make()
    run._test_loop, run._test_dataloader, run._test_evaluator = (
        {},
        run._val_dataloader,
        run._val_evaluator,
    )
    run.model = TrainsOnly()
    with pytest.raises(
        AssertionError, match=rf"TrainsOnly has no {step} → If you want to (validate|test) "
    ):
        getattr(run, verb)()
    assert run.iter == 0


def test_a_wrapper_that_only_several_processes_need_is_not_looked_up(make):
    run = make(cfg={"model_wrapper_cfg": {"type": "MyOwnWrapper"}})
    assert run.trainer.world_size == 1


@pytest.mark.parametrize("built", [False, True], ids=["config", "built"])
def test_a_checkpoint_before_the_first_training(make, tmp_path, built):
    run = make()
    if built:
        run.optim_wrapper = run.build_optim_wrapper(run.optim_wrapper)
        assert isinstance(run.optim_wrapper, OptimWrapper)
    run.save_checkpoint(str(tmp_path), "start.pth", by_epoch=False)
    saved = torch.load(tmp_path / "start.pth", weights_only=True)
    optimizer = {"optimizer"} if built else set()
    assert saved.keys() == {"meta", "state_dict", "message_hub"} | optimizer
    assert (saved["meta"]["epoch"], saved["meta"]["iter"]) == (0, 1)
    other = make("other")
    other.load_checkpoint(str(tmp_path / "start.pth"))
    assert all(map(torch.equal, run.model.parameters(), other.model.parameters()))
    run.train()
    assert run.iter == 27


def test_ema_checks_its_beginning_without_before_run(make):
    with pytest.raises(AssertionError, match=r"self\.begin_epoch.*runner\.max_epochs: 3"):
        EMAHook(begin_epoch=4).before_train(make())
    EMAHook(begin_epoch=3).before_train(make())
