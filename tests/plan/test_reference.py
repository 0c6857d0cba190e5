"""The reference of keys is generated from the table, and the page in configs/ is current."""

from __future__ import annotations

from pathlib import Path

from mm2pl.cli.main import main
from mm2pl.plan.keys import KEYS
from mm2pl.plan.reference import class_rows, reference, rows

PAGE = Path(__file__).parents[2] / "configs/README.md"


def test_every_key_has_a_meaning_and_a_reader_inside_a_key():
    listed = [*rows()]
    assert {row[0] for row in listed} >= set(KEYS)
    assert all(row[1] and row[3] for row in [*listed, *class_rows()])
    assert ("randomness.seed", "set_random_seed") in {(row[0], row[5]) for row in listed}


def test_classes_of_one_kind_are_listed_once():
    (row,) = [row for row in class_rows() if row[0].endswith(".step_size")]
    assert row[0] == "StepLR.step_size"
    assert row[5] == "StepLR, StepMomentum, StepParamScheduler"


def test_the_page_is_current():
    # `mm2pl explain --all --format md` writes what stands below its introduction.
    assert PAGE.read_text(encoding="utf-8").endswith(f"\n\n{reference('md')}\n")


def test_the_command(capsys):
    assert main(["explain", "--all", "--format", "md"]) == 0
    assert capsys.readouterr().out == f"{reference('md')}\n"
