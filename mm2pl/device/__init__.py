"""Which accelerator this machine has."""

from mm2pl.device.utils import get_device as get_device
from mm2pl.device.utils import get_max_cuda_memory as get_max_cuda_memory
from mm2pl.device.utils import get_max_musa_memory as get_max_musa_memory
from mm2pl.device.utils import is_cuda_available as is_cuda_available
from mm2pl.device.utils import is_dipu_available as is_dipu_available
from mm2pl.device.utils import is_mlu_available as is_mlu_available
from mm2pl.device.utils import is_mps_available as is_mps_available
from mm2pl.device.utils import is_musa_available as is_musa_available
from mm2pl.device.utils import is_npu_available as is_npu_available
from mm2pl.device.utils import is_npu_support_full_precision as is_npu_support_full_precision
