"""A detector's 1.x config: its data, pipelines and evaluation."""

from __future__ import annotations

import pytest

from mm2pl.mmcv import migrate_config, migrate_with_report
from mm2pl.mmcv.migration.pipeline import migrate_pipeline
from mm2pl.mmcv.migration.toolboxes import KNOWN_SCOPES

EPOCHS = {"type": "EpochBasedRunner", "max_epochs": 4}
ITERS = {"type": "IterBasedRunner", "max_iters": 90}
SGD = {"type": "SGD", "lr": 0.1}


def entry(old: dict, key: str):
    return next(e for e in migrate_with_report(old).report if e.key == key)


def detector() -> dict:
    norm = {"mean": [1.0], "std": [2.0], "to_rgb": True}
    train = [
        {"type": "LoadImageFromFile"},
        {"type": "LoadAnnotations", "with_bbox": True},
        {"type": "Resize", "img_scale": (8, 4), "keep_ratio": True},
        {"type": "RandomFlip", "flip_ratio": 0.5},
        {"type": "Normalize", **norm},
        {"type": "Pad", "size_divisor": 32},
        {"type": "DefaultFormatBundle"},
        {"type": "Collect", "keys": ["img", "gt_bboxes", "gt_labels"]},
    ]
    test = [
        {"type": "LoadImageFromFile"},
        {
            "type": "MultiScaleFlipAug",
            "img_scale": (8, 4),
            "flip": False,
            "transforms": [
                {"type": "Resize", "keep_ratio": True},
                {"type": "RandomFlip"},
                {"type": "Normalize", **norm},
                {"type": "ImageToTensor", "keys": ["img"]},
                {"type": "Collect", "keys": ["img"]},
            ],
        },
    ]
    dataset = {"type": "CocoDataset", "ann_file": "a.json", "img_prefix": "img/"}
    return {
        "train_pipeline": train,
        "runner": EPOCHS,
        "data": {
            "samples_per_gpu": 2,
            "workers_per_gpu": 3,
            "train": {
                "type": "RepeatDataset",
                "times": 3,
                "dataset": {**dataset, "pipeline": train},
            },
            "val": {**dataset, "pipeline": test},
            "test": [{**dataset, "pipeline": test}] * 2,
            "val_dataloader": {"samples_per_gpu": 4},
        },
        "evaluation": {"interval": 1, "metric": "bbox", "save_best": "bbox_mAP", "classwise": True},
        "log_level": "INFO",
    }


def test_a_detector_as_in_the_guide():
    new = migrate_config(detector())
    pack = {"type": "PackDetInputs"}
    assert new["default_scope"] == "mmdet"
    assert new["data_preprocessor"] == {
        "type": "DetDataPreprocessor",
        "mean": [1.0],
        "std": [2.0],
        "bgr_to_rgb": True,
        "pad_size_divisor": 32,
    }
    assert new["train_pipeline"] == [
        {"type": "LoadImageFromFile"},
        {"type": "LoadAnnotations", "with_bbox": True},
        {"type": "Resize", "scale": (8, 4), "keep_ratio": True},
        {"type": "RandomFlip", "prob": 0.5},
        pack,
    ]
    train = new["train_dataloader"]
    assert {k: train[k] for k in ("batch_size", "num_workers", "sampler", "batch_sampler")} == {
        "batch_size": 2,
        "num_workers": 3,
        "sampler": {"type": "DefaultSampler", "shuffle": True},
        "batch_sampler": {"type": "AspectRatioBatchSampler"},
    }
    assert train["dataset"]["times"] == 3
    assert train["dataset"]["dataset"]["data_prefix"] == {"img": "img/"}
    assert train["dataset"]["dataset"]["filter_cfg"] == {"filter_empty_gt": True, "min_size": 32}
    val = new["val_dataloader"]
    assert (val["batch_size"], val["sampler"]["shuffle"]) == (4, False)
    assert val["dataset"]["test_mode"] is True
    assert val["dataset"]["pipeline"] == [
        {"type": "LoadImageFromFile"},
        {"type": "Resize", "scale": (8, 4), "keep_ratio": True},
        {"type": "LoadAnnotations", "with_bbox": True},
        pack,
    ]
    assert [new["test_dataloader"]["dataset"][k] for k in ("type",)] == ["ConcatDataset"]
    assert new["val_evaluator"] == {
        "type": "CocoMetric",
        "ann_file": "a.json",
        "metric": "bbox",
        "classwise": True,
    }
    assert new["default_hooks"]["checkpoint"]["save_best"] == "coco/bbox_mAP"


def test_a_data_set_of_ones_own_evaluates_itself():
    data = {"train": {"type": "Mine"}, "val": {"type": "Mine", "split": 1}}
    new = migrate_config(
        {"runner": EPOCHS, "data": data, "evaluation": {"metric": "acc", "interval": 2}}
    )
    assert new["val_evaluator"] == {
        "type": "MMCVDatasetMetric",
        "dataset": {"type": "Mine", "split": 1, "test_mode": True},
        "metric": "acc",
    }
    assert new["train_dataloader"]["dataset"] == {"type": "Mine"}


def test_which_images_a_detector_leaves_out():
    old = detector()
    dataset = old["data"]["train"]["dataset"]
    dataset.update(type="WIDERFaceDataset", min_size=17, filter_empty_gt=False)
    new = migrate_config(old)
    filters = {"filter_empty_gt": False, "min_size": 32, "bbox_min_size": 17}
    assert new["train_dataloader"]["dataset"]["dataset"]["filter_cfg"] == filters
    assert "filter_cfg" not in new["val_dataloader"]["dataset"]


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        pytest.param(
            {"type": "Resize", "img_scale": [(8, 4), (8, 2)], "multiscale_mode": "value"},
            {"type": "RandomChoiceResize", "scales": [(8, 4), (8, 2)], "keep_ratio": True},
            id="choice",
        ),
        pytest.param(
            {"type": "Resize", "img_scale": [(8, 4), (8, 2)], "keep_ratio": False},
            {"type": "RandomResize", "scale": [(8, 4), (8, 2)], "keep_ratio": False},
            id="range",
        ),
        pytest.param(
            {"type": "Resize", "img_scale": (8, 4), "ratio_range": (0.5, 2)},
            {"type": "RandomResize", "scale": (8, 4), "ratio_range": (0.5, 2), "keep_ratio": True},
            id="ratio",
        ),
        pytest.param(
            {"type": "AutoAugment", "policies": [[{"type": "RandomFlip", "flip_ratio": 1}]]},
            {"type": "AutoAugment", "policies": [[{"type": "RandomFlip", "prob": 1}]]},
            id="nested",
        ),
        pytest.param({"type": "Mine", "a": 1}, {"type": "Mine", "a": 1}, id="own"),
    ],
)
def test_transforms(transform, expected):
    assert migrate_pipeline([transform], KNOWN_SCOPES["mmdet"], [], []) == [expected]


def test_every_key_is_reported_and_nothing_is_changed():
    old = {
        **detector(),
        "norm_cfg": {},
        "lr_config": {"policy": "step", "step": [2]},
        "optimizer": SGD,
    }
    before = repr(old)
    report = migrate_with_report(old).report
    assert all(report.covers(key) for key in old)
    assert repr(old) == before
    assert "with a note" in str(report)
