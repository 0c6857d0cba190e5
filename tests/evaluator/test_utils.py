from __future__ import annotations

import pytest

from mm2pl.evaluator import get_metric_value

METRICS = {"coco/AP": 0.4, "voc/AP": 0.3, "loss": 1.5, "coco/a/AR": 0.2}


@pytest.mark.parametrize(
    ("indicator", "expected"), [("coco/AP", 0.4), ("loss", 1.5), ("AR", 0.2), ("coco/a/AR", 0.2)]
)
def test_found(indicator, expected):
    assert get_metric_value(indicator, METRICS) == expected


@pytest.mark.parametrize(
    ("indicator", "match"),
    [
        ("acc", "'acc' can not match any metric in .*voc/AP"),
        ("coco/acc", "'coco/acc' can not match any metric in .*voc/AP"),
        ("AP", r"'AP' matches multiple metrics \['coco/AP', 'voc/AP'\]"),
    ],
)
def test_missed(indicator, match):
    with pytest.raises(ValueError, match=match):
        get_metric_value(indicator, METRICS)
