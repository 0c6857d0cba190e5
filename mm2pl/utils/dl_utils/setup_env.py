"""Processes and threads; what ``env_cfg.mp_cfg`` sets."""

from __future__ import annotations

import os
import platform
import warnings

import torch.multiprocessing as mp

from mm2pl.utils.dl_utils.importing import once_imported


def set_multi_processing(
    mp_start_method: str = "fork", opencv_num_threads: int = 0, distributed: bool = False
) -> None:
    """Set how worker processes start, and how many threads libraries use.

    Args:
        mp_start_method: Not on Windows.
        opencv_num_threads: Set when OpenCV is imported, or now if it is.
        distributed: One OpenMP and MKL thread per process, unless the environment says otherwise.
    """
    # Windows can only spawn.
    if platform.system() != "Windows":
        current = mp.get_start_method(allow_none=True)
        if current not in (None, mp_start_method):
            warnings.warn(
                f"Multi-processing start method `{mp_start_method}` is different from the previous "
                f"setting `{current}`. It will be force set to `{mp_start_method}`. You can change "
                "this behavior by changing `mp_start_method` in your config.",
                stacklevel=2,
            )
        # Without force, Python lets a process set it only once.
        mp.set_start_method(mp_start_method, force=True)
    # MMEngine imports OpenCV for this, which takes 0.2 s, also where nothing else needs it.
    once_imported("cv2", lambda cv2: cv2.setNumThreads(opencv_num_threads))
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        if distributed and variable not in os.environ:
            if all(os.environ.get(name, "0") == "0" for name in ("RANK", "SLURM_PROCID")):
                warnings.warn(
                    f"Setting {variable} environment variable for each process to be 1 in default, to "
                    "avoid your system being overloaded, please further tune the variable for optimal "
                    "performance in your application as needed.",
                    stacklevel=2,
                )
            # It holds for worker processes that start later: this process's OpenMP has read it already.
            os.environ[variable] = "1"
