"""``data`` → the three dataloaders, their datasets and pipelines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mm2pl.mmcv.migration.decisions import Sure
from mm2pl.mmcv.migration.pipeline import find_preprocessor, migrate_pipeline
from mm2pl.mmcv.migration.recognition import packs_samples
from mm2pl.mmcv.migration.state import Part, State
from mm2pl.mmcv.migration.toolboxes import METRICS, Toolbox

# These have the same names in MMDetection 2 and today.
_WRAPPERS = frozenset(
    {"RepeatDataset", "ClassBalancedDataset", "MultiImageMixDataset", "ConcatDataset"}
)
_LOADER_ARGUMENTS = {
    "samples_per_gpu": "batch_size",
    # MMDetection 1's name, which MMDetection 2 still reads; the next one is MMAction's.
    "imgs_per_gpu": "batch_size",
    "videos_per_gpu": "batch_size",
    "workers_per_gpu": "num_workers",
    "persistent_workers": "persistent_workers",
    "drop_last": "drop_last",
    "pin_memory": "pin_memory",
    "prefetch_factor": "prefetch_factor",
    "timeout": "timeout",
    "multiprocessing_context": "multiprocessing_context",
}
_SPLITS = ("train", "val", "test")


def migrate_data(state: State) -> None:
    """Put the dataloaders and ``data_preprocessor``, and migrate every pipeline variable."""
    box = state.toolbox
    _pipeline_variables(state, box)
    if "data" not in state:
        return
    if box is not None:
        preprocessor = find_preprocessor([state.peek("data")], box)
        # The pipelines are read before they are migrated: Normalize and Pad are gone afterwards.
        if preprocessor and "data_preprocessor" not in state.old:
            state.put("data_preprocessor", preprocessor)
    data = state.part("data")
    common = {key: data.left.pop(key) for key in list(data.left) if key in _LOADER_ARGUMENTS}
    for key in common:
        target = ", ".join(f"{s}_dataloader.{_LOADER_ARGUMENTS[key]}" for s in _users(key, data))
        data.exact(key, target)
    # 1.x toolboxes' `build_dataloader` shuffles by default; their train scripts turn it off for validation.
    shuffle = data.take("shuffle", "train_dataloader.sampler.shuffle", default=True)
    for split in _SPLITS:
        if data.peek(split) is None:
            data.take(split, note="empty")
            continue
        state.put(f"{split}_dataloader", _dataloader(data, split, common, shuffle))
    for key in ("sampler_seed", "seed", "train_with_val", "num_gpus", "dist"):
        data.take(key, note="the sampler and the launcher decide it")
    data.finish("no key of the 1.x training scripts", "train_dataloader")


def _users(key: str, data: Part) -> list[str]:
    splits = [split for split in _SPLITS if split in data]
    # MMDetection 2 and MMSegmentation 0.x validate with one sample per GPU, with any `data.samples_per_gpu`.
    return ["train"] if _LOADER_ARGUMENTS[key] in ("batch_size", "drop_last") else splits


def _dataloader(data: Part, split: str, common: Mapping[str, Any], shuffle: bool) -> dict[str, Any]:
    state = data.state
    target = f"{split}_dataloader"
    settings = {k: v for k, v in common.items() if split == "train" or split in _users(k, data)}
    # `data.train_dataloader` and its siblings are of the last 1.x releases. They win over the common values.
    own = data.left.pop(target, None) or {}
    loader = Part(state, f"data.{target}", own)
    dataset = data.left.pop(split)
    # MMDetection 2 takes the batch size of the validation from
    # data.val, and removes it from the data set's arguments.
    if isinstance(dataset, Mapping) and "samples_per_gpu" in dataset:
        dataset = dict(dataset)
        settings["samples_per_gpu"] = dataset.pop("samples_per_gpu")
        Part(state, f"data.{split}", {}).exact("samples_per_gpu", f"{target}.batch_size")
    for key in list(loader.left):
        if key in _LOADER_ARGUMENTS:
            settings[key] = loader.take(key, f"{target}.{_LOADER_ARGUMENTS[key]}")
    arguments = {_LOADER_ARGUMENTS[key]: value for key, value in settings.items()}
    training = split == "train"
    # The defaults of MMDetection 2's `train_detector`; without a toolbox those of torch's DataLoader.
    arguments.setdefault("batch_size", 2 if training and state.toolbox else 1)
    arguments.setdefault("num_workers", 2 if state.toolbox else 0)
    # torch refuses both without worker processes.
    if not arguments["num_workers"]:
        for key in ("persistent_workers", "prefetch_factor"):
            arguments.pop(key, None)
    shuffle = bool(
        loader.take("shuffle", f"{target}.sampler.shuffle", default=shuffle and training)
    )
    # IterBasedRunner starts a finite sampler again and again; configs of today use one endless sampler.
    endless = training and state.by_iteration
    sampler: dict[str, Any] = {
        "type": "InfiniteSampler" if endless else "DefaultSampler",
        "shuffle": shuffle,
    }
    result: dict[str, Any] = {**arguments, "sampler": sampler}
    if _takes_containers(state):
        result["collate_fn"] = {"type": "mmcv_collate"}
    # An argument of MMClassification 0.x' samplers; MMEngine's DefaultSampler has it under the same name.
    if "round_up" in loader and not endless:
        sampler["round_up"] = loader.take("round_up", f"{target}.sampler.round_up")
    loader.take("round_up", note="an endless sampler has no last round")
    _own_sampler(loader, result, target)
    box = state.toolbox
    # MMDetection 2 always groups images by aspect ratio while it shuffles.
    if training and box and box.batch_sampler and not endless and "batch_sampler" not in result:
        result["batch_sampler"] = {"type": box.batch_sampler}
    loader.finish("no argument of the 1.x dataloaders", target)
    result["dataset"] = Datasets(state, target).migrate(dataset, f"data.{split}", test=not training)
    return result


def _takes_containers(state: State) -> bool:
    """Return whether batches are made as by MMCV 1.x, whose samples may hold DataContainers; MMEngine knows none."""
    choice = state.choices.collate
    if choice is None and (state.toolbox or packs_samples(state.old)):
        return False
    state.decide(
        "collate",
        "--collate " + choice
        if choice
        else "data sets of the project's own, which may return DataContainers",
        "the run's default"
        if choice == "default"
        else "mmcv_collate, which passes other samples on",
        Sure.TOLD if choice else Sure.LIKELY,
        "--collate mmcv or default",
    )
    return choice != "default"


def _own_sampler(loader: Part, result: dict[str, Any], target: str) -> None:
    # MMClassification 0.x' name is sampler_cfg, MMDetection 2's class_aware_sampler.
    for key in ("sampler", "class_aware_sampler", "sampler_cfg"):
        if key in loader:
            note = "the constructor's arguments differ in MMEngine: (dataset, shuffle, seed, ...)"
            write = f"{target} = dict(sampler={loader.peek(key)!r})"
            loader.take(key, f"{target}.sampler", note, write)


def _pipeline_variables(state: State, box: Toolbox | None) -> None:
    """Migrate top-level lists of transforms, which `data` and later files refer to."""
    for key, value in list(state.left.items()):
        # Only the name tells: a list of dicts may also be a list of losses.
        if not (key.endswith("pipeline") and isinstance(value, list | tuple)):
            continue
        if box is None:
            # Without a toolbox the transforms are the project's own. They keep their names.
            state.new[key] = state.take(key, key, note="", default=value)
            continue
        notes: list[str] = []
        needs: list[str] = []
        state.put(key, migrate_pipeline(value, box, notes, needs))
        report_pipeline(state, key, key, notes, needs)
        state.left.pop(key)


def report_pipeline(part: Part, key: str, target: str, notes: list[str], needs: list[str]) -> None:
    """Add the entry of a pipeline."""
    if needs:
        box = part.state.toolbox
        scope = box.scope if box else ""
        write = f"the transforms of {scope} in that place"
        part.needs_you(key, "; ".join(dict.fromkeys(needs + notes)), write, target)
    elif notes:
        part.noted(key, target, "; ".join(dict.fromkeys(notes)))
    else:
        part.exact(key, target)


class Datasets:
    """Migrate the datasets of one dataloader, through wrappers and lists.

    Args:
        state: The migration.
        target: Name of the dataloader, for the report.
    """

    def __init__(self, state: State, target: str) -> None:
        self.state = state
        self.target = target

    def migrate(self, dataset: Any, path: str, *, test: bool) -> Any:
        """Return the new dataset for the old one at ``path``."""
        new = self._migrated(dataset, path, test)
        # Helper variables hold the same data sets. migrate_helpers finds them here by equality.
        self.state.rewrites.append((dataset, new))
        return new

    def _migrated(self, dataset: object, path: str, test: bool) -> Any:
        if isinstance(dataset, list | tuple):
            # `build_dataset` of all 1.x toolboxes concatenates a list.
            where, wrapper = Part(self.state, path, {}), self._wrapper_name("ConcatDataset")
            where.noted("", f"{self.target}.dataset", f"a list of datasets → {wrapper}")
            parts = [self.migrate(d, f"{path}[{i}]", test=test) for i, d in enumerate(dataset)]
            return {"type": wrapper, "datasets": parts}
        if not isinstance(dataset, Mapping):
            return dataset
        part = Part(self.state, path, dataset)
        kind = dataset.get("type")
        if kind in _WRAPPERS:
            return self._wrapper(part, path, test)
        return self._plain(part, test)

    def _wrapper_name(self, name: str) -> str:
        """Return the wrapper for data sets of one's own, which have no ``metainfo``, or the toolbox's."""
        # MMEngine 0.10.7's wrappers ask for `metainfo` and `full_init`.
        own = self.state.toolbox is None and name in ("ConcatDataset", "RepeatDataset")
        return f"MMCV{name}" if own else name

    def _wrapper(self, part: Part, path: str, test: bool) -> dict[str, Any]:
        target = f"{self.target}.dataset"
        new: dict[str, Any] = {}
        for key in list(part.left):
            if key in ("dataset", "datasets"):
                new[key] = self.migrate(part.left.pop(key), f"{path}.{key}", test=test)
                # The list has become a ConcatDataset by the rule for lists; this wrapper is one already.
                if key == "datasets" and isinstance(new[key], Mapping):
                    new[key] = new[key]["datasets"]
            elif key == "type":
                new[key] = self._wrapper_name(part.take(key, f"{target}.{key}"))
            elif key == "pipeline":
                new[key] = self._pipeline(part)
            # MMDetection 2's default was one evaluation per part.
            elif key == "separate_eval":
                part.take(key, target, note="the metrics evaluate the concatenation as one")
            else:
                new[key] = part.take(key, f"{target}.{key}")
        return new

    def _plain(self, part: Part, test: bool) -> dict[str, Any]:
        box = self.state.toolbox
        target = f"{self.target}.dataset"
        files = part.peek("ann_file")
        # MMDetection 2 makes one data set per annotation file.
        if box and isinstance(files, list | tuple):
            return self._concatenated(part, test)
        given, kind = set(part.left), part.peek("type")
        new: dict[str, Any] = {}
        prefixes: dict[str, Any] = {}
        for key in list(part.left):
            if key == "pipeline":
                new[key] = self._pipeline(part)
            elif box and key in box.prefixes:
                name = box.prefixes[key]
                prefixes[name] = part.take(
                    key, f"{target}.data_prefix.{name}", note=f"{key} → data_prefix[{name!r}]"
                )
                new.setdefault("data_prefix", prefixes)
            elif box and key in _DATASET_KEYS.get(box.scope, {}):
                _DATASET_KEYS[box.scope][key](part, key, target, new)
            else:
                new[key] = part.take(key, f"{target}.{key}")
        # 1.x train scripts pass test_mode=True when they build the validation set, so configs leave it out.
        if test and "test_mode" not in new:
            new = _before_pipeline(new, "test_mode", True)
            if box is None:
                self.state.decide(
                    "test_mode",
                    f"{kind} in a validation or test set",
                    "test_mode=True, as 1.x train scripts build these",
                    Sure.LIKELY,
                    f"drop it from {target} if {kind} knows no test_mode",
                )
        # A user's own data set may not know `filter_cfg`.
        known = kind in METRICS.get(box.scope, {}) if box else False
        if not test and box and box.filter_cfg and (known or "filter_cfg" in new):
            # MMDetection 2 filters by default, MMDetection 3 only with
            # filter_cfg: without it other images are trained on.
            if "filter_empty_gt" not in given:
                part.noted("", f"{target}.filter_cfg", _FILTERED)
            filters = {**box.filter_cfg, **new.pop("filter_cfg", {})}
            new = _before_pipeline(new, "filter_cfg", filters)
        return new

    def _concatenated(self, part: Part, test: bool) -> dict[str, Any]:
        files = part.left["ann_file"]
        lists = {
            key: part.left[key]
            for key in ("ann_file", "img_prefix", "seg_prefix", "proposal_file")
            if isinstance(part.left.get(key), list | tuple)
        }
        note = f"a list of {len(files)} files → ConcatDataset"
        part.noted("ann_file", f"{self.target}.dataset", note)
        rest = {k: v for k, v in part.left.items() if k not in lists and k != "separate_eval"}
        datasets = [
            self.migrate(
                {**rest, **{key: values[i] for key, values in lists.items()}}, part.path, test=test
            )
            for i in range(len(files))
        ]
        return {"type": "ConcatDataset", "datasets": datasets}

    def _pipeline(self, part: Part) -> Any:
        pipeline = part.left.pop("pipeline")
        target = f"{self.target}.dataset.pipeline"
        box = self.state.toolbox
        if box is None or not isinstance(pipeline, list | tuple):
            part.exact("pipeline", target)
            return pipeline
        notes: list[str] = []
        needs: list[str] = []
        migrated = migrate_pipeline(pipeline, box, notes, needs)
        self.state.rewrites.append((pipeline, migrated))
        report_pipeline(part, "pipeline", target, notes, needs)
        return migrated


def migrate_helpers(state: State) -> None:
    """Give helper variables that hold an old data set, or old transforms, the new ones."""
    for key, value in list(state.left.items()):
        if not (isinstance(value, Mapping | list | tuple) and value):
            continue
        # By equality, not identity: a config that was merged from files holds copies.
        for old, new in state.rewrites:
            if old == value and new != value:
                state.put(key, new)
                state.noted(key, key, "as where it is used")
                del state.left[key]
                break


def _before_pipeline(dataset: dict[str, Any], key: str, value: object) -> dict[str, Any]:
    rest = {k: v for k, v in dataset.items() if k != "pipeline"}
    rest[key] = value
    # The pipeline is long, so it stays last, where 1.x configs have it.
    return {**rest, **({"pipeline": dataset["pipeline"]} if "pipeline" in dataset else {})}


def _classes(part: Part, key: str, target: str, new: dict[str, Any]) -> None:
    value = part.take(key, f"{target}.metainfo.classes", note="classes → metainfo")
    # 1.x reads names from a text file, one per line.
    if isinstance(value, str):
        part.needs_you(key, "metainfo takes the names, not a file of them", f"the names in {value}")
    new.setdefault("metainfo", {})["classes"] = value


def _palette(part: Part, key: str, target: str, new: dict[str, Any]) -> None:
    value = part.take(key, f"{target}.metainfo.palette", note="palette → metainfo")
    new.setdefault("metainfo", {})["palette"] = value


_FILTERED = "1.x left out images without boxes, and small ones, by default; MMDetection 3 does with filter_cfg"


def _filter(part: Part, key: str, target: str, new: dict[str, Any]) -> None:
    # XMLDataset's `min_size` is the size of a box. Images have a fixed limit of 32 in MMDetection 2.
    name = {"min_size": "bbox_min_size"}.get(key, key)
    value = part.take(key, f"{target}.filter_cfg.{name}", note=f"{key} → filter_cfg")
    if value is not None:
        new["filter_cfg"] = {**new.get("filter_cfg", {}), name: value}


def _split(part: Part, key: str, target: str, new: dict[str, Any]) -> None:
    new["ann_file"] = part.take(key, f"{target}.ann_file", note="split → ann_file")


def _files(part: Part, key: str, target: str, new: dict[str, Any]) -> None:
    new["backend_args"] = part.take(key, f"{target}.backend_args", note=f"{key} → backend_args")


_DATASET_KEYS: dict[str, dict[str, Any]] = {
    "mmdet": {
        "classes": _classes,
        "palette": _palette,
        "filter_empty_gt": _filter,
        "min_size": _filter,
        "file_client_args": _files,
    },
    "mmseg": {
        "classes": _classes,
        "palette": _palette,
        "split": _split,
        "file_client_args": _files,
    },
    "mmpretrain": {"classes": _classes, "file_client_args": _files},
}
