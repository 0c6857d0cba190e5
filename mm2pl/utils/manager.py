"""MMEngine's import path of :mod:`mm2pl.manager`, which stands below logging."""

from mm2pl.manager import ManagerMeta as ManagerMeta
from mm2pl.manager import ManagerMixin as ManagerMixin
