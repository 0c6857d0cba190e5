"""What a model costs: parameters, flops and activations."""

from .complexity_analysis import ActivationAnalyzer as ActivationAnalyzer
from .complexity_analysis import FlopAnalyzer as FlopAnalyzer
from .complexity_analysis import activation_count as activation_count
from .complexity_analysis import flop_count as flop_count
from .complexity_analysis import parameter_count as parameter_count
from .complexity_analysis import parameter_count_table as parameter_count_table
from .print_helper import get_model_complexity_info as get_model_complexity_info
