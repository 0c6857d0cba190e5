"""What a Trainer makes of a converted checkpoint: where it continues."""

from __future__ import annotations

import lightning.pytorch as pl
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from mm2pl.checkpoint.format import (
    from_mmengine,
    to_mmengine,
)
from mm2pl.checkpoint.progress import loops_state


class Recorder(pl.LightningModule):
    """Record what is called, where the Trainer stands."""

    def __init__(self, automatic):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
        self.automatic_optimization = automatic
        self.calls = []

    def note(self, name, *extra):
        loop = self.trainer.fit_loop
        self.calls.append(
            (name, self.current_epoch, self.global_step, loop.total_batch_idx, *extra)
        )

    def training_step(self, batch, batch_idx):
        self.note("step", batch_idx, self.trainer.fit_loop.epoch_loop._batches_that_stepped)
        loss = self.layer(batch[0]).mean()
        if not self.automatic_optimization:
            optimizer = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
        return loss

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def on_train_epoch_start(self):
        self.note("epoch start")

    def on_train_epoch_end(self):
        self.note("epoch end")

    def on_validation_start(self):
        self.note("validation")

    def on_train_end(self):
        self.note("end")


LENGTH = 4


def run(automatic, ckpt_path=None, batches=LENGTH, **options):
    module = Recorder(automatic)
    loader = DataLoader(TensorDataset(torch.ones(2 * batches, 2)), batch_size=2)
    trainer = pl.Trainer(
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        accelerator="cpu",
        **options,
    )
    trainer.fit(module, loader, loader, ckpt_path=ckpt_path)
    return module.calls, trainer


@pytest.fixture(params=[True, False], ids=["automatic", "manual"])
def automatic(request):
    return request.param


def file_at(tmp_path, automatic, iter, length):
    """Return MMEngine's file of the recorder after ``iter`` batches, for Lightning."""
    module = Recorder(automatic)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    epoch = iter // length
    file = {
        "meta": {"epoch": epoch, "iter": iter, "mmengine_version": "0.10.7"},
        "state_dict": module.state_dict(),
        "message_hub": {"log_scalars": {}, "runtime_info": {}, "resumed_keys": {}},
        "optimizer": optimizer.state_dict(),
    }
    torch.save(from_mmengine(file, epoch_length=length, by_epoch=True), tmp_path / "x.ckpt")
    return str(tmp_path / "x.ckpt")


@pytest.mark.filterwarnings("ignore:.*ended before the epoch ended.*")
@pytest.mark.parametrize("iter", [2, 4, 6, 8, 11])
def test_a_trainer_continues_at_the_right_place(tmp_path, automatic, iter):
    """All calls after the resume are those of the run that was not interrupted.

    Except for the validation and the end of an epoch that was over: MMEngine does not repeat them.
    """
    whole, _ = run(automatic, max_epochs=3)
    rest, _ = run(automatic, file_at(tmp_path, automatic, iter, LENGTH), max_epochs=3)
    last = next(i for i, call in enumerate(whole) if call[0] == "step" and call[3] == iter - 1)
    expected = whole[last + 1 :]
    if iter % LENGTH == 0:
        assert [call[0] for call in expected[:2]] == ["validation", "epoch end"]
        expected = expected[2:]
    assert rest == expected


def test_a_finished_run_stays_finished(tmp_path, automatic):
    calls, trainer = run(automatic, file_at(tmp_path, automatic, 12, LENGTH), max_epochs=3)
    assert calls == []
    assert (trainer.current_epoch, trainer.global_step) == (3, 12)


def test_the_last_batch_of_a_run_by_iterations(tmp_path, automatic):
    """Such a run is one epoch of Lightning's; at its last batch Lightning must not begin it again."""
    module = Recorder(automatic)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    checkpoint = {
        "state_dict": module.state_dict(),
        "optimizer_states": [optimizer.state_dict()],
        "lr_schedulers": [],
        "callbacks": {},
        "loops": loops_state(epoch=0, iter=10, batch_idx=10, epoch_length=10),
        "pytorch-lightning_version": pl.__version__,
    }
    torch.save(checkpoint, tmp_path / "x.ckpt")
    calls, trainer = run(automatic, str(tmp_path / "x.ckpt"), batches=10, max_epochs=1)
    assert [call[0] for call in calls] == ["end"]
    assert trainer.global_step == 10


def test_lightnings_own_place_is_read(tmp_path, automatic):
    """``to_mmengine`` finds epoch and iteration of what a plain Trainer saved, inside an epoch and at its end."""

    class Save(pl.Callback):
        def on_train_batch_end(self, trainer, *_):
            trainer.save_checkpoint(tmp_path / f"{trainer.fit_loop.total_batch_idx + 1}.ckpt")

        def on_train_epoch_end(self, trainer, _):
            trainer.save_checkpoint(tmp_path / f"end{trainer.current_epoch}.ckpt")

    run(automatic, max_epochs=2, callbacks=[Save()])
    places = {}
    for name in ("3", "4", "6", "8", "end0", "end1"):
        meta = to_mmengine(torch.load(tmp_path / f"{name}.ckpt", weights_only=True))["meta"]
        places[name] = (meta["epoch"], meta["iter"])
    assert places == {
        "3": (0, 3),
        "4": (1, 4),
        "6": (1, 6),
        "8": (2, 8),
        "end0": (1, 4),
        "end1": (2, 8),
    }
