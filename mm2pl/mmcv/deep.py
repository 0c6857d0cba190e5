"""Modules of MMCV 1.7.2 that are not files here: ``mm2pl.mmcv.runner.base_module`` and so on, from one table."""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_TABLE = """
runner.base_module: BaseModule ModuleDict ModuleList Sequential master_only
runner.default_constructor: DefaultRunnerConstructor RUNNERS RUNNER_BUILDERS
runner.hooks.closure: ClosureHook HOOKS Hook
runner.hooks.ema: EMAHook HOOKS Hook mmcv.parallel.is_module_wrapper
runner.hooks.iter_timer: HOOKS Hook IterTimerHook
runner.hooks.logger.base: Hook LoggerHook
runner.hooks.logger.dvclive: DvcliveLoggerHook HOOKS LoggerHook master_only
runner.hooks.logger.mlflow: HOOKS LoggerHook MlflowLoggerHook master_only mmcv.utils.TORCH_VERSION
runner.hooks.logger.neptune: HOOKS LoggerHook NeptuneLoggerHook master_only
runner.hooks.logger.pavi: HOOKS LoggerHook PaviLoggerHook master_only
runner.hooks.logger.segmind: HOOKS LoggerHook SegmindLoggerHook master_only
runner.hooks.logger.tensorboard: HOOKS LoggerHook TensorboardLoggerHook master_only
    mmcv.utils.TORCH_VERSION utils.digit_version
runner.hooks.logger.text: HOOKS LoggerHook TextLoggerHook fileio.FileClient utils.is_tuple_of
    utils.scandir
runner.hooks.logger.wandb: HOOKS LoggerHook WandbLoggerHook master_only utils.scandir
runner.hooks.lr_updater: CosineAnnealingLrUpdaterHook CosineRestartLrUpdaterHook
    CyclicLrUpdaterHook ExpLrUpdaterHook FixedLrUpdaterHook FlatCosineAnnealingLrUpdaterHook HOOKS
    Hook InvLrUpdaterHook LinearAnnealingLrUpdaterHook LrUpdaterHook OneCycleLrUpdaterHook
    PolyLrUpdaterHook StepLrUpdaterHook mmcv.policies.annealing_cos mmcv.policies.annealing_linear
    mmcv.policies.get_position_from_periods mmcv.runner.hooks.updater.format_param
runner.hooks.memory: EmptyCacheHook HOOKS Hook
runner.hooks.momentum_updater: CosineAnnealingMomentumUpdaterHook CyclicMomentumUpdaterHook HOOKS
    Hook LinearAnnealingMomentumUpdaterHook MomentumUpdaterHook OneCycleMomentumUpdaterHook
    StepMomentumUpdaterHook
runner.hooks.sampler_seed: DistSamplerSeedHook HOOKS Hook
runner.hooks.sync_buffer: HOOKS Hook SyncBuffersHook allreduce_params
runner.optimizer.builder: OPTIMIZERS OPTIMIZER_BUILDERS build_optimizer
    build_optimizer_constructor
runner.optimizer.default_constructor: DefaultOptimizerConstructor OPTIMIZERS OPTIMIZER_BUILDERS
    utils.is_list_of
runner.priority: Priority get_priority
parallel._functions: scatter
parallel.collate: DataContainer collate
parallel.data_container: DataContainer
parallel.data_parallel: MMDataParallel scatter_kwargs
parallel.distributed: MMDistributedDataParallel mmcv.utils.TORCH_VERSION scatter_kwargs
    utils.digit_version
parallel.distributed_deprecated: MMDistributedDataParallel MODULE_WRAPPERS
    mmcv.utils.TORCH_VERSION scatter_kwargs utils.digit_version
parallel.registry: MODULE_WRAPPERS Registry
parallel.scatter_gather: DataContainer scatter scatter_kwargs
parallel.utils: MODULE_WRAPPERS is_module_wrapper
utils.config: Config ConfigDict DictAction check_file_exist digit_version
    import_modules_from_strings
utils.device_type: device.is_mlu_available device.is_mps_available device.is_npu_available
    IS_MLU_AVAILABLE IS_MPS_AVAILABLE IS_NPU_AVAILABLE
utils.env: collect_env
utils.hub: TORCH_VERSION digit_version mkdir_or_exist
utils.logging: get_logger print_log
utils.misc: concat_list deprecated_api_warning has_method import_modules_from_strings is_list_of
    is_method_overridden is_seq_of is_str is_tuple_of iter_cast list_cast slice_list to_2tuple
    to_ntuple tuple_cast utils.check_prerequisites utils.requires_executable
    utils.requires_package utils.to_1tuple utils.to_3tuple utils.to_4tuple
utils.parrots_jit: TORCH_VERSION
utils.parrots_wrapper: _AdaptiveAvgPoolNd _AdaptiveMaxPoolNd _AvgPoolNd _BatchNorm _ConvNd
    _ConvTransposeMixin _get_dataloader _InstanceNorm _MaxPoolNd DataLoader get_build_config
    is_rocm_pytorch IS_CUDA_AVAILABLE PoolDataLoader SyncBatchNorm TORCH_VERSION device.is_cuda_available
utils.path: check_file_exist is_filepath is_str mkdir_or_exist scandir symlink utils.fopen
utils.progressbar: ProgressBar Timer track_iter_progress track_parallel_progress track_progress
    utils.progressbar.init_pool
utils.registry: Registry build_from_cfg deprecated_api_warning is_seq_of
utils.seed: dataset.worker_init_fn
utils.timer: Timer utils.TimerError utils.check_time
utils.torch_ops: TORCH_VERSION digit_version utils.dl_utils.torch_meshgrid
utils.trace: digit_version utils.dl_utils.is_jit_tracing
utils.version_utils: digit_version get_git_hash
engine.test: collect_results_cpu collect_results_gpu get_dist_info multi_gpu_test single_gpu_test
fileio: fileio.BaseFileHandler fileio.BaseStorageBackend fileio.FileClient fileio.JsonHandler
    fileio.PickleHandler fileio.YamlHandler fileio.dict_from_file fileio.dump
    fileio.list_from_file fileio.load fileio.register_handler
fileio.file_client: fileio.BaseStorageBackend fileio.FileClient fileio.HTTPBackend
    fileio.HardDiskBackend fileio.LmdbBackend fileio.MemcachedBackend fileio.PetrelBackend
    utils.has_method utils.is_filepath
fileio.handlers: fileio.BaseFileHandler fileio.JsonHandler fileio.PickleHandler fileio.YamlHandler
fileio.handlers.base: fileio.BaseFileHandler
fileio.handlers.json_handler: fileio.BaseFileHandler fileio.JsonHandler
    fileio.handlers.set_default
fileio.handlers.pickle_handler: fileio.BaseFileHandler fileio.PickleHandler
fileio.handlers.yaml_handler: fileio.BaseFileHandler fileio.YamlHandler
fileio.io: fileio.BaseFileHandler fileio.FileClient fileio.JsonHandler fileio.PickleHandler
    fileio.YamlHandler fileio.dump fileio.handlers.file_handlers fileio.load
    fileio.register_handler utils.is_list_of
fileio.parse: fileio.FileClient fileio.dict_from_file fileio.list_from_file
cnn.bricks: ACTIVATION_LAYERS CONV_LAYERS NORM_LAYERS PADDING_LAYERS PLUGIN_LAYERS UPSAMPLE_LAYERS
cnn.bricks.registry: ACTIVATION_LAYERS ATTENTION CONV_LAYERS DROPOUT_LAYERS FEEDFORWARD_NETWORK
    NORM_LAYERS PADDING_LAYERS PLUGIN_LAYERS POSITIONAL_ENCODING TRANSFORMER_LAYER
    TRANSFORMER_LAYER_SEQUENCE UPSAMPLE_LAYERS
cnn.builder: MODELS model.Sequential registry.build_from_cfg
cnn.utils: Caffe2XavierInit ConstantInit KaimingInit NormalInit PretrainedInit TruncNormalInit
    UniformInit XavierInit analysis.get_model_complexity_info bias_init_with_prob
    caffe2_xavier_init constant_init initialize kaiming_init model.revert_sync_batchnorm
    normal_init trunc_normal_init uniform_init xavier_init
cnn.utils.flops_counter: analysis.get_model_complexity_info
cnn.utils.sync_bn: model.revert_sync_batchnorm model.utils._BatchNormXd
cnn.utils.weight_init: Caffe2XavierInit ConstantInit KaimingInit NormalInit PretrainedInit
    TruncNormalInit UniformInit XavierInit bias_init_with_prob caffe2_xavier_init constant_init
    initialize kaiming_init logging.print_log model.BaseInit model.weight_init._initialize
    model.weight_init._initialize_override model.weight_init.trunc_normal_ normal_init
    registry.build_from_cfg trunc_normal_init uniform_init update_init_info xavier_init
"""
"""Module: its names. A name is found in its room (``mm2pl.mmcv.runner``), one with dots in ``mm2pl``."""


def _read(table: str) -> dict[str, dict[str, str]]:
    read: dict[str, dict[str, str]] = {}
    for word in table.split():
        if word.endswith(":"):
            names = read.setdefault(word[:-1], {})
            room = f"mmcv.{word[:-1].partition('.')[0]}"
        else:
            home, _, name = word.rpartition(".")
            names[name] = home or room
    return read


DEEP = _read(_TABLE)
"""Module below ``mm2pl.mmcv`` → its names → the module of mm2pl that has them."""


class _Deep(ModuleType):
    """One of those modules; its names are looked up when they are asked for."""

    def __getattr__(self, name: str) -> Any:
        home = DEEP[self.__name__.removeprefix("mm2pl.mmcv.")].get(name)
        if home is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"mm2pl.{home}"), name)

    def __dir__(self) -> list[str]:
        return sorted(DEEP[self.__name__.removeprefix("mm2pl.mmcv.")])


def serve(room: str) -> None:
    """Let the deep modules of ``room`` be imported; the room calls it when it is imported itself, as their parent.

    Python looks among the loaded modules again once it has imported a parent.
    """
    for path in DEEP:
        name = f"mm2pl.mmcv.{path}"
        if path.partition(".")[0] != room or name in sys.modules:
            continue
        module = _Deep(name, f"``mmcv.{path}`` of MMCV 1.x.")
        module.__spec__ = ModuleSpec(
            name, None, is_package=any(f"{path}." in other for other in DEEP)
        )
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        # A function may have the name: `mmcv.parallel.collate` is both, and the function is the attribute.
        if parent in sys.modules and child not in vars(sys.modules[parent]):
            setattr(sys.modules[parent], child, module)
