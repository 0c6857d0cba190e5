"""The places and services that a run needs."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from mm2pl.check.environment import faults_of_places, unreachable
from mm2pl.visualization import (
    AimVisBackend,
    BaseVisBackend,
    MLflowVisBackend,
    NeptuneVisBackend,
    WandbVisBackend,
)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_a_server_answers_or_not(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert unreachable(server) == ""
    # Port 1 is free on every machine, since only root may take it.
    assert "refused" in unreachable("http://127.0.0.1:1")
    assert "Port" in unreachable("http://127.0.0.1:x")
    monkeypatch.setenv("ALL_PROXY", server)
    assert unreachable("http://127.0.0.1:1") == ""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert "refused" in unreachable("http://127.0.0.1:1")


@pytest.mark.parametrize("address", [None, "", "mlruns", "file:///tmp/runs", "databricks"])
def test_what_is_no_server_is_not_asked(address: str | None) -> None:
    assert unreachable(address) == ""


ADDRESSES = {
    "mlflow": (MLflowVisBackend, {"tracking_uri": "http://h:5000"}, "http://h:5000"),
    "mlflow in a folder": (MLflowVisBackend, {"exp_name": "a"}, None),
    "wandb": (WandbVisBackend, {}, "https://api.wandb.ai"),
    "wandb offline": (WandbVisBackend, {"init_kwargs": {"mode": "offline"}}, None),
    "neptune": (NeptuneVisBackend, {"init_kwargs": {"project": "p"}}, "https://app.neptune.ai"),
    "neptune by default": (NeptuneVisBackend, {}, None),
    "aim": (AimVisBackend, {"init_kwargs": {"repo": "aim://h:53800"}}, "aim://h:53800"),
}


@pytest.mark.parametrize(("backend", "arguments", "expected"), ADDRESSES.values(), ids=ADDRESSES)
def test_where_a_backend_writes_to(
    backend: type, arguments: dict, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_MODE", "WANDB_BASE_URL", "NEPTUNE_MODE"):
        monkeypatch.delenv(name, raising=False)
    assert backend.address(**arguments) == expected  # type: ignore[attr-defined]


class Street(BaseVisBackend):
    package = "socket"

    def address(self) -> str:
        return "Main Street"


class Door(BaseVisBackend):
    package, address = "socket", "1"


@pytest.mark.parametrize("backend", [Street, Door])
def test_an_address_of_a_projects_own_is_not_asked(backend: type) -> None:
    assert list(faults_of_places({"visualizer": {"vis_backends": [{"type": backend}]}})) == []


def test_a_service_that_does_not_answer_is_told(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MLflowVisBackend, "package", "socket")  # any that is installed
    backends = [
        {"type": "MLflowVisBackend", "tracking_uri": address}
        for address in (server, "http://127.0.0.1:1")
    ]
    config = {"visualizer": {"type": "Visualizer", "vis_backends": backends}}
    (fault,) = faults_of_places(config)
    assert (fault.path, fault.severity) == ("visualizer.vis_backends.1.type", "warning")
    assert "http://127.0.0.1:1 does not answer: " in fault.why
    assert list(faults_of_places(config, trusted=False)) == []
