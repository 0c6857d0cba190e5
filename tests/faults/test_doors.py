"""Every function that opens a checkpoint: what is in the file is neither run nor called."""

from __future__ import annotations

import ast
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import mm2pl
from mm2pl.checkpoint.format import convert_checkpoint
from mm2pl.checkpoint.loader import CheckpointLoader, load_from_local
from mm2pl.checkpoint.reader import CheckpointError, read_checkpoint, read_outline
from mm2pl.cli.faults import message_of
from mm2pl.config.errors import ConfigError
from mm2pl.errors import UserError
from mm2pl.infer import BaseInferencer
from mm2pl.lightning import MMDataModule, MMLightningModule
from mm2pl.lightning.checkpoint_io import MMCheckpointIO
from mm2pl.registry.known import UnknownNameError
from mm2pl.runner.checkpoint import load_checkpoint
from mm2pl.utils.dl_utils import load_url

ROOT = Path(mm2pl.__file__).parent

OPENERS = {
    # What a stranger's file goes through.
    "checkpoint/reader.py": {"torch.load"},
    # The parts of a sharded checkpoint that are no tensors, with weights_only=True.
    "checkpoint/sharded.py": {"torch.load"},
    # Bytes of this very run: objects of other processes, samples of a data set.
    "dist/dist.py": {"pickle.loads"},
    "dataset/entries.py": {"pickle.loads"},
    # The user's own files, by the name of the format.
    "fileio/handlers.py": {"pickle.load"},
}
READS = {
    *("torch.load", "torch.jit.load", "pickle.load", "pickle.loads", "numpy.load", "np.load"),
    *("torch.hub.load", "torch.hub.load_state_dict_from_url"),
}


def reads_in(path: Path) -> set[str]:
    """Return which functions that read pickles a file of the package names, dotted or in an import."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    dotted = {ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)}
    imports = {
        f"{node.module}.{alias.name}"
        for node in nodes
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    return (dotted | imports) & READS


def test_one_place_of_the_package_reads_what_torch_has_written():
    found = {str(p.relative_to(ROOT)): reads_in(p) for p in ROOT.rglob("*.py")}
    assert {path: reads for path, reads in found.items() if reads} == OPENERS


class Code:
    """Touches a file when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.system, ("touch ran",)


class Inferencer(BaseInferencer):
    def _init_pipeline(self, cfg):
        return lambda value: value

    def visualize(self, inputs, preds, show=False):
        return None

    def postprocess(self, preds, visualization, return_datasample=False):
        return {}


DOORS = {
    "read_checkpoint": read_checkpoint,
    "read_outline": read_outline,
    "loader": CheckpointLoader.load_checkpoint,
    "local": load_from_local,
    "uri": lambda path: CheckpointLoader.load_checkpoint(f"file://{path}"),
    "load_checkpoint": lambda path: load_checkpoint(nn.Linear(1, 1), path),
    "plugin": lambda path: MMCheckpointIO().load_checkpoint(path),
    "convert": lambda path: convert_checkpoint(path, f"{path}.out"),
    "module": MMLightningModule.load_from_checkpoint,
    "data module": MMDataModule.load_from_checkpoint,
    "inferencer": lambda path: Inferencer(weights=path, device="cpu"),
    "load_url": lambda path: load_url(
        "http://nowhere/x.pth", str(Path(path).parent), file_name=Path(path).name
    ),
}


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
@pytest.mark.parametrize("old_format", [False, True], ids=["zip", "before-torch-1.6"])
def test_code_in_a_file_is_not_run(tmp_path, monkeypatch, door, old_format):
    monkeypatch.chdir(tmp_path)
    path = str(tmp_path / "x.pth")
    content = {"meta": {}, "state_dict": {"weight": torch.ones(1)}, "more": Code()}
    torch.save(content, path, _use_new_zipfile_serialization=not old_format)
    with pytest.raises(CheckpointError, match=r"pickles (posix|nt)\.system"):
        door(path)
    assert not Path("ran").exists()


NAMES: dict[str, tuple[Any, dict[str, Any]]] = {
    "module": (
        DOORS["module"],
        {"hyper_parameters": {"model": {"type": "os.system", "command": "touch ran"}}},
    ),
    "old module": (
        DOORS["module"],
        {"hparams": {"model": {"type": "os.system", "command": "touch ran"}}},
    ),
    "evaluator": (
        DOORS["module"],
        {"hyper_parameters": {"val_evaluator": [{"type": "os.system", "command": "touch ran"}]}},
    ),
    "data module": (
        DOORS["data module"],
        {"datamodule_hyper_parameters": {"train_dataloader": {"dataset": {"type": "os.system"}}}},
    ),
    "inferencer": (
        DOORS["inferencer"],
        {"meta": {"cfg": "model = dict(type='os.system', command='touch ran')"}},
    ),
}


@pytest.mark.parametrize(("door", "content"), NAMES.values(), ids=NAMES)
def test_a_name_in_a_file_is_not_called(tmp_path, monkeypatch, door, content):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}, "pytorch-lightning_version": "2.6.0", **content}, "x.pth")
    with pytest.raises(UnknownNameError, match=r"x\.pth: .*type='os\.system'"):
        door(str(tmp_path / "x.pth"))
    assert not Path("ran").exists()


UNKNOWN = {
    "module": ("module", {"hyper_parameters": {"model": {"type": "Nowhere"}}}),
    "inferencer": ("inferencer", {"meta": {"cfg": "model = dict(type='Nowhere')"}}),
}


@pytest.mark.parametrize(("door", "content"), UNKNOWN.values(), ids=UNKNOWN)
def test_a_name_that_nothing_has_is_said_with_the_file(tmp_path, door, content):
    path = tmp_path / "x.pth"
    torch.save({"state_dict": {}, "pytorch-lightning_version": "2.6.0", **content}, path)
    with pytest.raises(KeyError, match=r"Nowhere is not in the mm2pl::model") as error:
        DOORS[door](str(path))
    assert f"While building from {path}." in message_of(error.value)


def test_a_config_in_a_file_is_not_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = "import os\nos.system('touch ran')\nmodel = dict(type='Linear')"
    torch.save({"state_dict": {}, "meta": {"cfg": text}}, "x.pth")
    with pytest.raises(ConfigError, match=r"'system' of module os is not allowed with safe=True"):
        DOORS["inferencer"](str(tmp_path / "x.pth"))
    assert not Path("ran").exists()


WRONG: dict[str, tuple[str, dict[str, Any], str]] = {
    "version": ("module", {"pytorch-lightning_version": "three"}, "pytorch-lightning_version is"),
    "version, data": ("data module", {"pytorch-lightning_version": 2.6}, "a version such as"),
    "arguments": ("module", {"hyper_parameters": [1]}, r"hyper_parameters is \[1\] \(list\)"),
    "config": ("inferencer", {"meta": {"cfg": "x = 1"}}, "the config in it has no model"),
    "no text": ("inferencer", {"meta": {"cfg": {"a": 1}}}, "the config in it is a dict → give"),
    "model": ("inferencer", {"meta": {"cfg": "model = [1]"}}, "the config in it has no model"),
    "no Python": (
        "inferencer",
        {"meta": {"cfg": "model = ("}},
        r"the config in it: .*never closed",
    ),
    "no config": ("inferencer", {"meta": None}, "Cannot find the config in the checkpoint → give"),
    "MMEngine's": (
        "module",
        {"meta": {}},
        r"it is not one of Lightning's checkpoints → make the module",
    ),
    "MMEngine's, data": ("data module", {}, "it is not one of Lightning's checkpoints"),
}


@pytest.mark.parametrize(("door", "content", "said"), WRONG.values(), ids=WRONG)
def test_a_value_of_a_wrong_type_is_named(tmp_path, door, content, said):
    path = str(tmp_path / "x.pth")
    torch.save({"state_dict": {}, **content}, path)
    with pytest.raises(UserError, match=rf"x\.pth: .*{said}|x\.pth: {said}"):
        DOORS[door](path)


def test_a_weight_that_is_no_tensor(tmp_path):
    path = tmp_path / "x.ckpt"
    weights = {"model.weight": "text", "model.bias": torch.ones(1)}
    torch.save({"state_dict": weights, "pytorch-lightning_version": "2.6.0"}, path)
    with pytest.raises(CheckpointError, match=r"x\.ckpt: the weight model\.weight is 'text'"):
        MMLightningModule.load_from_checkpoint(path, model=nn.Linear(1, 1))


WEIGHTS: dict[str, tuple[dict[str, Any], bool | None, str]] = {
    "width": (
        {"model.weight": (3, 1)},
        None,
        r"model\.weight is \(3, 1\) in the file and \(1, 1\)",
    ),
    "not strict": ({"model.weight": (3, 1)}, False, r"the model\. 1 of 2 fit"),
    "file's names": ({"weight": (3, 1), "bias": (1,)}, None, r"model\.weight is \(3, 1\) in the"),
    "missing": ({"model.bias": None}, True, r"1 missing \(model\.bias\)\. 1 of 1 fit"),
    "unexpected": ({"model.x": (1,)}, True, r"1 unexpected \(model\.x\)\. 2 of 3 fit"),
    "another's": ({"x.w": (1,), "model.weight": None, "model.bias": None}, None, "0 of 1 fit"),
}


@pytest.mark.parametrize(("shapes", "strict", "said"), WEIGHTS.values(), ids=WEIGHTS)
def test_weights_that_do_not_fit_are_one_message(tmp_path, shapes, strict, said):
    shapes = (
        shapes if "weight" in shapes else {"model.weight": (1, 1), "model.bias": (1,), **shapes}
    )
    weights = {name: torch.ones(shape) for name, shape in shapes.items() if shape is not None}
    path = tmp_path / "x.ckpt"
    torch.save({"state_dict": weights, "pytorch-lightning_version": "2.6.0"}, path)
    with pytest.raises(CheckpointError, match=rf"x\.ckpt: these weights do not.*{said}.*") as error:
        MMLightningModule.load_from_checkpoint(path, model=nn.Linear(1, 1), strict=strict)
    advised = "load_checkpoint(module.model, path)" in str(error.value)
    assert advised == ("0 of" not in said)
    if advised:
        assert load_checkpoint(nn.Linear(1, 1), str(path), logger="silent")["state_dict"]


def test_what_the_caller_gives_is_not_the_files(tmp_path):
    path = tmp_path / "x.ckpt"
    torch.save(
        {
            "state_dict": {"model.weight": torch.ones(1, 1), "model.bias": torch.ones(1)},
            "pytorch-lightning_version": "2.6.0",
            "hyper_parameters": {"model": {"type": "os.system"}},
        },
        path,
    )
    module = MMLightningModule.load_from_checkpoint(path, model=nn.Linear(1, 1))
    assert module.model.weight.item() == 1.0
    with pytest.raises(TypeError, match="cannot be called on an instance"):
        module.load_from_checkpoint(path)
