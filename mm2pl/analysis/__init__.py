"""What a model costs; stands for `mmengine.analysis` as far as toolboxes import it."""

from .complexity import get_model_complexity_info as get_model_complexity_info
from .complexity import parameter_count as parameter_count
