"""A checkpoint as it is given away."""

from __future__ import annotations

import hashlib
import json
import re

import pytest
import torch

from mm2pl.cli.main import main
from mm2pl.errors import MissingPackageError
from mm2pl.runs import publish as module
from mm2pl.runs.publish import publish

META = {"epoch": 3, "dataset_meta": {"classes": ["a", "b"]}}


@pytest.fixture
def source(tmp_path):
    weight = torch.arange(6.0).reshape(2, 3)
    # The second is a view with gaps into the first.
    state = {"fc.weight": weight, "tied": weight.t()}
    path = tmp_path / "epoch_3.pth"
    torch.save({"meta": META, "state_dict": state, "optimizer": {"state": {}}, "x": 1}, path)
    return path


def test_weights_and_meta_under_their_hash(source):
    made = publish(str(source), source)
    path = source.parent / f"epoch_3-{made.sha256[:8]}.pth"
    assert made.out == str(path)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == made.sha256
    found = torch.load(path, weights_only=True)
    assert list(found) == ["meta", "state_dict"]
    assert found["meta"]["dataset_meta"] == META["dataset_meta"]
    assert torch.equal(found["state_dict"]["tied"], torch.arange(6.0).reshape(2, 3).t())
    assert sorted(each.name for each in source.parent.iterdir()) == sorted([path.name, source.name])


def test_published_again_it_has_one_hash(source):
    made = publish(str(source), source.parent / "model.pth")
    again = publish(made.out, source.parent / made.out)
    assert re.fullmatch(r"model-[0-9a-f]{8}\.pth", again.out.rpartition("/")[2])
    assert again == made


def test_a_date_is_no_hash(source):
    made = publish(str(source), source.parent / "resnet-20260101.pth")
    assert made.out == str(source.parent / f"resnet-20260101-{made.sha256[:8]}.pth")


def test_safetensors(source):
    reader = pytest.importorskip("safetensors")
    made = publish(str(source), source, safetensors=True)
    with reader.safe_open(made.out, "pt") as file:
        assert json.loads(file.metadata()["dataset_meta"]) == META["dataset_meta"]
        assert torch.equal(file.get_tensor("tied"), torch.arange(6.0).reshape(2, 3).t())


def test_safetensors_is_an_extra(source, monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"pip install mm2pl\[safetensors\]"):
        publish(str(source), source, safetensors=True)


def test_on_the_command_line(source, capsys):
    assert main(["publish", str(source), "-o", str(source.parent / "m"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["weights"], found["out"][-len("m-12345678.pth") :][:2]) == (2, "m-")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{folder}/none.pth"], "none.pth"),
        (["{folder}/text.pth"], "text.pth"),
        (["https://example.org/a.pth"], "name one with --out"),
        (["{folder}/epoch_3.pth", "-o", "{folder}/no/m.pth"], "does not exist"),
    ],
    ids=["missing", "no checkpoint", "a URL", "no folder"],
)
def test_refused(source, capsys, words, message):
    (source.parent / "text.pth").write_text("nothing")
    before = sorted(source.parent.iterdir())
    assert main(["publish", *(word.format(folder=source.parent) for word in words)]) == 2
    assert message in capsys.readouterr().err
    assert sorted(source.parent.iterdir()) == before
