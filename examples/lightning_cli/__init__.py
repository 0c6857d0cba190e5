"""An MMEngine model and its loaders in a LightningCLI of one's own; see ``main.py`` and ``config.yaml``."""
