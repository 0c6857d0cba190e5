"""The command line: LightningCLI's commands on MMEngine's configs, and the tools around them."""

from mm2pl.cli.main import main as main


def __getattr__(name: str) -> object:
    """Import :class:`MMCLI` (and with it Lightning) only when it is used."""
    if name == "MMCLI":
        from mm2pl.cli.lightning_cli import MMCLI

        return MMCLI
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
