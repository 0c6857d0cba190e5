"""`mm2pl profile`: which part gets which calls, what a model costs, and that nothing is left behind."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from mm2pl.analysis import get_model_complexity_info
from mm2pl.check import complexity, measured, profile, stopwatch
from mm2pl.cli.check import trial_runner
from mm2pl.cli.main import main
from mm2pl.config import Config
from mm2pl.errors import ArgumentError
from mm2pl.hooks import Hook
from mm2pl.registry import HOOKS, LOOPS, MODELS
from mm2pl.runner import EpochBasedTrainLoop
from tests.check.test_check import config
from tests.scenarios import models

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

CONFIG = str(Path(__file__).parents[2] / "configs" / "gan.py")


def profiled(cfg: dict[str, Any], **options: Any) -> measured.Measured:
    return profile.profile_run(
        lambda folder: trial_runner(Config(cfg), folder), name="run", **options
    )


def small(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    """Return a config of three epochs of nine batches, with a model that its name says."""
    kinds = models("mm2pl")

    class Backward(kinds["plain"]):
        """A step that knows no update_params."""

        def train_step(self, data: Any, optim_wrapper: Any) -> Any:
            losses = self._run_forward(self.data_preprocessor(data, True), mode="loss")
            optim_wrapper.zero_grad()
            losses["loss_ce"].backward()
            optim_wrapper.step()
            return {"loss": losses["loss_ce"].detach()}

    class Loop(EpochBasedTrainLoop):
        """A loop that goes through the data itself."""

        def run_epoch(self) -> None:
            self.runner.call_hook("before_train_epoch")
            for idx, batch in enumerate(self.dataloader):
                self.run_iter(idx, batch)
            self.runner.call_hook("after_train_epoch")
            self._epoch += 1

    class Counts(Hook):
        """Note what is called."""

        called: ClassVar[Counter[str]] = Counter()

        def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
            self.called["save"] += 1

        def before_val(self, runner: Any) -> None:
            self.called["val"] += 1

        def after_train_iter(self, runner: Any, *args: Any, **given: Any) -> None:
            self.called["iter"] += 1

    Counts.called.clear()
    cfg = config(tmp_path / "work")
    for registry, cls in (
        *((MODELS, kinds[name]) for name in ("own_step", "doubled_loss", "only_logs")),
        *((MODELS, Backward), (LOOPS, Loop), (HOOKS, Counts)),
    ):
        registry.register_module(module=cls, force=True)
    whole = {key: value for key, value in changes.items() if "." not in key}
    changed = Config({**cfg, "custom_hooks": [{"type": "Counts"}], **whole})
    changed.merge_from_dict({key: value for key, value in changes.items() if "." in key})
    return dict(changed.items())


PARTS: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "plain": ({}, {"forward": 3, "backward": 3, "optimizer": 3}),
    "own step": (
        {"model.type": "OwnStep"},
        {"forward": 3, "backward": 6, "optimizer": 6, "transfer": 6, "preprocess": 6},
    ),
    "no update_params": ({"model.type": "Backward"}, {"backward": 3, "optimizer": 6}),
    "no update": ({"model.type": "OnlyLogs"}, {"forward": 3, "backward": 0, "optimizer": 0}),
    "a loop that drives": (
        {"train_cfg": {"type": "Loop", "max_epochs": 3}},
        {"forward": 3, "backward": 3, "optimizer": 3},
    ),
    "by iterations": (
        {"train_cfg": {"by_epoch": False, "max_iters": 20}},
        {"forward": 3, "backward": 3, "optimizer": 3},
    ),
}


@pytest.mark.parametrize(("changes", "expected"), PARTS.values(), ids=PARTS.keys())
def test_each_call_is_of_its_part(changes, expected, tmp_path):
    trace = tmp_path / "trace.json.gz"
    found = profiled(small(tmp_path, **changes), iterations=2, warm_up=1, trace=str(trace))
    # What is traced is what is timed.
    events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    calls = Counter(e["name"] for e in events if e.get("cat") == "user_annotation")
    expected = {"data": 3, "transfer": 3, "preprocess": 3, "hooks/Counts": 3, **expected}
    assert {part: calls[part] for part in expected} == expected
    used = {part.partition("/")[0] for part, number in expected.items() if number}
    assert {part for part, seconds in found.parts.items() if seconds} >= used
    assert sum(map(found.share, found.parts)) == pytest.approx(1)


def test_a_part_interrupts_the_one_around_it(monkeypatch):
    times = iter([0.0, 1.0, 3.0, 6.0, 10.0, 15.0])
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: next(times))
    waits: list[int] = []
    watch = stopwatch.Stopwatch(lambda: waits.append(1))
    inner = watch.timed(lambda: None, "backward")
    with watch.part("forward"):  # before the start: nothing is measured
        pass
    watch.start()
    with watch.part("forward"):
        inner()
    assert watch.stop() == {"other": 1 + 5, "forward": 2 + 4, "backward": 3}
    assert len(waits) == 6


def test_nothing_is_written_saved_or_validated(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saves = {"type": "CheckpointHook", "interval": 1, "by_epoch": False, "save_best": "acc"}
    own, state = torch.autograd.backward, torch.get_rng_state()
    cfg = small(tmp_path, **{"default_hooks.checkpoint": saves, "model.type": "FailsInValidation"})
    found = profiled(cfg, iterations=10, warm_up=3)
    # Nine batches are an epoch, so validations and checkpoints were due.
    assert found.epochs_begun == 1
    assert "begin in these iterations: 1 (of 9 iterations each)" in "\n".join(found.notes())
    assert HOOKS.get("Counts").called == {"iter": 13}
    assert [*tmp_path.iterdir()] == []
    assert torch.autograd.backward is own
    assert torch.equal(torch.get_rng_state(), state)


def test_a_validation_of_a_loop_that_drives_is_apart(tmp_path):
    cfg = small(tmp_path, train_cfg={"type": "Loop", "max_epochs": 3, "val_interval": 1})
    found = profiled(cfg, iterations=10, warm_up=3)
    assert HOOKS.get("Counts").called == {"iter": 13, "val": 1}
    assert found.seconds["validation"] > 0
    assert "validation" not in found.parts


@pytest.mark.parametrize(
    ("changes", "iterations", "said"),
    [
        ({}, 28, r"--iterations 28 --warm-up 0: 28 iterations are needed, and the run has 27"),
        ({"train_cfg": {"type": "Ends", "max_epochs": 3}}, 20, r"ended before the 0 \+ 20"),
    ],
    ids=["config", "loop"],
)
def test_a_run_that_is_too_short(changes, iterations, said, tmp_path):
    cfg = small(tmp_path, **changes)

    class Ends(LOOPS.get("Loop")):
        def run(self) -> None:
            self.runner.call_hook("before_train")
            self.run_epoch()

    LOOPS.register_module(module=Ends, force=True)
    with pytest.raises(ArgumentError, match=said):
        profiled(cfg, iterations=iterations, warm_up=0)


def test_a_failing_run_leaves_the_methods_as_they_were(tmp_path):
    own = torch.autograd.backward
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        profiled(small(tmp_path, **{"model.type": "FailsInTraining"}))
    assert torch.autograd.backward is own


def test_a_device_is_waited_for_and_the_pace_without_it_is_told(tmp_path, monkeypatch):
    waits: list[int] = []
    monkeypatch.setitem(profile._WAITS, "cpu", lambda: waits.append(1))
    found = profiled(small(tmp_path), iterations=3, warm_up=1)
    assert HOOKS.get("Counts").called["iter"] == 1 + 3 + 3
    assert found.free_seconds is not None
    assert "without that, an iteration takes" in "\n".join(found.notes())
    # Twice for each of the parts of the three iterations, of which there are six at least.
    assert len(waits) >= 2 * 3 * 6


def test_a_compiled_step_is_one_part(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda step, **options: step)
    found = profiled(small(tmp_path, compile=True), iterations=2)
    assert found.parts["train_step"] > 0
    assert found.parts["forward"] == found.parts["backward"] == 0
    assert "train_step is compiled" in "\n".join(found.notes())


class Attending(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.data_preprocessor = torch.nn.Identity()
        self.data_preprocessor.forward = lambda data, training: data
        self.layers = torch.nn.ModuleList([torch.nn.Linear(8, 8, bias=False)])

    def forward(self, x: torch.Tensor, mode: str = "tensor") -> torch.Tensor:
        x = self.layers[0](x)
        return torch.nn.functional.scaled_dot_product_attention(x, x, x)


def test_flops_are_mmengines_and_those_of_attention_apart():
    model = Attending()
    found = complexity.complexity_of(model, {"x": torch.zeros(2, 5, 8)})
    info = get_model_complexity_info(model, inputs=(torch.zeros(2, 5, 8),))
    assert found.whole.flops == info["flops"] == 2 * 5 * 8 * 8
    assert found.whole.attention == 2 * (5 * 5 * 8 * 2)
    assert found.whole.parameters == found.trained == 64
    costs = {each.name: (each.parameters, each.flops, each.attention) for each in found.modules}
    assert costs == {"layers": (64, 640, 0), "layers.0": (64, 640, 0)}


def test_a_model_without_flops_says_why():
    model = Attending()
    found = complexity.complexity_of(model, {"y": torch.zeros(2, 5, 8)})
    assert found.uncounted.startswith("forward(mode='tensor') → ArgumentError: Attending.forward")
    assert (found.whole.flops, found.whole.parameters) == (None, 64)
    alone = complexity.complexity_of(model.layers, None)
    assert alone.uncounted == "ModuleList has no data_preprocessor that says what forward takes"


WORKERS = "train_dataloader.num_workers="
ADVICE: dict[str, tuple[dict[str, Any], list[str]]] = {
    "data are quick": ({"data": 0.1, "num_workers": 0}, []),
    "no workers": ({"data": 0.5, "num_workers": 0}, [f"{WORKERS}0 → up to 4"]),
    "few workers": (
        {"data": 0.5, "num_workers": 2, "persistent_workers": False},
        [f"{WORKERS}2 → up to 4", "train_dataloader.persistent_workers=False"],
    ),
    "enough workers": (
        {"data": 0.5, "num_workers": 4, "persistent_workers": True},
        ["there are as many workers as cores"],
    ),
    "slow transfer": (
        {"data": 0.0, "transfer": 0.3, "pin_memory": False, "on_device": True},
        ["train_dataloader.pin_memory=False"],
    ),
    "no device": ({"data": 0.0, "transfer": 0.3, "pin_memory": False}, []),
    "a loader of another kind": ({"data": 0.9}, []),
}


@pytest.mark.parametrize(("given", "expected"), ADVICE.values(), ids=ADVICE.keys())
def test_advice(given, expected):
    found = measured.advice(**{"transfer": 0.0, "cores": 4, **given})
    assert len(found) == len(expected)
    assert all(each.startswith(start) for each, start in zip(found, expected, strict=True))


def test_the_command_prints_tables_and_json(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["profile", CONFIG, "-n", "2", "--warm-up", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{CONFIG}: 2 iterations of 64 samples after 1, on cpu"
    heads = [line.split()[0] for line in lines[2:] if line.startswith("  ") and line[2] != " "]
    assert heads[:10] == [*measured.PARTS, "other", "iteration"]
    assert "FLOPs       192 per sample as get_model_complexity_info counts" in "\n".join(lines)
    more = [
        "--cfg-options",
        "train_dataloader.batch_size=32",
        "default_hooks.logger.type=LoggerHook",
    ]
    more.append("default_hooks.logger.interval=50")
    assert main(["profile", CONFIG, "-n", "2", "--trace", "t.json", "--json", *more]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["batch_size"], found["iterations"], found["trace"]) == (32, 2, "t.json")
    assert [*found["parts"]] == [*measured.PARTS, "other"]
    assert sum(part["share"] for part in found["parts"].values()) == pytest.approx(1)
    assert found["complexity"]["whole"]["flops"] == 192 * 32
    assert found["memory"]["device"] is None
    assert found["notes"][0].endswith("--iterations 50 takes one in")
    assert [path.name for path in tmp_path.iterdir()] == ["t.json"]


MISTAKES: dict[str, tuple[list[str], str]] = {
    "no iterations": ([CONFIG, "-n", "0"], "--iterations 0 → at least 1"),
    "negative warm-up": ([CONFIG, "--warm-up", "-1"], "--warm-up -1 → 0 or more"),
    "no folder": ([CONFIG, "--trace", "no/t.json"], "the folder of 'no/t.json' does not exist"),
    "no trace": ([CONFIG, "--trace", "t.txt"], "a name that ends in .json or .json.gz"),
    "a folder": ([CONFIG, "--trace", "d.json"], "--trace d.json cannot be written"),
    "no data": (
        [CONFIG, "--cfg-options", "train_dataloader=None"],
        "the config has no train_dataloader →",
    ),
    "no training": (
        [CONFIG, "--cfg-options", "train_cfg=None", "optim_wrapper=None"],
        "the config has no train_cfg, optim_wrapper →",
    ),
    "no config": (["no.py"], "the config 'no.py' does not exist"),
}


@pytest.mark.parametrize(("words", "said"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_one_message(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d.json").mkdir()
    assert main(["profile", *words]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
