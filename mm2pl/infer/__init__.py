"""Inference on single inputs; stands for `mmengine.infer`."""

from .infer import BaseInferencer as BaseInferencer
