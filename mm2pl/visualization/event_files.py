"""TensorBoard's event files, written by Lightning's logger; importing it takes as long as importing Lightning."""

from __future__ import annotations

from lightning.pytorch.loggers import TensorBoardLogger


class EventFiles(TensorBoardLogger):
    """Lightning's TensorBoard logger, without a ``hparams.yaml`` next to the event files: the config is in them."""

    def save(self) -> None:
        """Write what is waiting."""
        # Lightning 2.6 writes hparams.yaml here.
        # Asking for `experiment` would create the file of a run that has recorded nothing.
        if self._experiment is not None:
            self._experiment.flush()
