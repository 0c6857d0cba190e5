"""Tools that need torch; those of `mmengine.utils.dl_utils`."""

from mm2pl.utils.dl_utils.collect_env import collect_env as collect_env
from mm2pl.utils.dl_utils.hub import load_url as load_url
from mm2pl.utils.dl_utils.misc import has_batch_norm as has_batch_norm
from mm2pl.utils.dl_utils.misc import is_norm as is_norm
from mm2pl.utils.dl_utils.misc import mmcv_full_available as mmcv_full_available
from mm2pl.utils.dl_utils.misc import tensor2imgs as tensor2imgs
from mm2pl.utils.dl_utils.parrots_wrapper import TORCH_VERSION as TORCH_VERSION
from mm2pl.utils.dl_utils.setup_env import set_multi_processing as set_multi_processing
from mm2pl.utils.dl_utils.time_counter import TimeCounter as TimeCounter
from mm2pl.utils.dl_utils.torch_ops import torch_meshgrid as torch_meshgrid
from mm2pl.utils.dl_utils.trace import is_jit_tracing as is_jit_tracing
