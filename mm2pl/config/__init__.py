"""Configs as MMEngine's: the language, the objects, and what can be wrong with them."""

from .config import Config as Config
from .config import DictAction as DictAction
from .config import read_base as read_base
from .config_dict import ConfigDict as ConfigDict
from .config_dict import as_config as as_config
from .errors import ConfigError as ConfigError
from .errors import ConfigKeyError as ConfigKeyError
from .errors import ConfigParsingError as ConfigParsingError
