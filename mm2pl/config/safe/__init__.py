"""Reading a config from a stranger: an interpreter with a budget instead of Python."""

from .budget import Budget as Budget
from .sandbox import Sandbox as Sandbox
