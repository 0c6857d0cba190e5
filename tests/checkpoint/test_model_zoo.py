from __future__ import annotations

import pytest

from mm2pl.checkpoint import model_zoo


@pytest.mark.parametrize(
    ("table", "name", "url"),
    [
        (
            "get_external_models",
            "resnet50_v1c",
            "https://download.openmmlab.com/pretrain/third_party/resnet50_v1c-2cccc1ad.pth",
        ),
        (
            "get_external_models",
            "mmedit/vgg16",
            "https://download.openmmlab.com/mmediting/third_party/vgg_state_dict.pth",
        ),
        (
            "get_mmcls_models",
            "vgg11",
            "https://download.openmmlab.com/mmclassification/v0/vgg/vgg11_batch256_imagenet_20210208-4271cd6c.pth",
        ),
    ],
)
def test_addresses(table, name, url):
    assert getattr(model_zoo, table)()[name] == url


def test_replaced_names():
    assert (
        model_zoo.get_deprecated_model_names()["resnet101_caffe_bgr"]
        == "detectron2/resnet101_caffe_bgr"
    )


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"MMENGINE_HOME": "/data/mm"}, "/data/mm"),
        ({"XDG_CACHE_HOME": "/cache"}, "/cache/mmengine"),
        ({"HOME": "/home/me"}, "/home/me/.cache/mmengine"),
    ],
    ids=["own", "xdg", "home"],
)
def test_home(monkeypatch, environment, expected):
    for name in ("MMENGINE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert str(model_zoo.home()) == expected
