"""The names of MMCV 1.7.2 that MMCV 2.1.0 has in the same modules, and mm2pl leaves to it."""

from __future__ import annotations

_TABLE = """
arraymisc.quantization: dequantize quantize
cnn.alexnet: AlexNet
cnn.bricks.activation: Clamp GELU build_activation_layer
cnn.bricks.context_block: ContextBlock last_zero_init
cnn.bricks.conv: build_conv_layer
cnn.bricks.conv2d_adaptive_padding: Conv2dAdaptivePadding
cnn.bricks.conv_module: ConvModule
cnn.bricks.conv_ws: ConvAWS2d ConvWS2d conv_ws_2d
cnn.bricks.depthwise_separable_conv_module: DepthwiseSeparableConvModule
cnn.bricks.drop: DropPath Dropout build_dropout drop_path
cnn.bricks.generalized_attention: GeneralizedAttention
cnn.bricks.hsigmoid: HSigmoid
cnn.bricks.hswish: HSwish
cnn.bricks.non_local: NonLocal1d NonLocal2d NonLocal3d
cnn.bricks.norm: build_norm_layer infer_abbr is_norm
cnn.bricks.padding: build_padding_layer
cnn.bricks.plugin: build_plugin_layer infer_abbr
cnn.bricks.scale: Scale
cnn.bricks.swish: Swish
cnn.bricks.transformer: AdaptivePadding BaseTransformerLayer FFN MultiheadAttention PatchEmbed PatchMerging
    TransformerLayerSequence build_attention build_feedforward_network build_positional_encoding
    build_transformer_layer build_transformer_layer_sequence
cnn.bricks.upsample: PixelShufflePack build_upsample_layer
cnn.bricks.wrappers: Conv2d Conv3d ConvTranspose2d ConvTranspose3d Linear MaxPool2d MaxPool3d NewEmptyTensorOp
    obsolete_torch_version
cnn.resnet: BasicBlock Bottleneck ResNet conv3x3 make_res_layer
cnn.rfsearch.operator: BaseConvRFSearchOp Conv2dRFSearchOp
cnn.rfsearch.search: RFSearchHook
cnn.rfsearch.utils: expand_rates get_single_padding write_to_json
cnn.utils.flops_counter: add_batch_counter_hook_function add_batch_counter_variables_or_reset
    add_flops_counter_variable_or_reset add_flops_counting_methods batch_counter_hook compute_average_flops_cost
    conv_flops_counter_hook deconv_flops_counter_hook empty_flops_counter_hook flops_to_string
    get_model_complexity_info get_model_parameters_number get_modules_mapping is_supported_instance
    linear_flops_counter_hook norm_flops_counter_hook params_to_string pool_flops_counter_hook print_model_with_flops
    relu_flops_counter_hook remove_batch_counter_hook_function remove_flops_counter_hook_function reset_flops_count
    start_flops_count stop_flops_count upsample_flops_counter_hook
cnn.utils.fuse_conv_bn: fuse_conv_bn
cnn.vgg: VGG conv3x3 make_vgg_layer
image.colorspace: bgr2gray bgr2hls bgr2hsv bgr2rgb bgr2ycbcr convert_color_factory gray2bgr gray2rgb hls2bgr hsv2bgr
    imconvert rgb2bgr rgb2gray rgb2ycbcr ycbcr2bgr ycbcr2rgb
image.geometric: bbox_clip bbox_scaling cutout cv2_border_modes cv2_interp_codes imcrop imflip imflip_ impad
    impad_to_multiple imrescale imresize imresize_like imresize_to_multiple imrotate imshear imtranslate
    pillow_interp_codes rescale_size
image.io: TJCS_RGB TJPF_BGR TJPF_GRAY imfrombytes imread imread_backend imread_flags imwrite supported_backends
    use_backend
image.misc: tensor2imgs
image.photometric: adjust_brightness adjust_color adjust_contrast adjust_hue adjust_lighting adjust_sharpness
    auto_contrast clahe imdenormalize imequalize iminvert imnormalize imnormalize_ lut_transform posterize solarize
ops: Conv2d ConvTranspose2d Linear MaxPool2d
ops.active_rotated_filter: ActiveRotatedFilterFunction active_rotated_filter
ops.assign_score_withk: AssignScoreWithK assign_score_withk
ops.ball_query: BallQuery ball_query
ops.bbox: bbox_overlaps
ops.border_align: BorderAlign BorderAlignFunction border_align
ops.box_iou_quadri: box_iou_quadri
ops.box_iou_rotated: box_iou_rotated
ops.carafe: CARAFE CARAFEFunction CARAFENaive CARAFENaiveFunction CARAFEPack carafe carafe_naive
ops.cc_attention: CrissCrossAttention NEG_INF_DIAG
ops.chamfer_distance: ChamferDistanceFunction chamfer_distance
ops.contour_expand: contour_expand
ops.convex_iou: convex_giou convex_iou
ops.corner_pool: CornerPool
ops.correlation: Correlation CorrelationFunction
ops.deform_conv: DeformConv2d DeformConv2dFunction DeformConv2dPack deform_conv2d
ops.deform_roi_pool: DeformRoIPool DeformRoIPoolFunction DeformRoIPoolPack ModulatedDeformRoIPoolPack deform_roi_pool
ops.deprecated_wrappers: Conv2d_deprecated ConvTranspose2d_deprecated Linear_deprecated MaxPool2d_deprecated
ops.diff_iou_rotated: EPSILON SortVertices box1_in_box2 box2corners box_in_box box_intersection build_vertices
    calculate_area diff_iou_rotated_2d diff_iou_rotated_3d oriented_box_intersection_2d sort_indices
ops.focal_loss: SigmoidFocalLoss SigmoidFocalLossFunction SoftmaxFocalLoss SoftmaxFocalLossFunction sigmoid_focal_loss
    softmax_focal_loss
ops.furthest_point_sample: FurthestPointSampling FurthestPointSamplingWithDist furthest_point_sample
    furthest_point_sample_with_dist
ops.fused_bias_leakyrelu: FusedBiasLeakyReLU FusedBiasLeakyReLUFunction FusedBiasLeakyReLUFunctionBackward
    bias_leakyrelu_ref fused_bias_leakyrelu
ops.gather_points: GatherPoints gather_points
ops.group_points: GroupAll GroupingOperation QueryAndGroup grouping_operation
ops.info: get_compiler_version get_compiling_cuda_version
ops.iou3d: boxes_iou3d boxes_iou_bev boxes_overlap_bev nms3d nms3d_normal nms_bev nms_normal_bev
ops.knn: KNN knn
ops.masked_conv: MaskedConv2d MaskedConv2dFunction masked_conv2d
ops.merge_cells: BaseMergeCell ConcatCell GlobalPoolingCell SumCell
ops.min_area_polygons: min_area_polygons
ops.modulated_deform_conv: ModulatedDeformConv2d ModulatedDeformConv2dFunction ModulatedDeformConv2dPack
    modulated_deform_conv2d
ops.multi_scale_deform_attn: MultiScaleDeformableAttention MultiScaleDeformableAttnFunction
    multi_scale_deformable_attn_pytorch
ops.nms: NMSop SoftNMSop array_like_type batched_nms nms nms_match nms_quadri nms_rotated soft_nms
ops.pixel_group: pixel_group
ops.point_sample: SimpleRoIAlign abs_img_point_to_rel_img_point bilinear_grid_sample denormalize generate_grid
    get_shape_from_feature_map normalize point_sample rel_roi_point_to_abs_img_point rel_roi_point_to_rel_img_point
ops.points_in_boxes: points_in_boxes_all points_in_boxes_cpu points_in_boxes_part
ops.points_in_polygons: points_in_polygons
ops.points_sampler: DFPSSampler FFPSSampler FSSampler PointsSampler calc_square_dist get_sampler_cls
ops.prroi_pool: PrRoIPool PrRoIPoolFunction prroi_pool
ops.psa_mask: PSAMask PSAMaskFunction psa_mask
ops.riroi_align_rotated: RiRoIAlignRotated RiRoIAlignRotatedFunction riroi_align_rotated
ops.roi_align: RoIAlign RoIAlignFunction roi_align
ops.roi_align_rotated: RoIAlignRotated RoIAlignRotatedFunction roi_align_rotated
ops.roi_pool: RoIPool RoIPoolFunction roi_pool
ops.roiaware_pool3d: RoIAwarePool3d RoIAwarePool3dFunction
ops.roipoint_pool3d: RoIPointPool3d RoIPointPool3dFunction
ops.rotated_feature_align: RotatedFeatureAlignFunction rotated_feature_align
ops.saconv: SAConv2d
ops.scatter_points: DynamicScatter dynamic_scatter
ops.sparse_conv: SparseConv2d SparseConv3d SparseConv4d SparseConvTranspose2d SparseConvTranspose3d SparseConvolution
    SparseInverseConv2d SparseInverseConv3d SubMConv2d SubMConv3d SubMConv4d
ops.sparse_functional: SparseConvFunction SparseInverseConvFunction SparseMaxPoolFunction SubMConvFunction indice_conv
    indice_inverse_conv indice_maxpool indice_subm_conv
ops.sparse_modules: RemoveGrid SparseModule SparseSequential ToDense is_sparse_conv is_spconv_module
ops.sparse_ops: fused_indice_conv get_conv_output_size get_deconv_output_size get_indice_pairs indice_conv
    indice_conv_backward indice_maxpool indice_maxpool_backward
ops.sparse_pool: SparseMaxPool SparseMaxPool2d SparseMaxPool3d
ops.sparse_structure: SparseConvTensor scatter_nd
ops.sync_bn: SyncBatchNorm SyncBatchNormFunction
ops.three_interpolate: ThreeInterpolate three_interpolate
ops.three_nn: ThreeNN three_nn
ops.tin_shift: TINShift TINShiftFunction tin_shift
ops.upfirdn2d: upfirdn2d
ops.voxelize: Voxelization voxelization
utils.device_type: IS_MLU_AVAILABLE IS_MPS_AVAILABLE IS_NPU_AVAILABLE
utils.env: collect_env
utils.ext_loader: check_ops_exist load_ext
utils.parrots_jit: jit parrots_jit_option skip_no_elena
video.io: Cache VideoReader frames2video
video.optflow: dequantize_flow flow_from_bytes flow_warp flowread flowwrite quantize_flow sparse_flow_from_bytes
video.processing: concat_video convert_video cut_video resize_video
visualization.color: Color color_val
visualization.image: ColorType imshow imshow_bboxes imshow_det_bboxes
visualization.optflow: flow2rgb flowshow make_color_wheel
"""
"""Module below ``mmcv``: its functions and classes."""


def _read(table: str) -> dict[str, set[str]]:
    read: dict[str, set[str]] = {}
    for word in table.split():
        if word.endswith(":"):
            path = word[:-1].split(".")
        else:
            # A package shows what its files have.
            for n in range(1, len(path) + 1):
                read.setdefault(".".join(["mmcv", *path[:n]]), set()).add(word)
    for room in ("arraymisc", "image", "video", "visualization"):
        read.setdefault("mmcv", set()).update(read[f"mmcv.{room}"])
    return read


_NAMES = _read(_TABLE)
# Other names of theirs are gone in MMCV 2.x, or are mm2pl's.
_IN_PARTS = frozenset(
    f"mmcv{room}"
    for room in ("", ".cnn", ".cnn.bricks", ".cnn.utils", ".utils", ".utils.device_type")
)


def keeps(module: str, name: str) -> bool:
    """Return whether ``from module import name`` gives in MMCV 2.1.0 what it gave in MMCV 1.7.2.

    Example:
        >>> keeps("mmcv.cnn", "ConvModule"), keeps("mmcv", "imread"), keeps("mmcv.cnn", "constant_init")
        (True, True, False)
    """
    return name in _NAMES.get(module, ()) or keeps_module(f"{module}.{name}")


def keeps_module(module: str) -> bool:
    """Return whether MMCV 2.1.0 has a module with all that MMCV 1.7.2 had in it."""
    return module in _NAMES and module not in _IN_PARTS
