"""Where files are."""

from mm2pl.fileio.backends.base import BaseStorageBackend as BaseStorageBackend
from mm2pl.fileio.backends.base import FsspecBackend as FsspecBackend
from mm2pl.fileio.backends.local import LocalBackend as LocalBackend
from mm2pl.fileio.backends.petrel import PetrelBackend as PetrelBackend
from mm2pl.fileio.backends.registry_utils import backends as backends
from mm2pl.fileio.backends.registry_utils import prefix_to_backends as prefix_to_backends
from mm2pl.fileio.backends.registry_utils import register_backend as register_backend
from mm2pl.fileio.backends.remote import HTTPBackend as HTTPBackend
from mm2pl.fileio.backends.remote import LmdbBackend as LmdbBackend
from mm2pl.fileio.backends.remote import MemcachedBackend as MemcachedBackend
from mm2pl.fileio.backends.remote import MemoryBackend as MemoryBackend
