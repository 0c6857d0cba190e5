"""Where a name of MMEngine 0.10.7's is found here.

Two tables hold it: modules that are cut differently, and names that a module of MMEngine's only imports, which
projects import from there all the same (``from mmengine.runner.runner import Hook``).
"""

from __future__ import annotations

import importlib
from typing import Any

MOVED = {
    "fileio.backends.http_backend": "fileio.backends",
    "fileio.backends.lmdb_backend": "fileio.backends",
    "fileio.backends.local_backend": "fileio.backends",
    "fileio.backends.memcached_backend": "fileio.backends",
    "fileio.backends.petrel_backend": "fileio.backends",
    "fileio.handlers.base": "fileio.handlers",
    "fileio.handlers.json_handler": "fileio.handlers",
    "fileio.handlers.pickle_handler": "fileio.handlers",
    "fileio.handlers.registry_utils": "fileio.handlers",
    "fileio.handlers.yaml_handler": "fileio.handlers",
    "optim.optimizer.apex_optimizer_wrapper": "optim.optimizer",
    "runner._flexible_runner": "runner.flexible_runner",
    "testing._internal.distributed": "testing._internal",
    **{
        f"_strategy.{name}": "_strategy"
        for name in ("base", "colossalai", "deepspeed", "distributed", "fsdp", "single_device")
    },
}
"""MMEngine's module → ours, where the two are cut differently."""

_TABLE = """
analysis.print_helper: analysis.ActivationAnalyzer analysis.FlopAnalyzer
config.config: config.ConfigParsingError config.lazy.LazyAttr config.lazy.LazyObject fileio.load
    utils.check_file_exist utils.digit_version utils.get_installed_path
    utils.import_modules_from_strings utils.is_installed
config.lazy: utils.is_seq_of
config.utils: fileio.load utils.check_file_exist
dataset.base_dataset: config.Config fileio.load registry.TRANSFORMS
dataset.dataset_wrapper: dataset.BaseDataset
dataset.utils: structures.BaseDataElement
dist.dist: utils.dl_utils.TORCH_VERSION device.is_npu_available dist.get_data_device
    dist.get_default_group utils.digit_version
dist.utils: device.is_mlu_available device.is_musa_available device.is_npu_available
evaluator.evaluator: evaluator.BaseMetric registry.METRICS structures.BaseDataElement
evaluator.metric: structures.BaseDataElement
fileio.backends.base: logging.print_log
fileio.backends.petrel_backend: utils.has_method
fileio.file_client: fileio.BaseStorageBackend utils.is_filepath
fileio.io: fileio.register_handler utils.is_filepath utils.is_str
fileio.parse: fileio.FileClient
hooks.checkpoint_hook: inf=math.inf logging.print_log utils.is_list_of utils.is_seq_of
hooks.early_stopping_hook: DATA_BATCH=typing.Any inf=math.inf
hooks.empty_cache_hook: device.is_cuda_available device.is_musa_available
hooks.hook: utils.is_method_overridden
hooks.logger_hook: fileio.FileClient logging.print_log
hooks.param_scheduler_hook: optim._ParamScheduler utils.is_list_of
hooks.profiler_hook: dist.master_only logging.print_log
hooks.runtime_info_hook: utils.get_git_hash
hub.hub: utils.get_installed_path utils.install_package
infer.infer: InstanceList=typing.Any fileio.get_file_backend fileio.load structures.InstanceData
model: utils.dl_utils.TORCH_VERSION utils.digit_version
model.base_model.base_model: optim.OptimWrapper utils.is_list_of
model.base_model.data_preprocessor: CastData=typing.Any structures.BaseDataElement
model.base_module: model.PretrainedInit
model.test_time_aug: DATA_BATCH=typing.Any EnhancedBatchDataSamples=typing.Any
    EnhancedBatchInputs=typing.Any MergedDataSamples=typing.Any structures.BaseDataElement
model.utils: utils.dl_utils.mmcv_full_available
model.wrappers: utils.dl_utils.TORCH_VERSION utils.digit_version
model.wrappers.distributed: model.detect_anomalous_params optim.OptimWrapper
model.wrappers.fully_sharded_distributed: optim.OptimWrapper structures.BaseDataElement
    utils.digit_version utils.is_seq_of
model.wrappers.seperate_distributed: device.get_device optim.OptimWrapperDict
model.wrappers.utils: registry.MODEL_WRAPPERS registry.Registry
optim.optimizer.amp_optimizer_wrapper: utils.dl_utils.TORCH_VERSION device.is_cuda_available
    device.is_mlu_available device.is_musa_available device.is_npu_available utils.digit_version
optim.optimizer.apex_optimizer_wrapper: registry.OPTIM_WRAPPERS
optim.optimizer.builder: config.Config config.ConfigDict device.is_npu_available
    device.is_npu_support_full_precision
optim.optimizer.default_constructor: utils.dl_utils.mmcv_full_available utils.is_list_of
optim.optimizer.optimizer_wrapper: utils.dl_utils.has_batch_norm
optim.optimizer.zero_optimizer: utils.dl_utils.TORCH_VERSION utils.digit_version
optim.scheduler.lr_scheduler: optim.ConstantParamScheduler optim.CosineAnnealingParamScheduler
    optim.CosineRestartParamScheduler optim.ExponentialParamScheduler optim.LinearParamScheduler
    optim.MultiStepParamScheduler optim.OneCycleParamScheduler optim.PolyParamScheduler
    optim.ReduceOnPlateauParamScheduler optim.StepParamScheduler registry.PARAM_SCHEDULERS
optim.scheduler.momentum_scheduler: optim.ConstantParamScheduler
    optim.CosineAnnealingParamScheduler optim.CosineRestartParamScheduler
    optim.ExponentialParamScheduler optim.LinearParamScheduler optim.MultiStepParamScheduler
    optim.PolyParamScheduler optim.ReduceOnPlateauParamScheduler optim.StepParamScheduler
    registry.PARAM_SCHEDULERS
optim.scheduler.param_scheduler: logging.print_log optim.BaseOptimWrapper
    registry.PARAM_SCHEDULERS
registry.build_functions: config.Config config.ConfigDict registry.Registry utils.ManagerMixin
    utils.digit_version
registry.root: registry.Registry
registry.utils: fileio.dump
runner._flexible_runner: utils.dl_utils.TORCH_VERSION BaseStrategy=_strategy.BaseStrategy
    ConfigType=typing.Any OptimWrapperType=typing.Any ParamSchedulerType=typing.Any
    _get_batch_size=dataset.batch_size_of config.ConfigDict
    default_worker_init_fn=dataset.worker_init_fn dist.get_rank dist.master_only
    evaluator.Evaluator fileio.FileClient fileio.join_path hooks.Hook logging.MessageHub
    logging.print_log optim.OptimWrapper optim.OptimWrapperDict optim._ParamScheduler
    registry.DATASETS registry.DATA_SAMPLERS registry.DefaultScope registry.EVALUATOR
    registry.FUNCTIONS registry.HOOKS registry.LOG_PROCESSORS registry.LOOPS registry.STRATEGIES
    registry.VISUALIZERS runner.BaseLoop runner.EpochBasedTrainLoop runner.IterBasedTrainLoop
    runner.LogProcessor runner.Priority runner.TestLoop runner.ValLoop
    runner.find_latest_checkpoint runner.get_priority utils.digit_version visualization.Visualizer
runner.amp: utils.dl_utils.TORCH_VERSION device.get_device device.is_cuda_available
    device.is_mlu_available device.is_npu_available logging.print_log utils.digit_version
runner.checkpoint: dist.get_dist_info fileio.FileClient fileio.get_file_backend
    load_file=fileio.load logging.print_log model.BaseTTAModel model.is_model_wrapper
    utils.apply_to utils.deprecated_function utils.digit_version utils.mkdir_or_exist
runner.log_processor: device.get_max_cuda_memory device.get_max_musa_memory
    device.is_cuda_available device.is_musa_available registry.LOG_PROCESSORS
runner.loops: evaluator.Evaluator logging.HistoryBuffer logging.print_log registry.LOOPS
    runner.autocast structures.BaseDataElement utils.is_list_of
runner.runner: utils.dl_utils.TORCH_VERSION ConfigType=typing.Any OptimWrapperType=typing.Any
    ParamSchedulerType=typing.Any _SlicedDataset=dataset.loader._SlicedDataset
    _get_batch_size=dataset.batch_size_of config.ConfigDict
    default_worker_init_fn=dataset.worker_init_fn device.get_device dist.broadcast
    dist.get_dist_info dist.get_rank dist.get_world_size dist.init_dist dist.is_distributed
    dist.master_only evaluator.Evaluator fileio.FileClient fileio.join_path hooks.Hook
    logging.MMLogger logging.MessageHub logging.print_log model.MMDistributedDataParallel
    model.convert_sync_batchnorm model.is_model_wrapper model.revert_sync_batchnorm
    model.turn_on_activation_checkpointing model.turn_on_efficient_conv_bn_eval optim.OptimWrapper
    optim.OptimWrapperDict optim._ParamScheduler optim.build_optim_wrapper registry.DATASETS
    registry.DATA_SAMPLERS registry.DefaultScope registry.EVALUATOR registry.FUNCTIONS
    registry.HOOKS registry.LOG_PROCESSORS registry.LOOPS registry.MODELS registry.MODEL_WRAPPERS
    registry.OPTIM_WRAPPERS registry.PARAM_SCHEDULERS registry.VISUALIZERS runner.BaseLoop
    runner.EpochBasedTrainLoop runner.IterBasedTrainLoop runner.LogProcessor runner.Priority
    runner.TestLoop runner.ValLoop runner._load_checkpoint
    runner.checkpoint._load_checkpoint_to_model runner.find_latest_checkpoint runner.get_priority
    runner.save_checkpoint runner.set_random_seed runner.weights_to_cpu utils.apply_to
    utils.digit_version utils.dl_utils.collect_env utils.dl_utils.set_multi_processing
    utils.get_git_hash utils.is_seq_of visualization.Visualizer
runner.utils: utils.dl_utils.TORCH_VERSION _get_batch_size=dataset.batch_size_of
    device.is_cuda_available device.is_musa_available dist.get_rank dist.sync_random_seed
    logging.print_log utils.digit_version utils.is_list_of
structures.instance_data: BoolTypeTensor=typing.Any LongTypeTensor=typing.Any device.get_device
testing.compare: utils.dl_utils.TORCH_VERSION utils.digit_version
testing.runner_test_case: dist.is_distributed
utils.dl_utils.collect_env: utils.dl_utils.TORCH_VERSION
    utils.dl_utils.parrots_wrapper.get_build_config utils.dl_utils.parrots_wrapper.is_rocm_pytorch
utils.dl_utils.hub: utils.dl_utils.TORCH_VERSION utils.digit_version utils.mkdir_or_exist
utils.dl_utils.time_counter: dist.master_only
utils.dl_utils.torch_ops: utils.dl_utils.TORCH_VERSION utils.digit_version
utils.dl_utils.trace: utils.digit_version
utils.path: utils.is_str
visualization.vis_backend: utils.dl_utils.TORCH_VERSION SUFFIX_TYPE=typing.Any config.ConfigDict
    logging.MMLogger logging.print_log utils.digit_version utils.scandir
    visualization.AimVisBackend visualization.ClearMLVisBackend visualization.DVCLiveVisBackend
    visualization.MLflowVisBackend visualization.NeptuneVisBackend
    visualization.TensorboardVisBackend visualization.WandbVisBackend
visualization.visualizer: VisBackendsType=typing.Any structures.BaseDataElement utils.is_seq_of
    visualization.utils.check_type visualization.utils.check_type_and_length
    visualization.utils.color_str2rgb visualization.utils.color_val_matplotlib
    visualization.utils.convert_overlay_heatmap visualization.utils.tensor2ndarray
    visualization.utils.value2list
"""
"""MMEngine's module: the names that it imports, by where they are here; ``name=path`` where that is another name.

Aliases for type hints, which are never called, are `typing.Any`.
"""


def _read(table: str) -> dict[str, dict[str, str]]:
    read: dict[str, dict[str, str]] = {}
    for word in table.split():
        if word.endswith(":"):
            names = read.setdefault(word[:-1], {})
        else:
            name, _, path = word.rpartition("=")
            names[name or path.rpartition(".")[2]] = path
    return read


REEXPORTED = _read(_TABLE)
"""MMEngine's module → name → where it is here."""


def ours(path: str) -> str:
    """Return our path of ``path``, a module or an object of MMEngine's.

    >>> ours("mmengine.hooks.hook.Hook"), ours("mmengine.runner._flexible_runner")
    ('mm2pl.hooks.hook.Hook', 'mm2pl.runner.flexible_runner')
    >>> ours("mmengine.runner.runner.ValLoop.run")
    'mm2pl.runner.ValLoop.run'
    """
    words = path.split(".")[1:]
    # The longest module first: what follows it is an object in it.
    for end in range(len(words), 0, -1):
        module, inside = ".".join(words[:end]), words[end:]
        if inside and inside[0] in REEXPORTED.get(module, {}):
            return ".".join([_absolute(REEXPORTED[module][inside[0]]), *inside[1:]])
        if module in MOVED:
            return ".".join(["mm2pl", MOVED[module], *inside])
    return ".".join(["mm2pl", *words])


def reexported(module: str, name: str) -> Any:
    """Return what MMEngine's ``module`` imports under ``name`` and ours does not.

    Args:
        module: Such as ``"mmengine.runner.runner"``, or ours; modules of other packages import nothing here.
        name: Such as ``"ValLoop"``.

    Raises:
        AttributeError: It imports nothing under that name.
    """
    root, _, rest = module.partition(".")
    is_ours = root in ("mmengine", "mm2pl")
    path = REEXPORTED.get(rest, {}).get(name) if is_ours else None
    if path is None:
        there = ours(module) if is_ours else module
        raise AttributeError(f"module {there!r} has no attribute {name!r}")
    home, _, attribute = _absolute(path).rpartition(".")
    return getattr(importlib.import_module(home), attribute)


def _absolute(path: str) -> str:
    outside = path.startswith(("math.", "typing."))
    return path if outside else f"mm2pl.{path}"
