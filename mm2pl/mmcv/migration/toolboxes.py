"""What OpenMMLab's toolboxes renamed between their MMCV 1.x and MMEngine releases: data, no logic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Toolbox:
    """The names of one toolbox.

    Args:
        scope: Its ``default_scope``.
        collected: A key in the old ``Collect(keys=…)`` that tells the toolbox.
        pack: The transform that replaces ``DefaultFormatBundle`` and ``Collect``.
        preprocessor: The data preprocessor that replaces ``Normalize`` and ``Pad``.
        prefixes: Old arguments of datasets for folders → keys of ``data_prefix``.
        visualizer: Its visualizer, and the hook that uses it.
        hook: See ``visualizer``.
        loads_annotations: Whether the metrics read the ground truth from the test pipeline.
        batch_sampler: What replaces the default grouping of images by aspect ratio.
        filter_cfg: Which images the training sets left out by default.
        datasets: Data sets that only this toolbox has.
        models: Model types that only this toolbox has; those of MMDetection are known by their data sets.
        transforms: Transforms that no other toolbox has which collects the same.
    """

    scope: str
    collected: str
    pack: str
    preprocessor: str
    prefixes: Mapping[str, str]
    visualizer: str = "Visualizer"
    hook: str = ""
    loads_annotations: Mapping[str, Any] | None = None
    batch_sampler: str = ""
    filter_cfg: Mapping[str, Any] = field(default_factory=dict)
    datasets: frozenset[str] = frozenset()
    models: frozenset[str] = frozenset()
    transforms: frozenset[str] = frozenset()


TOOLBOXES = (
    Toolbox(
        scope="mmdet",
        collected="gt_bboxes",
        pack="PackDetInputs",
        preprocessor="DetDataPreprocessor",
        prefixes={"img_prefix": "img", "seg_prefix": "seg"},
        visualizer="DetLocalVisualizer",
        hook="DetVisualizationHook",
        loads_annotations={"type": "LoadAnnotations", "with_bbox": True},
        batch_sampler="AspectRatioBatchSampler",
        # MMDetection 2's CustomDataset and its `_filter_imgs(min_size=32)`.
        filter_cfg={"filter_empty_gt": True, "min_size": 32},
        datasets=frozenset(
            {
                *(
                    "CocoDataset",
                    "VOCDataset",
                    "XMLDataset",
                    "CityscapesDataset",
                    "WIDERFaceDataset",
                ),
                *("DeepFashionDataset", "LVISDataset", "LVISV05Dataset", "LVISV1Dataset"),
                *("Objects365V1Dataset", "Objects365V2Dataset", "OpenImagesDataset"),
                *("CocoPanopticDataset", "OccludedSeparatedCocoDataset"),
            }
        ),
        models=frozenset(
            {
                *(
                    "FasterRCNN",
                    "MaskRCNN",
                    "CascadeRCNN",
                    "RetinaNet",
                    "FCOS",
                    "ATSS",
                    "GFL",
                    "YOLOV3",
                ),
                *(
                    "YOLOX",
                    "SingleStageDetector",
                    "TwoStageDetector",
                    "DETR",
                    "DeformableDETR",
                    "RPN",
                ),
                *(
                    "HybridTaskCascade",
                    "Mask2Former",
                    "MaskFormer",
                    "CornerNet",
                    "CenterNet",
                    "VFNet",
                ),
            }
        ),
        transforms=frozenset({"DefaultFormatBundle"}),
    ),
    Toolbox(
        scope="mmseg",
        collected="gt_semantic_seg",
        pack="PackSegInputs",
        preprocessor="SegDataPreProcessor",
        prefixes={"img_dir": "img_path", "ann_dir": "seg_map_path"},
        visualizer="SegLocalVisualizer",
        hook="SegVisualizationHook",
        loads_annotations={"type": "LoadAnnotations"},
        datasets=frozenset(
            {
                *("CityscapesDataset", "ADE20KDataset", "PascalVOCDataset", "PascalContextDataset"),
                *("PascalContextDataset59", "COCOStuffDataset", "ChaseDB1Dataset", "DRIVEDataset"),
                *("HRFDataset", "STAREDataset", "DarkZurichDataset", "NightDrivingDataset"),
                *("LoveDADataset", "PotsdamDataset", "ISPRSDataset", "iSAIDDataset"),
            }
        ),
        models=frozenset({"EncoderDecoder", "CascadeEncoderDecoder"}),
        transforms=frozenset({"DefaultFormatBundle"}),
    ),
    Toolbox(
        # MMClassification 0.x became MMPretrain.
        scope="mmpretrain",
        collected="gt_label",
        pack="PackInputs",
        preprocessor="ClsDataPreprocessor",
        prefixes={},
        visualizer="UniversalVisualizer",
        hook="VisualizationHook",
        datasets=frozenset(
            {
                *("ImageNet", "ImageNet21k", "CIFAR10", "CIFAR100", "MNIST", "FashionMNIST", "CUB"),
                *("StanfordCars", "KFoldDataset"),
            }
        ),
        models=frozenset({"ImageClassifier"}),
    ),
)
"""In the order in which they are recognised: a panoptic detector collects segmentations too."""

# 'mmcls' is the scope in 1.0 release candidates of MMClassification.
KNOWN_SCOPES = {toolbox.scope: toolbox for toolbox in TOOLBOXES} | {"mmcls": TOOLBOXES[2]}


@dataclass(frozen=True, kw_only=True)
class MetricRule:
    """Which metric replaces a dataset's own ``evaluate``.

    Args:
        type: The metric in MMEngine's generation.
        metric: Its argument for the old ``evaluation.metric``; empty if it has none.
        as_list: Whether that argument is a list.
        ann_file: Whether it reads the dataset's ``ann_file``.
        prefix: What it puts before the names of its results.
        renamed: Old names of results and arguments that differ; None: the argument is gone.
        fixed: Other arguments that it needs.
    """

    type: str
    metric: str = ""
    as_list: bool = False
    ann_file: bool = False
    prefix: str = ""
    renamed: Mapping[str, str | None] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)


_COCO = MetricRule(
    type="CocoMetric",
    metric="metric",
    ann_file=True,
    prefix="coco",
    renamed={
        "jsonfile_prefix": "outfile_prefix",
        "iou_thrs": "iou_thrs",
        "classwise": "classwise",
        "proposal_nums": "proposal_nums",
        "metric_items": "metric_items",
        "options": None,
    },
)
_VOC = MetricRule(
    type="VOCMetric",
    metric="metric",
    prefix="pascal_voc",
    renamed={"iou_thr": "iou_thrs", "scale_ranges": "scale_ranges"},
    # MMDetection 2 evaluates VOC2007 with 11 points, and its released VOC configs test on VOC2007.
    fixed={"eval_mode": "11points"},
)
_IOU = MetricRule(
    type="IoUMetric",
    metric="iou_metrics",
    as_list=True,
    # Both chose between ways of evaluating that used less memory; IoUMetric always works sample by sample.
    renamed={"pre_eval": None, "efficient_test": None},
)
_CLS = MetricRule(
    type="Accuracy", prefix="accuracy", renamed={"accuracy_top-1": "top1", "accuracy_top-5": "top5"}
)

METRICS: dict[str, dict[str, MetricRule]] = {
    "mmdet": {
        "CocoDataset": _COCO,
        "DeepFashionDataset": _COCO,
        "Objects365V1Dataset": _COCO,
        "Objects365V2Dataset": _COCO,
        "CityscapesDataset": _COCO,
        "CocoPanopticDataset": MetricRule(
            type="CocoPanopticMetric", ann_file=True, prefix="coco_panoptic"
        ),
        "VOCDataset": _VOC,
        "WIDERFaceDataset": _VOC,
        **dict.fromkeys(
            ("LVISDataset", "LVISV05Dataset", "LVISV1Dataset"),
            MetricRule(type="LVISMetric", metric="metric", ann_file=True, prefix="lvis"),
        ),
        "OpenImagesDataset": MetricRule(
            type="OpenImagesMetric", prefix="openimages", renamed={"use_group_of": None}
        ),
    },
    # MMSegmentation 0.x' data sets share one `evaluate`.
    "mmseg": {"": _IOU},
    "mmpretrain": {"": _CLS},
}
"""By scope and dataset type; ``''`` stands for all datasets of the toolbox."""

LOGGERS: dict[str, tuple[str, Mapping[str, str]]] = {
    "TensorboardLoggerHook": ("TensorboardVisBackend", {"log_dir": "save_dir"}),
    "WandbLoggerHook": (
        "WandbVisBackend",
        {
            "init_kwargs": "init_kwargs",
            "commit": "commit",
            "define_metric_cfg": "define_metric_cfg",
        },
    ),
    # The toolboxes' own hooks also log images, which is the visualization hook's part now.
    "MMDetWandbHook": ("WandbVisBackend", {"init_kwargs": "init_kwargs"}),
    "MMSegWandbHook": ("WandbVisBackend", {"init_kwargs": "init_kwargs"}),
    "MMClsWandbHook": ("WandbVisBackend", {"init_kwargs": "init_kwargs"}),
    "MlflowLoggerHook": (
        "MLflowVisBackend",
        {"exp_name": "exp_name", "tags": "tags", "params": "params"},
    ),
    "NeptuneLoggerHook": ("NeptuneVisBackend", {"init_kwargs": "init_kwargs"}),
    "DvcliveLoggerHook": ("DVCLiveVisBackend", {"init_kwargs": "init_kwargs"}),
    "ClearMLLoggerHook": ("ClearMLVisBackend", {"init_kwargs": "init_kwargs"}),
}
"""Logger hooks → visualization backends, with the arguments that both have."""

SAME_HOOKS = frozenset(
    {"EmptyCacheHook", "SyncBuffersHook", "ProfilerHook", "IterTimerHook", "DistSamplerSeedHook"}
)
"""Hooks that mm2pl has under the same name."""

TOOLBOX_HOOKS = frozenset(
    {
        "NumClassCheckHook",
        "CheckInvalidLossHook",
        "SetEpochInfoHook",
        "SyncNormHook",
        "YOLOXModeSwitchHook",
        "MemoryProfilerHook",
        "PreciseBNHook",
        "RFSearchHook",
    }
)
"""Hooks that the toolboxes kept under their names."""
