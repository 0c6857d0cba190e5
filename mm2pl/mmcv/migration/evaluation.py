"""``runner``, ``workflow`` and ``evaluation`` → the loops, the metrics and what the best checkpoint is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mm2pl.mmcv.migration.decisions import Sure
from mm2pl.mmcv.migration.state import Part, State
from mm2pl.mmcv.migration.toolboxes import METRICS, MetricRule

_RUNNERS = {"EpochBasedRunner": "EpochBasedTrainLoop", "IterBasedRunner": "IterBasedTrainLoop"}
_WRAPPERS = frozenset(
    {"RepeatDataset", "ClassBalancedDataset", "MultiImageMixDataset", "ConcatDataset"}
)
_VAL_FLOW = (
    "a validation flow computed the *losses* of the validation set; mm2pl validates with val_dataloader and "
    "val_evaluator, and averages a loss that the model's val_step returns as its last element"
)


def migrate_loops(state: State) -> None:
    """Put ``train_cfg``, ``val_cfg``, ``test_cfg`` and the evaluators."""
    # Before the loops: `train_cfg` at the top means the model's settings in 1.x, and the loop in MMEngine.
    _old_model_cfgs(state)
    train = _runner(state)
    interval = _workflow(state, train)
    has_val = _has(state, "val")
    # A file for others to inherit, such as a schedule: it knows no data sets but must set its part of the loops.
    fragment = "data" not in state.old
    runs = bool({"runner", "total_epochs", "total_iters"} & set(state.old))
    if "evaluation" in state or (has_val and runs):
        evaluators, for_test = _evaluation(state, train)
        # MMEngine 0.10.7 wants loader, loop and evaluator of a split all together or not at all.
        if has_val or (fragment and evaluators):
            state.put("val_evaluator", evaluators)
        # 1.x tests by hand with `--eval`, so a config without `evaluation` has no metric for the test.
        if "evaluation" in state.old and (_has(state, "test") or (fragment and evaluators)):
            state.put("test_evaluator", for_test)
    # `evaluation.interval` wins: the workflow's losses were logged, but decided nothing.
    if interval and "val_interval" not in train:
        train["val_interval"] = interval
    if "max_epochs" in train and fragment:
        train.setdefault(
            "val_interval", 1
        )  # MMEngine's default, for files that inherit from this one
    if train:
        state.put("train_cfg", train)
    if runs:
        if has_val or fragment:
            state.put("val_cfg", {"type": "ValLoop"})
        if (_has(state, "test") and "test_evaluator" in state.new) or fragment:
            state.put("test_cfg", {"type": "TestLoop"})
    # A test without metrics only predicts. An empty list is an evaluator that reports nothing.
    if not fragment and "test_evaluator" not in state.new and "test_dataloader" in state.new:
        # It has the validation's metric only where that is given, and then on its own data.
        given = _evaluator(state, "test") if "val_evaluator" in state.new else []
        state.put("test_evaluator", given)
        state.put("test_cfg", {"type": "TestLoop"})


def _has(state: State, split: str) -> bool:
    data = state.old.get("data")
    return isinstance(data, Mapping) and data.get(split) is not None


def _old_model_cfgs(state: State) -> None:
    """Move top-level train_cfg and test_cfg of the first 1.x toolboxes into the model."""
    for key in ("train_cfg", "test_cfg"):
        value = state.peek(key)
        if key not in state:
            continue
        note = f"settings of the model → model.{key}; in MMEngine this name means the loop"
        state.take(key, f"model.{key}", note=note)
        # The model is there already: it is taken before all steps.
        if isinstance(state.new.get("model"), dict):
            state.new["model"] = {**state.new["model"], key: value}


def _runner(state: State) -> dict[str, Any]:
    """Return ``train_cfg``."""
    train: dict[str, Any] = {}
    if isinstance(state.peek("runner"), Mapping):
        part = state.part("runner")
        kind = part.peek("type")
        if kind is None or kind in _RUNNERS:
            part.take("type", "train_cfg.type")
            # Files that inherit may set only max_epochs; the type then comes from their base.
            kind = _RUNNERS.get(str(kind))
            train = {"type": kind} if kind else {}
        else:
            # A runner of one's own is recognised by its arguments, since its class is not here.
            loop = "IterBasedTrainLoop" if state.by_iteration else "EpochBasedTrainLoop"
            write = f"a loop in LOOPS that derives from {loop}, and train_cfg = dict(type=..., ...); nothing if the "
            write += "class overrides only how checkpoints are saved and resumed"
            part.take("type", "train_cfg.type", f"{kind!r} is a runner of your own", write)
            train = {"type": loop}
        for key in ("max_epochs", "max_iters"):
            if key in part:
                train[key] = part.take(key, f"train_cfg.{key}")
        part.finish("no argument of MMCV's runners", "train_cfg")
    elif "runner" in state:
        state.take("runner", note="empty")
    for old, new, loop in (
        ("total_epochs", "max_epochs", "EpochBasedTrainLoop"),
        ("total_iters", "max_iters", "IterBasedTrainLoop"),
    ):
        if old in state:
            value = state.take(old, f"train_cfg.{new}")
            # `total_epochs` is older. MMDetection 2 demands that both agree, so `runner` decides.
            if not {"max_epochs", "max_iters"} & set(train):
                train = {"type": loop, new: value, **train}
    return train


def _workflow(state: State, train: dict[str, Any]) -> int:
    """Return the validation interval that ``workflow`` asks for; 0 for none."""
    workflow = state.peek("workflow")
    if workflow is None:
        state.take("workflow", note="train only")
        return 0
    modes = [mode for mode, _ in workflow]
    # Reversed, so that the first flow of each mode counts.
    counts = dict(reversed([tuple(flow) for flow in workflow]))
    if modes == ["train"]:
        state.take("workflow", "train_cfg")
        return 0
    if modes == ["val"]:
        why = "only validates: there is nothing to train"
        state.take("workflow", "val_cfg", note=why, write="mm2pl validate CONFIG")
        return 0
    if "val" not in modes:
        write = "a loop in LOOPS that overrides run_iter"
        state.take(
            "workflow", "train_cfg", f"flows {modes} are methods of a runner of yours", write
        )
        return 0
    note = _VAL_FLOW + (
        "; MMEngine validates after training, never before" if modes[0] == "val" else ""
    )
    state.take(
        "workflow",
        "train_cfg.val_interval",
        note,
        write="a val_step that returns [*predictions, dict(loss=…)], if you watch the validation loss",
    )
    return int(counts.get("train", 1))


def _evaluation(state: State, train: dict[str, Any]) -> tuple[Any, Any]:
    """Take ``evaluation``; add its interval to ``train`` and return the evaluators of validation and test."""
    if state.peek("evaluation") is None and "evaluation" in state:
        state.take("evaluation", note="no arguments: validates every epoch or iteration")
    part = state.part("evaluation")
    # MMCV 1.7.2's EvalHook has interval=1, MMEngine 0.10.7's iteration loop 1000.
    interval = part.take("interval", "train_cfg.val_interval", default=1)
    train["val_interval"] = interval
    # 1.x train scripts overwrite it by the type of the runner, so a config's value never counted.
    part.take("by_epoch", "train_cfg")
    _start(part, train, interval)
    _dynamic_intervals(part, train)
    _save_best(part, _rule(state, "val")[0])
    for key in ("gpu_collect", "broadcast_bn_buffer", "tmpdir", "test_fn", "priority"):
        part.take(key, note="how results are gathered over processes is the loop's matter")
    state.evaluation = dict(part.left)
    evaluators = _evaluator(state, "val"), _evaluator(state, "test")
    if _has(state, "test") and evaluators[0] != evaluators[1]:
        state.decide(
            "test_evaluator",
            "data.val and data.test differ, and the metric holds data",
            "each split is judged by its own data set",
            Sure.CERTAIN,
            "test_evaluator = val_evaluator, if the test set has no labels",
        )
    return evaluators


def _evaluator(state: State, split: str) -> Any:
    """Return the evaluator of one split: a metric may hold the data set, or the file of its annotations."""
    part = Part(state, "evaluation", state.evaluation)
    # A test without a data set of its own is a file to inherit from.
    rule, dataset = _rule(state, split if _has(state, split) else "val")
    return _dataset_metric(part, state, split) if rule is None else _metric(part, rule, dataset)


def _start(part: Part, train: dict[str, Any], interval: int) -> None:
    start = part.peek("start")
    if start is None:
        part.take("start", note="from the beginning")
        return
    notes = []
    if start == 0:
        notes.append("MMCV also evaluated before training: run `mm2pl validate` for that")
    elif interval > 1 and start % interval:
        notes.append(
            f"MMCV evaluated at {start}, {start + interval}, …; MMEngine at the multiples of {interval} from "
            f"{start} on"
        )
    part.take("start", "train_cfg.val_begin", note="; ".join(notes))
    # MMEngine 0.10.7 counts from 1.
    train["val_begin"] = max(int(start), 1)


def _dynamic_intervals(part: Part, train: dict[str, Any]) -> None:
    if part.peek("dynamic_intervals"):
        value = part.take("dynamic_intervals", "train_cfg.dynamic_intervals")
        train["dynamic_intervals"] = [tuple(pair) for pair in value]
    else:
        part.take("dynamic_intervals", "train_cfg")


def _rule(state: State, split: str) -> tuple[MetricRule | None, Any]:
    """Return the metric for the class of a split's data set, and that data set; None for its own ``evaluate``."""
    dataset: Any = (state.old.get("data") or {}).get(split)
    while True:
        if isinstance(dataset, list | tuple):
            dataset = next(iter(dataset), None)
        # The inner data set evaluates; of several the first one stands for all.
        elif isinstance(dataset, Mapping) and dataset.get("type") in _WRAPPERS:
            dataset = dataset.get("dataset") or dataset.get("datasets")
        else:
            break
    kind = dataset.get("type", "") if isinstance(dataset, Mapping) else ""
    box, choice = state.toolbox, state.choices.evaluator
    rules = METRICS.get(box.scope, {}) if box else {}
    rule = rules.get(kind, rules.get(""))
    if not kind:
        return rule, dataset
    if choice == "toolbox" and rule is None:
        _no_rule(state, kind)
        return None, dataset
    if box is None:
        return None, dataset
    known = kind in rules or kind in box.datasets or kind == "CustomDataset"
    if not known or choice is not None:
        own = choice == "own" or rule is None or (choice is None and not known)
        state.decide(
            "evaluator",
            f"--evaluator {choice}" if choice else f"{kind} is not a data set of {box.scope}'s",
            f"{kind}.evaluate, by MMCVDatasetMetric" if own or rule is None else rule.type,
            Sure.TOLD if choice else Sure.UNSURE,
            "--evaluator toolbox or own",
        )
        rule = None if own else rule
    return rule, dataset


def _no_rule(state: State, kind: str) -> None:
    """Note that ``--evaluator toolbox`` cannot be followed for data sets of a kind."""
    box = state.toolbox
    if box is None:
        why, write = "no toolbox is recognised", f"--toolbox {', '.join(METRICS)}, or "
    else:
        why, write = f"{box.scope} has no metric for {kind} that is known here", ""
    note = f"--evaluator toolbox is not followed: {why}, so {kind}.evaluate is kept, by MMCVDatasetMetric"
    write += "the metric as val_evaluator and test_evaluator"
    state.needs_you("evaluation", note, write, "val_evaluator")


_OLD_NAME = "the older name of save_best, which decides if both are given"


def _save_best(part: Part, rule: MetricRule | None) -> None:
    state = part.state
    best: dict[str, Any] = {}
    # MMPose 0.x' configs have it.
    older = part.take("key_indicator", "default_hooks.checkpoint.save_best", note=_OLD_NAME)
    score = part.peek("save_best", older)
    if score is not None:
        renamed = rule.renamed.get(score) or score if rule else score
        # MMEngine's metrics put a prefix before the names of their
        # results; 'auto' takes the first one on both sides.
        if rule and rule.prefix and score != "auto":
            renamed = f"{rule.prefix}/{renamed}"
        note = f"{rule.type} names it {renamed!r}" if rule and renamed != score else ""
        part.take("save_best", "default_hooks.checkpoint.save_best", note=note)
        best["save_best"] = renamed
    else:
        part.take("save_best", "default_hooks.checkpoint")
    for key in ("rule", "greater_keys", "less_keys"):
        if key in part:
            value = part.take(key, f"default_hooks.checkpoint.{key}")
            if value is not None:
                best[key] = value
    if "out_dir" in part:
        best["out_dir"] = part.take("out_dir", "default_hooks.checkpoint.out_dir")
    if "file_client_args" in part:
        note = "file_client_args → backend_args"
        best["backend_args"] = part.take(
            "file_client_args", "default_hooks.checkpoint.backend_args", note=note
        )
    if best:
        state.put("default_hooks", {"checkpoint": {"type": "CheckpointHook", **best}})


def _metric(part: Part, rule: MetricRule, dataset: object) -> dict[str, Any]:
    note = f"the data set's evaluate() is {rule.type} now"
    result: dict[str, Any] = {"type": rule.type}
    # The metric of a detector reads the file itself. It knows no data_root, which the data set puts before it.
    if rule.ann_file and isinstance(dataset, Mapping) and dataset.get("ann_file"):
        root = dataset.get("data_root")
        file = dataset["ann_file"]
        if root and isinstance(file, str) and not file.startswith(("/", str(root))):
            file = f"{str(root).rstrip('/')}/{file}"
        result["ann_file"] = file
    if "metric" in part:
        metric = part.take(
            "metric", "val_evaluator.metric" if rule.metric else "val_evaluator", note
        )
        if rule.metric:
            as_list = [metric] if rule.as_list and isinstance(metric, str) else metric
            result[rule.metric] = as_list
    # MMClassification 0.x nests them; MMPretrain's metrics take them directly.
    if isinstance(part.peek("metric_options"), Mapping):
        options = part.part_of("metric_options")
        for key in ("topk", "thrs"):
            if key in options:
                result[key] = options.take(key, f"val_evaluator.{key}", note=note)
        options.finish(f"no argument of {rule.type}", "val_evaluator")
    for key in list(part.left):
        if key in rule.renamed:
            new = rule.renamed[key]
            # Gone without loss: MMSegmentation's `pre_eval`, for instance, only saved memory.
            if new is None:
                part.take(key, "val_evaluator", note=f"{rule.type} needs no such argument")
            else:
                result[new] = part.take(key, f"val_evaluator.{new}", note=note)
    part.finish(f"no argument of {rule.type} is known for it", "val_evaluator")
    return {**result, **rule.fixed}


def _dataset_metric(part: Part, state: State, split: str) -> Any:
    """Return the metric that calls the data set's own ``evaluate``, as MMCV's EvalHook did."""
    kept = {}
    for key in list(part.left):
        kept[key] = part.take(
            key, f"val_evaluator.{key}", note="an argument of the data set's own evaluate()"
        )
    # A file to inherit from keeps the arguments. The type stands where the data set is.
    if not _has(state, "val"):
        return kept or None
    dataset = state.new.get(f"{split}_dataloader", state.new["val_dataloader"])["dataset"]
    return {"type": "MMCVDatasetMetric", "dataset": dataset, **kept}
