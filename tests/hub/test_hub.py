from __future__ import annotations

import sys

import pytest
import torch

from mm2pl.hub import get_config, get_model
from mm2pl.registry import MODELS
from mm2pl.registry.known import UnknownNameError

UTILS = """
import torch
from mm2pl.registry import MODELS, Registry

BOX = Registry("model", parent=MODELS, scope="hubbox")

@BOX.register_module(name="BoxNet")
class BoxNet(torch.nn.Linear):
    def __init__(self, width, data_preprocessor=None, bias=True):
        super().__init__(width, 1, bias=bias)
        self.prepared = data_preprocessor

def register_all_modules(init_default_scope=True):
    assert init_default_scope is False
"""


@pytest.fixture
def toolbox(tmp_path, monkeypatch):
    package, mim = tmp_path / "hubbox", tmp_path / "hubbox" / ".mim"
    (mim / "configs" / "net").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "utils.py").write_text(UTILS)
    config = "model = dict(type='BoxNet', width=3)\ndata_preprocessor = dict(mean=0)\n"
    for name in ("net.py", "bare.py"):
        (mim / "configs" / "net" / name).write_text(config)
    torch.save({"weight": torch.full((1, 3), 7.0), "bias": torch.ones(1)}, mim / "net.pth")
    (mim / "model-index.yml").write_text("Import: [metafile.yml]")
    (mim / "metafile.yml").write_text(
        "Models:\n"
        "- {Name: other}\n"
        f"- {{Name: net, Config: configs/net/net.py, Weights: ['{mim / 'net.pth'}', second.pth]}}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield mim
    MODELS.children.pop("hubbox", None)
    for name in ("hubbox", "hubbox.utils"):
        sys.modules.pop(name, None)


def test_get_config(toolbox):
    cfg = get_config("hubbox::net/net.py")
    assert cfg.filename == str(toolbox / "configs" / "net" / "net.py")
    assert cfg.model == {"type": "BoxNet", "width": 3}
    assert "model_path" not in cfg
    assert get_config("hubbox::net/net.py", pretrained=True).model_path == str(toolbox / "net.pth")


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("hubbox::net/bare.py", KeyError, r"model-index\.yml lists no weights for this config"),
        ("hubbox::net/none.py", FileNotFoundError, "none.py"),
        ("no_such_toolbox::a.py", ModuleNotFoundError, "'no_such_toolbox' is not installed"),
        ("hubbox/net/net.py", ValueError, "is not a path into a package"),
    ],
    ids=["weights", "config", "package", "path"],
)
def test_what_is_not_there(toolbox, path, error, message):
    with pytest.raises(error, match=message):
        get_config(path, pretrained=True)


@pytest.mark.parametrize("name", ["subprocess.call", "no_such_package.Net"])
def test_a_config_chooses_nothing_new_to_call(toolbox, name):
    config = toolbox / "configs" / "net" / "net.py"
    config.write_text(f"model = dict(type='Net', head=dict(type={name!r}, args='touch pwned'))")
    with pytest.raises(UnknownNameError, match=f"net.py: model.head.type='{name}' .* get_config"):
        get_model("hubbox::net/net.py")


@pytest.mark.parametrize("pretrained", [False, True])
def test_get_model(toolbox, pretrained):
    model = get_model("hubbox::net/net.py", pretrained, bias=True)
    assert type(model).__name__ == "BoxNet"
    assert model.prepared == {"mean": 0}
    assert bool((model.weight == 7).all()) is pretrained
    assert getattr(model, "_is_init", False) is pretrained
