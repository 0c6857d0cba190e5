"""The exceptions of :mod:`mm2pl.errors`, under the name by which most rooms import them."""

from mm2pl.errors import ArgumentError as ArgumentError
from mm2pl.errors import ReadableKeyError as ReadableKeyError
from mm2pl.errors import UnsupportedVersion as UnsupportedVersion
from mm2pl.errors import add_note as add_note
