"""Data sets, samplers, collate functions and loaders."""

from mm2pl.dataset.base_dataset import BaseDataset as BaseDataset
from mm2pl.dataset.base_dataset import Compose as Compose
from mm2pl.dataset.base_dataset import force_full_init as force_full_init
from mm2pl.dataset.dataset_wrapper import ClassBalancedDataset as ClassBalancedDataset
from mm2pl.dataset.dataset_wrapper import ConcatDataset as ConcatDataset
from mm2pl.dataset.dataset_wrapper import RepeatDataset as RepeatDataset
from mm2pl.dataset.loader import batch_size_of as batch_size_of
from mm2pl.dataset.loader import build_dataloader as build_dataloader
from mm2pl.dataset.loader import loader_config as loader_config
from mm2pl.dataset.sampler import DefaultSampler as DefaultSampler
from mm2pl.dataset.sampler import InfiniteSampler as InfiniteSampler
from mm2pl.dataset.sampler import never_ends as never_ends
from mm2pl.dataset.skip import skip_batches as skip_batches
from mm2pl.dataset.utils import COLLATE_FUNCTIONS as COLLATE_FUNCTIONS
from mm2pl.dataset.utils import default_collate as default_collate
from mm2pl.dataset.utils import pseudo_collate as pseudo_collate
from mm2pl.dataset.utils import worker_init_fn as worker_init_fn
from mm2pl.dataset.worker_state import WorkerStates as WorkerStates
