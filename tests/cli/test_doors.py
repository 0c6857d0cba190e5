"""``MMCLI``: what a subclass of it sees and may replace, around the Runner that does the work."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.demos.boring_classes import BoringModel

import examples.digits
import examples.rings  # noqa: F401 - registered before the first test, and for all of them
from mm2pl.cli.command_line import read
from mm2pl.cli.lightning_cli import MMCLI
from mm2pl.cli.main import main
from mm2pl.config import Config
from mm2pl.lightning import MMLightningModule
from mm2pl.lightning.trainer import RunTrainer
from mm2pl.plan.translate import translate
from mm2pl.registry import RUNNERS
from mm2pl.runner import Runner

ROOT = Path(__file__).parents[2]
SHORT = {
    "train_cfg.max_epochs": 1,
    "train_dataloader.dataset.size": 128,
    "train_dataloader.num_workers": 0,
    "val_dataloader.num_workers": 0,
}

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


class Noted(MMCLI):
    """Note what exists when LightningCLI's hooks are called."""

    seen: list[tuple[str, list[str]]]

    def _note(self, when: str) -> None:
        names = ("runner", "trainer", "model", "datamodule")
        self.seen.append((when, [n for n in names if getattr(self, n, None) is not None]))

    def before_fit(self) -> None:
        self.seen = []
        self._note("before_fit")
        self.epochs_before = self.runner.epoch

    def after_fit(self) -> None:
        self._note("after_fit")


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that runs ``fit`` of the rings config through a class, with options."""
    monkeypatch.chdir(ROOT)

    def run(cls: type[MMCLI] = Noted, *more: str, **kwargs: Any) -> MMCLI:
        changes = [f"{name}={value}" for name, value in SHORT.items()]
        given = ["--work-dir", str(tmp_path), "--cfg-options", *changes, *more]
        return cls(args=["fit", "configs/rings_mlp.py", *given], **kwargs)

    return run


def test_everything_is_there_before_fit(cli: Any) -> None:
    made = cli()
    parts = ["runner", "trainer", "model", "datamodule"]
    assert made.seen == [("before_fit", parts), ("after_fit", parts)]
    assert (made.epochs_before, made.runner.epoch) == (0, 1)
    assert made.runner.trainer is made.trainer
    assert made.runner.module is made.model
    assert made.runner.datamodule is made.datamodule


class OwnTrainer(RunTrainer):
    """A Trainer of the user's."""


@pytest.mark.parametrize("cls", [OwnTrainer, Trainer], ids=["of ours", "Lightning's"])
def test_a_trainer_class_of_ones_own(cli: Any, cls: type[Trainer]) -> None:
    made = cli(trainer_class=cls)
    assert type(made.trainer) is cls
    assert made.runner.epoch == 1


@pytest.fixture
def own_runner() -> Any:
    calls: list[str] = []

    @RUNNERS.register_module(force=True)
    class VerbRunner(Runner):
        def train(self) -> Any:
            calls.append("train")
            return super().train()

        def val(self) -> Any:
            calls.append("val")
            return super().val()

    yield calls
    RUNNERS.module_dict.pop("VerbRunner")


@pytest.mark.parametrize(("command", "called"), [("fit", ["train"]), ("validate", ["val"])])
def test_a_command_ends_in_the_runners_own_method(
    command: str, called: list[str], own_runner: list[str], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(ROOT)
    options = [f"{name}={value}" for name, value in SHORT.items()]
    given = ["--work-dir", str(tmp_path), "--cfg-options", "runner_type=VerbRunner", *options]
    assert main([command, "configs/rings_mlp.py", *given]) == 0
    assert own_runner == called


def test_a_callback_among_the_hooks_of_a_yaml(cli: Any, tmp_path: Path) -> None:
    monitor = {"type": "lightning.pytorch.callbacks.LearningRateMonitor"}
    cfg = Config.fromfile("configs/rings_mlp.py")
    cfg.merge_from_dict({**SHORT, "work_dir": str(tmp_path)})
    form = translate(dict(cfg.items()), filename="configs/rings_mlp.py").as_cli()
    form["trainer"]["callbacks"][0]["init_args"]["custom_hooks"] = [monitor]
    made = Noted(args={"subcommand": "fit", "fit": form})
    names = [type(callback).__name__ for callback in made.trainer.callbacks]
    assert names.count("LearningRateMonitor") == 1


def test_without_a_work_dir_the_config_names_it(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    short = ["--trainer.limit_train_batches", "2", "--trainer.max_epochs", "1"]
    assert main(["fit", str(ROOT / "configs" / "digits_resnet.py"), *short]) == 0
    assert (tmp_path / "work_dirs" / "digits_resnet" / "epoch_1.pth").is_file()


def test_two_roots_are_refused(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(ROOT)
    given = ["--work-dir", str(tmp_path), "--trainer.default_root_dir", str(tmp_path / "x")]
    assert main(["fit", "configs/rings_mlp.py", *given]) == 2
    assert "they mean the same: give one" in capsys.readouterr().err


def test_printing_the_config_starts_nothing(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit):
        main(["fit", "configs/rings_mlp.py", "--work-dir", str(tmp_path / "w"), "--print_config"])
    assert "class_path: mm2pl.lightning.RunCallback" in capsys.readouterr().out
    assert not (tmp_path / "w").exists()


class OwnModule(MMLightningModule):
    """A module of the user's, with an argument of its own."""

    def __init__(self, *args: Any, own: int = 1, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.own = own


class WithOptions(MMCLI):
    """A CLI with options of its own."""

    def add_arguments_to_parser(self, parser: Any) -> None:
        parser.add_argument("--note", type=str, default="none")
        parser.add_argument("--flag", action="store_true")


@pytest.mark.parametrize(
    "words",
    [["--note", "x", "--flag", "{config}"], ["{config}", "--flag", "--note=x"]],
    ids=["before", "after"],
)
def test_a_script_of_ones_own_reads_a_config(
    words: list[str], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(ROOT)
    given = [word.format(config="configs/rings_mlp.py") for word in words]
    monkeypatch.setattr("sys.argv", ["cli.py", *given, "--work-dir", str(tmp_path)])
    made = WithOptions(run=False)
    assert (made.parsed.note, made.parsed.flag) == ("x", True)
    assert made.runner.work_dir == str(tmp_path)


MADE: dict[str, tuple[tuple[Any, ...], dict[str, Any], str]] = {
    "by position": ((OwnModule,), {}, "configs/rings_mlp.py"),
    "by name": ((), {"model_class": OwnModule}, "configs/rings_mlp.py"),
    "with a YAML": ((), {"model_class": OwnModule}, "configs/digits_resnet.yaml"),
}


@pytest.mark.parametrize(("arguments", "named", "config"), MADE.values(), ids=MADE)
def test_a_module_class_of_ones_own(
    arguments: tuple[Any, ...],
    named: dict[str, Any],
    config: str,
    tmp_path: Path,
    monkeypatch: Any,
) -> None:
    monkeypatch.chdir(ROOT)
    words = [config, "--work-dir", str(tmp_path), "--model.init_args.own=3"]
    made = MMCLI(*arguments, args=words, run=False, **named)
    assert (type(made.model), made.model.own) == (OwnModule, 3)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"model_class": BoringModel}, "BoringModel as the model class .* a subclass of MMLight"),
        (
            {"model_class": OwnModule, "subclass_mode_model": False},
            "subclass_mode_model=False with an MMEngine config → leave it out",
        ),
    ],
    ids=["another class", "without subclasses"],
)
def test_a_class_that_cannot_hold_a_config(
    named: dict[str, Any], message: str, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit, match="2"):
        MMCLI(args=["configs/rings_mlp.py"], run=False, **named)
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("without", "seed"), [("randomness = dict(seed=0)", 5), ("#", 0)], ids=["missing", "given"]
)
def test_a_default_seed_is_that_of_a_run_without_one(
    without: str, seed: int, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(ROOT)
    text = (ROOT / "configs/rings_mlp.py").read_text()
    (tmp_path / "c.py").write_text(text.replace(without, ""))
    words = [str(tmp_path / "c.py"), "--work-dir", str(tmp_path / "w")]
    made = MMCLI(args=words, run=False, seed_everything_default=5)
    assert made.runner.seed == seed


def test_what_save_config_callback_writes_is_a_run(cli: Any, tmp_path: Path) -> None:
    cli(MMCLI, save_config_callback=SaveConfigCallback, save_config_kwargs={"overwrite": True})
    written = read("fit", [str(tmp_path / "config.yaml")])
    assert written.cfg.train_cfg == {
        "by_epoch": True,
        "max_epochs": 1,
        "val_begin": 2,
        "val_interval": 1,
    }


MONITOR = "lightning.pytorch.callbacks.LearningRateMonitor"
LISTS = {
    "replaced": [f"--trainer.callbacks=[{{class_path: {MONITOR}}}]"],
    "added": [f"--trainer.callbacks+={MONITOR}"],
    "in a YAML": ["--config={folder}/over.yaml"],
    "none": ["--trainer.callbacks=null", f"--trainer.callbacks+={MONITOR}"],
}


@pytest.mark.parametrize("words", LISTS.values(), ids=LISTS)
@pytest.mark.parametrize("config", ["rings_mlp.py", "digits_resnet.yaml"])
def test_a_list_of_callbacks_adds_to_the_run(
    config: str, words: list[str], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(ROOT)
    (tmp_path / "over.yaml").write_text(f"trainer: {{callbacks: [{{class_path: {MONITOR}}}]}}\n")
    given = [word.format(folder=tmp_path) if "over" in word else word for word in words]
    made = MMCLI(args=[f"configs/{config}", "--work-dir", str(tmp_path / "w"), *given], run=False)
    names = [type(callback).__name__ for callback in made.trainer.callbacks]
    assert made.runner.work_dir == str(tmp_path / "w")
    assert (names.count("RunCallback"), names.count("LearningRateMonitor")) == (1, 1)


def test_no_checkpoints(cli: Any, tmp_path: Path) -> None:
    cli(Noted, "--trainer.enable_checkpointing", "false")
    assert list(tmp_path.glob("*.pth")) == []
    assert list(tmp_path.glob("*/*.log"))
