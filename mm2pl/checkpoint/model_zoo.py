"""Names of pretrained weights that released configs use, and the addresses behind them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlparse

from mm2pl.closest import closest, did_you_mean
from mm2pl.errors import MissingPackageError, ReadableKeyError

_HOST = "https://download.openmmlab.com/"
_OPENMMLAB_FOLDER = "pretrain/third_party/"
_MMCLS_FOLDER = "mmclassification/v0/"

# A leading slash: not in the folder above, but at the root.
_OPENMMLAB = {
    "vgg16_caffe": "vgg16_caffe-292e1171.pth",
    "detectron/resnet50_caffe": "resnet50_caffe-788b5fa3.pth",
    "detectron2/resnet50_caffe": "resnet50_msra-5891d200.pth",
    "detectron/resnet101_caffe": "resnet101_caffe-3ad79236.pth",
    "detectron2/resnet101_caffe": "resnet101_msra-6cc46731.pth",
    "detectron2/resnext101_32x8d": "resnext101_32x8d-1516f1aa.pth",
    "resnext50_32x4d": "resnext50-32x4d-0ab1a123.pth",
    "resnext101_32x4d": "resnext101_32x4d-a5af3160.pth",
    "resnext101_64x4d": "resnext101_64x4d-ee2c6f71.pth",
    "contrib/resnet50_gn": "resnet50_gn_thangvubk-ad1730dd.pth",
    "detectron/resnet50_gn": "resnet50_gn-9186a21c.pth",
    "detectron/resnet101_gn": "resnet101_gn-cac0ab98.pth",
    "jhu/resnet50_gn_ws": "resnet50_gn_ws-15beedd8.pth",
    "jhu/resnet101_gn_ws": "resnet101_gn_ws-3e3c308c.pth",
    "jhu/resnext50_32x4d_gn_ws": "resnext50_32x4d_gn_ws-0d87ac85.pth",
    "jhu/resnext101_32x4d_gn_ws": "resnext101_32x4d_gn_ws-34ac1a9e.pth",
    "jhu/resnext50_32x4d_gn": "resnext50_32x4d_gn-c7e8b754.pth",
    "jhu/resnext101_32x4d_gn": "resnext101_32x4d_gn-ac3bb84e.pth",
    "msra/hrnetv2_w18_small": "hrnetv2_w18_small-b5a04e21.pth",
    "msra/hrnetv2_w18": "hrnetv2_w18-00eb2006.pth",
    "msra/hrnetv2_w32": "hrnetv2_w32-dc9eeb4f.pth",
    "msra/hrnetv2_w40": "hrnetv2_w40-ed0b031c.pth",
    "msra/hrnetv2_w48": "hrnetv2_w48-d2186c55.pth",
    "bninception_caffe": "bn_inception_caffe-ed2e8665.pth",
    "kin400/i3d_r50_f32s2_k400": "i3d_r50_f32s2_k400-2c57e077.pth",
    "kin400/nl3d_r50_f32s2_k400": "nl3d_r50_f32s2_k400-fa7e7caa.pth",
    "res2net101_v1d_26w_4s": "res2net101_v1d_26w_4s_mmdetv2-f0a600f9.pth",
    "regnetx_400mf": "regnetx_400mf-a5b10d96.pth",
    "regnetx_800mf": "regnetx_800mf-1f4be4c7.pth",
    "regnetx_1.6gf": "regnetx_1.6gf-5791c176.pth",
    "regnetx_3.2gf": "regnetx_3.2gf-c2599b0f.pth",
    "regnetx_4.0gf": "regnetx_4.0gf-a88f671e.pth",
    "regnetx_6.4gf": "regnetx_6.4gf-006af45d.pth",
    "regnetx_8.0gf": "regnetx_8.0gf-3c68abe7.pth",
    "regnetx_12gf": "regnetx_12gf-4c2a3350.pth",
    "resnet18_v1c": "resnet18_v1c-b5776b93.pth",
    "resnet50_v1c": "resnet50_v1c-2cccc1ad.pth",
    "resnet101_v1c": "resnet101_v1c-e67eebb6.pth",
    "mmedit/vgg16": "/mmediting/third_party/vgg_state_dict.pth",
    "mmedit/res34_en_nomixup": "/mmediting/third_party/model_best_resnet34_En_nomixup.pth",
    "mmedit/mobilenet_v2": "/mmediting/third_party/mobilenet_v2.pth",
    "contrib/mobilenet_v3_large": "mobilenet_v3_large-bc2c3fd3.pth",
    "contrib/mobilenet_v3_small": "mobilenet_v3_small-47085aa1.pth",
    "resnest50": "resnest50_d2-7497a55b.pth",
    "resnest101": "resnest101_d2-f3b931b2.pth",
    "resnest200": "resnest200_d2-ca88e41f.pth",
    "darknet53": "darknet53-a628ea1b.pth",
    "mmdet/mobilenet_v2": "/mmdetection/v2.0/third_party/mobilenet_v2_batch256_imagenet-ff34753d.pth",
}

_MMCLS = {
    "vgg11": "vgg/vgg11_batch256_imagenet_20210208-4271cd6c.pth",
    "vgg13": "vgg/vgg13_batch256_imagenet_20210208-4d1d6080.pth",
    "vgg16": "vgg/vgg16_batch256_imagenet_20210208-db26f1a5.pth",
    "vgg19": "vgg/vgg19_batch256_imagenet_20210208-e6920e4a.pth",
    "vgg11_bn": "vgg/vgg11_bn_batch256_imagenet_20210207-f244902c.pth",
    "vgg13_bn": "vgg/vgg13_bn_batch256_imagenet_20210207-1a8b7864.pth",
    "vgg16_bn": "vgg/vgg16_bn_batch256_imagenet_20210208-7e55cd29.pth",
    "vgg19_bn": "vgg/vgg19_bn_batch256_imagenet_20210208-da620c4f.pth",
    "resnet18": "resnet/resnet18_8xb32_in1k_20210831-fbbb1da6.pth",
    "resnet34": "resnet/resnet34_8xb32_in1k_20210831-f257d4e6.pth",
    "resnet50": "resnet/resnet50_8xb32_in1k_20210831-ea4938fc.pth",
    "resnet101": "resnet/resnet101_8xb32_in1k_20210831-539c63f8.pth",
    "resnet152": "resnet/resnet152_8xb32_in1k_20210901-4d7582fa.pth",
    "resnet50_v1d": "resnet/resnetv1d50_b32x8_imagenet_20210531-db14775a.pth",
    "resnet101_v1d": "resnet/resnetv1d101_b32x8_imagenet_20210531-6e13bcd3.pth",
    "resnet152_v1d": "resnet/resnetv1d152_b32x8_imagenet_20210531-278cf22a.pth",
    "resnext50_32x4d": "resnext/resnext50_32x4d_b32x8_imagenet_20210429-56066e27.pth",
    "resnext101_32x4d": "resnext/resnext101_32x4d_b32x8_imagenet_20210506-e0fa3dd5.pth",
    "resnext101_32x8d": "resnext/resnext101_32x8d_b32x8_imagenet_20210506-23a247d5.pth",
    "resnext152_32x4d": "resnext/resnext152_32x4d_b32x8_imagenet_20210524-927787be.pth",
    "se-resnet50": "se-resnet/se-resnet50_batch256_imagenet_20200804-ae206104.pth",
    "se-resnet101": "se-resnet/se-resnet101_batch256_imagenet_20200804-ba5b51d4.pth",
    "resnest50": "resnest/resnest50_imagenet_converted-1ebf0afe.pth",
    "resnest101": "resnest/resnest101_imagenet_converted-032caa52.pth",
    "resnest200": "resnest/resnest200_imagenet_converted-581a60f2.pth",
    "resnest269": "resnest/resnest269_imagenet_converted-59930960.pth",
    "shufflenet_v1": "shufflenet_v1/shufflenet_v1_batch1024_imagenet_20200804-5d6cec73.pth",
    "shufflenet_v2": "shufflenet_v2/shufflenet_v2_batch1024_imagenet_20200812-5bf4721e.pth",
    "mobilenet_v2": "mobilenet_v2/mobilenet_v2_batch256_imagenet_20200708-3b2dc3af.pth",
    "mobilenet_v3_small": "mobilenet_v3/convert/mobilenet_v3_small-8427ecf0.pth",
    "mobilenet_v3_large": "mobilenet_v3/convert/mobilenet_v3_large-3ea3c186.pth",
    "repvgg_A0": "repvgg/repvgg-A0_3rdparty_4xb64-coslr-120e_in1k_20210909-883ab98c.pth",
    "repvgg_A1": "repvgg/repvgg-A1_3rdparty_4xb64-coslr-120e_in1k_20210909-24003a24.pth",
    "repvgg_A2": "repvgg/repvgg-A2_3rdparty_4xb64-coslr-120e_in1k_20210909-97d7695a.pth",
    "repvgg_B0": "repvgg/repvgg-B0_3rdparty_4xb64-coslr-120e_in1k_20210909-446375f4.pth",
    "repvgg_B1": "repvgg/repvgg-B1_3rdparty_4xb64-coslr-120e_in1k_20210909-750cdf67.pth",
    "repvgg_B1g2": "repvgg/repvgg-B1g2_3rdparty_4xb64-coslr-120e_in1k_20210909-344f6422.pth",
    "repvgg_B1g4": "repvgg/repvgg-B1g4_3rdparty_4xb64-coslr-120e_in1k_20210909-d4c1a642.pth",
    "repvgg_B2": "repvgg/repvgg-B2_3rdparty_4xb64-coslr-120e_in1k_20210909-bd6b937c.pth",
    "repvgg_B2g4": "repvgg/repvgg-B2g4_3rdparty_4xb64-autoaug-lbs-mixup-coslr-200e_in1k_20210909-7b7955f0.pth",
    "repvgg_B3": "repvgg/repvgg-B3_3rdparty_4xb64-autoaug-lbs-mixup-coslr-200e_in1k_20210909-dda968bf.pth",
    "repvgg_B3g4": "repvgg/repvgg-B3g4_3rdparty_4xb64-autoaug-lbs-mixup-coslr-200e_in1k_20210909-4e54846a.pth",
    "repvgg_D2se": "repvgg/repvgg-D2se_3rdparty_4xb64-autoaug-lbs-mixup-coslr-200e_in1k_20210909-cf3139b7.pth",
    "res2net101_w26": "res2net/res2net101-w26-s4_3rdparty_8xb32_in1k_20210927-870b6c36.pth",
    "res2net50_w14": "res2net/res2net50-w14-s8_3rdparty_8xb32_in1k_20210927-bc967bf1.pth",
    "res2net50_w26": "res2net/res2net50-w26-s8_3rdparty_8xb32_in1k_20210927-f547a94b.pth",
    "swin_tiny": "swin-transformer/swin_tiny_224_b16x64_300e_imagenet_20210616_090925-66df6be6.pth",
    "swin_small": "swin-transformer/swin_small_224_b16x64_300e_imagenet_20210615_110219-7f9d988b.pth",
    "swin_base": "swin-transformer/convert/swin_base_patch4_window7_224_22kto1k-f967f799.pth",
    "swin_large": "swin-transformer/convert/swin_large_patch4_window7_224_22kto1k-5f0996db.pth",
    "t2t_vit_t_14": "t2t-vit/t2t-vit-t-14_3rdparty_8xb64_in1k_20210928-b7c09b62.pth",
    "t2t_vit_t_19": "t2t-vit/t2t-vit-t-19_3rdparty_8xb64_in1k_20210928-7f1478d5.pth",
    "t2t_vit_t_24": "t2t-vit/t2t-vit-t-24_3rdparty_8xb64_in1k_20210928-fe95a61b.pth",
    "tnt_small": "tnt/tnt-small-p16_3rdparty_in1k_20210903-c56ee7df.pth",
    "vit_base_p16": "vit/finetune/vit-base-p16_in21k-pre-3rdparty_ft-64xb64_in1k-384_20210928-98e8652b.pth",
    "vit_base_p32": "vit/finetune/vit-base-p32_in21k-pre-3rdparty_ft-64xb64_in1k-384_20210928-9cea8599.pth",
    "vit_large_p16": "vit/finetune/vit-large-p16_in21k-pre-3rdparty_ft-64xb64_in1k-384_20210928-b20ba619.pth",
}


def _addresses(table: Mapping[str, str], folder: str) -> dict[str, str]:
    return {
        name: _HOST + (file[1:] if file.startswith("/") else folder + file)
        for name, file in table.items()
    }


def home() -> Path:
    """Return the folder of the user's own ``open_mmlab.json``: ``$MMENGINE_HOME``, or MMEngine's cache folder."""
    cache = os.getenv("XDG_CACHE_HOME", "~/.cache")
    return Path(os.getenv("MMENGINE_HOME", os.path.join(cache, "mmengine"))).expanduser()


def get_external_models() -> dict[str, str]:
    """Return what ``open-mmlab://`` names stand for, the user's own table included."""
    urls = _addresses(_OPENMMLAB, _OPENMMLAB_FOLDER)
    own = home() / "open_mmlab.json"
    if own.is_file():
        # Last, as in MMEngine: the user's own entry wins over a name that is built in.
        urls.update(json.loads(own.read_text(encoding="utf-8")))
    return urls


def get_mmcls_models() -> dict[str, str]:
    """Return what ``mmcls://`` names stand for."""
    return _addresses(_MMCLS, _MMCLS_FOLDER)


def get_deprecated_model_names() -> dict[str, str]:
    """Return old ``open-mmlab://`` names and those that replaced them."""
    return {
        f"resnet{depth}_caffe{suffix}": f"{source}/resnet{depth}_caffe{suffix}"
        for depth in (50, 101)
        for suffix, source in (("", "detectron"), ("_bgr", "detectron2"))
    }


def get_torchvision_models() -> dict[str, str]:
    """Return what ``torchvision://`` names stand for: ``resnet50``, ``resnet50.default``, ``resnet50.imagenet1k_v2``.

    A bare name means the first weights that torchvision published, as it does for MMEngine.

    Raises:
        ImportError: torchvision is not installed.
    """
    try:
        from torchvision import models
    except ImportError as error:
        raise MissingPackageError(
            "torchvision:// needs torchvision, which knows the addresses of its weights → install it, or give "
            "the https:// address or a local path instead"
        ) from error
    urls = {}
    for model in models.list_models(models):
        weights = models.get_model_weights(model)
        for entry in reversed(weights):
            name = weights.__name__.replace("_Weights", "").lower()
            urls[f"{name}.{entry.name.lower()}"] = urls[name] = entry.url
        # A model without published weights has an empty enumeration, which lacks DEFAULT.
        if len(weights):
            urls[f"{name}.default"] = weights.DEFAULT.url
    return urls


def look_up(path: str, name: str, urls: Mapping[str, str]) -> str:
    """Return the address of ``name``.

    Raises:
        KeyError: The name is unknown; with close matches and what to do.
    """
    if name in urls:
        return urls[name]
    raise ReadableKeyError(
        f"{path!r}: no weights of this name are known.{did_you_mean(closest(name, urls))} "
        "Give their https:// address or a local path instead, "
        f"or add the name to {home() / 'open_mmlab.json'} for open-mmlab://."
    )


def file_name(url: str) -> str:
    """Return the last part of an address.

    >>> file_name("https://host/a/resnet50-0676ba61.pth?download=1")
    'resnet50-0676ba61.pth'
    """
    return os.path.basename(urlparse(url).path)
