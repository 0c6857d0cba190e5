"""What people have typed and written, and what it says or does: one case each, as ``mm2pl`` is called."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mm2pl.cli.main import main

MODULE = """
import torch
from torch.utils.data import Dataset
from mm2pl.errors import ArgumentError
from mm2pl.evaluator import BaseMetric
from mm2pl.model import BaseModel
from mm2pl.registry import DATA_SAMPLERS, DATASETS, LOOPS, METRICS, MODELS, PARAM_SCHEDULERS

@MODELS.register_module()
class SmallCNN(BaseModel):
    def __init__(self, width=2, data_preprocessor=None):
        super().__init__(data_preprocessor)
        self.layer = torch.nn.Linear(2, 2)

    def forward(self, inputs, labels, mode='tensor'):
        scores = self.layer(inputs)
        return dict(loss=torch.nn.functional.cross_entropy(scores, labels)) if mode == 'loss' else scores

@MODELS.register_module()
class Swapped(SmallCNN):
    def forward(self, inputs, data_samples=None, mode='tensor'):
        return dict(loss=self.layer.weight.sum())

@DATASETS.register_module()
class Points(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return torch.ones(2) * index, index % 2

@DATASETS.register_module()
class Pictures(Points):
    def __getitem__(self, index):
        return dict(inputs=torch.ones(3, 2, 2))

def picky(*args, **arguments):
    raise ArgumentError('only 7 will do')

DATA_SAMPLERS.register_module('Picky', module=picky)
LOOPS.register_module('PickyLoop', module=picky)
PARAM_SCHEDULERS.register_module('PickyLR', module=picky)
"""
CONFIG = """
custom_imports = dict(imports=['rows_project'])
model = dict(type='SmallCNN')
train_dataloader = dict(
    batch_size=2,
    dataset=dict(type='Points'),
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
train_cfg = dict(by_epoch=True, max_epochs=1)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))
randomness = dict(seed=1)
"""
Said = Callable[..., tuple[int, str]]


@pytest.fixture
def said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Said]:
    """Return a function that calls ``mm2pl``, and returns its exit code and what it has said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("rows_project.py").write_text(MODULE)
    Path("base.py").write_text(CONFIG)

    def call(*words: str, **files: str) -> tuple[int, str]:
        for name, text in files.items():
            Path(f"{name}.py").write_text(text.replace("BASE", "_base_ = './base.py'\n"))
        code = main([*words])
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    yield call
    # Its classes are registered once more by the next test.
    sys.modules.pop("rows_project", None)


REFUSED = {
    "randomness=42": "randomness=42 → a dict is needed",
    "default_hooks=42": "default_hooks=42 → a dict or None is needed",
    "env_cfg=42": "env_cfg=42 → a dict is needed",
    "train_dataloader=42": "train_dataloader=42 → a dict or a built DataLoader",
    "train_dataloader.batch_size=x": "train_dataloader.batch_size='x' → a whole number of at least",
    "train_dataloader.num_workers=-1": "train_dataloader.num_workers=-1 → a whole number of at lea",
    "train_dataloader.persistent_workers=True": "persistent_workers=True → there are no workers",
    "train_dataloader.num_worker=2": "num_worker=2 → unknown → one of dataset, batch_size, num_wor",
    "optim_wrapper.optimizer.lr=-1": "optim_wrapper.optimizer.lr=-1 → a number of at least 0",
    "optim_wrapper.accumulative_counts=text": "accumulative_counts='text' → a number of at least 1",
    "val_dataloader=[1] val_cfg.fp16=False val_evaluator.type=D": "val_dataloader=[1] → a dict or",
    "train_cfg.val_interval=x": "train_cfg.val_interval='x' → a number other than 0",
    "train_cfg.max_iters=3": "train_cfg.max_iters=3 → by_epoch=True counts epochs",
    "train_cfg.max_epochs=1.5": "train_cfg.max_epochs=1.5 → a whole number (epochs)",
    "train_cfg=[1]": "train_cfg=[1] → a dict or a built loop or None is needed",
    "custom_imports=x": "custom_imports='x' → a dict or None is needed",
    "resume=auto": "resume='auto' → True, False, 'must' or a dict",
    "load_from=3": "load_from=3 → a path or None is needed",
    "default_hooks.chekpoint.interval=2": "default_hooks.chekpoint={'interval': 2} → dict(type=…)",
    "launcher=None": "launcher=None → one of 'none', 'pytorch', 'slurm', 'mpi' is needed",
}


@pytest.mark.parametrize(("pair", "message"), REFUSED.items(), ids=REFUSED)
def test_a_wrong_value_is_one_line_with_its_word(pair: str, message: str, said: Said) -> None:
    code, text = said("fit", "base.py", "--cfg-options", *pair.split())
    head, line = text.splitlines()
    assert (code, head) == (
        2,
        "mm2pl fit: FaultyConfigError: the config has keys that will not do what they say:",
    )
    assert line.startswith("  --cfg-options: ")
    assert message in line


def test_a_value_of_a_file_has_its_line(said: Said) -> None:
    code, text = said("fit", "c.py", c="BASE\nload_from = 3\n")
    assert code == 2
    assert text.splitlines()[1].endswith("c.py:3: load_from=3 → a path or None is needed")


TYPES = {
    "a model": ("model = dict(type='SmalCNN')", "model.type='SmalCNN'", "Did you mean 'SmallCNN'?"),
    "its argument": ("model = dict(wdth=3)", "model.wdth=3", "Did you mean 'width'?"),
    "an optimizer": (
        "optim_wrapper = dict(optimizer=dict(type='Adamm'))",
        "optim_wrapper.optimizer.type='Adamm'",
        "Did you mean 'Adam'",
    ),
    "a collate_fn": (
        "train_dataloader = dict(collate_fn=dict(type='default_colate'))",
        "train_dataloader.collate_fn.type='default_colate'",
        "Did you mean 'default_collate'",
    ),
    "torch's schedule": (
        "param_scheduler = dict(type='torch.optim.lr_scheduler.StepLR', step_size=1)",
        "param_scheduler.type='torch.optim.lr_scheduler.StepLR'",
        "→ type='StepLR', MMEngine's",
    ),
}


@pytest.mark.parametrize(("text", "given", "meant"), TYPES.values(), ids=TYPES)
def test_a_wrong_type_is_told_before_anything_is_built(
    text: str, given: str, meant: str, said: Said
) -> None:
    code, lines = said("fit", "c.py", c=f"BASE\n{text}\n")
    assert code == 2
    assert f"c.py:3: {given} → " in lines
    assert meant in lines
    assert "System environment" not in lines


@pytest.mark.parametrize(("text", "given", "meant"), TYPES.values(), ids=TYPES)
def test_explain_says_so_too(text: str, given: str, meant: str, said: Said) -> None:
    code, lines = said("explain", "c.py", c=f"BASE\n{text}\n")
    (row,) = [line for line in lines.splitlines() if "  error  " in line]
    assert code == 2
    assert meant in row
    assert row.endswith("c.py:3")


def test_explain_says_where_each_word_comes_from(said: Said) -> None:
    words = ["--cfg-options", "train_cfg.max_epochs=2", "foo=1"]
    _, lines = said("explain", "c.py", *words, c="BASE\nwork_dir = 'w'\nlr = 3\n")
    rows = {line.split()[0]: line for line in lines.splitlines()}
    assert rows["work_dir"].endswith("c.py:3")
    assert rows["randomness.seed"].endswith("base.py:12")
    assert rows["train_cfg.max_epochs"].endswith("--cfg-options")
    assert "warning" in rows["foo"]
    assert "nothing reads it; set optim_wrapper.optimizer.lr" in rows["lr"]


PIPELINE = "pipeline = [1]\ntrain_dataloader = dict(dataset=dict(type='Points', pipeline=pipeline))"


def test_a_variable_that_its_base_has_used_is_refused_by_strict(said: Said) -> None:
    child = "_base_ = './b.py'\npipeline = [2]\n"
    code, text = said("fit", "c.py", "--strict", b=f"BASE\n{PIPELINE}\n", c=child)
    assert code == 2
    assert "c.py:2: pipeline=[2] → nothing reads it: b.py:3 has used its own value" in text


FILES = {
    "script": (
        "import sys\nsys.exit(3)\n",
        "it ends the program while it is read, as a script does → a config only sets values",
    ),
    "a script that only defines": ("def main():\n    pass\n", "this file has none"),
    "nothing": ("", "c.py does not hold a config: a config has keys such as model"),
    "a module": (
        MODULE,
        "\nThe file defines the class SmallCNN and sets no key, as a module does → if it is one, a con",
    ),
    "a class": (
        "import torch\nclass Net(torch.nn.Module):\n    pass\n",
        "c.py:2: torch.nn.Module is imported lazily in",
    ),
    "base": ("name = 'base'\n_base_ = f'./{name}.py'\n", "c.py:2: _base_ is read before the vari"),
    "model=None": ("BASE\nmodel = None\n", "model=None → dict(type=…) or a torch module is needed"),
    "import": (
        "BASE\ncustom_imports = dict(imports=['inside'])\n",
        "inside.py:1: import nowhere_at_all",
    ),
    "an argument of an import": (
        "BASE\ncustom_imports = dict(import_=['rows_project'])\n",
        "custom_imports has 'import_', and takes imports and allow_failed_imports.",
    ),
    "torch's argument": (
        "BASE\noptim_wrapper = dict(optimizer=dict(momentum=-1))\n",
        "optim_wrapper.optimizer=dict(type='SGD', lr=0.1, momentum=-1) → Invalid momentum value: -1",
    ),
    "a constructor": (
        "BASE\noptim_wrapper = dict(constructor='Nope')\n",
        "c.py:3: optim_wrapper.constructor='Nope' → a name of the mm2pl::optimizer wrapper const",
    ),
    "what the Trainer gets": (
        "BASE\ndefault_hooks = dict(logger=dict(type='LoggerHook', interval='x'))\n",
        "c.py:3: default_hooks.logger.interval='x' → a whole number of at least 1",
    ),
    "a level of hooks": (
        "BASE\ncustom_hooks = [dict(type='SyncBuffersHook', priority='HIHG')]\n",
        "custom_hooks.0.priority → priority 'HIHG' is not a level: use HIGHEST",
    ),
    "a hook": (
        "BASE\ncustom_hooks = [dict(type='ProfilerHook', profile_times=0)]\n",
        "custom_hooks.0 → profile_times should be greater than 0, but got 0",
    ),
    "a default hook": (
        "BASE\ndefault_hooks = dict(more=dict(type='ProfilerHook', profile_times=0))\n",
        "default_hooks.more → profile_times should be greater than 0",
    ),
    "a storage": (
        "BASE\ndefault_hooks = dict(checkpoint=dict(type='CheckpointHook', out_dir='mm://x'))\n",
        "CheckpointHook.out_dir → There is no storage backend 'mm'",
    ),
    "a visualizer": (
        "BASE\nvisualizer = dict(\n    type='Visualizer',\n"
        "    vis_backends=[dict(type='LocalVisBackend', config_save_file='x.t')])\n",
        "visualizer → config_save_file should",
    ),
    "a sampler": (
        "BASE\ntrain_dataloader = dict(sampler=dict(type='Picky'))\n",
        "train_dataloader.sampler → only 7 will do",
    ),
    "an evaluator": (
        "BASE\nval_cfg = {}\nval_dataloader = dict(dataset=dict(type='Points'))\n"
        "val_evaluator = dict(type='DumpResults', out_file_path='x.txt')\n",
        "val_evaluator → The output file must be a pkl file",
    ),
    "a loop": (
        "BASE\ntrain_cfg = dict(_delete_=True, type='PickyLoop', max_epochs=1)\n",
        "train_cfg → only 7 will do",
    ),
    "a schedule": (
        "BASE\nparam_scheduler = [dict(type='ConstantLR'), dict(type='PickyLR')]\n",
        "param_scheduler.1 → only 7 will do",
    ),
    "statistics": (
        "BASE\nlog_processor = dict(custom_cfg=[dict(data_src='loss', methd_name='mean')])\n",
        "log_processor.custom_cfg.0={'data_src': 'loss', 'methd_name': 'mean'} → has no method_name",
    ),
}


@pytest.mark.parametrize(("text", "message"), FILES.values(), ids=FILES)
def test_a_file_that_is_no_config(text: str, message: str, said: Said) -> None:
    code, lines = said("fit", "c.py", c=text, inside="import nowhere_at_all\n")
    assert code == 2
    assert message in lines


def test_a_config_with_a_class_is_not_taken_for_a_module(said: Said) -> None:
    _, lines = said("fit", "c.py", c="class Net: ...\nlr = missing\n")
    assert "c.py:2: NameError: name 'missing' is not defined" in lines
    assert "as a module does" not in lines


DATA = {
    "annotations": ('{"images": [], "annotations": []}', "this file has images, annotations"),
    "a list": ("[1]", "A config must be a dict, not [1]"),
    "broken": ("{bad", "a.json:1: Expecting property name"),
}


@pytest.mark.parametrize("command", ["fit", "check", "explain"])
@pytest.mark.parametrize(("text", "message"), DATA.values(), ids=DATA)
def test_data_are_no_config(text: str, message: str, command: str, said: Said) -> None:
    Path("a.json").write_text(text)
    code, lines = said(command, "a.json")
    assert code == 2
    (line,) = lines.splitlines()
    assert message in line


def test_a_config_of_a_package_that_is_not_installed(said: Said) -> None:
    code, text = said("fit", "mmnowhere::resnet/resnet18.py")
    assert code == 2
    assert "The package 'mmnowhere' is not installed" in text


def test_checkpoints_of_any_hook_are_switched_off(said: Said) -> None:
    hooks = "custom_hooks = [dict(type='CheckpointHook', interval=1), dict(type='SyncBuffersHook')]"
    words = ["--trainer.enable_checkpointing", "false", "--work-dir", "w"]
    code, _ = said("fit", "c.py", *words, c=f"BASE\n{hooks}\n")
    assert code == 0
    assert list(Path("w").rglob("*.pth")) == []


TRAINS = {
    "without a sampler": "train_dataloader = dict(sampler=None)",
    "iterations alone": "train_cfg = dict(_delete_=True, max_iters=2)",
    "no hooks": "custom_hooks = {}",
    "no workers": "train_dataloader = dict(num_workers=0.0)",
}


@pytest.mark.parametrize("text", TRAINS.values(), ids=TRAINS)
def test_what_mmengine_trains_is_trained(text: str, said: Said) -> None:
    code, _ = said("fit", "c.py", "--work-dir", "w", c=f"BASE\n{text}\n")
    assert code == 0
    assert len(list(Path("w").glob("*.pth"))) == 1


def test_a_text_for_a_truth_value_is_told(said: Said) -> None:
    model = (
        "model = dict(type='Swapped', data_preprocessor=dict("
        "type='ImgDataPreprocessor', bgr_to_rgb='False'))\n"
        "train_dataloader = dict(dataset=dict(type='Pictures'))"
    )
    code, text = said("fit", "c.py", "--work-dir", "w", c=f"BASE\n{model}\n")
    assert code == 0
    assert "model.data_preprocessor.bgr_to_rgb = 'False': True or False is needed" in text


@pytest.mark.parametrize("collate", ["", ", collate_fn=dict(type='pseudo_collate')"])
def test_a_batch_that_nobody_has_stacked(collate: str, said: Said) -> None:
    loader = f"train_dataloader = dict(_delete_=True, batch_size=2, dataset=dict(type='Points'){collate})"
    code, text = said("fit", "c.py", "--work-dir", "w", c=f"BASE\n{loader}\n")
    assert code == 2
    assert (
        "train_dataloader.collate_fn is pseudo_collate (the default), which stacks nothing" in text
    )
    assert "→ collate_fn=dict(type='default_collate')" in text


def test_the_start_says_nothing_of_interfaces_that_nobody_used(said: Said) -> None:
    code, text = said("fit", "base.py", "--work-dir", "w")
    assert code == 0
    assert "will be deprecated" not in text
