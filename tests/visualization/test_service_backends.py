"""The clients are stand-ins that note their calls; nothing is sent anywhere."""

from __future__ import annotations

import sys
from unittest.mock import ANY, MagicMock, call

import numpy as np
import pytest
import torch

from mm2pl.config import Config
from mm2pl.lightning.loggers import BackendLogger
from mm2pl.registry import VISBACKENDS

IMAGE = np.full((2, 3, 3), 51, dtype=np.uint8)
PACKAGES = {
    "ClearMLVisBackend": ["clearml"],
    "NeptuneVisBackend": ["neptune", "neptune.types"],
    "DVCLiveVisBackend": ["dvclive"],
    "AimVisBackend": ["aim"],
}


@pytest.fixture
def clients(monkeypatch):
    found = {name: MagicMock() for names in PACKAGES.values() for name in names}
    for name, module in found.items():
        monkeypatch.setitem(sys.modules, name, module)
    return found


def used(backend, work_dir):
    """Record one thing of each kind."""
    backend.add_config(Config({"work_dir": str(work_dir), "size": (1, 2)}))
    backend.add_image("picture", IMAGE, 3)
    backend.add_scalar("a", 0.5, 4)
    backend.add_scalars({"b": torch.tensor(2.0), "c": 1}, step=5)
    backend.close()


def test_clearml(clients, tmp_path):
    for name in ("run.py", "note.txt"):
        (tmp_path / name).write_text("")
    backend = VISBACKENDS.build({"type": "ClearMLVisBackend", "init_kwargs": {"task_name": "t"}})
    used(backend, tmp_path)
    module = clients["clearml"]
    assert backend.experiment is backend._clearml is module
    module.Task.init.assert_called_once_with(task_name="t")
    task = module.Task.init.return_value
    task.connect_configuration.assert_called_once_with({"work_dir": str(tmp_path), "size": (1, 2)})
    log = task.get_logger.return_value
    log.report_image.assert_called_once_with(
        title="picture", series="picture", iteration=3, image=IMAGE
    )
    assert log.report_scalar.mock_calls == [
        call(title=name, series=name, value=value, iteration=step)
        for name, value, step in (("a", 0.5, 4), ("b", 2.0, 5), ("c", 1, 5))
    ]
    task.upload_artifact.assert_called_once_with("run.py", str(tmp_path / "run.py"))
    task.close.assert_called_once_with()


def test_neptune(clients, tmp_path):
    backend = VISBACKENDS.build({"type": "NeptuneVisBackend"})
    used(backend, tmp_path)
    clients["neptune"].init_run.assert_called_once_with(mode="offline")
    run, file = clients["neptune"].init_run.return_value, clients["neptune.types"].File
    assert backend.experiment is backend._neptune is run
    assert file.from_content.mock_calls[0].args[0].startswith("size = (")
    picture = file.as_image.mock_calls[0].args[0]
    assert picture.dtype == np.float32
    assert float(picture.max()) == pytest.approx(0.2)
    assert [c.args[0] for c in run.__getitem__.call_args_list] == [
        "config",
        "images",
        "a",
        "b",
        "c",
    ]
    assert run[ANY].append.mock_calls == [
        call(file.as_image.return_value, name="picture", step=3),
        call(0.5, step=4),
        call(torch.tensor(2.0), step=5),
        call(1, step=5),
    ]
    run.stop.assert_called_once_with()


def test_dvclive(clients, tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "scalars.json").write_text("")
    backend = VISBACKENDS.build(
        {
            "type": "DVCLiveVisBackend",
            "save_dir": str(tmp_path),
            "init_kwargs": {"cache_images": False},
        }
    )
    used(backend, tmp_path)
    clients["dvclive"].Live.assert_called_once_with(
        dir=str(tmp_path), save_dvc_exp=True, cache_images=False
    )
    live = clients["dvclive"].Live.return_value
    assert backend.experiment is backend._dvclive is live
    live.log_params.assert_called_once_with({"work_dir": str(tmp_path), "size": [1, 2]})
    live.log_image.assert_called_once_with("picture.png", IMAGE)
    assert live.log_metric.mock_calls == [call("a", 0.5), call("b", 2.0), call("c", 1)]
    assert live.step == 5
    live.log_artifact.assert_called_once_with(str(tmp_path / "deep" / "scalars.json"), "deep")
    live.end.assert_called_once_with()


def test_dvclive_wants_bytes(clients, tmp_path):
    backend = VISBACKENDS.build({"type": "DVCLiveVisBackend", "save_dir": str(tmp_path)})
    with pytest.raises(AssertionError, match="image 'i' has dtype float64 → uint8 is needed"):
        backend.add_image("i", np.zeros((2, 2, 3)))


@pytest.mark.parametrize(
    ("save_dir", "name"), [("work/run/vis", "run_vis"), (None, ANY)], ids=["folder", "time"]
)
def test_aim(clients, tmp_path, save_dir, name):
    backend = VISBACKENDS.build({"type": "AimVisBackend", "save_dir": save_dir})
    used(backend, tmp_path)
    clients["aim"].Run.assert_called_once_with(experiment=name)
    run = clients["aim"].Run.return_value
    assert backend.experiment is backend._aim_run is run
    run.__setitem__.assert_called_once_with("hparams", {"work_dir": str(tmp_path), "size": (1, 2)})
    assert run.track.mock_calls == [
        call(name="picture", value=clients["aim"].Image.return_value, step=3),
        call(name="a", value=0.5, step=4),
        call(name="b", value=torch.tensor(2.0), step=5),
        call(name="c", value=1, step=5),
    ]
    run.close.assert_called_once_with()


@pytest.mark.parametrize("kind", PACKAGES)
def test_nothing_is_opened_before_the_first_record(clients, tmp_path, kind):
    backend = VISBACKENDS.build({"type": kind, "save_dir": str(tmp_path)})
    backend.close()
    assert not any(module.mock_calls for module in clients.values())
    with pytest.raises(AssertionError, match="through the step parameter"):
        backend.add_scalars({"step": 1})


@pytest.mark.parametrize("kind", PACKAGES)
def test_a_missing_client_is_named(monkeypatch, tmp_path, kind):
    package = PACKAGES[kind][0]
    monkeypatch.setitem(sys.modules, package, None)
    backend = VISBACKENDS.build({"type": kind, "save_dir": str(tmp_path)})
    with pytest.raises(ImportError, match=f'needs {package}: run "pip install {package}"'):
        backend.add_scalar("a", 1)


def test_a_trainers_callbacks_reach_a_service(clients):
    backend = VISBACKENDS.build({"type": "AimVisBackend"})
    BackendLogger(backend, "v").log_metrics({"lr": torch.tensor(0.5)}, step=7)
    clients["aim"].Run.return_value.track.assert_called_once_with(name="lr", value=0.5, step=7)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("ClearMLVisBackend", "_clearml"),
        ("NeptuneVisBackend", "_neptune"),
        ("DVCLiveVisBackend", "_dvclive"),
        ("AimVisBackend", "_aim_run"),
    ],
)
def test_a_subclass_opens_its_client_as_under_mmengine(clients, tmp_path, kind, name):
    class Own(VISBACKENDS.get(kind)):
        def _init_env(self):
            setattr(self, name, MagicMock())

    backend = Own(save_dir=str(tmp_path))
    opened = backend.experiment
    assert backend.experiment is getattr(backend, name) is opened
    assert not any(client.mock_calls for client in clients.values())
