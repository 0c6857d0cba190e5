"""The version of mm2pl, readable without importing torch."""

__version__ = "0.1.0"
