"""Rows of a run's story that depended on the way, the moment or a name: each next to live MMEngine.

Names and assignments of a Runner stand in ``test_runner_surface.py``, the ways in in ``test_surface_doors.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import tests.scenarios
from tests.parity.surface_corpus import (
    differences,
    loader,
    log_lines,
    make,
    outcome,
    part,
    run,
)
from tests.scenarios import models

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("quick_runs"),
]
pytest.importorskip("mmengine")

# Verbs and loops


def by_hand(runner: Any) -> Any:
    """Train without ``train()``, as scripts do that want another order of things."""
    runner._train_loop = loop = runner.build_train_loop(runner._train_loop)
    runner._val_loop = runner.build_val_loop(runner._val_loop)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.scale_lr(runner.optim_wrapper, runner.auto_scale_lr)
    runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
    runner._init_model_weights()
    runner.load_or_resume()
    runner.optim_wrapper.initialize_count_status(runner.model, loop.iter, loop.max_iters)
    for stage in ("before_run", "before_train"):
        runner.call_hook(stage)
    while runner.epoch < runner.max_epochs:
        runner.call_hook("before_train_epoch")
        runner.model.train()
        for index, batch in enumerate(runner.train_dataloader):
            loop.run_iter(index, batch)
        runner.call_hook("after_train_epoch")
        loop._epoch += 1
        runner.val_loop.run()
    for stage in ("after_train", "after_run"):
        runner.call_hook(stage)


def test_a_training_loop_written_by_hand(tmp_path: Path) -> None:
    ends = {}
    for package in ("mmengine", "mm2pl"):
        runner, book = make(package, "epochs", tmp_path / package)
        by_hand(runner)
        ends[package] = outcome(runner, book, {})
    assert ends["mmengine"]["loss"]
    assert differences(ends["mm2pl"], ends["mmengine"]) == {}


VERBS = [("train", "train"), ("train", "val", "test"), ("test", "train"), ("val", "train", "val")]


@pytest.mark.parametrize("by", ["epochs", "iterations"])
@pytest.mark.parametrize("verbs", VERBS, ids=", ".join)
def test_verbs_one_after_another(verbs: tuple[str, ...], by: str, tmp_path: Path) -> None:
    """Where the second training goes on, MMEngine's ends at once: its counters have arrived."""
    if by == "iterations" and verbs == ("train", "train"):
        pytest.skip("MMEngine's InfiniteSampler cannot be iterated again")
    ours, theirs = (
        run(*make(p, by, tmp_path / p, auto_scale_lr=None), verbs) for p in ("mm2pl", "mmengine")
    )
    assert differences(ours, theirs) == {}


def test_a_test_after_training_warns_of_nothing(tmp_path: Path) -> None:
    """Lightning 2.6 counts no step of an optimizer that the model steps itself."""

    def train_step(self: Any, data: Any, optim_wrapper: Any) -> Any:
        loss, log_vars = self.parse_losses(self(**self.data_preprocessor(data, True), mode="loss"))
        loss.backward()
        optim_wrapper.optimizer.step()
        return log_vars

    model = type("Own", (models("mm2pl")["plain"],), {"train_step": train_step})()
    runner, _ = make("mm2pl", "epochs", tmp_path, model=model, log_level="WARNING")
    runner.train()
    before = log_lines(tmp_path, "WARNING")
    runner.test()
    assert log_lines(tmp_path, "WARNING") == before


# One place for each global, and nothing left behind


@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("benchmark", [True, False])
def test_cudnn_flags_while_training(deterministic: bool, benchmark: bool, tmp_path: Path) -> None:
    seen: dict[str, Any] = {}
    for package in ("mmengine", "mm2pl"):
        torch.backends.cudnn.benchmark = torch.backends.cudnn.deterministic = False

        def look(self: Any, runner: Any, package: str = package) -> None:
            cudnn = torch.backends.cudnn
            seen[package] = (cudnn.benchmark, cudnn.deterministic)

        hook = type("Look", (part(package, "hooks.Hook"),), {"before_train": look})()
        more = {"randomness": {"seed": 5, "deterministic": deterministic}, "custom_hooks": [hook]}
        more["env_cfg"] = {"cudnn_benchmark": benchmark}
        make(package, "epochs", tmp_path / package, **more)[0].train()
    assert seen["mm2pl"] == seen["mmengine"]


def test_a_failed_start_leaves_no_scope_behind(tmp_path: Path) -> None:
    scope = part("mm2pl", "registry.DefaultScope")
    before = scope.get_current_instance()
    with pytest.raises((KeyError, ValueError, ImportError), match="nobody"):
        make("mm2pl", "epochs", tmp_path, default_scope="nobody")
    assert scope.get_current_instance() is before
    assert part("mm2pl", "registry.MODELS").build({"type": "BaseDataPreprocessor"}) is not None


# Decided by what an object does


class Spring:
    """An endless sampler, by no name that says so."""

    def __init__(self, dataset: Any, seed: int = 0) -> None:
        self.size, self.seed = len(dataset), seed

    def __iter__(self) -> Any:
        generator = torch.Generator().manual_seed(self.seed)
        while True:
            yield from torch.randperm(self.size, generator=generator).tolist()

    def __len__(self) -> int:
        return self.size


def test_an_endless_sampler_resumes_at_its_batch_under_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without dropout: MMEngine's file holds no random state."""
    layers = (nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    monkeypatch.setattr(tests.scenarios, "network", lambda: nn.Sequential(*layers))
    for package in ("mm2pl", "mmengine"):
        samplers = part(package, "registry.DATA_SAMPLERS")
        samplers.register_module(module=Spring, force=True)
    more: dict[str, Any] = {
        "train_dataloader": {**loader(30), "sampler": {"type": "Spring"}},
        "train_cfg": {"by_epoch": False, "max_iters": 9},
    }
    make("mmengine", "iterations", tmp_path / "first", **more)[0].train()
    more.update(load_from=str(tmp_path / "first" / "iter_6.pth"), resume=True)
    ours, theirs = (
        run(*make(p, "iterations", tmp_path / p, **more), ("train",)) for p in ("mm2pl", "mmengine")
    )
    assert len(theirs["loss"]) == 3, "more batches than the data set has were taken before"
    assert (
        differences(*({k: end[k] for k in ("place", "loss", "weights")} for end in (ours, theirs)))
        == {}
    )


def test_an_endless_sampler_by_epoch_goes_on_in_its_stream_and_says_so(tmp_path: Path) -> None:
    """In MMEngine the first epoch never ends."""
    seen: list[torch.Tensor] = []

    class Look(part("mm2pl", "hooks.Hook")):  # type: ignore[misc]
        def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
            seen.append(data_batch["inputs"])

    data = loader(30, "iterations", shuffle=True)
    more = {"train_dataloader": data, "custom_hooks": [Look()], "log_level": "INFO"}
    make("mm2pl", "epochs", tmp_path, **more)[0].train()
    sampler = iter(part("mmengine", "dataset.InfiniteSampler")(data["dataset"], seed=5))
    points = [data["dataset"][next(sampler)]["inputs"] for _ in range(8 * len(seen))]
    assert len(seen) == 8
    given, expected = torch.cat(seen), torch.stack(points)
    assert [i for i in range(64) if not torch.equal(given[i], expected[i])] == []
    told = [*log_lines(tmp_path, "WARNING"), *log_lines(tmp_path, "INFO")]
    assert [line for line in told if "InfiniteSampler" in line]


def test_the_preprocessor_of_a_real_basemodel_follows_the_module() -> None:
    module = part("mm2pl", "lightning.MMLightningModule")(models("mmengine")["plain"]())
    module.to("meta")
    assert module.model.data_preprocessor.device.type == "meta"


def test_parse_losses_without_a_loss() -> None:
    pairs = [
        models(p)["plain"]().parse_losses({"top": torch.ones(1)}) for p in ("mm2pl", "mmengine")
    ]
    assert pairs[0] == pairs[1]


def test_a_train_step_that_only_logs(tmp_path: Path) -> None:
    def train_step(self: Any, data: Any, optim_wrapper: Any) -> Any:
        return self.parse_losses({"top": data["inputs"].max()})[1]

    ends = {}
    for package in ("mmengine", "mm2pl"):
        torch.manual_seed(11)
        model = type("Logs", (models(package)["plain"],), {"train_step": train_step})()
        ends[package] = run(*make(package, "epochs", tmp_path / package, model=model))
    assert len(ends["mmengine"]["loss"]) == 8
    assert differences(ends["mm2pl"], ends["mmengine"]) == {}
