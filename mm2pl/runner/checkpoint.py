"""The functions of ``mmengine.runner.checkpoint``, under MMEngine's import path."""

from mm2pl.checkpoint.latest import find_latest_checkpoint as find_latest_checkpoint
from mm2pl.checkpoint.loader import CheckpointLoader as CheckpointLoader
from mm2pl.checkpoint.loader import load_from_ceph as load_from_ceph
from mm2pl.checkpoint.loader import load_from_http as load_from_http
from mm2pl.checkpoint.loader import load_from_local as load_from_local
from mm2pl.checkpoint.loader import load_from_mmcls as load_from_mmcls
from mm2pl.checkpoint.loader import load_from_openmmlab as load_from_openmmlab
from mm2pl.checkpoint.loader import load_from_pavi as load_from_pavi
from mm2pl.checkpoint.loader import load_from_torchvision as load_from_torchvision
from mm2pl.checkpoint.model_zoo import get_deprecated_model_names as get_deprecated_model_names
from mm2pl.checkpoint.model_zoo import get_external_models as get_external_models
from mm2pl.checkpoint.model_zoo import get_mmcls_models as get_mmcls_models
from mm2pl.checkpoint.model_zoo import get_torchvision_models as get_torchvision_models
from mm2pl.checkpoint.reader import CheckpointError as CheckpointError
from mm2pl.checkpoint.reader import previous_checkpoint as previous_checkpoint
from mm2pl.checkpoint.reader import read_checkpoint as read_checkpoint
from mm2pl.checkpoint.weights import _load_checkpoint as _load_checkpoint
from mm2pl.checkpoint.weights import _load_checkpoint_to_model as _load_checkpoint_to_model
from mm2pl.checkpoint.weights import _load_checkpoint_with_prefix as _load_checkpoint_with_prefix
from mm2pl.checkpoint.weights import get_state_dict as get_state_dict
from mm2pl.checkpoint.weights import load_checkpoint as load_checkpoint
from mm2pl.checkpoint.weights import load_checkpoint_to_model as load_checkpoint_to_model
from mm2pl.checkpoint.weights import load_state_dict as load_state_dict
from mm2pl.checkpoint.weights import weights_to_cpu as weights_to_cpu
from mm2pl.checkpoint.writer import save_checkpoint as save_checkpoint
