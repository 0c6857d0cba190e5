"""What the migration concludes from a 1.x config, how sure it says it is, and how a user decides otherwise."""

from __future__ import annotations

import pytest

from mm2pl.errors import ArgumentError
from mm2pl.mmcv import Status, migrate_with_report
from mm2pl.mmcv.migration.decisions import Choices, Sure

KEYS = {"own": "gt_label", "mmdet": "gt_bboxes", "mmseg": "gt_semantic_seg"}


def config(key: str = "gt_label", kind: str = "Mine", formats: bool = False, **more) -> dict:
    """A whole 1.x config whose pipelines collect ``key`` for a data set of ``kind``."""
    pipeline = [{"type": "Load"}, {"type": "Collect", "keys": ["img", key]}]
    if formats:
        pipeline.insert(1, {"type": "DefaultFormatBundle"})
    splits = {
        split: {"type": kind, "ann_file": f"{split}.json", "pipeline": pipeline}
        for split in ("train", "val", "test")
    }
    return {
        "runner": {"type": "EpochBasedRunner", "max_epochs": 2},
        "data": {"samples_per_gpu": 2, **splits},
        "evaluation": {"interval": 1, "metric": "mAP"},
        "log_level": "INFO",
        **more,
    }


def last_transform(new: dict) -> str:
    return new["train_dataloader"]["dataset"]["pipeline"][-1]["type"]


@pytest.mark.parametrize(
    ("old", "choices", "pack", "scope", "sure"),
    [
        (config("gt_label", "ImageNet"), {}, "PackInputs", "mmpretrain", Sure.CERTAIN),
        (config(model={"type": "ImageClassifier"}), {}, "PackInputs", "mmpretrain", Sure.CERTAIN),
        (config(), {}, "Collect", None, Sure.UNSURE),
        (config("gt_bboxes", "CocoDataset"), {}, "PackDetInputs", "mmdet", Sure.CERTAIN),
        (config("gt_bboxes", formats=True), {}, "PackDetInputs", "mmdet", Sure.LIKELY),
        (config("gt_bboxes"), {}, "Collect", None, Sure.UNSURE),
        (config("gt_semantic_seg", "ADE20KDataset"), {}, "PackSegInputs", "mmseg", Sure.CERTAIN),
        (config("gt_semantic_seg"), {}, "Collect", None, Sure.UNSURE),
        (config("gt_anything"), {}, "Collect", None, None),
        (config(), {"toolbox": "mmpretrain"}, "PackInputs", "mmpretrain", Sure.TOLD),
        (config(), {"scope": "mmpretrain"}, "PackInputs", "mmpretrain", Sure.TOLD),
        (config(), {"scope": "mmcls"}, "PackInputs", "mmpretrain", Sure.TOLD),
        (config(), {"scope": "mine"}, "Collect", "mine", Sure.UNSURE),
        (config("gt_label", "ImageNet"), {"scope": "none"}, "Collect", None, Sure.TOLD),
        (config("gt_label", "ImageNet"), {"toolbox": "none"}, "Collect", None, Sure.TOLD),
        (
            config("gt_label", "ImageNet"),
            {"toolbox": "mmpretrain", "scope": "none"},
            "PackInputs",
            None,
            Sure.TOLD,
        ),
        (
            config("gt_label", "ImageNet"),
            {"scope": "mine"},
            "PackInputs",
            "mine",
            Sure.CERTAIN,
        ),
    ],
)
def test_toolbox(old, choices, pack, scope, sure):
    new, report = migrate_with_report(old, Choices(**choices))
    assert last_transform(new) == pack
    assert new.get("default_scope") == scope
    assert [d.sure for d in report.decisions if d.about == "toolbox"] == [sure] * (sure is not None)


@pytest.mark.parametrize(
    ("old", "choice", "val", "test"),
    [
        # The data set's own evaluate: each split's own data set.
        (config(), None, "MMCVDatasetMetric val", "MMCVDatasetMetric test"),
        (config("gt_label", "ImageNet"), None, "Accuracy", "Accuracy"),
        (config("gt_label", "ImageNet"), "own", "MMCVDatasetMetric val", "MMCVDatasetMetric test"),
        # A toolbox's transforms, but a data set of one's own, whose evaluate may be anything.
        (
            config(model={"type": "ImageClassifier"}),
            None,
            "MMCVDatasetMetric val",
            "MMCVDatasetMetric test",
        ),
        (config(model={"type": "ImageClassifier"}), "toolbox", "Accuracy", "Accuracy"),
        # A metric that reads the annotations by itself.
        (config("gt_bboxes", "CocoDataset"), None, "CocoMetric val", "CocoMetric test"),
    ],
)
def test_evaluators(old, choice, val, test):
    new, report = migrate_with_report(old, Choices(evaluator=choice))
    for split, expected in (("val", val), ("test", test)):
        evaluator = new[f"{split}_evaluator"]
        held = evaluator.get("dataset", evaluator).get("ann_file", "")
        assert f"{evaluator['type']} {held.partition('.')[0]}".strip() == expected
    differ = [d for d in report.decisions if d.about == "test_evaluator"]
    assert len(differ) == (val != test)


@pytest.mark.parametrize(
    ("old", "choices", "said"),
    [
        (config("gt_anything"), {}, "no toolbox is recognised, so Mine.evaluate is kept"),
        (config("gt_bboxes"), {"toolbox": "mmdet"}, "mmdet has no metric for Mine that is known"),
        (config("gt_bboxes", "CocoDataset"), {}, None),
        (config("gt_label", "ImageNet"), {}, None),
    ],
    ids=["no-toolbox", "no-rule", "coco", "imagenet"],
)
def test_an_evaluator_that_was_asked_for_is_there_or_needs_you(old, choices, said):
    new, report = migrate_with_report(old, Choices(evaluator="toolbox", **choices))
    asked = [e for e in report.of(Status.NEEDS_YOU) if "--evaluator toolbox" in e.note]
    told = [d for d in report.decisions if d.about == "evaluator" and d.sure is Sure.TOLD]
    assert [said in e.note for e in asked] == [True] * (said is not None)
    assert len(told) == (said is None)
    assert (new["val_evaluator"]["type"] == "MMCVDatasetMetric") == (said is not None)


def test_splits_of_different_kinds_have_different_metrics():
    old = config("gt_bboxes", "CocoDataset")
    old["data"]["test"]["type"] = "VOCDataset"
    new = migrate_with_report(old).config
    assert (new["val_evaluator"]["type"], new["test_evaluator"]["type"]) == (
        "CocoMetric",
        "VOCMetric",
    )


def test_one_data_set_for_both_splits_has_one_evaluator():
    old = config()
    old["data"]["test"] = old["data"]["val"]
    new, report = migrate_with_report(old)
    assert new["test_evaluator"] == new["val_evaluator"]
    assert "test_evaluator" not in [d.about for d in report.decisions]


def test_a_test_set_without_a_validation_set_is_judged_by_itself():
    old = config("gt_bboxes", "CocoDataset")
    del old["data"]["val"]
    new = migrate_with_report(old).config
    assert new["test_evaluator"]["ann_file"] == "test.json"
    assert "val_evaluator" not in new


@pytest.mark.parametrize(
    ("old", "choice", "expected"),
    [
        (config(), None, {"type": "mmcv_collate"}),
        (config("gt_anything"), None, {"type": "mmcv_collate"}),  # a Collect of nobody knows whom
        (config(), "default", None),
        (config("gt_label", "ImageNet"), None, None),
        (config("gt_label", "ImageNet"), "mmcv", {"type": "mmcv_collate"}),
        (config("gt_bboxes_3d"), None, None),  # MMDetection3D packs samples
        (config("gt_bboxes", angle_version="le90"), None, None),  # so does MMRotate
    ],
)
def test_collate(old, choice, expected):
    new, report = migrate_with_report(old, Choices(collate=choice))
    assert new["train_dataloader"].get("collate_fn") == expected
    assert ("collate" in [d.about for d in report.decisions]) == bool(expected or choice)


@pytest.mark.parametrize(("kind", "said"), [("Mine", True), ("ImageNet", False)])
def test_test_mode_is_said_where_the_data_set_is_ones_own(kind, said):
    new, report = migrate_with_report(config(kind=kind))
    assert new["val_dataloader"]["dataset"]["test_mode"] is True
    assert any("test_mode=True" in str(d) for d in report.decisions) == said


def test_a_decision_says_all_of_it():
    report = migrate_with_report(config()).report
    assert (
        "toolbox: Collect(keys=[…, 'gt_label']), but no data set or model of mmpretrain → transforms and data sets "
        "are the project's own [unsure: the project's own part is kept]; "
        "otherwise: --toolbox mmdet, mmseg, mmpretrain or none"
    ) in str(report)


@pytest.mark.parametrize(
    ("choices", "match"),
    [
        ({"evaluator": "mine"}, "evaluator='mine' → one of toolbox, own"),
        ({"collate": "torch"}, "collate='torch' → one of mmcv, default"),
    ],
)
def test_bad_choices(choices, match):
    with pytest.raises(ArgumentError, match=match):
        Choices(**choices)


@pytest.mark.parametrize(
    ("old", "scope"),
    [
        ({"log_level": "INFO", "runner": {"type": "EpochBasedRunner", "max_epochs": 2}}, "mmdet"),
        (config(), None),  # its own data
        (config("gt_bboxes_3d"), None),  # a detector in 3D among those in 2D
    ],
    ids=["schedule", "own", "3d"],
)
def test_only_a_file_without_data_is_what_most_of_the_folder_are(old, scope):
    new, report = migrate_with_report(old, Choices(folder="mmdet"))
    assert new.get("default_scope") == scope
    assert Sure.TOLD not in [d.sure for d in report.decisions]
