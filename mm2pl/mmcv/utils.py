"""What 1.x train scripts import from `mmcv.utils`."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

import torch

from mm2pl.config import Config as Config
from mm2pl.config import ConfigDict as ConfigDict
from mm2pl.config import DictAction as DictAction
from mm2pl.dataset import worker_init_fn as worker_init_fn
from mm2pl.device import is_mlu_available, is_mps_available, is_npu_available
from mm2pl.dist import get_dist_info
from mm2pl.mmcv.deep import serve
from mm2pl.registry import Registry as Registry
from mm2pl.registry import build_from_cfg as build_from_cfg
from mm2pl.run.environment import setup_env
from mm2pl.utils import ProgressBar as ProgressBar
from mm2pl.utils import Timer as Timer
from mm2pl.utils import TimerError as TimerError
from mm2pl.utils import check_file_exist as check_file_exist
from mm2pl.utils import check_prerequisites as check_prerequisites
from mm2pl.utils import check_time as check_time
from mm2pl.utils import concat_list as concat_list
from mm2pl.utils import deprecated_api_warning as deprecated_api_warning
from mm2pl.utils import digit_version as digit_version
from mm2pl.utils import fopen as fopen
from mm2pl.utils import get_git_hash as get_git_hash
from mm2pl.utils import has_method as has_method
from mm2pl.utils import import_modules_from_strings as import_modules_from_strings
from mm2pl.utils import is_filepath as is_filepath
from mm2pl.utils import is_list_of as is_list_of
from mm2pl.utils import is_method_overridden as is_method_overridden
from mm2pl.utils import is_seq_of as is_seq_of
from mm2pl.utils import is_str as is_str
from mm2pl.utils import is_tuple_of as is_tuple_of
from mm2pl.utils import iter_cast as iter_cast
from mm2pl.utils import list_cast as list_cast
from mm2pl.utils import mkdir_or_exist as mkdir_or_exist
from mm2pl.utils import requires_executable as requires_executable
from mm2pl.utils import requires_package as requires_package
from mm2pl.utils import scandir as scandir
from mm2pl.utils import slice_list as slice_list
from mm2pl.utils import symlink as symlink
from mm2pl.utils import to_1tuple as to_1tuple
from mm2pl.utils import to_2tuple as to_2tuple
from mm2pl.utils import to_3tuple as to_3tuple
from mm2pl.utils import to_4tuple as to_4tuple
from mm2pl.utils import to_ntuple as to_ntuple
from mm2pl.utils import track_iter_progress as track_iter_progress
from mm2pl.utils import track_parallel_progress as track_parallel_progress
from mm2pl.utils import track_progress as track_progress
from mm2pl.utils import tuple_cast as tuple_cast
from mm2pl.utils.dl_utils import collect_env as collect_env
from mm2pl.utils.dl_utils import is_jit_tracing as is_jit_tracing
from mm2pl.utils.dl_utils import torch_meshgrid as torch_meshgrid

# Torch's own; MMCV 1.7.2 had them from here, since they were others in Parrots.
from mm2pl.utils.dl_utils.parrots_wrapper import TORCH_VERSION as TORCH_VERSION
from mm2pl.utils.dl_utils.parrots_wrapper import DataLoader as DataLoader
from mm2pl.utils.dl_utils.parrots_wrapper import PoolDataLoader as PoolDataLoader
from mm2pl.utils.dl_utils.parrots_wrapper import SyncBatchNorm as SyncBatchNorm
from mm2pl.utils.dl_utils.parrots_wrapper import _AdaptiveAvgPoolNd as _AdaptiveAvgPoolNd
from mm2pl.utils.dl_utils.parrots_wrapper import _AdaptiveMaxPoolNd as _AdaptiveMaxPoolNd
from mm2pl.utils.dl_utils.parrots_wrapper import _AvgPoolNd as _AvgPoolNd
from mm2pl.utils.dl_utils.parrots_wrapper import _BatchNorm as _BatchNorm
from mm2pl.utils.dl_utils.parrots_wrapper import _ConvNd as _ConvNd
from mm2pl.utils.dl_utils.parrots_wrapper import _ConvTransposeMixin as _ConvTransposeMixin
from mm2pl.utils.dl_utils.parrots_wrapper import _InstanceNorm as _InstanceNorm
from mm2pl.utils.dl_utils.parrots_wrapper import _MaxPoolNd as _MaxPoolNd
from mm2pl.utils.dl_utils.parrots_wrapper import get_build_config as get_build_config
from mm2pl.utils.dl_utils.parrots_wrapper import is_rocm_pytorch as is_rocm_pytorch

IS_CUDA_AVAILABLE = torch.cuda.is_available()
IS_MLU_AVAILABLE = is_mlu_available()
IS_MPS_AVAILABLE = is_mps_available()
IS_NPU_AVAILABLE = is_npu_available()


def _get_dataloader() -> tuple[type[DataLoader[Any]], type[DataLoader[Any]]]:
    """Return the two loaders, as MMPose 0.x and MMAction 0.x take them."""
    return DataLoader, PoolDataLoader


_FORMAT = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"


def get_logger(
    name: str,
    log_file: str | None = None,
    log_level: int | str = logging.INFO,
    file_mode: str = "w",
) -> logging.Logger:
    """Return a logger that prints, and on rank 0 also writes ``log_file``; stands for `mmcv.get_logger`.

    A logger that has handlers, or is below one that has, is returned as it is.

    Args:
        name: The logger's name.
        log_file: A file; its folder is created.
        log_level: Of rank 0; other ranks only log errors.
        file_mode: How the file is opened.
    """
    logger = logging.getLogger(name)
    above: logging.Logger | None = logger
    # Handlers of the root logger do not count: libraries add them unasked.
    while above is not None and above is not logging.root:
        # MMCV 1.7.2 keeps a list of names and compares beginnings: 'mmdet.core' goes through 'mmdet'.
        # A second handler would print each line twice.
        if above.handlers:
            return logger
        above = above.parent
    rank, _ = get_dist_info()
    # Other ranks print errors, but must not write into the same file.
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if rank == 0 and log_file is not None:
        # MMCV 1.7.2 leaves the folder to the caller, and fails without it.
        os.makedirs(os.path.dirname(os.path.abspath(log_file)), exist_ok=True)
        handlers.append(logging.FileHandler(log_file, file_mode))
    for handler in handlers:
        handler.setFormatter(logging.Formatter(_FORMAT))
        handler.setLevel(log_level)
        logger.addHandler(handler)
    logger.setLevel(log_level if rank == 0 else logging.ERROR)
    return logger


def get_root_logger(
    log_file: str | None = None, log_level: int | str = logging.INFO, name: str = "mm2pl"
) -> logging.Logger:
    """Return the logger of a 1.x toolbox's name."""
    return get_logger(name, log_file, log_level)


def print_log(
    msg: object, logger: logging.Logger | str | None = None, level: int = logging.INFO
) -> None:
    """Print, or log to a logger, one of that name, or with ``'silent'`` nowhere.

    Raises:
        TypeError: ``logger`` is of another kind.
    """
    if logger is None:
        print(msg)
    elif isinstance(logger, logging.Logger):
        logger.log(level, msg)
    elif isinstance(logger, str):
        # MMCV 1.7.2's value for "nowhere": data sets hand on the `logger` that `evaluate` was given.
        if logger != "silent":
            get_logger(logger).log(level, msg)
    else:
        raise TypeError(f"logger={logger!r} must be a Logger, a name, 'silent' or None.")


def setup_multi_processes(cfg: Mapping[str, Any]) -> None:
    """Set the start method and the OpenCV threads that a 1.x config asks for."""
    mp_cfg = {
        key: cfg[key]
        for key in ("mp_start_method", "opencv_num_threads")
        # None means "leave it" in the configs of MMSegmentation 0.x.
        if cfg.get(key) is not None
    }
    # Without a launcher: 1.x scripts call `init_dist` themselves.
    setup_env({"mp_cfg": mp_cfg}, "none")


serve("utils")
