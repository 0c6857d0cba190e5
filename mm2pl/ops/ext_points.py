"""Neighbours and groups of points as ``mmcv._ext`` has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from mm2pl.ops import grouping, neighbours
from mm2pl.ops.buffers import add, gradients


def _ball_query(
    new_xyz_tensor: Tensor,
    xyz_tensor: Tensor,
    idx_tensor: Tensor,
    b: int,
    n: int,
    m: int,
    min_radius: float,
    max_radius: float,
    nsample: int,
) -> None:
    given = xyz_tensor, new_xyz_tensor, max_radius, nsample, min_radius
    idx_tensor.copy_(neighbours.ball_query(*given))


def _stack_ball_query(
    new_xyz_tensor: Tensor,
    new_xyz_batch_cnt: Tensor,
    xyz_tensor: Tensor,
    xyz_batch_cnt: Tensor,
    idx_tensor: Tensor,
    max_radius: float,
    nsample: int,
) -> None:
    given = xyz_tensor, xyz_batch_cnt, new_xyz_tensor, new_xyz_batch_cnt
    idx_tensor.copy_(neighbours.stack_ball_query(*given, max_radius, nsample))


def _furthest_point_sampling(
    points_tensor: Tensor, temp_tensor: Tensor, idx_tensor: Tensor, b: int, n: int, m: int
) -> None:
    idx_tensor.copy_(neighbours.furthest_point_sample(points_tensor, m))


def _furthest_point_sampling_with_dist(
    points_tensor: Tensor, temp_tensor: Tensor, idx_tensor: Tensor, b: int, n: int, m: int
) -> None:
    idx_tensor.copy_(neighbours.furthest_point_sample_with_dist(points_tensor, m))


def _knn(
    xyz_tensor: Tensor,
    new_xyz_tensor: Tensor,
    idx_tensor: Tensor,
    dist2_tensor: Tensor,
    b: int,
    n: int,
    m: int,
    nsample: int,
) -> None:
    index, distance = neighbours.knn(xyz_tensor, new_xyz_tensor, nsample)
    idx_tensor.copy_(index)
    dist2_tensor.copy_(distance)


def _three_nn(
    unknown_tensor: Tensor,
    known_tensor: Tensor,
    dist2_tensor: Tensor,
    idx_tensor: Tensor,
    b: int,
    n: int,
    m: int,
) -> None:
    distance, index = neighbours.three_nn(unknown_tensor, known_tensor)
    dist2_tensor.copy_(distance.square())
    idx_tensor.copy_(index)


def _taken(operator: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., None]:
    def forward(
        points_tensor: Tensor, idx_tensor: Tensor, out_tensor: Tensor, **sizes: int
    ) -> None:
        out_tensor.copy_(operator(points_tensor, idx_tensor))

    return forward


def _taken_backward(operator: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., None]:
    def backward(
        grad_out_tensor: Tensor, idx_tensor: Tensor, grad_points_tensor: Tensor, **sizes: int
    ) -> None:
        # Linear in the points: the buffer stands for them.
        run = lambda points: operator(points, idx_tensor)  # noqa: E731
        add([grad_points_tensor], gradients(run, [grad_points_tensor], grad_out_tensor))

    return backward


def _stack_group_points(
    features_tensor: Tensor,
    features_batch_cnt_tensor: Tensor,
    idx_tensor: Tensor,
    idx_batch_cnt_tensor: Tensor,
    out_tensor: Tensor,
    **sizes: int,
) -> None:
    given = features_tensor, features_batch_cnt_tensor, idx_tensor, idx_batch_cnt_tensor
    out_tensor.copy_(grouping.stack_group_points(*given))


def _stack_group_points_backward(
    grad_out_tensor: Tensor,
    idx_tensor: Tensor,
    idx_batch_cnt_tensor: Tensor,
    features_batch_cnt_tensor: Tensor,
    grad_features_tensor: Tensor,
    **sizes: int,
) -> None:
    given = features_batch_cnt_tensor, idx_tensor, idx_batch_cnt_tensor
    run = lambda features: grouping.stack_group_points(features, *given)  # noqa: E731
    add([grad_features_tensor], gradients(run, [grad_features_tensor], grad_out_tensor))


def _three_interpolate(
    points_tensor: Tensor,
    idx_tensor: Tensor,
    weight_tensor: Tensor,
    out_tensor: Tensor,
    **sizes: int,
) -> None:
    out_tensor.copy_(grouping.three_interpolate(points_tensor, idx_tensor, weight_tensor))


def _three_interpolate_backward(
    grad_out_tensor: Tensor,
    idx_tensor: Tensor,
    weight_tensor: Tensor,
    grad_points_tensor: Tensor,
    **sizes: int,
) -> None:
    run = lambda points: grouping.three_interpolate(points, idx_tensor, weight_tensor)  # noqa: E731
    add([grad_points_tensor], gradients(run, [grad_points_tensor], grad_out_tensor))


def _assign_score_withk(
    points: Tensor,
    centers: Tensor,
    scores: Tensor,
    knn_idx: Tensor,
    output: Tensor,
    aggregate: int,
    **sizes: int,
) -> None:
    # MMCV's kernels do not look at `aggregate`: PAConv sums over the neighbours itself.
    output.add_(grouping.assign_score_withk(scores, points, centers, knn_idx))


def _assign_score_withk_backward(
    grad_out: Tensor,
    points: Tensor,
    centers: Tensor,
    scores: Tensor,
    knn_idx: Tensor,
    grad_points: Tensor,
    grad_centers: Tensor,
    grad_scores: Tensor,
    aggregate: int,
    **sizes: int,
) -> None:
    run = lambda s, p, c: grouping.assign_score_withk(s, p, c, knn_idx)  # noqa: E731
    add(
        [grad_scores, grad_points, grad_centers],
        gradients(run, [scores, points, centers], grad_out),
    )


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "assign_score_withk_backward": _assign_score_withk_backward,
    "assign_score_withk_forward": _assign_score_withk,
    "ball_query_forward": _ball_query,
    "furthest_point_sampling_forward": _furthest_point_sampling,
    "furthest_point_sampling_with_dist_forward": _furthest_point_sampling_with_dist,
    "gather_points_backward": _taken_backward(grouping.gather_points),
    "gather_points_forward": _taken(grouping.gather_points),
    "group_points_backward": _taken_backward(grouping.group_points),
    "group_points_forward": _taken(grouping.group_points),
    "knn_forward": _knn,
    "stack_ball_query_forward": _stack_ball_query,
    "stack_group_points_backward": _stack_group_points_backward,
    "stack_group_points_forward": _stack_group_points,
    "three_interpolate_backward": _three_interpolate_backward,
    "three_interpolate_forward": _three_interpolate,
    "three_nn_forward": _three_nn,
}
