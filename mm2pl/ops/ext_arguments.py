"""What the functions of ``mmcv._ext`` take: one table, which checks the arguments of each call.

Without it a buffer larger than the result would be filled by broadcasting, and an integer one with rounded numbers.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mm2pl.ops.arguments import require

TABLE = """
active_rotated_filter_backward: grad_output D*R C*O h w, indices:int O h w R, grad_input D C O h w
active_rotated_filter_forward: input D C O h w, indices:int O h w R, output D*R C*O h w
assign_score_withk_backward: grad_out B O N1 K, points B N0 M O, centers B N0 M O,
    scores B N1 K M, knn_idx:int B N1 K, grad_points B N0 M O, grad_centers B N0 M O,
    grad_scores B N1 K M
assign_score_withk_forward: points B N0 M O, centers B N0 M O, scores B N1 K M,
    knn_idx:int B N1 K, output B O N1 K
ball_query_forward: new_xyz_tensor b m 3, xyz_tensor b n 3, idx_tensor:int b m nsample
bbox_overlaps: bboxes1 N 4, bboxes2 M 4
bezier_align_backward: grad_output N C aligned_height aligned_width, rois N 17, grad_input B C H W
bezier_align_forward: input B C H W, rois N 17, output N C aligned_height aligned_width
bias_act: *
border_align_backward: grad_output B C N 4, boxes B N 4, argmax_idx:int B C N 4,
    grad_input B 4*C H W
border_align_forward: input B 4*C H W, boxes B N 4, output B C N 4, argmax_idx:int B C N 4
box_iou_quadri: boxes1 N columns, boxes2 M others
box_iou_rotated: boxes1 N columns, boxes2 M others
carafe_backward: grad_output B C h w, rfeatures B C H W, masks B K h w, *, *, *, *,
    grad_input B C H W, grad_masks B K h w
carafe_forward: features B C H W, masks B K h w, rfeatures B C H W, *, *, output B C h w
carafe_naive_backward: grad_output B C h w, features B C H W, masks B K h w, grad_input B C H W,
    grad_masks B K h w
carafe_naive_forward: features B C H W, masks B K h w, output B C h w
chamfer_distance_backward: xyz1 B N 2, xyz2 B M 2, idx1:int B N, idx2:int B M, grad_dist1 B N,
    grad_dist2 B M, grad_xyz1 B N 2, grad_xyz2 B M 2
chamfer_distance_forward: xyz1 B N 2, xyz2 B M 2, dist1 B N, dist2 B M, idx1:int B N, idx2:int B M
convex_giou: pointsets N 18, polygons N 8, output N 19
convex_iou: pointsets N 18, polygons M 8, ious N M
correlation_backward: grad_output N patchH patchW h w, input1 N C H W, input2 N C H W,
    grad_input1 N C H W, grad_input2 N C H W
correlation_forward: input1 N C H W, input2 N C H W, output N patchH patchW h w
deform_conv_backward_input: input B C H W, offset B F h w, grad_output B D h w,
    grad_input B C H W, grad_offset B F h w, weight D E kH kW
deform_conv_backward_parameters: input B C H W, offset B F h w, grad_output B D h w,
    grad_weight D E kH kW
deform_conv_forward: input B C H W, weight D E kH kW, offset B F h w, output B D h w
deform_roi_pool_backward: grad_output N C pooled_height pooled_width, input B C H W, rois N 5, *,
    grad_input B C H W
deform_roi_pool_forward: input B C H W, rois N 5, *, output N C pooled_height pooled_width
diff_iou_rotated_sort_vertices_forward: vertices B N K 2, mask:bool B N K
dynamic_point_to_voxel_backward: grad_feats N C, grad_reduced_feats V C, feats N C,
    reduced_feats V C, coors_idx:int N, reduce_count:int V
dynamic_point_to_voxel_forward: feats N C, coors:int N D
dynamic_voxelize_forward: points N D, *, *, coors:int N 3
filtered_lrelu: x N C H W, *, *, b C
filtered_lrelu_act_: x N C H W
furthest_point_sampling_forward: points_tensor b n 3, temp_tensor b n, idx_tensor:int b m
furthest_point_sampling_with_dist_forward: points_tensor b n n, temp_tensor b n,
    idx_tensor:int b m
fused_bias_leakyrelu: *
fused_indice_conv_forward: features N C, *, *, indicePairs:int K 2 P
gather_points_backward: grad_out_tensor b c npoints, idx_tensor:int b npoints,
    grad_points_tensor b c n
gather_points_forward: points_tensor b c n, idx_tensor:int b npoints, out_tensor b c npoints
get_indice_pairs_2d_backward: indices:int N columns, gridOut:int cells
get_indice_pairs_2d_forward: indices:int N columns
get_indice_pairs_3d_backward: indices:int N columns, gridOut:int cells
get_indice_pairs_3d_forward: indices:int N columns
get_indice_pairs_4d_forward: indices:int N columns
group_points_backward: grad_out_tensor b c npoints nsample, idx_tensor:int b npoints nsample,
    grad_points_tensor b c n
group_points_forward: points_tensor b c n, idx_tensor:int b npoints nsample,
    out_tensor b c npoints nsample
hard_voxelize_forward: points N D, *, *, voxels V P D, coors:int V 3, num_points_per_voxel:int V
indice_conv_backward: features N C, *, outGrad M O, indicePairs:int K 2 P
indice_conv_forward: features N C, *, indicePairs:int K 2 P
indice_maxpool_backward: features N C, outFeatures M C, outGrad M C, indicePairs:int K 2 P
indice_maxpool_forward: features N C, indice_pairs:int K 2 P
iou3d_boxes_overlap_bev_forward: boxes_a N 7, boxes_b M 7, ans_iou N M
iou3d_nms3d_forward: boxes N 7, keep:int N
iou3d_nms3d_normal_forward: boxes N 7, keep:int N
knn_forward: xyz_tensor b n 3, new_xyz_tensor b m 3, idx_tensor:int b m nsample,
    dist2_tensor b m nsample
masked_col2im_forward: data_col channels N, mask_h_idx:int N, mask_w_idx:int N,
    data_im 1 channels height width
masked_im2col_forward: features 1 C H W, mask_h_idx:int N, mask_w_idx:int N,
    data_col C*kernel_h*kernel_w N
min_area_polygons: pointsets N 18, polygons N 8
modulated_deform_conv_backward: input B C H W, weight D E kernel_h kernel_w, *, *, offset B F h w,
    mask B G h w, *, grad_input B C H W, grad_weight D E kernel_h kernel_w, *,
    grad_offset B F h w, grad_mask B G h w, grad_output B D h w
modulated_deform_conv_forward: input B C H W, weight D E kernel_h kernel_w, *, *, offset B F h w,
    mask B G h w, output B D h w
ms_deform_attn_backward: value B S heads D, spatial_shapes:int L 2, level_start_index:int L,
    sampling_locations B Q heads L P 2, attention_weights B Q heads L P, grad_output B Q heads*D,
    grad_value B S heads D, grad_sampling_loc B Q heads L P 2, grad_attn_weight B Q heads L P
ms_deform_attn_forward: value B S heads D, spatial_shapes:int L 2, level_start_index:int L,
    sampling_locations B Q heads L P 2, attention_weights B Q heads L P
nms_quadri: dets N columns, scores N
nms_rotated: dets N columns, scores N
points_in_boxes_all_forward: boxes_tensor B N 7, pts_tensor B P 3,
    box_idx_of_points_tensor:int B P N
points_in_boxes_cpu_forward: boxes_tensor N 7, pts_tensor P 3, pts_indices_tensor:int N P
points_in_boxes_part_forward: boxes_tensor B N 7, pts_tensor B P 3,
    box_idx_of_points_tensor:int B P
points_in_polygons_forward: points N 2, polygons M 8, output N M
prroi_pool_backward: grad_output N C pooled_height pooled_width, rois N 5, grad_input B C H W
prroi_pool_coor_backward: output N C pooled_height pooled_width,
    grad_output N C pooled_height pooled_width, features B C H W, rois N 5, grad_rois N 5
prroi_pool_forward: features B C H W, rois N 5, output N C pooled_height pooled_width
psamask_backward: grad_output num_ h_feature*w_feature h_feature w_feature,
    grad_input num_ h_mask*w_mask h_feature w_feature
psamask_forward: input num_ h_mask*w_mask h_feature w_feature,
    output num_ h_feature*w_feature h_feature w_feature
riroi_align_rotated_backward: grad_output N C pooled_height pooled_width, rois N 6,
    grad_input B C H W
riroi_align_rotated_forward: features B C H W, rois N 6, output N C pooled_height pooled_width
roi_align_backward: grad_output N C aligned_height aligned_width, rois N 5, *, *,
    grad_input B C H W
roi_align_forward: input B C H W, rois N 5, output N C aligned_height aligned_width
roi_align_rotated_backward: grad_output N C pooled_height pooled_width, rois N 6,
    grad_input B C H W
roi_align_rotated_forward: input B C H W, rois N 6, output N C pooled_height pooled_width
roi_pool_backward: grad_output N C pooled_height pooled_width, rois N 5,
    argmax:int N C pooled_height pooled_width, grad_input B C H W
roi_pool_forward: input B C H W, rois N 5, output N C pooled_height pooled_width,
    argmax:int N C pooled_height pooled_width
roiaware_pool3d_backward: pts_idx_of_voxels:int N x y z most, argmax:int N x y z C,
    grad_out N x y z C, grad_in P C
roiaware_pool3d_forward: rois N 7, pts P 3, pts_feature P C, argmax:int N x y z C,
    pts_idx_of_voxels:int N x y z most, pooled_features N x y z C
roipoint_pool3d_forward: xyz B N 3, boxes3d B M 7, pts_feature B N C,
    pooled_features B M samples width, pooled_empty_flag:int B M
rotated_feature_align_backward: grad_output B C H W, boxes B H W 5, grad_input B C H W
rotated_feature_align_forward: features B C H W, boxes B H W 5, output B C H W
sigmoid_focal_loss_backward: input N C, target:int N, *, grad_input N C
sigmoid_focal_loss_forward: input N C, target:int N, *, output N C
softmax_focal_loss_backward: input N C, target:int N, *, buff N, grad_input N C
softmax_focal_loss_forward: input N C, target:int N, *, output N
softnms: boxes N 4, scores N, dets N 5
stack_ball_query_forward: new_xyz_tensor M 3, new_xyz_batch_cnt:int B, xyz_tensor N 3,
    xyz_batch_cnt:int B, idx_tensor:int M nsample
stack_group_points_backward: grad_out_tensor m c nsample, idx_tensor:int m nsample,
    idx_batch_cnt_tensor:int b, features_batch_cnt_tensor:int b, grad_features_tensor n c
stack_group_points_forward: features_tensor N c, features_batch_cnt_tensor:int b,
    idx_tensor:int m nsample, idx_batch_cnt_tensor:int b, out_tensor m c nsample
sync_bn_backward_data: grad_output B C L, weight C, grad_weight C, grad_bias C, norm B C L, std C,
    grad_input B C L
sync_bn_backward_param: grad_output B C L, norm B C L, grad_weight C, grad_bias C
sync_bn_forward_mean: input B C L, mean C
sync_bn_forward_output: input B C L, mean C, var C, weight C, bias C, *, *, norm B C L, std C,
    output B C L
sync_bn_forward_var: input B C L, mean C, var C
three_interpolate_backward: grad_out_tensor b c n, idx_tensor:int b n 3, weight_tensor b n 3,
    grad_points_tensor b c m
three_interpolate_forward: points_tensor b c m, idx_tensor:int b n 3, weight_tensor b n 3,
    out_tensor b c n
three_nn_forward: unknown_tensor b n 3, known_tensor b m 3, dist2_tensor b n 3,
    idx_tensor:int b n 3
tin_shift_backward: grad_output B T C L, shift:int B G, grad_input B T C L
tin_shift_forward: input B T C L, shift:int B G, output B T C L
upfirdn2d: input N C H W, filter h w
"""
"""Function: its tensors in order, each with its shape. ``*`` is one that the function checks itself or ignores.

A size is a number, an argument of the call, a product of known sizes, or a name that stands for one size throughout.
"""

NODES = [
    f"{name}_forward"
    for name in [
        "border_align",
        "carafe",
        "carafe_naive",
        "deform_conv",
        "deform_roi_pool",
        "masked_im2col",
        "modulated_deform_conv",
        "prroi_pool",
        "psamask",
        "roi_align",
        "roi_align_rotated",
        "roi_pool",
        "rotated_feature_align",
    ]
]
"""What MMCV exports to ONNX as one node (``symbolic`` of its autograd Function): that fails where steps are traced."""

KINDS = {"": "a floating-point", "int": "an integer", "bool": "a boolean"}


class _Entry(NamedTuple):
    argument: str
    kind: str
    shape: list[str]


def _parsed(text: str) -> _Entry:
    argument, *shape = text.split()
    argument, _, kind = argument.partition(":")
    return _Entry(argument, kind, shape)


TENSORS: dict[str, list[_Entry]] = {
    name: [_parsed(entry) for entry in entries.split(",")]
    for name, _, entries in (
        line.partition(": ") for line in re.sub(r"\n +", " ", TABLE).strip().splitlines()
    )
}


def checked(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of ``mmcv._ext`` that refuses a tensor of a wrong kind, shape or device."""
    if name not in TENSORS:
        return function  # one of mm2pl.ops itself, or without tensors
    signature = inspect.signature(function)

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        known = {key: value for key, value in bound.arguments.items() if isinstance(value, int)}
        _check(name, list(bound.arguments.values()), known | bound.kwargs)
        return function(*args, **kwargs)

    return _untraced(run) if name in NODES else run


def _untraced(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function whose steps a trace does not see, as it sees none of a compiled kernel."""

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        if not torch.jit.is_tracing():
            return function(*args, **kwargs)
        # A trace belongs to one thread, and torch has no public way to interrupt it.
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(torch.no_grad()(function), *args, **kwargs).result()

    return run


def _check(operator: str, given: list[Any], known: dict[str, Any]) -> None:
    places = {}
    checks = [each for each in zip(TENSORS[operator], given, strict=False) if each[0].shape]
    # A product last: what its factors are is known from the others.
    for (argument, kind, shape), value in sorted(checks, key=lambda each: "*" in str(each[0])):
        sizes = [_size(name, known) for name in shape]
        wanted = f"{KINDS[kind]} tensor ({', '.join(map(str, sizes))})"
        require(isinstance(value, Tensor), operator, argument, type(value).__name__, wanted)
        require(_kind(value) == kind, operator, argument, str(value.dtype), wanted)
        fits = value.dim() == len(sizes) and all(
            isinstance(size, str) or size == has
            for size, has in zip(sizes, value.shape, strict=True)
        )
        require(fits, operator, argument, f"of shape {tuple(value.shape)}", wanted)
        known.update(zip(shape, value.shape, strict=True))
        places[argument] = value.device
    where = ", ".join(f"{argument} on {device}" for argument, device in places.items())
    require(len({*places.values()}) <= 1, operator, "the device", where, "one for all of them")


def _size(name: str, known: dict[str, Any]) -> int | str:
    """Return the size that a name or a product stands for, or itself if that is not known."""
    factors = name.split("*")
    if not all(each.isdigit() or each in known for each in factors):
        return name
    return math.prod(int(known.get(each, each)) for each in factors)


def _kind(tensor: Tensor) -> str:
    if tensor.dtype == torch.bool:
        return "bool"
    return "" if tensor.is_floating_point() else "int"
