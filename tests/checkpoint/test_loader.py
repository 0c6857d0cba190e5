from __future__ import annotations

import functools
import http.server
import logging
import sys
import threading
import types

import pytest
import torch

from mm2pl.checkpoint.loader import CheckpointLoader, load_from_http, load_from_pavi
from mm2pl.checkpoint.reader import CheckpointError


@pytest.fixture
def schemes(monkeypatch):
    monkeypatch.setattr(CheckpointLoader, "_schemes", dict(CheckpointLoader._schemes))


def test_a_scheme_is_registered_by_call_decorator_and_list(schemes):
    CheckpointLoader.register_scheme("a://", lambda filename, map_location: ("a", filename))

    @CheckpointLoader.register_scheme(prefixes=["b://", "c://"])
    def load_from_b(filename, map_location):
        return ("b", filename, map_location)

    loaded = [CheckpointLoader.load_checkpoint(f"{x}://f", "cpu", logger="silent") for x in "abc"]
    assert loaded == [("a", "a://f"), ("b", "b://f", "cpu"), ("b", "c://f", "cpu")]


def test_a_taken_scheme_needs_force(schemes):
    with pytest.raises(KeyError, match=r'^http:// is already registered.*"force=True"'):
        CheckpointLoader.register_scheme("http://", print)
    CheckpointLoader.register_scheme("http://", lambda f, m: "mine", force=True)
    assert CheckpointLoader.load_checkpoint("http://x", logger="silent") == "mine"


def test_the_longer_prefix_wins(schemes):
    CheckpointLoader.register_scheme("https://mine", lambda f, m: "mine")
    assert CheckpointLoader.load_checkpoint("https://mine.org/x.pth", logger="silent") == "mine"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("epoch_1.pth", "load_from_local"),
        ("/data/s3/x.pth", "load_from_local"),
        ("http://a/b.pth", "load_from_http"),
        ("https://a/b.pth", "load_from_http"),
        ("s3://bucket/b.pth", "load_from_ceph"),
        ("cluster:s3://bucket/b.pth", "load_from_ceph"),
        ("petrel://b.pth", "load_from_ceph"),
        ("torchvision://resnet50", "load_from_torchvision"),
        ("modelzoo://resnet50", "load_from_torchvision"),
        ("open-mmlab://resnet50_v1c", "load_from_openmmlab"),
        ("openmmlab://resnet50_v1c", "load_from_openmmlab"),
        ("mmcls://vgg11", "load_from_mmcls"),
        ("pavi://team/model.pth", "load_from_pavi"),
    ],
)
def test_every_path_finds_its_loader(path, name):
    assert CheckpointLoader._get_checkpoint_loader(path).__name__ == name


def test_loading_is_logged_as_in_mmengine(tmp_path, caplog):
    path = tmp_path / "epoch_1.pth"
    torch.save({"w": torch.ones(1)}, path)
    logger = logging.getLogger("test_checkpoint_loader")
    with caplog.at_level("INFO", logger.name):
        CheckpointLoader.load_checkpoint(str(path), logger=logger)
    assert caplog.messages == [f"Loads checkpoint by local backend from path: {path}"]


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serve a folder; downloads go to ``hub``."""
    served, hub = tmp_path / "served", tmp_path / "hub"
    served.mkdir()
    monkeypatch.setenv("TORCH_HOME", str(hub))

    class Quiet(http.server.SimpleHTTPRequestHandler):
        requests: list[str] = []  # noqa: RUF012

        def do_GET(self):
            self.requests.append(self.path)
            super().do_GET()

        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=str(served))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield types.SimpleNamespace(
            url=f"http://127.0.0.1:{running.server_port}",
            folder=served,
            hub=hub / "hub" / "checkpoints",
            requests=Quiet.requests,
        )
        running.shutdown()
        thread.join()
    Quiet.requests.clear()


def test_http_downloads_once(server):
    torch.save({"w": torch.ones(2)}, server.folder / "net.pth")
    for _ in range(2):
        got = CheckpointLoader.load_checkpoint(f"{server.url}/net.pth?x=1", logger="silent")
        assert torch.equal(got["w"], torch.ones(2))
    assert server.requests == ["/net.pth?x=1"]
    assert (server.hub / "net.pth").exists()


def test_http_to_a_chosen_folder(server, tmp_path):
    torch.save({"w": torch.ones(2)}, server.folder / "net.pth")
    load_from_http(f"{server.url}/net.pth", model_dir=str(tmp_path / "mine"), progress=False)
    assert (tmp_path / "mine" / "net.pth").exists()


def test_a_damaged_download_says_what_to_delete(server):
    (server.folder / "net.pth").write_bytes(b"<html>")
    with pytest.raises(
        CheckpointError, match=r"hub/checkpoints/net\.pth.*delete it to download again"
    ):
        CheckpointLoader.load_checkpoint(f"{server.url}/net.pth", logger="silent")


def test_model_zoo_names(server, monkeypatch):
    monkeypatch.setattr("mm2pl.checkpoint.model_zoo._HOST", f"{server.url}/")
    folder = server.folder / "pretrain" / "third_party"
    folder.mkdir(parents=True)
    torch.save({"conv.weight": torch.ones(2)}, folder / "resnet50_v1c-2cccc1ad.pth")
    got = CheckpointLoader.load_checkpoint("open-mmlab://resnet50_v1c", logger="silent")
    assert list(got) == ["conv.weight"]


def test_mmcls_keeps_the_backbone(server, monkeypatch):
    monkeypatch.setattr("mm2pl.checkpoint.model_zoo._HOST", f"{server.url}/")
    folder = server.folder / "mmclassification" / "v0" / "mobilenet_v2"
    folder.mkdir(parents=True)
    weights = {"backbone.a": torch.ones(1), "head.fc": torch.ones(1)}
    name = "mobilenet_v2_batch256_imagenet_20200708-3b2dc3af.pth"
    torch.save({"state_dict": weights}, folder / name)
    got = CheckpointLoader.load_checkpoint("mmcls://mobilenet_v2", logger="silent")
    assert list(got["state_dict"]) == ["a"]


def test_a_model_cloud_is_asked_through_its_package(monkeypatch):
    asked = []

    def get(name):
        asked.append(name)
        return types.SimpleNamespace(
            name="a.pth", download=lambda path: torch.save({"conv.weight": torch.ones(2)}, path)
        )

    cloud = types.ModuleType("pavi")
    cloud.modelcloud = types.SimpleNamespace(get=get)
    monkeypatch.setitem(sys.modules, "pavi", cloud)
    got = CheckpointLoader.load_checkpoint("pavi://team/a.pth", logger="silent")
    assert (list(got), asked) == (["conv.weight"], ["team/a.pth"])


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("team/a.pth", AssertionError, r"^'team/a\.pth' → pavi://NAME"),
        ("pavi://a", ImportError, r"^pavi://a lies in a model cloud .* download the file and give"),
    ],
)
def test_what_a_model_cloud_cannot_give(path, error, message, monkeypatch):
    monkeypatch.setitem(sys.modules, "pavi", None)
    with pytest.raises(error, match=message):
        load_from_pavi(path)


def test_old_names_say_what_replaced_them(server, monkeypatch, caplog):
    monkeypatch.setattr("mm2pl.checkpoint.model_zoo._HOST", f"{server.url}/")
    folder = server.folder / "pretrain" / "third_party"
    folder.mkdir(parents=True)
    torch.save({"w": torch.ones(2)}, folder / "resnet50_caffe-788b5fa3.pth")
    assert list(CheckpointLoader.load_checkpoint("openmmlab://resnet50_caffe")) == ["w"]


def test_the_users_own_table(server, tmp_path, monkeypatch):
    monkeypatch.setenv("MMENGINE_HOME", str(tmp_path))
    torch.save({"w": torch.ones(2)}, tmp_path / "mine.pth")
    (tmp_path / "open_mmlab.json").write_text('{"mine": "mine.pth"}')
    assert list(CheckpointLoader.load_checkpoint("open-mmlab://mine", logger="silent")) == ["w"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "open-mmlab://resnet50_v1",
            r"'open-mmlab://resnet50_v1': no weights.*'resnet50_v1c'.*https://",
        ),
        ("mmcls://nothing_like_it_at_all", r"no weights of this name are known\. Give"),
    ],
)
def test_an_unknown_name_lists_close_ones(path, message):
    with pytest.raises(KeyError, match=message):
        CheckpointLoader.load_checkpoint(path, logger="silent")


def test_torchvision_is_asked_for_addresses(server, monkeypatch):
    torch.save({"fc.weight": torch.ones(2)}, server.folder / "v1.pth")

    def entry(name):
        return types.SimpleNamespace(name=name, url=f"{server.url}/{name[-2:].lower()}.pth")

    class Weights(list):
        DEFAULT = entry("IMAGENET1K_V2")
        __name__ = "ResNet50_Weights"

    models = types.ModuleType("torchvision.models")
    models.list_models = lambda module: ["resnet50"]
    models.get_model_weights = lambda name: Weights(
        [entry("IMAGENET1K_V1"), entry("IMAGENET1K_V2")]
    )
    package = types.ModuleType("torchvision")
    package.models = models
    monkeypatch.setitem(sys.modules, "torchvision", package)
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    for name in ("torchvision://resnet50", "modelzoo://resnet50.imagenet1k_v1"):
        assert list(CheckpointLoader.load_checkpoint(name, logger="silent")) == ["fc.weight"]


def test_without_torchvision_the_message_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(ImportError, match=r"torchvision:// needs torchvision.*https://"):
        CheckpointLoader.load_checkpoint("torchvision://resnet50", logger="silent")
