"""Collective operations and ranks, also where there is only one process.

The argument ``group`` of many functions is the `torch.distributed.ProcessGroup` whose processes take part, and whose
ranks are meant. None, the default, is the group of all processes. Every process of the group must make the same calls
in the same order.
"""

from mm2pl.dist.dist import all_gather as all_gather
from mm2pl.dist.dist import all_gather_object as all_gather_object
from mm2pl.dist.dist import all_reduce as all_reduce
from mm2pl.dist.dist import all_reduce_dict as all_reduce_dict
from mm2pl.dist.dist import all_reduce_params as all_reduce_params
from mm2pl.dist.dist import broadcast as broadcast
from mm2pl.dist.dist import broadcast_object_list as broadcast_object_list
from mm2pl.dist.dist import collect_results as collect_results
from mm2pl.dist.dist import collect_results_cpu as collect_results_cpu
from mm2pl.dist.dist import collect_results_gpu as collect_results_gpu
from mm2pl.dist.dist import gather as gather
from mm2pl.dist.dist import gather_object as gather_object
from mm2pl.dist.dist import sync_random_seed as sync_random_seed
from mm2pl.dist.utils import barrier as barrier
from mm2pl.dist.utils import cast_data_device as cast_data_device
from mm2pl.dist.utils import get_backend as get_backend
from mm2pl.dist.utils import get_comm_device as get_comm_device
from mm2pl.dist.utils import get_data_device as get_data_device
from mm2pl.dist.utils import get_default_group as get_default_group
from mm2pl.dist.utils import get_dist_info as get_dist_info
from mm2pl.dist.utils import get_local_group as get_local_group
from mm2pl.dist.utils import get_local_rank as get_local_rank
from mm2pl.dist.utils import get_local_size as get_local_size
from mm2pl.dist.utils import get_rank as get_rank
from mm2pl.dist.utils import get_world_size as get_world_size
from mm2pl.dist.utils import infer_launcher as infer_launcher
from mm2pl.dist.utils import init_dist as init_dist
from mm2pl.dist.utils import init_local_group as init_local_group
from mm2pl.dist.utils import is_distributed as is_distributed
from mm2pl.dist.utils import is_main_process as is_main_process
from mm2pl.dist.utils import master_only as master_only
