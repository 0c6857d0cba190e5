"""Sparse convolution as ``mmcv._ext`` has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mm2pl.ops.arguments import require, widened
from mm2pl.ops.buffers import gradients
from mm2pl.ops.sparse import (
    gradient_of_greatest,
    indice_conv,
    indice_maxpool,
    indice_pairs,
    pairs_of,
)


def _get_indice_pairs(axes: int) -> Callable[..., list[Tensor]]:
    def pairs(
        indices: Tensor,
        batchSize: int,
        outSpatialShape: Sequence[int],
        spatialShape: Sequence[int],
        kernelSize: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        outPadding: Sequence[int],
        _subM: int,
        _transpose: int,
    ) -> list[Tensor]:
        name, accepted = f"get_indice_pairs_{axes}d", f"of {1 + axes} columns: sample and place"
        fits = indices.shape[1] == 1 + axes
        require(fits, name, "indices", f"of {indices.shape[1]} columns", accepted)
        sizes = (spatialShape, outSpatialShape, kernelSize, stride, padding, dilation)
        return [*indice_pairs(indices, batchSize, *sizes, bool(_subM), bool(_transpose))]

    return pairs


def _get_indice_pairs_with_grid(axes: int) -> Callable[..., list[Tensor]]:
    pairs = _get_indice_pairs(axes)

    def with_grid(indices: Tensor, gridOut: Tensor, *settings: Any, **named: Any) -> list[Tensor]:
        return pairs(indices, *settings, **named)  # the grid is a buffer of MMCV's kernels

    return with_grid


def _indice_conv(
    features: Tensor,
    filters: Tensor,
    indicePairs: Tensor,
    indiceNum: Tensor,
    numActOut: int,
    _inverse: int,
    _subM: int,
) -> Tensor:
    return indice_conv(features, filters, indicePairs, indiceNum, numActOut, bool(_inverse))


def _fused_indice_conv(
    features: Tensor,
    filters: Tensor,
    bias: Tensor,
    indicePairs: Tensor,
    indiceNum: Tensor,
    numActOut: int,
    _inverse: int,
    _subM: int,
) -> Tensor:
    fits = bias.shape == filters.shape[-1:]
    accepted = f"({filters.shape[-1]},)"
    require(fits, "fused_indice_conv_forward", "bias", f"of shape {tuple(bias.shape)}", accepted)
    given = indicePairs, indiceNum, numActOut, bool(_inverse)
    out = indice_conv(widened(features), widened(filters), *given) + widened(bias)
    return out.to(features.dtype)


def _indice_conv_backward(
    features: Tensor,
    filters: Tensor,
    outGrad: Tensor,
    indicePairs: Tensor,
    indiceNum: Tensor,
    _inverse: int,
    _subM: int,
) -> list[Tensor | None]:
    given = indicePairs, indiceNum, len(outGrad), bool(_inverse)
    return [*gradients(lambda x, w: indice_conv(x, w, *given), [features, filters], outGrad)]


def _indice_maxpool_backward(
    features: Tensor, outFeatures: Tensor, outGrad: Tensor, indicePairs: Tensor, indiceNum: Tensor
) -> Tensor:
    name, count = "indice_maxpool_backward", len(outFeatures)
    pairs = pairs_of(name, indicePairs, indiceNum, count, features, False)
    given = widened(features), widened(outFeatures), widened(outGrad)
    with torch.no_grad():
        return gradient_of_greatest(*given, pairs).to(features.dtype)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "fused_indice_conv_forward": _fused_indice_conv,
    "get_indice_pairs_2d_backward": _get_indice_pairs_with_grid(2),
    "get_indice_pairs_2d_forward": _get_indice_pairs(2),
    "get_indice_pairs_3d_backward": _get_indice_pairs_with_grid(3),
    "get_indice_pairs_3d_forward": _get_indice_pairs(3),
    "get_indice_pairs_4d_forward": _get_indice_pairs(4),
    "indice_conv_backward": _indice_conv_backward,
    "indice_conv_forward": _indice_conv,
    "indice_maxpool_backward": _indice_maxpool_backward,
    "indice_maxpool_forward": indice_maxpool,
}
