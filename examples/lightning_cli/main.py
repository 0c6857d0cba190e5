"""Lightning's own command line, with an MMEngine model, optimizer settings, schedules, metrics and loaders in YAML.

From the repository's folder; any entry of the file can be changed, also inside the dicts::

    python -m examples.lightning_cli.main fit --config examples/lightning_cli/config.yaml \
        --model.optim_wrapper.optimizer.lr 0.02 --data.train_dataloader.batch_size 32
"""

from __future__ import annotations

from lightning.pytorch.cli import ArgsType, LightningCLI

import examples.digits  # noqa: F401 - registers what the file names
from mm2pl.lightning import MMDataModule, MMLightningModule


def main(args: ArgsType = None) -> LightningCLI:
    """Do what the command line says, or ``args`` in its place."""
    return LightningCLI(
        MMLightningModule,
        MMDataModule,
        args=args,
        save_config_kwargs={"overwrite": True},
        # An option --optimizer would take the place of optim_wrapper.
        auto_configure_optimizers=False,
    )


if __name__ == "__main__":
    main()
