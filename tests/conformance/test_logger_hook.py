"""A LoggerHook alone in somebody's Trainer writes what there is to tell, and only once."""

from __future__ import annotations

import csv
import logging
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.loggers import CSVLogger

from mm2pl.hooks import LoggerHook
from mm2pl.run.trainer_view import runner_of
from tests.conformance.subjects import PAIRS, loader, ours, trainer

pytestmark = pytest.mark.filterwarnings(
    "ignore::lightning.fabric.utilities.warnings.PossibleUserWarning"
)


@pytest.mark.parametrize("kind", PAIRS)
def test_lines_have_values(kind: str) -> None:
    lines: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: Any) -> None:
            lines.append(record.getMessage())

    for make in PAIRS[kind]:
        run = trainer(max_epochs=1, callbacks=[LoggerHook(interval=4)])
        logger = runner_of(run).logger
        handler = Lines()
        logger.addHandler(handler)
        run.fit(make(), loader(), loader(20))
        logger.removeHandler(handler)
    trained = [line for line in lines if line.startswith("Epoch(train)")]
    assert len(trained) == 4
    assert all(" lr: 1.0000e-01" in line and " loss: " in line for line in trained)
    assert [" eta: " in line and " data_time: " in line for line in trained] == [True] * 4
    assert sum("val_loss: " in line for line in lines) == 2


def test_a_logger_gets_each_value_once(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path, "", version="")
    run = trainer(logger=logger, log_every_n_steps=1, callbacks=[LoggerHook(interval=4)])
    run.fit(ours(), loader(), loader(20))
    rows = list(csv.DictReader((tmp_path / "metrics.csv").read_text().splitlines()))
    assert [int(row["step"]) for row in rows if row["loss"]] == [4, 8, 12, 16]
    assert [int(row["step"]) for row in rows if row["val_loss"]] == [1, 2]
    assert run.callback_metrics.keys() >= {"loss", "val_loss"}
