"""Every name that a module of MMEngine's holds is served under the alias, or listed here with the reason."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mm2pl.compat.names import REEXPORTED, ours, reexported
from mm2pl.config import Config
from mm2pl.registry import LOOPS
from tests.compat import list_names

TABLE = {
    module: names.split()
    for module, names in (
        line.split("\t")
        for line in (Path(__file__).parent / "mmengine_names.tsv").read_text().splitlines()
    )
}

_NOT_SERVED = """
# MMEngine's strategies build and drive the model, which is the Trainer's here: only the classes are served.
_strategy: *
_strategy.base: *
_strategy.colossalai: *
_strategy.deepspeed: *
_strategy.distributed: *
_strategy.fsdp: *
_strategy.single_device: *
_strategy.utils: *
# Steps of MMEngine's way to trace and print; the functions around them are served.
analysis.jit_analysis: _get_scoped_trace_graph _named_modules_with_dup _named_modules_without_dup
analysis.print_helper: _fastforward _fill_missing_statistics _get_input_sizes _get_single_child
    _group_by_module _indicate_uncalled_modules _model_stats_str _pretty_statistics
    _remove_zero_statistics _stats_table_format _try_combine
# How MMEngine reads a config's text; our reader has other steps.
config.config: ImportTransformer RemoveAssignFromAST _gather_abs_import_lazyobj
    _get_external_cfg_base_path _get_external_cfg_path _get_package_and_cfg_path _is_builtin_module
    _lazy2string
config.utils: ImportTransformer PYTHON_ROOT_DIR RemoveAssignFromAST SYSTEM_PYTHON_PREFIX
    _gather_abs_import_lazyobj _get_cfg_metainfo _get_external_cfg_base_path _get_external_cfg_path
    _get_package_and_cfg_path _is_builtin_module
hub.hub: _get_cfg_metainfo _get_external_cfg_base_path _get_package_and_cfg_path
# Lightning chooses the device.
device.utils: DEVICE IS_DIPU_AVAILABLE IS_MLU_AVAILABLE IS_MUSA_AVAILABLE IS_NPU_AVAILABLE
# Steps of collectives for torch < 1.8 or without a group, and of starting a group.
dist.dist: _all_gather_object _all_reduce_coalesced _broadcast_object_list _collect_results_device
    _gather_object _object_to_tensor _tensor_to_object _validate_output_list_for_rank
dist.utils: _init_dist_mpi _init_dist_pytorch _init_dist_slurm
# Steps of what is served.
fileio.backends.registry_utils: _register_backend
fileio.handlers.registry_utils: _register_handler
fileio.io: _get_file_backend
model.weight_init: _get_bases_name _no_grad_trunc_normal_
runner.activation_checkpointing: wrap_forward
utils.misc: _check_executable _check_py_package _ntuple
utils.dl_utils.collect_env: _get_cuda_home _get_musa_home
utils.dl_utils.parrots_wrapper: _get_conv _get_cuda_home _get_dataloader _get_extension _get_norm
    _get_pool
utils.dl_utils.torch_ops: _torch_version_meshgrid_indexing
utils.progressbar_rich: _SkipFirstTimeRemainingColumn _Worker _tasks_with_index
utils.timer: _g_timers
utils.version_utils: _minimal_ext_cmd
testing.compare: _any
# Locks of MMEngine's singletons and handlers; ours have their own.
logging.logger: _accquire_lock _get_logging_file_handlers _release_lock
registry.default_scope: _accquire_lock _release_lock
utils.manager: _accquire_lock _release_lock
# MMEngine fills its registry at import; ours looks optimizers up when they are asked for.
optim.optimizer.builder: NPU_OPTIMIZERS SOPHIA_OPTIMIZERS register_bitsandbytes_optimizers
    register_dadaptation_optimizers register_lion_optimizers register_sophia_optimizers
    register_torch_npu_optimizers register_torch_optimizers register_transformers_optimizers
# The home of downloads is a step of `mm2pl.checkpoint.download`.
runner.checkpoint: DEFAULT_CACHE_DIR ENV_MMENGINE_HOME ENV_XDG_CACHE_HOME _IncompatibleKeys
    _get_mmengine_home _process_mmcls_checkpoint _save_to_state_dict
# torch's own class, which needs the package expecttest, and MMEngine's copy of its parts.
testing._internal: MultiProcessTestCase
testing._internal.distributed: MultiProcessTestCase TEST_SKIPS TestSkip
# It wraps a visualizer for tests of MMEngine's own.
utils.dl_utils.visualize: *
"""


def _read(table: str) -> dict[str, list[str]]:
    lines = [line for line in table.splitlines() if not line.startswith("#")]
    read: dict[str, list[str]] = {}
    for word in " ".join(lines).split():
        if word.endswith(":"):
            names = read.setdefault(f"mmengine.{word[:-1]}", [])
        else:
            names.append(word)
    return read


NOT_SERVED = _read(_NOT_SERVED)
"""Module of MMEngine's → its names that are not served; ``*`` where some or all are not."""

SERVED = """
import importlib, json, sys
from mm2pl.compat import alias_mmengine
alias_mmengine(force=True)
missing = {}
for module, names in json.load(sys.stdin).items():
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError:
        missing[module] = names
        continue
    for name in names:
        try:
            getattr(found, name)
        except (AttributeError, ImportError):
            missing.setdefault(module, []).append(name)
print(json.dumps(missing))
"""


def python(code: str, stdin: str = "") -> str:
    """Run code in a new process; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_name_is_served_or_has_a_reason():
    missing = json.loads(python(SERVED, json.dumps(TABLE)))
    assert missing.keys() == NOT_SERVED.keys()
    for module, names in missing.items():
        assert NOT_SERVED[module] in (["*"], names), module


@pytest.mark.parity
def test_the_table_is_of_the_release():
    pytest.importorskip("mmengine")
    assert list_names.names() == TABLE


def test_reexported_names_exist_in_mmengine_and_are_not_ours_by_themselves():
    wrong = [
        (module, name)
        for module, names in REEXPORTED.items()
        for name in names
        if name not in TABLE.get(f"mmengine.{module}", [])
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("mmengine.runner.runner.ValLoop", "mm2pl.runner.ValLoop"),
        ("mmengine.runner.runner.Runner.from_cfg", "mm2pl.runner.runner.Runner.from_cfg"),
        ("mmengine.runner.runner.ConfigType", "typing.Any"),
        (
            "mmengine.runner._flexible_runner.FlexibleRunner",
            "mm2pl.runner.flexible_runner.FlexibleRunner",
        ),
        ("mmengine._strategy.fsdp.FSDPStrategy", "mm2pl._strategy.FSDPStrategy"),
        ("mmengine", "mm2pl"),
    ],
)
def test_paths(path, expected):
    assert ours(path) == expected


@pytest.mark.parametrize("module", ["somebody.runner.runner", "mmengine.runner.priority"])
def test_only_mmengines_modules_reexport(module):
    with pytest.raises(AttributeError, match=f"{module.replace('mmengine', 'mm2pl')}' has no attr"):
        reexported(module, "ValLoop")


def test_a_type_may_name_a_module_that_only_imports_it():
    assert LOOPS.get("mmengine.runner.runner.ValLoop") is LOOPS.get("ValLoop")


def test_a_pure_python_config_may_import_it_from_there(tmp_path):
    file = tmp_path / "config.py"
    file.write_text(
        "from mmengine.runner._flexible_runner import TestLoop\n"
        "from mmengine.runner.runner import ValLoop\n"
        "val_cfg = dict(type=ValLoop)\ntest_cfg = dict(type=TestLoop)\n"
    )
    config = Config.fromfile(str(file))
    assert config.val_cfg.type is LOOPS.get("ValLoop")
    assert config.test_cfg.type is LOOPS.get("TestLoop")


def test_an_alias_takes_its_answers_back():
    code = """
import mm2pl.runner.runner as module, mm2pl.optim.optimizer.builder as builder
from mm2pl.compat import alias_mmengine
before = dict(vars(module)), dict(vars(builder))
with alias_mmengine(force=True):
    from mmengine.runner.runner import Hook, _get_batch_size
    from mmengine.optim.optimizer.builder import Config, build_optim_wrapper
    print(Hook.__module__, _get_batch_size({"batch_size": 3}))
print(before == (vars(module), vars(builder)), hasattr(module, "Hook"))
"""
    assert python(code).split() == ["mm2pl.hooks.hook", "3", "True", "False"]
