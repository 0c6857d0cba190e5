# MMEngine takes these modules for third-party packages in a virtual environment.
import math
import os
import os.path as osp
from copy import deepcopy

work_dir = os.path.join('work', osp.basename(__file__))
lr = math.sqrt(4)
a = dict(x=[1])
b = deepcopy(a)
b['x'].append(2)
