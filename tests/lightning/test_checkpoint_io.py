from __future__ import annotations

from fractions import Fraction

import lightning.pytorch as pl
import pytest
import torch

from mm2pl.checkpoint.reader import CheckpointError
from mm2pl.lightning import MMCheckpointIO

MMENGINE = {
    "meta": {"epoch": 1, "iter": 4, "mmengine_version": "0.10.7"},
    "state_dict": {"weight": torch.ones(1, 1), "bias": torch.ones(1)},
    "message_hub": {"log_scalars": {}, "runtime_info": {}, "resumed_keys": {}},
}


class Model(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1, 1))
        self.bias = torch.nn.Parameter(torch.zeros(1))

    def test_step(self, batch, batch_idx):
        self.log("value", self.weight.sum() + self.bias.sum(), batch_size=1)


def trainer(tmp_path):
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return pl.Trainer(
        plugins=[MMCheckpointIO()], default_root_dir=tmp_path, accelerator="cpu", **options
    )


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_a_trainer_tests_mmengines_file(tmp_path):
    """A plain Lightning Trainer fails on it with ``KeyError: 'pytorch-lightning_version'``."""
    torch.save(MMENGINE, tmp_path / "best.pth")
    loader = torch.utils.data.DataLoader(torch.zeros(1))
    (result,) = trainer(tmp_path).test(
        Model(), loader, ckpt_path=tmp_path / "best.pth", verbose=False
    )
    assert result == {"value": 2.0}


def test_files_appear_whole_and_plain(tmp_path):
    io = MMCheckpointIO()
    io.save_checkpoint({"state_dict": {"w": torch.ones(2)}}, tmp_path / "new" / "x.ckpt")
    assert torch.load(tmp_path / "new" / "x.ckpt", weights_only=True)["state_dict"]["w"].sum() == 2
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["x.ckpt"]
    io.remove_checkpoint(tmp_path / "new" / "x.ckpt")
    io.remove_checkpoint(tmp_path / "new" / "x.ckpt")
    assert not (tmp_path / "new" / "x.ckpt").exists()


def test_code_runs_only_on_request(tmp_path):
    torch.save({**MMENGINE, "fraction": Fraction(1, 2)}, tmp_path / "x.pth")
    for weights_only in (None, True):
        with pytest.raises(CheckpointError, match=r"fractions\.Fraction"):
            MMCheckpointIO().load_checkpoint(tmp_path / "x.pth", weights_only=weights_only)
    got = MMCheckpointIO().load_checkpoint(tmp_path / "x.pth", weights_only=False)
    assert got["fraction"] == Fraction(1, 2)
