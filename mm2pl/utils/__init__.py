"""Plain-Python tools; nothing here imports torch."""

from mm2pl.utils.manager import ManagerMeta as ManagerMeta
from mm2pl.utils.manager import ManagerMixin as ManagerMixin
from mm2pl.utils.misc import get_object_from_string as get_object_from_string
from mm2pl.utils.misc import is_seq_of as is_seq_of
