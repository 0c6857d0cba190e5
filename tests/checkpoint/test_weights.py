from __future__ import annotations

import errno
import logging
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections import OrderedDict

import pytest
import torch
from torch import nn

from mm2pl.checkpoint import writer as module
from mm2pl.checkpoint.weights import (
    CheckpointError,
    MissingPrefixError,
    _load_checkpoint_with_prefix,
    get_state_dict,
    load_checkpoint,
    load_checkpoint_to_model,
    load_state_dict,
    weights_to_cpu,
)
from mm2pl.checkpoint.writer import save_checkpoint, write_atomically
from mm2pl.fileio import LocalBackend
from mm2pl.model import BaseTTAModel
from mm2pl.registry import MODEL_WRAPPERS


class Wrapper(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module


@pytest.fixture
def wrapper():
    MODEL_WRAPPERS.register_module(name="TestWrapper", module=Wrapper)
    yield Wrapper
    del MODEL_WRAPPERS._module_dict["TestWrapper"]


def net(width: int = 2) -> nn.Module:
    return nn.Sequential(OrderedDict(conv=nn.Conv2d(1, width, 1), bn=nn.BatchNorm2d(width)))


KEYS = [
    "conv.weight",
    "conv.bias",
    "bn.weight",
    "bn.bias",
    "bn.running_mean",
    "bn.running_var",
    "bn.num_batches_tracked",
]


# Weights of a model


REPORTS = {
    "extra": (
        {"conv2.weight": torch.ones(1)},
        (),
        "The model and loaded state dict do not match exactly\n\n"
        "unexpected key in source state_dict: conv2.weight\n",
    ),
    "missing": (
        {},
        ("conv.bias", "bn.num_batches_tracked"),
        "The model and loaded state dict do not match exactly\n\n"
        "missing keys in source state_dict: conv.bias\n",
    ),
    "shape": (
        {"conv.bias": torch.ones(5)},
        (),
        "The model and loaded state dict do not match exactly\n\n"
        "size mismatch for conv.bias: copying a param with shape torch.Size([5]) from checkpoint, "
        "the shape in current model is torch.Size([2]).",
    ),
    "all": (
        {"x": torch.ones(1), "bn.y": torch.ones(1)},
        ("conv.bias",),
        "The model and loaded state dict do not match exactly\n\n"
        "unexpected key in source state_dict: x, bn.y\n\n"
        "missing keys in source state_dict: conv.bias\n",
    ),
}


@pytest.mark.parametrize(("added", "removed", "report"), REPORTS.values(), ids=REPORTS)
def test_differences_are_reported(caplog, added, removed, report):
    weights = {k: v for k, v in {**net().state_dict(), **added}.items() if k not in removed}
    logger = logging.getLogger("test_checkpoint")
    with caplog.at_level("WARNING", logger.name):
        load_state_dict(net(), weights, logger=logger)
    assert caplog.messages == [report]
    with pytest.raises(RuntimeError, match=re.escape(report.split("\n")[2][:40])):
        load_state_dict(net(), weights, strict=True)


def test_num_batches_tracked_may_be_missing(caplog):
    weights = net().state_dict()
    del weights["bn.num_batches_tracked"]
    load_state_dict(net(), weights, strict=True)
    assert not caplog.messages


def test_weights_are_copied_and_the_dict_is_left_alone(wrapper):
    source = net()
    nn.init.normal_(source.conv.weight)
    weights = source.state_dict()
    target = net()
    load_state_dict(
        wrapper(nn.Sequential(OrderedDict(net=wrapper(target)))),
        {f"net.{k}": v for k, v in weights.items()},
    )
    assert torch.equal(target.conv.weight, source.conv.weight)
    assert list(weights) == KEYS


class Mean(BaseTTAModel):
    def merge_preds(self, data_samples_list):
        return data_samples_list


class Plain(nn.Module):
    """Has a ``module`` and is neither a wrapper nor a model for augmented tests."""

    def __init__(self, module):
        super().__init__()
        self.module = module


@pytest.mark.parametrize(("outer", "prefix"), [(Mean, ""), (Plain, "module.")])
def test_a_model_for_augmented_tests_is_loaded_as_the_model_within(outer, prefix):
    source, target = net(), net()
    target.test_step = source.test_step = lambda data: data
    nn.init.normal_(source.conv.weight)
    weights = {f"{prefix}{k}": v for k, v in source.state_dict().items()}
    load_state_dict(outer(target), weights, strict=True)
    assert torch.equal(target.conv.weight, source.conv.weight)


def test_versions_reach_the_modules():
    seen = []

    class Versioned(nn.Linear):
        _version = 3

        def _load_from_state_dict(self, state_dict, prefix, local_metadata, *args):
            seen.append(local_metadata.get("version"))
            super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)

    model = nn.Sequential(Versioned(1, 1))
    load_state_dict(model, model.state_dict())
    load_state_dict(model, dict(model.state_dict()))
    assert seen == [3, None]


def test_post_hooks_can_forgive():
    model = net()
    with pytest.raises(RuntimeError, match="missing keys in source state_dict"):
        load_state_dict(model, {}, strict=True)
    forgiven = []

    def forgive(module, keys):
        forgiven.extend(keys.missing_keys)
        keys.missing_keys.clear()

    model.register_load_state_dict_post_hook(forgive)
    load_state_dict(model, {}, strict=True)
    assert forgiven == [key for key in KEYS if "num_batches" not in key]


def test_state_dict_looks_through_wrappers(wrapper):
    model = net()
    wrapped = nn.Sequential(OrderedDict(net=wrapper(model)))
    expected = nn.Sequential(OrderedDict(net=model)).state_dict()
    got = get_state_dict(wrapper(wrapped))
    assert list(got) == list(expected) == [f"net.{key}" for key in KEYS]
    assert got._metadata == expected._metadata
    assert all(not value.requires_grad for value in got.values())
    assert get_state_dict(model, keep_vars=True)["conv.weight"] is model.conv.weight


def test_state_dict_hooks_are_called():
    model = net()
    model._register_state_dict_hook(lambda m, d, prefix, meta: OrderedDict(renamed=d["conv.bias"]))
    model.register_state_dict_pre_hook(lambda m, prefix, keep: nn.init.constant_(m.conv.bias, 7))
    assert get_state_dict(model)["renamed"].tolist() == [7, 7]


def test_weights_to_cpu_keeps_types_and_versions():
    weights = net().state_dict()
    weights["extra"] = {"nested": [torch.ones(1)], "text": "a"}
    got = weights_to_cpu(weights)
    assert list(got) == [*KEYS, "extra"]
    assert got._metadata == weights._metadata
    assert got["extra"]["text"] == "a"
    assert isinstance(weights_to_cpu({"a": torch.ones(1)}), dict)


# Loading


@pytest.mark.parametrize(
    "wrap",
    [
        lambda w: w,
        lambda w: {"state_dict": w},
        lambda w: {"meta": {"epoch": 1}, "state_dict": w},
        lambda w: {"state_dict": {f"module.{k}": v for k, v in w.items()}},
        lambda w: {"state_dict": {f"model.{k}": v for k, v in w.items()}},
        lambda w: {f"_orig_mod.{k}": v for k, v in w.items()},
        lambda w: {"state_dict": {f"model.module.{k}": v for k, v in w.items()}},
    ],
    ids=["bare", "state_dict", "mmengine", "ddp", "lightning", "compiled", "lightning ddp"],
)
def test_every_arrangement_is_loaded(tmp_path, wrap, caplog):
    source, target = net(), net()
    nn.init.normal_(source.conv.weight)
    torch.save(wrap(source.state_dict()), tmp_path / "x.pth")
    returned = load_checkpoint(target, str(tmp_path / "x.pth"), map_location="cpu", strict=True)
    assert torch.equal(target.conv.weight, source.conv.weight)
    assert list(returned) == list(wrap(source.state_dict()))


@pytest.mark.parametrize("names", [["model"], ["module"], ["model", "module"]], ids="+".join)
def test_a_models_own_part_of_such_a_name_is_kept(names):
    target = nn.ModuleDict({name: net() for name in names})
    load_checkpoint_to_model(target, {"state_dict": target.state_dict()}, strict=True)


def test_keys_are_revised_in_turn(tmp_path):
    source, target = net(), net()
    nn.init.normal_(source.conv.weight)
    torch.save({f"a.b.{k}": v for k, v in source.state_dict().items()}, tmp_path / "x.pth")
    load_checkpoint(
        target, str(tmp_path / "x.pth"), strict=True, revise_keys=[(r"^a\.", ""), (r"^b\.", "")]
    )
    assert torch.equal(target.conv.weight, source.conv.weight)


def test_another_models_weights_are_an_error_that_names_both(tmp_path):
    torch.save({"state_dict": nn.LSTM(2, 2).state_dict()}, tmp_path / "lstm.pth")
    target = net()
    before = {k: v.clone() for k, v in target.state_dict().items()}
    with pytest.raises(
        CheckpointError, match=r"lstm\.pth: none of its 4 keys \(weight_ih_l0, .*conv\.weight"
    ):
        load_checkpoint(target, str(tmp_path / "lstm.pth"))
    assert all(torch.equal(v, before[k]) for k, v in target.state_dict().items())


def test_another_width_is_reported_in_full(tmp_path):
    torch.save({"state_dict": net(3).state_dict()}, tmp_path / "wide.pth")
    with pytest.raises(RuntimeError, match=r"size mismatch for conv\.weight.*"):
        load_checkpoint(net(2), str(tmp_path / "wide.pth"), strict=True)


def test_a_strict_refusal_names_the_file(tmp_path):
    torch.save({"weight": torch.ones(3, 1)}, tmp_path / "x.pth")
    said = r"x\.pth: The model and loaded state dict do not match exactly\n+size mismatch .*\nmissing keys"
    with pytest.raises(RuntimeError, match=said):
        load_checkpoint(nn.Linear(1, 1), str(tmp_path / "x.pth"), strict=True)


def test_a_file_without_weights(tmp_path):
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(
        RuntimeError, match=r"No state_dict found in checkpoint file .*list\.pth: it holds a list"
    ):
        load_checkpoint(net(), str(tmp_path / "list.pth"))


def test_forbidden_code_needs_the_opt_in(tmp_path):
    from fractions import Fraction

    torch.save({"state_dict": net().state_dict(), "f": Fraction(1)}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"fractions\.Fraction"):
        load_checkpoint(net(), str(tmp_path / "x.pth"))
    assert load_checkpoint(net(), str(tmp_path / "x.pth"), weights_only=False)["f"] == 1


@pytest.mark.parametrize("prefix", ["backbone", "backbone."])
def test_one_part_of_a_model(tmp_path, prefix):
    torch.save(
        {"state_dict": {"backbone.a": 1, "backbone.b.c": 2, "head.a": 3}}, tmp_path / "x.pth"
    )
    assert _load_checkpoint_with_prefix(prefix, str(tmp_path / "x.pth")) == {"a": 1, "b.c": 2}
    with pytest.raises(
        MissingPrefixError, match=r"neck\. is not in the pretrained model .*backbone\.a"
    ):
        _load_checkpoint_with_prefix("neck", str(tmp_path / "x.pth"))


# Saving


def test_saved_files_load_anywhere(tmp_path):
    weights = net().state_dict()
    save_checkpoint({"meta": {"epoch": 1}, "state_dict": weights}, str(tmp_path / "new" / "x.pth"))
    got = torch.load(tmp_path / "new" / "x.pth", weights_only=True)
    assert got["meta"] == {"epoch": 1}
    assert all(torch.equal(got["state_dict"][k], v) for k, v in weights.items())
    assert os.listdir(tmp_path / "new") == ["x.pth"]


def test_tensors_that_stand_twice_are_stored_once(tmp_path):
    weight = torch.randn(100_000)
    save_checkpoint({"state_dict": {"w": weight}}, str(tmp_path / "once.pth"))
    save_checkpoint(
        {"state_dict": {"w": weight}, "optimizer": {"p": [weight]}}, str(tmp_path / "twice.pth")
    )
    once, twice = (os.path.getsize(tmp_path / f"{name}.pth") for name in ("once", "twice"))
    assert twice - once < 1000


@pytest.mark.parametrize(
    "arguments",
    [{}, {"backend_args": {"backend": "local"}}, {"file_client_args": {"backend": "disk"}}],
    ids=["plain", "backend_args", "file_client_args"],
)
def test_local_backends_are_atomic(tmp_path, monkeypatch, arguments):
    written = []
    monkeypatch.setattr(module, "write_atomically", lambda name, write: written.append(name))
    save_checkpoint({"a": 1}, str(tmp_path / "x.pth"), **arguments)
    assert written == [str(tmp_path / "x.pth")]


def test_other_backends_get_the_bytes(tmp_path, monkeypatch):
    class Remote:
        def put(self, content, name):
            (tmp_path / "remote.pth").write_bytes(content)
            assert name == "s3://bucket/x.pth"

    monkeypatch.setattr(module, "get_file_backend", lambda name, backend_args: Remote())
    save_checkpoint({"a": torch.ones(1)}, "s3://bucket/x.pth", backend_args={"backend": "x"})
    assert torch.load(tmp_path / "remote.pth", weights_only=True)["a"] == 1
    assert not isinstance(Remote(), LocalBackend)


def test_two_kinds_of_arguments_are_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot be set at the same time"):
        save_checkpoint({}, str(tmp_path / "x.pth"), {"backend": "disk"}, {"backend": "local"})


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.pth"
    path.write_bytes(b"old")

    def fail(file):
        file.write(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, fail)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x.pth"]


def test_a_kill_while_saving_leaves_the_old_file(tmp_path):
    """The process is killed in the middle of the write; the next save overwrites what it left."""
    path = tmp_path / "x.pth"
    path.write_bytes(b"old")
    script = f"""
        import os, signal
        from mm2pl.checkpoint.writer import write_atomically
        def write(file):
            file.write(b"half")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        write_atomically({str(path)!r}, write)
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    left, kept = sorted(os.listdir(tmp_path))
    assert (left.startswith(".x.pth."), left.endswith(".tmp"), kept) == (True, True, "x.pth")
    (tmp_path / ".x.pth.tmp").touch()  # of mm2pl 0.1
    (tmp_path / f".x.pth.{left.split('.')[3].rpartition('-')[0]}-{os.getppid()}.tmp").touch()
    write_atomically(path, lambda file: file.write(b"new") and None)
    assert path.read_bytes() == b"new"
    # A process that is alive may be writing its own.
    assert [name.rpartition("-")[2] for name in sorted(os.listdir(tmp_path))] == [
        f"{os.getppid()}.tmp",
        "x.pth",
    ]


def test_the_file_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    events = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: events.append("sync"))
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (events.append("rename"), replace(a, b)))
    write_atomically(tmp_path / "x.pth", lambda file: None)
    assert events == ["sync", "rename", "sync"]


def test_two_processes_write_one_file(tmp_path, monkeypatch):
    path = tmp_path / "x.pth"

    def first(file):
        with monkeypatch.context() as second:
            second.setattr(os, "getpid", os.getppid)
            write_atomically(path, lambda other: other.write(b"second"))
        assert path.read_bytes() == b"second"
        file.write(b"first")

    write_atomically(path, first)
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["x.pth"]


def test_a_full_disk_is_named_and_changes_nothing(tmp_path):
    path = tmp_path / "epoch_1.pth"
    path.write_text("old")

    class Full:
        def write(self, content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match=r"epoch_1\.pth could not be written: No space left"):
        write_atomically(path, lambda file: torch.save({"a": torch.zeros(9)}, Full()))
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (5, "it holds a int"),
        ([1], "it holds a list"),
        ({1: torch.ones(1)}, "x.pth has the key 1 → weights by name"),
    ],
)
def test_a_file_without_names_is_refused(tmp_path, content, said):
    path = str(tmp_path / "x.pth")
    torch.save(content, path)
    for load in (
        lambda: load_checkpoint(nn.Linear(1, 1), path),
        lambda: _load_checkpoint_with_prefix("l", path),
    ):
        with pytest.raises(CheckpointError, match=said):
            load()
