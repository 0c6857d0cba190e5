"""Read the folder of a sharded run, torch's distributed checkpoint, in one process and without running code from it."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path, PosixPath, PurePath, WindowsPath
from typing import Any

import torch
from torch.distributed import checkpoint as dcp
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta, TensorStorageMetadata

from mm2pl.checkpoint.kinds import with_own_states
from mm2pl.checkpoint.names import to_file
from mm2pl.checkpoint.reader import SHARDS, CheckpointError, read_checkpoint

#: Torch keeps its index of the shards in the first file, Lightning everything but weights and optimizers in the second.
_INDEX, _REST = SHARDS, "meta.pt"

_INDEX_CLASSES = {
    "torch.distributed.checkpoint.metadata": {
        "BytesStorageMetadata",
        "ChunkStorageMetadata",
        "Metadata",
        "MetadataIndex",
        "StorageMeta",
        "TensorProperties",
        "TensorStorageMetadata",
        "_MEM_FORMAT_ENCODING",
    },
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
    "torch.serialization": {"_get_layout"},
    "torch": {"Size"},
}
"""What an index is made of, apart from torch's dtypes and a path."""


def read_sharded(path: str | Path) -> dict[str, Any]:
    """Return what a folder holds as one file would: whole tensors on the CPU, and the names of a file.

    Raises:
        CheckpointError: A part is missing or damaged, or it would run code.
    """
    try:
        parts = _read_shards(Path(path))
        checkpoint = read_checkpoint(Path(path, _REST))
    except dcp.CheckpointException as failed:  # a BaseException in torch 2.13
        causes = {str(error) for error, _ in failed.failures.values()}
        raise _unreadable(path, "; ".join(sorted(causes))) from failed
    except (OSError, EOFError, KeyError, RuntimeError, pickle.UnpicklingError) as error:
        raise _unreadable(path, error) from error
    # Lightning's FSDPStrategy and ModelParallelStrategy name the weights differently.
    weights = parts["model"] if "model" in parts else parts["state_dict"]
    ours = "mm2pl_version" in checkpoint.get("meta", {})
    checkpoint["state_dict"] = to_file(weights) if ours else weights
    numbers = range(sum(name.startswith("optimizer_") for name in parts))
    states = [_by_position(parts[f"optimizer_{number}"]) for number in numbers]
    if states:
        checkpoint["optimizer_states"] = states
    if states and "optimizer" in checkpoint:
        checkpoint["optimizer"] = with_own_states(checkpoint["optimizer"], states)
    return checkpoint


def _unreadable(path: str | Path, why: object) -> CheckpointError:
    return CheckpointError(
        f"{path} is a sharded checkpoint that cannot be read: {why} → take another one"
    )


def _read_shards(path: Path) -> dict[str, Any]:
    reader = _PlainReader(path)
    index = reader.read_metadata()
    flat: dict[str, Any] = {
        name: torch.empty(entry.size, dtype=entry.properties.dtype)
        if isinstance(entry, TensorStorageMetadata)
        else None
        for name, entry in index.state_dict_metadata.items()
    }
    with warnings.catch_warnings():
        # torch 2.13 warns of `no_dist`, although it is given on purpose.
        warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
        dcp.load(flat, storage_reader=reader, planner=_PlainPlanner(False, False), no_dist=True)
    parts: dict[str, Any] = {}
    for name, value in flat.items():
        *above, last = (index.planner_data or {}).get(name, (name,))
        inside: dict[Any, Any] = parts
        for step in above:
            inside = inside.setdefault(step, {})
        inside[last] = value
    return parts


class _PlainReader(dcp.FileSystemReader):
    """Read the index without running code from it, which torch 2.13 would do."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        index = _IndexUnpickler(BytesIO(Path(self.path, _INDEX).read_bytes())).load()
        index.storage_meta = index.storage_meta or StorageMeta()
        index.storage_meta.load_id = self.load_id
        return index


class _PlainPlanner(dcp.DefaultLoadPlanner):
    """Read objects other than tensors without running code."""

    def load_bytes(self, read_item: dcp.planner.ReadItem, value: BytesIO) -> None:
        self.state_dict[read_item.dest_index.fqn] = torch.load(value, weights_only=True)


class _IndexUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] == "pathlib" and name in (
            PosixPath.__name__,
            WindowsPath.__name__,
        ):
            return PurePath  # where it was written, maybe on another system
        found = super().find_class(module, name) if _is_plain(module, name) else None
        if found is None:
            raise pickle.UnpicklingError(f"its {_INDEX} names {module}.{name}, which may run code")
        return found


def _is_plain(module: str, name: str) -> bool:
    dtype = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
    return dtype or name in _INDEX_CLASSES.get(module, ())


def _by_position(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return an optimizer's state with its parameters numbered, as torch's optimizers have it, instead of by name."""
    groups = state["param_groups"]
    # What was a list is now a dict by position.
    listed: Sequence[Any] = [groups[i] for i in range(len(groups))]
    names = [name for group in listed for name in group["params"]]
    number = {name: i for i, name in enumerate(names)}
    return {
        "state": {number[name]: value for name, value in state.get("state", {}).items()},
        "param_groups": [
            {**group, "params": [number[name] for name in group["params"]]} for group in listed
        ],
    }
