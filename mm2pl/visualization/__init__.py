"""Visualizers: scalars, images and configs of a run, and drawing on images."""

from mm2pl.visualization.logger_backends import LoggersBackend as LoggersBackend
from mm2pl.visualization.logger_backends import MLflowVisBackend as MLflowVisBackend
from mm2pl.visualization.logger_backends import TensorboardVisBackend as TensorboardVisBackend
from mm2pl.visualization.logger_backends import WandbVisBackend as WandbVisBackend
from mm2pl.visualization.service_backends import AimVisBackend as AimVisBackend
from mm2pl.visualization.service_backends import ClearMLVisBackend as ClearMLVisBackend
from mm2pl.visualization.service_backends import DVCLiveVisBackend as DVCLiveVisBackend
from mm2pl.visualization.service_backends import NeptuneVisBackend as NeptuneVisBackend
from mm2pl.visualization.vis_backend import BaseVisBackend as BaseVisBackend
from mm2pl.visualization.vis_backend import LocalVisBackend as LocalVisBackend
from mm2pl.visualization.visualizer import Visualizer as Visualizer
