"""Models: what they are made of, and what is done to them."""

from typing import Any

from mm2pl.model import wrappers as wrappers
from mm2pl.model.activation_checkpointing import (
    turn_on_activation_checkpointing as turn_on_activation_checkpointing,
)
from mm2pl.model.averaged_model import BaseAveragedModel as BaseAveragedModel
from mm2pl.model.averaged_model import ExponentialMovingAverage as ExponentialMovingAverage
from mm2pl.model.averaged_model import MomentumAnnealingEMA as MomentumAnnealingEMA
from mm2pl.model.averaged_model import StochasticWeightAverage as StochasticWeightAverage
from mm2pl.model.base_model import BaseDataPreprocessor as BaseDataPreprocessor
from mm2pl.model.base_model import BaseModel as BaseModel
from mm2pl.model.base_model import ImgDataPreprocessor as ImgDataPreprocessor
from mm2pl.model.base_module import BaseModule as BaseModule
from mm2pl.model.base_module import ModuleDict as ModuleDict
from mm2pl.model.base_module import ModuleList as ModuleList
from mm2pl.model.base_module import Sequential as Sequential
from mm2pl.model.efficient_conv_bn_eval import (
    turn_on_efficient_conv_bn_eval as turn_on_efficient_conv_bn_eval,
)
from mm2pl.model.test_time_aug import BaseTTAModel as BaseTTAModel
from mm2pl.model.utils import convert_sync_batchnorm as convert_sync_batchnorm
from mm2pl.model.utils import detect_anomalous_params as detect_anomalous_params
from mm2pl.model.utils import merge_dict as merge_dict
from mm2pl.model.utils import revert_sync_batchnorm as revert_sync_batchnorm
from mm2pl.model.utils import set_preprocessor_device as set_preprocessor_device
from mm2pl.model.utils import stack_batch as stack_batch
from mm2pl.model.weight_init import BaseInit as BaseInit
from mm2pl.model.weight_init import Caffe2XavierInit as Caffe2XavierInit
from mm2pl.model.weight_init import ConstantInit as ConstantInit
from mm2pl.model.weight_init import KaimingInit as KaimingInit
from mm2pl.model.weight_init import NormalInit as NormalInit
from mm2pl.model.weight_init import PretrainedInit as PretrainedInit
from mm2pl.model.weight_init import TruncNormalInit as TruncNormalInit
from mm2pl.model.weight_init import UniformInit as UniformInit
from mm2pl.model.weight_init import XavierInit as XavierInit
from mm2pl.model.weight_init import bias_init_with_prob as bias_init_with_prob
from mm2pl.model.weight_init import caffe2_xavier_init as caffe2_xavier_init
from mm2pl.model.weight_init import constant_init as constant_init
from mm2pl.model.weight_init import initialize as initialize
from mm2pl.model.weight_init import kaiming_init as kaiming_init
from mm2pl.model.weight_init import normal_init as normal_init
from mm2pl.model.weight_init import trunc_normal_init as trunc_normal_init
from mm2pl.model.weight_init import uniform_init as uniform_init
from mm2pl.model.weight_init import update_init_info as update_init_info
from mm2pl.model.weight_init import xavier_init as xavier_init
from mm2pl.model.wrappers import MMDistributedDataParallel as MMDistributedDataParallel
from mm2pl.model.wrappers import (
    MMSeparateDistributedDataParallel as MMSeparateDistributedDataParallel,
)
from mm2pl.model.wrappers import is_model_wrapper as is_model_wrapper


# Asked of `wrappers` only on use: importing it here would load torch.distributed.fsdp with every model.
def __getattr__(name: str) -> Any:
    if name != "MMFullyShardedDataParallel":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return wrappers.MMFullyShardedDataParallel
