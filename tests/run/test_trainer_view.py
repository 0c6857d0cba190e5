"""What a Trainer of the user's own leaves behind when it is gone."""

from __future__ import annotations

import gc

import pytest
from lightning.pytorch import Trainer

from mm2pl.hooks import RuntimeInfoHook
from mm2pl.logging import MessageHub
from mm2pl.run.trainer_view import runner_of
from tests.bridges import QUIET, loader, module

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def test_a_hub_lives_as_long_as_its_trainer(tmp_path):
    before = set(MessageHub._instance_dict)
    for fold in range(20):
        trainer = Trainer(
            **QUIET, max_steps=1, default_root_dir=tmp_path, callbacks=[RuntimeInfoHook()]
        )
        hub = runner_of(trainer).message_hub
        assert hub.get_info("fold") is None
        assert not hub.log_scalars
        hub.update_info("fold", fold)
        trainer.fit(module(), loader())
        assert hub.get_info("iter") == 0
        assert MessageHub.get_current_instance() is hub
        del trainer, hub
    gc.collect()
    assert set(MessageHub._instance_dict) == before
