"""Each global of the process is set in one place, and every door to a run leaves it as MMEngine's Runner does."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer

import examples.digits
import mm2pl
from mm2pl.cli.main import main
from mm2pl.lightning import MMDataModule, MMLightningModule, RunCallback
from mm2pl.plan.translate import translate
from mm2pl.run import environment
from mm2pl.run.environment import make_folder, set_random_seed
from mm2pl.runner import Runner
from tests.scenarios import Points, Scenario, build, models

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
PACKAGE = Path(mm2pl.__file__).parent
DIGITS = Path(examples.digits.__file__).parents[2] / "configs/digits_resnet.py"

#: How a global is set → the one file that does it. `mmcv/` has MMCV 1.x's functions, which its users' scripts call.
PLACES = {
    r"cudnn\.benchmark = ": "run/environment.py",
    r"cudnn\.deterministic = ": "run/environment.py run/undo.py",  # the second: back to what it was
    r"use_deterministic_algorithms\(": "run/environment.py",
    r"CUBLAS_WORKSPACE_CONFIG\"": "run/environment.py",
    r"setrlimit\(": "run/environment.py",
    r"\brandom\.seed\(": "run/environment.py dataset/utils.py",  # the second: of a worker process
    r"np\.random\.seed\(": "run/environment.py dataset/utils.py",
    r"torch\.manual_seed\(": "run/environment.py dataset/utils.py",
    r"cuda\.manual_seed_all\(": "run/environment.py",
    r"set_start_method\(": "utils/dl_utils/setup_env.py dist/utils.py",  # the second: only if nobody has chosen one
    r"setNumThreads\(": "utils/dl_utils/setup_env.py",
    r"OMP_NUM_THREADS\"": "utils/dl_utils/setup_env.py",
    r"MKL_NUM_THREADS\"": "utils/dl_utils/setup_env.py",
}


@pytest.mark.parametrize("pattern", PLACES)
def test_each_global_is_set_in_one_place(pattern: str) -> None:
    code = re.compile(rf"^(?!\s*(#|>>>)).*{pattern}", re.MULTILINE)
    places = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).parts[0] != "mmcv" and code.search(path.read_text())
    }
    assert places == set(PLACES[pattern].split())


def test_lightnings_flags_do_not_set_them_again() -> None:
    config = {
        "randomness": {"seed": None, "deterministic": True},
        "env_cfg": {"cudnn_benchmark": True},
    }
    assert not {"benchmark", "deterministic"} & translate(config, environ={}).trainer.keys()


@pytest.fixture(autouse=True)
def _restored_globals(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    yield
    torch.backends.cudnn.benchmark = torch.backends.cudnn.deterministic = False
    torch.use_deterministic_algorithms(False)
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


def flags() -> dict[str, Any]:
    cudnn = torch.backends.cudnn
    return {
        "benchmark": cudnn.benchmark,
        "deterministic": cudnn.deterministic,
        "algorithms": torch.are_deterministic_algorithms_enabled(),
    }


CHOICES = {
    "neither": (False, False, (False, False, False)),
    "benchmark": (True, False, (True, False, False)),
    "deterministic": (False, True, (False, True, True)),
    "both": (True, True, (False, True, True)),
}


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("package", ["mm2pl", pytest.param("mmengine", marks=pytest.mark.parity)])
def test_a_runner_chooses_as_mmengines(package: str, name: str, tmp_path: Path) -> None:
    benchmark, deterministic, expected = CHOICES[name]
    runner = pytest.importorskip(f"{package}.runner").Runner
    runner(
        model=torch.nn.Linear(1, 1),
        work_dir=str(tmp_path),
        env_cfg={"cudnn_benchmark": benchmark},
        randomness={"seed": 1, "deterministic": deterministic},
        log_level="ERROR",
        experiment_name=f"{package} {name}",
    )
    assert tuple(flags().values()) == expected


def by_runner(work_dir: str, **options: Any) -> None:
    scenario = Scenario(
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1}},
        train_cfg={"by_epoch": False, "max_iters": 1},
    )
    build("mm2pl", scenario, work_dir, {}, **options, custom_hooks=[]).train()


def by_validation(work_dir: str, **options: Any) -> None:
    no_training = dict.fromkeys(("train_cfg", "train_dataloader", "optim_wrapper"))
    scenario = Scenario(optim_wrapper={})
    build("mm2pl", scenario, work_dir, {}, **options, **no_training, custom_hooks=[]).val()


def by_own_trainer(work_dir: str, **options: Any) -> None:
    train_cfg = {"by_epoch": False, "max_iters": 1}
    run = RunCallback(work_dir, train_cfg=train_cfg, log_level="ERROR", **options)
    module = MMLightningModule(
        models("mm2pl")["plain"](), optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1}}
    )
    loader = {
        "dataset": Points(),
        "batch_size": 8,
        "sampler": {"type": "DefaultSampler"},
        "collate_fn": {"type": "default_collate"},
    }
    trainer = Trainer(
        callbacks=[run],
        accelerator="cpu",
        default_root_dir=work_dir,
        max_epochs=1,
        limit_train_batches=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(module, datamodule=MMDataModule(train_dataloader=loader))


def by_command(work_dir: str, env_cfg: dict[str, Any], randomness: dict[str, Any]) -> None:
    options = [
        f"env_cfg.cudnn_benchmark={env_cfg['cudnn_benchmark']}",
        f"randomness.deterministic={randomness['deterministic']}",
    ]
    limits = ["--trainer.limit_val_batches", "1"]
    arguments = ["validate", str(DIGITS), "--work-dir", work_dir, *limits, "--cfg-options"]
    assert main([*arguments, *options]) == 0


@pytest.mark.parametrize("door", [by_runner, by_validation, by_own_trainer, by_command])
def test_every_door_leaves_the_same_flags(
    door: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(DIGITS.parents[1])
    door(
        str(tmp_path),
        env_cfg={"cudnn_benchmark": True},
        randomness={"seed": None, "deterministic": True},
    )
    assert flags() == {"benchmark": False, "deterministic": True, "algorithms": True}


def test_a_workspace_that_the_user_chose_for_cublas_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    set_random_seed(1, deterministic=True)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    set_random_seed(1, deterministic=True)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


def test_a_benchmark_that_is_switched_off_is_told(tmp_path: Path, capsys: Any) -> None:
    Runner(
        model=torch.nn.Linear(1, 1),
        work_dir=str(tmp_path),
        env_cfg={"cudnn_benchmark": True},
        randomness={"seed": None, "deterministic": True},
    )
    out, err = capsys.readouterr()
    assert "cuDNN's benchmark is switched off" in out + err


@pytest.mark.parametrize("launcher", ["none", "pytorch"])
def test_a_process_of_several_that_trains_alone_is_told(
    launcher: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "a", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(environment, "init_dist", lambda launcher, **options: None)
    environment.setup_env({}, launcher)
    captured = capsys.readouterr()
    told = "each trains for itself; launcher='pytorch'" in captured.out + captured.err
    assert told == (launcher == "none")


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_without_room_is_none(tmp_path, monkeypatch, there):
    if there:
        (tmp_path / "run").mkdir()

    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"work_dir='run' cannot be written: No space left .* make"):
        make_folder(str(tmp_path / "run" / "1"), "run")
    assert [path.name for path in tmp_path.rglob("*")] == ["run"] * there
