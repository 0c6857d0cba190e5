from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from mm2pl.config import Config, ConfigDict
from mm2pl.infer import BaseInferencer, metafile
from mm2pl.model import BaseModel
from mm2pl.registry import MODELS
from mm2pl.registry.known import UnknownNameError
from mm2pl.runner import save_checkpoint


class Scale(BaseModel):
    def __init__(self, start=2.0):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(start))

    def forward(self, inputs, data_samples=None, mode="tensor"):
        return [self.factor * value for value in inputs]


class ScaleInferencer(BaseInferencer):
    preprocess_kwargs = {"offset"}  # noqa: RUF012
    postprocess_kwargs = {"digits"}  # noqa: RUF012

    def preprocess(self, inputs, batch_size=1, offset=0.0):
        shifted = [value + offset for value in inputs]
        return super().preprocess(shifted, batch_size)

    def _init_pipeline(self, cfg):
        return lambda value: {"inputs": torch.tensor(float(value))}

    def visualize(self, inputs, preds, show=False):
        return [f"picture of {value}" for value in inputs]

    def postprocess(self, preds, visualization, return_datasample=False, digits=1):
        predictions = preds if return_datasample else [round(float(p), digits) for p in preds]
        return {"predictions": predictions, "visualization": visualization}


@pytest.fixture
def inferencer():
    MODELS.register_module(module=Scale)
    with pytest.warns(UserWarning, match="randomly initialized"):
        return ScaleInferencer({"model": {"type": "Scale"}}, device="cpu", show_progress=False)


def test_the_four_steps(inferencer):
    result = inferencer([1, 2, 3], batch_size=2, offset=0.25, digits=2)
    assert result["predictions"] == [2.5, 4.5, 6.5]
    assert result["visualization"] == ["picture of 1", "picture of 2", "picture of 3"]
    assert not inferencer.model.training


@pytest.mark.parametrize("collate", ["default_collate", {"type": "default_collate"}])
def test_batches_are_made_as_in_the_test_of_the_config(inferencer, collate):
    config = {"model": {"type": "Scale"}, "test_dataloader": {"collate_fn": collate}}
    with pytest.warns(UserWarning, match="randomly initialized"):
        made = ScaleInferencer(config, device="cpu", show_progress=False)
    (batch,) = made.preprocess([1, 2], batch_size=2)
    assert torch.equal(batch["inputs"], torch.tensor([1.0, 2.0]))


def test_a_single_input_and_data_samples(inferencer):
    (prediction,) = inferencer(4, return_datasamples=True)["predictions"]
    assert torch.equal(prediction, torch.tensor(8.0))


def test_a_folder_is_its_files(inferencer, tmp_path):
    (tmp_path / "a.png").touch()
    assert inferencer._inputs_to_list(str(tmp_path)) == [str(tmp_path / "a.png")]
    assert inferencer._inputs_to_list("a.png") == ["a.png"]


@pytest.mark.parametrize("place", ["meta", "message_hub"])
def test_the_config_is_in_the_checkpoint(inferencer, tmp_path, place):
    text = Config({"model": {"type": "Scale"}}).pretty_text
    hub = {"meta": {"cfg": text}, "message_hub": {"runtime_info": {"cfg": text}}}
    weights = str(tmp_path / "weights.pth")
    save_checkpoint({"state_dict": Scale(3.0).state_dict(), place: hub[place]}, weights)
    made = ScaleInferencer(weights=weights, device="cpu", show_progress=False)
    assert made(2)["predictions"] == [6.0]
    assert isinstance(made.cfg, ConfigDict)


MISTAKES = {
    "nothing": ({}, ValueError, "If model is None"),
    "type": ({"model": 3}, TypeError, "but got <class 'int'>"),
    "no scope": ({"model": "resnet"}, ValueError, "scope=None → one of"),
}


@pytest.mark.parametrize(("given", "kind", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistakes(given, kind, message):
    with pytest.raises(kind, match=message):
        ScaleInferencer(**given)


def test_an_unknown_argument(inferencer):
    with pytest.raises(ValueError, match=r"unknown argument \{'colour'\}"):
        inferencer(1, colour="red")


def test_an_argument_of_two_steps():
    with pytest.raises(AssertionError, match="Twice should not define duplicated keys"):
        type("Twice", (ScaleInferencer,), {"forward_kwargs": {"offset"}})


@pytest.fixture
def toolbox(tmp_path, monkeypatch):
    (tmp_path / "mmpretrain/.mim/configs").mkdir(parents=True)
    package = tmp_path / "mmpretrain"
    (package / ".mim/configs/a.py").write_text("model = dict(type='Scale', start=5.0)\n")
    (package / ".mim/model-index.yml").write_text("Import: [configs/metafile.yml]\n")
    (package / ".mim/configs/metafile.yml").write_text(
        "Models: [{Name: A-net, Alias: [a1], Config: configs/a.py, Weights: w.pth}]\n"
    )
    found = SimpleNamespace(__path__=[str(package)])
    monkeypatch.setattr(metafile.importlib, "import_module", lambda name: found)


@pytest.mark.usefixtures("toolbox")
def test_metafiles():
    config, weights = metafile.find("a-NET", "mmpretrain")
    assert (Config.fromfile(config).model.start, weights) == (5.0, "w.pth")
    assert BaseInferencer.list_models("mmpretrain", "a") == ["a1"]
    with pytest.raises(AssertionError, match=r"nowhere not in \['mmcls'.*: pass a toolbox's scope"):
        BaseInferencer.list_models("nowhere")
    with pytest.raises(ValueError, match="Cannot find model: b in mmpretrain"):
        metafile.find("b", "mmpretrain")


@pytest.mark.usefixtures("toolbox")
def test_a_config_of_a_metafile_chooses_nothing_new_to_call(tmp_path):
    config = tmp_path / "mmpretrain/.mim/configs/a.py"
    config.write_text("model = dict(type='subprocess.call', args='touch pwned')\n")
    with pytest.raises(
        UnknownNameError, match=r"a\.py: model\.type='subprocess.call' .* as model="
    ):
        ScaleInferencer("a1", scope="mmpretrain")


def test_no_such_toolbox():
    with pytest.raises(KeyError, match="mmnone is not a valid scope"):
        metafile.config_folder("mmnone")
