"""Run MMEngine-style projects on the PyTorch Lightning Trainer."""

from mm2pl.version import __version__ as __version__
