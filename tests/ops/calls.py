"""One call of each operator for generation and in space, of one tensor: for what all operators have to stand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mm2pl import ops

LONGS = {"dtype": torch.long}
CELLS = torch.tensor([[0, 1, 1], [0, 2, 0], [0, 0, 1], [1, 1, 1]])
GRID = (2, (3, 3), (3, 3), (3, 3), (1, 1), (1, 1), (1, 1))
OUT, PAIRS, NUMBERS = ops.indice_pairs(CELLS, *GRID)
SIZES, LIMITS = (0.25, 0.25, 0.25), (0.0, 0.0, 0.0, 1.0, 1.0, 1.0)
NEIGHBOURS = torch.arange(8).view(1, 2, 4) % 5
VOXELS = torch.tensor([[0, 1, 0], [0, 0, 1], [0, 1, 0], [-1, 0, 0], [0, 1, 0]])
COUNTS = torch.tensor([2, 3])
THREE = torch.tensor([[[0, 1, 4], [2, 2, 3]]])
MAP = (1, 4, 6, 7)

CALLS: dict[str, tuple[Callable[[Tensor], Tensor], tuple[int, ...]]] = {
    "assign_score_withk": (
        lambda x: ops.assign_score_withk(x[:, :2].transpose(2, 3), x, x * 0.5, NEIGHBOURS),
        (1, 5, 3, 4),
    ),
    "ball_query": (lambda x: ops.ball_query(x, x[:, :2], 0.6, 3), (1, 6, 3)),
    "bias_act": (lambda x: ops.bias_act(x, x[0, :, 0], act="swish"), (2, 3, 4)),
    "boxes_overlap_bev": (lambda x: ops.boxes_overlap_bev(x + 1, x * 2 + 1), (3, 7)),
    "correlation": (lambda x: ops.correlation(x, x, 3, 1), MAP),
    "dynamic_scatter": (lambda x: ops.dynamic_scatter(x, VOXELS)[0], (5, 3)),
    "dynamic_voxelize": (lambda x: ops.dynamic_voxelize(x, SIZES, LIMITS), (5, 4)),
    "filtered_lrelu": (
        lambda x: ops.filtered_lrelu(x, torch.ones(4), torch.ones(4), None, 2, 2, 3),
        MAP,
    ),
    "furthest_point_sample": (lambda x: ops.furthest_point_sample(x, 3), (1, 6, 3)),
    "furthest_point_sample_with_dist": (
        lambda x: ops.furthest_point_sample_with_dist(x, 3),
        (1, 6, 6),
    ),
    "fused_bias_leakyrelu": (lambda x: ops.fused_bias_leakyrelu(x - 0.5, x[0, :, 0]), (2, 3, 4)),
    "gather_points": (lambda x: ops.gather_points(x, THREE[:, 0]), (1, 3, 5)),
    "group_points": (lambda x: ops.group_points(x, THREE), (1, 3, 5)),
    "hard_voxelize": (lambda x: ops.hard_voxelize(x, SIZES, LIMITS, 2, 9)[0], (5, 4)),
    "indice_conv": (
        lambda x: ops.indice_conv(x, x.new_ones(3, 3, 2, 3), PAIRS, NUMBERS, len(OUT)),
        (4, 2),
    ),
    "indice_maxpool": (lambda x: ops.indice_maxpool(x, PAIRS, NUMBERS, len(OUT)), (4, 2)),
    "indice_pairs": (lambda x: ops.indice_pairs(CELLS, *GRID)[1], (1,)),
    "knn": (lambda x: ops.knn(x, x[:, :2], 3)[1], (1, 6, 3)),
    "nms3d": (lambda x: ops.nms3d(x, x[:, 0], 0.5), (3, 7)),
    "nms3d_normal": (lambda x: ops.nms3d_normal(x, x[:, 0], 0.5), (3, 7)),
    "points_in_boxes_all": (lambda x: ops.points_in_boxes_all(x[..., :3], x), (1, 4, 7)),
    "points_in_boxes_part": (lambda x: ops.points_in_boxes_part(x[..., :3], x), (1, 4, 7)),
    "roiaware_pool3d": (lambda x: ops.roiaware_pool3d(x + 1, x[:, :3] + 1.25, x, 2), (4, 7)),
    "roipoint_pool3d": (
        lambda x: ops.roipoint_pool3d(x[..., :3] + 1.25, x, x + 1, 3)[0],
        (1, 4, 7),
    ),
    "stack_ball_query": (lambda x: ops.stack_ball_query(x, COUNTS, x, COUNTS, 0.6, 3), (5, 3)),
    "stack_group_points": (
        lambda x: ops.stack_group_points(x, COUNTS, NEIGHBOURS[0], COUNTS - 1 - COUNTS // 3),
        (5, 3),
    ),
    "three_interpolate": (lambda x: ops.three_interpolate(x, THREE, x[:, :2, :3]), (1, 3, 5)),
    "three_nn": (lambda x: ops.three_nn(x, x[:, :4] + 1)[0], (1, 6, 3)),
    "upfirdn2d": (lambda x: ops.upfirdn2d(x, torch.ones(4), 2, 1, 2), MAP),
}
"""Operator → call and shape."""

Z = torch.zeros
NONE = Z(0, **LONGS)
NOTHING: dict[str, tuple[Callable[[Tensor], Any], tuple[int, ...], tuple[int, ...]]] = {
    "assign_score_withk": (
        lambda x: ops.assign_score_withk(Z(0, 2, 4, 3), x, x, Z(0, 2, 4, **LONGS)),
        (0, 5, 3, 6),
        (0, 6, 2, 4),
    ),
    "ball_query": (lambda x: ops.ball_query(x, x, 1.0, 3), (0, 6, 3), (0, 6, 3)),
    "ball_query, no centers": (lambda x: ops.ball_query(x, x[:, :0], 1.0, 3), (2, 6, 3), (2, 0, 3)),
    "ball_query, no points": (lambda x: ops.ball_query(x[:, :0], x, 1.0, 3), (2, 6, 3), (2, 6, 3)),
    "bias_act": (lambda x: ops.bias_act(x, Z(3), act="swish"), (0, 3, 4), (0, 3, 4)),
    "boxes_overlap_bev": (lambda x: ops.boxes_overlap_bev(x, Z(3, 7)), (0, 7), (0, 3)),
    "correlation": (lambda x: ops.correlation(x, x, 3, 1), (0, 4, 6, 7), (0, 3, 3, 4, 5)),
    "dynamic_scatter": (
        lambda x: ops.dynamic_scatter(x, Z(0, 3, **LONGS))[0],
        (0, 5),
        (0, 5),
    ),
    "dynamic_voxelize": (lambda x: ops.dynamic_voxelize(x, SIZES, LIMITS), (0, 4), (0, 3)),
    "filtered_lrelu": (
        lambda x: ops.filtered_lrelu(x, torch.ones(4), None, None, 2, 1, 3),
        (0, 3, 4, 4),
        (0, 3, 11, 11),
    ),
    "furthest_point_sample": (
        lambda x: ops.furthest_point_sample(x, 3),
        (0, 6, 3),
        (0, 3),
    ),
    "furthest_point_sample_with_dist": (
        lambda x: ops.furthest_point_sample_with_dist(x, 3),
        (0, 6, 6),
        (0, 3),
    ),
    "fused_bias_leakyrelu": (lambda x: ops.fused_bias_leakyrelu(x, Z(3)), (0, 3, 4), (0, 3, 4)),
    "gather_points": (lambda x: ops.gather_points(x, Z(0, 2, **LONGS)), (0, 3, 5), (0, 3, 2)),
    "group_points": (lambda x: ops.group_points(x, Z(2, 0, 4, **LONGS)), (2, 3, 5), (2, 3, 0, 4)),
    "group_points, no points": (
        lambda x: ops.group_points(x, Z(2, 0, 4, **LONGS)),
        (2, 3, 0),
        (2, 3, 0, 4),
    ),
    "hard_voxelize": (lambda x: ops.hard_voxelize(x, SIZES, LIMITS, 2, 9)[0], (0, 4), (0, 2, 4)),
    "indice_conv": (
        lambda x: ops.indice_conv(x, Z(3, 3, 2, 5), Z(9, 2, 0, **LONGS), Z(9, **LONGS), 0),
        (0, 2),
        (0, 5),
    ),
    "indice_conv, no channels": (
        lambda x: ops.indice_conv(x, Z(3, 3, 2, 0), PAIRS, NUMBERS, len(OUT)),
        (4, 2),
        (len(OUT), 0),
    ),
    "indice_maxpool": (
        lambda x: ops.indice_maxpool(x, Z(9, 2, 0, **LONGS), Z(9, **LONGS), 0),
        (0, 2),
        (0, 2),
    ),
    "indice_pairs": (lambda x: ops.indice_pairs(x.long(), *GRID)[1], (0, 3), (9, 2, 0)),
    "knn": (lambda x: ops.knn(x, x, 3)[1], (0, 6, 3), (0, 6, 3)),
    "knn, no points": (lambda x: ops.knn(x[:, :0], x, 3)[0], (2, 6, 3), (2, 6, 3)),
    "nms3d": (lambda x: ops.nms3d(x, x[:, 0], 0.5), (0, 7), (0,)),
    "nms3d_normal": (lambda x: ops.nms3d_normal(x, x[:, 0], 0.5), (0, 7), (0,)),
    "points_in_boxes_all": (
        lambda x: ops.points_in_boxes_all(x, Z(0, 4, 7)),
        (0, 5, 3),
        (0, 5, 4),
    ),
    "points_in_boxes_all, no boxes": (
        lambda x: ops.points_in_boxes_all(x, Z(2, 0, 7)),
        (2, 5, 3),
        (2, 5, 0),
    ),
    "points_in_boxes_part": (
        lambda x: ops.points_in_boxes_part(x, Z(0, 4, 7)),
        (0, 5, 3),
        (0, 5),
    ),
    "roiaware_pool3d": (
        lambda x: ops.roiaware_pool3d(Z(0, 7), Z(5, 3), x, 2),
        (5, 6),
        (0, 2, 2, 2, 6),
    ),
    "roiaware_pool3d, no points": (
        lambda x: ops.roiaware_pool3d(Z(4, 7), Z(0, 3), x, 2, mode="avg"),
        (0, 6),
        (4, 2, 2, 2, 6),
    ),
    "roipoint_pool3d": (
        lambda x: ops.roipoint_pool3d(Z(0, 5, 3), x, Z(0, 4, 7), 3)[0],
        (0, 5, 6),
        (0, 4, 3, 9),
    ),
    "stack_ball_query": (
        lambda x: ops.stack_ball_query(x, NONE, x, NONE, 1.0, 3),
        (0, 3),
        (0, 3),
    ),
    "stack_group_points": (
        lambda x: ops.stack_group_points(x, NONE, Z(0, 4, **LONGS), NONE),
        (0, 3),
        (0, 3, 4),
    ),
    "three_interpolate": (
        lambda x: ops.three_interpolate(x, Z(0, 4, 3, **LONGS), Z(0, 4, 3)),
        (0, 5, 6),
        (0, 5, 4),
    ),
    "three_nn": (lambda x: ops.three_nn(x, Z(0, 4, 3))[0], (0, 6, 3), (0, 6, 3)),
    "three_interpolate, no channels": (
        lambda x: ops.three_interpolate(x, Z(2, 4, 3, **LONGS), Z(2, 4, 3)),
        (2, 0, 6),
        (2, 0, 4),
    ),
    "upfirdn2d": (lambda x: ops.upfirdn2d(x, torch.ones(4), 2, 1, 2), (0, 3, 4, 4), (0, 3, 9, 9)),
    "upfirdn2d, no channels": (
        lambda x: ops.upfirdn2d(x, torch.ones(4), 2, 1, 2),
        (2, 0, 4, 4),
        (2, 0, 9, 9),
    ),
    "upfirdn2d, no rows": (
        lambda x: ops.upfirdn2d(x, torch.ones(3, 4), (1, 2), (3, 1), 2),
        (2, 3, 0, 4),
        (2, 3, 2, 2),
    ),
}
"""Operator → call, shape, and the shape of its result, where there is nothing to compute."""
