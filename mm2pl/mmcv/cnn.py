"""The weight initialisation and the registries of `mmcv.cnn`; its layers stay MMCV's."""

from mm2pl.mmcv.deep import serve
from mm2pl.model import Caffe2XavierInit as Caffe2XavierInit
from mm2pl.model import ConstantInit as ConstantInit
from mm2pl.model import KaimingInit as KaimingInit
from mm2pl.model import NormalInit as NormalInit
from mm2pl.model import PretrainedInit as PretrainedInit
from mm2pl.model import Sequential as Sequential
from mm2pl.model import TruncNormalInit as TruncNormalInit
from mm2pl.model import UniformInit as UniformInit
from mm2pl.model import XavierInit as XavierInit
from mm2pl.model import bias_init_with_prob as bias_init_with_prob
from mm2pl.model import caffe2_xavier_init as caffe2_xavier_init
from mm2pl.model import constant_init as constant_init
from mm2pl.model import initialize as initialize
from mm2pl.model import kaiming_init as kaiming_init
from mm2pl.model import normal_init as normal_init
from mm2pl.model import revert_sync_batchnorm as revert_sync_batchnorm
from mm2pl.model import trunc_normal_init as trunc_normal_init
from mm2pl.model import uniform_init as uniform_init
from mm2pl.model import update_init_info as update_init_info
from mm2pl.model import xavier_init as xavier_init
from mm2pl.model.weight_init import trunc_normal_ as trunc_normal_
from mm2pl.registry import MODELS as MODELS
from mm2pl.registry import build_model_from_cfg as build_model_from_cfg

# MMCV 2.x has one registry for what 1.x kept in these, and its builders of layers look there.
CONV_LAYERS = NORM_LAYERS = ACTIVATION_LAYERS = PADDING_LAYERS = UPSAMPLE_LAYERS = MODELS
PLUGIN_LAYERS = DROPOUT_LAYERS = POSITIONAL_ENCODING = ATTENTION = FEEDFORWARD_NETWORK = MODELS
TRANSFORMER_LAYER = TRANSFORMER_LAYER_SEQUENCE = MODELS

serve("cnn")
