"""The methods with which a program sets up a Runner by hand, as MMEngine's allows."""

from __future__ import annotations

import shutil
from contextlib import nullcontext

import pytest
import torch

from mm2pl.runner import Runner
from tests.scenarios import Scenario, build

SGD = {"optimizer": {"type": "SGD", "lr": 0.05, "momentum": 0.9}}

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def runner(folder, epochs=3, **options):
    scenario = Scenario(
        optim_wrapper=SGD,
        train_cfg={"by_epoch": True, "max_epochs": epochs},
        default_hooks={"checkpoint": {"type": "CheckpointHook", "interval": 1}},
        options=options,
    )
    book = {k: [] for k in ("loss", "lr", "momentum", "metrics", "place", "validated_at")}
    return build("mm2pl", scenario, str(folder), book), book


def weights(run):
    return torch.cat([value.flatten() for value in run.model.state_dict().values()])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    run, book = runner(folder)
    run.train()
    return folder, weights(run), book["loss"]


def test_a_run_resumed_by_hand_ends_with_the_same_bits(whole, tmp_path):
    folder, expected, losses = whole
    run, book = runner(tmp_path)
    run.resume(str(folder / "epoch_2.pth"))
    stored = torch.load(folder / "epoch_2.pth", weights_only=True)["state_dict"]
    assert all(torch.equal(value, stored[key]) for key, value in run.model.state_dict().items())
    run.train()
    assert torch.equal(weights(run), expected)
    assert book["loss"] == losses[-len(book["loss"]) :]
    assert len(book["loss"]) == len(losses) // 3


@pytest.mark.parametrize("way", ["config", "method", "other-file"])
def test_a_resume_is_still_to_come_after_an_evaluation(whole, tmp_path, way):
    folder, expected, losses = whole
    path = str(folder / "epoch_2.pth")
    run, book = runner(tmp_path, **({} if way == "method" else {"load_from": path, "resume": True}))
    if way == "method":
        run.resume(path)
    if way == "other-file":
        run.restore(str(folder / "epoch_1.pth"))
    run.val()
    run.train()
    assert torch.equal(weights(run), expected)
    assert book["loss"] == losses[-len(losses) // 3 :]
    assert [file.name for file in tmp_path.glob("*.pth")] == ["epoch_3.pth"]


def test_weights_loaded_after_an_evaluation_are_not_overwritten_by_a_resume(whole, tmp_path):
    folder, expected, losses = whole
    run, book = runner(tmp_path, load_from=str(folder / "epoch_2.pth"), resume=True)
    run.val()
    run.load_checkpoint(str(folder / "epoch_1.pth"))
    run.train()
    assert not torch.equal(weights(run), expected)
    assert len(book["loss"]) == len(losses)


@pytest.mark.parametrize(
    ("resume", "name"), [(False, "epoch_1.pth"), (True, "epoch_2.pth")], ids=["load", "resume"]
)
def test_load_or_resume_takes_the_weights_at_once(whole, tmp_path, resume, name):
    path = whole[0] / name
    run, _ = runner(tmp_path, load_from=str(path), resume=resume)
    run.load_or_resume()
    stored = torch.load(path, weights_only=True)["state_dict"]
    assert all(torch.equal(value, stored[key]) for key, value in run.model.state_dict().items())


@pytest.mark.parametrize(
    ("resume", "names", "ends"),
    [
        (
            "must",
            [],
            pytest.raises(FileNotFoundError, match=r"'must': there is no checkpoint in .*/run"),
        ),
        (True, [], nullcontext()),
        (True, ["out/run/epoch_1.pth"], nullcontext("out/run/epoch_1.pth")),
    ],
    ids=["must", "none", "in-out-dir"],
)
def test_what_a_resume_finds(whole, tmp_path, resume, names, ends):
    hook = {"type": "CheckpointHook", "out_dir": str(tmp_path / "out")}
    run, _ = runner(tmp_path / "run", resume=resume, default_hooks={"checkpoint": hook})
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True)
        shutil.copy(whole[0] / "epoch_1.pth", tmp_path / name)
    with ends as expected:
        found = run._run.continuing.path_to_resume()
        assert found == (expected and str(tmp_path / expected))


def test_load_or_resume_without_either_changes_nothing(tmp_path):
    run, _ = runner(tmp_path)
    before = weights(run).clone()
    run.load_or_resume()
    assert torch.equal(weights(run), before)
    assert not run.has_loaded


@pytest.mark.parametrize("part", ["resume_optimizer", "resume_param_scheduler"])
def test_another_choice_of_parts_is_refused(part, tmp_path):
    run, _ = runner(tmp_path)
    with pytest.raises(ValueError, match=rf"{part}='half' → one of True, False"):
        run.resume("x.pth", **{part: "half"})


def test_a_subclass_may_set_up_the_process_and_the_seeds(tmp_path):
    class Own(Runner):
        def setup_env(self, env_cfg):
            super().setup_env({**env_cfg, "cudnn_benchmark": False})
            self.timestamp = f"own_{self.timestamp}"

        def set_randomness(self, seed, diff_rank_seed=False, deterministic=False):
            super().set_randomness(41, diff_rank_seed, deterministic)

    run = Own(model=torch.nn.Linear(1, 1), work_dir=str(tmp_path), randomness={"seed": 3})
    assert run.seed == 41
    assert (tmp_path / run.timestamp).is_dir()
    assert run.timestamp.startswith("own_")
