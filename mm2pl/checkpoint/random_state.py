"""The state of every random number generator, as plain data and tensors."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from mm2pl.checkpoint.errors import CheckpointError


def rng_state() -> dict[str, Any]:
    """Return the state of Python's, numpy's, torch's and all CUDA devices' generators, as plain data and tensors."""
    version, words, gauss = random.getstate()
    numpy_state: dict[str, Any] = np.random.get_state(legacy=False)
    if numpy_state["bit_generator"] == "MT19937":
        words_of_numpy = numpy_state["state"]
        plain_numpy = {
            # As int64, because torch has uint32 tensors only since 2.3, and older ones read these files too.
            "words": torch.from_numpy(words_of_numpy["key"].astype(np.int64)),
            "position": words_of_numpy["pos"],
            "has_gauss": numpy_state["has_gauss"],
            "gauss": numpy_state["gauss"],
        }
    else:
        plain_numpy = {
            "other": numpy_state
        }  # np.random.set_bit_generator; PCG64's state is two numbers
    state: dict[str, Any] = {
        "python": {"version": version, "words": torch.tensor(words), "gauss": gauss},
        "numpy": plain_numpy,
        "torch": torch.get_rng_state(),
    }
    # Asking CUDA for its state would start it in a process that does not use it.
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_rng_state(state: Mapping[str, Any]) -> None:
    """Restore what :func:`rng_state` returned; states of CUDA devices that are not here are ignored.

    Raises:
        CheckpointError: It is something else.

    Example:
        >>> state = rng_state()
        >>> first = random.random(), np.random.rand(), torch.rand(1).item()
        >>> set_rng_state(state)
        >>> first == (random.random(), np.random.rand(), torch.rand(1).item())
        True
    """
    try:
        _restore_on_cpu(state)
    except (KeyError, IndexError, AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"the random state in the checkpoint cannot be restored ({type(error).__name__}: {error}) → take an "
            "undamaged file, or begin a new run from its weights with load_from"
        ) from error
    if torch.cuda.is_available():
        for device, saved in zip(
            range(torch.cuda.device_count()), state.get("cuda", ()), strict=False
        ):
            torch.cuda.set_rng_state(saved.cpu(), device)


def _restore_on_cpu(state: Mapping[str, Any]) -> None:
    python, numpy_state = state["python"], state["numpy"]
    random.setstate((python["version"], tuple(python["words"].tolist()), python["gauss"]))
    if "other" in numpy_state:
        np.random.set_state(numpy_state["other"])
    else:
        np.random.set_state(
            (
                "MT19937",
                numpy_state["words"].cpu().numpy().astype(np.uint32),
                numpy_state["position"],
                numpy_state["has_gauss"],
                numpy_state["gauss"],
            )
        )
    # A `map_location` may have moved the states; every generator takes them from the CPU only.
    torch.set_rng_state(state["torch"].cpu())
