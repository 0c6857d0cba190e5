from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from lightning.pytorch import loggers
from lightning.pytorch.loggers import TensorBoardLogger

from mm2pl.config import Config
from mm2pl.visualization import MLflowVisBackend, TensorboardVisBackend, WandbVisBackend
from mm2pl.visualization.logger_backends import LoggersBackend

IMAGE = np.zeros((4, 5, 3), dtype=np.uint8)


def events(folder):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    reader = accumulator.EventAccumulator(str(folder), size_guidance={"images": 0})
    return reader.Reload()


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    backend = TensorboardVisBackend(str(tmp_path / "tb"))
    assert not (tmp_path / "tb").exists()
    backend.add_scalar("a", torch.tensor(0.5), 3)
    backend.add_scalars({"b": 1, "c": np.float64(2)}, step=4)
    backend.add_image("i", IMAGE, 5)
    backend.add_config(Config({"a": 1}))
    with pytest.warns(UserWarning, match="Got <class 'str'> for 'd'"):
        backend.add_scalar("d", "text")
    backend.close()
    reader = events(tmp_path / "tb")
    found = {tag: (e[0].step, e[0].value) for tag in "abc" if (e := reader.Scalars(tag))}
    assert found == {"a": (3, 0.5), "b": (4, 1.0), "c": (4, 2.0)}
    assert reader.Tags()["images"] == ["i"]
    assert reader.Tags()["tensors"] == ["config/text_summary"]


def test_tensorboards_logger_serves_a_trainer_too(tmp_path):
    pytest.importorskip("tensorboard")
    backend = TensorboardVisBackend(str(tmp_path))
    assert isinstance(backend.logger, TensorBoardLogger)
    assert os.path.samefile(backend.logger.log_dir, tmp_path)
    assert backend.experiment is backend.logger.experiment


@pytest.mark.parametrize("backend", [TensorboardVisBackend, WandbVisBackend, MLflowVisBackend])
@pytest.mark.filterwarnings("ignore:.*filesystem tracking backend:FutureWarning")
def test_the_logger_is_the_one_that_is_named(backend, tmp_path, monkeypatch):
    named = getattr(loggers, backend.lightning_logger)
    pytest.importorskip(backend.package)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("WANDB_MODE", "offline")
    made = backend(str(tmp_path))
    assert isinstance(made.logger, named)
    made.close()


def test_step_goes_elsewhere(tmp_path):
    with pytest.raises(AssertionError, match="through the step parameter"):
        TensorboardVisBackend(str(tmp_path)).add_scalars({"step": 1})


def test_closing_what_was_never_opened_writes_nothing(tmp_path):
    TensorboardVisBackend(str(tmp_path / "tb")).close()
    assert not (tmp_path / "tb").exists()


@pytest.mark.parametrize(
    ("backend", "package"),
    [(WandbVisBackend, "wandb"), (MLflowVisBackend, "mlflow")],
    ids=["wandb", "mlflow"],
)
def test_a_missing_client_is_named_at_the_first_record(tmp_path, monkeypatch, backend, package):
    import sys

    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=f'needs {package}: run "pip install {package}"'):
        backend(str(tmp_path)).add_scalar("a", 1)


def test_wandb_offline(tmp_path):
    wandb = pytest.importorskip("wandb")
    backend = WandbVisBackend(
        str(tmp_path), init_kwargs={"mode": "offline"}, define_metric_cfg={"acc": "max"}
    )
    backend.add_scalars({"acc": 0.5})
    backend.add_scalar("acc", 0.25)
    backend.add_image("i", IMAGE)
    backend.add_config(Config({"a": 1}))
    assert backend.experiment.summary["acc"]["max"] == 0.5
    assert dict(backend.experiment.config) == {"a": 1}
    backend.close()
    assert wandb.run is None


@pytest.mark.filterwarnings("ignore:.*filesystem tracking backend:FutureWarning")
def test_mlflow(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # MLflow 3 prefers databases
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "a.log").write_text("text")
    backend = MLflowVisBackend(str(tmp_path / "runs"), params={"p": 1})
    backend.add_config(Config({"work_dir": str(tmp_path / "work"), "b": [{"c": 1}]}))
    backend.add_scalars({"acc": 0.5}, step=2)
    run = backend.experiment.get_run(backend.logger.run_id)
    assert run.data.metrics == {"acc": 0.5}
    assert run.data.params["b.0.c"] == "1"
    backend.close()
    names = {item.path for item in backend.experiment.list_artifacts(backend.logger.run_id)}
    assert names == {"a.log", "config.py"}


def test_flat_names():
    flat = MLflowVisBackend("")._flatten({"a": {"b": 1}, "c": [{"d": 2}, {"e": [3]}], "f": [1, 2]})
    assert flat == {"a.b": 1, "c.0.d": 2, "c.1.e": [3], "f": [1, 2]}


def test_wrong_metrics_for_wandb():
    with pytest.raises(ValueError, match="should be dict or list, but got 'acc'"):
        WandbVisBackend("", define_metric_cfg="acc")


def test_numbers_of_numpy_and_torch_are_numbers():
    class Book:
        def log_metrics(self, metrics, step):
            self.metrics = metrics

    book = Book()
    values = {"a": np.float32(0.5), "b": torch.tensor(2), "c": np.array([3]), "d": True, "e": "x"}
    LoggersBackend(lambda: [book]).add_scalars({**values, "f": torch.ones(2)})
    assert book.metrics == {"a": 0.5, "b": 2, "c": 3, "d": True}
    assert {type(value) for value in book.metrics.values()} == {float, int, bool}
