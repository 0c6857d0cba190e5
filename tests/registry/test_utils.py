from __future__ import annotations

import json

from mm2pl.registry import (
    DefaultScope,
    Registry,
    count_registered_modules,
    init_default_scope,
    traverse_registry_tree,
)


def test_traverse_lists_the_whole_tree(capsys) -> None:
    root = Registry("dogs", scope="dog")
    child = Registry("dogs", parent=root, scope="hound")
    child.register_module(module=Registry)
    expected = [
        {"num_modules": 0, "scope": "dog"},
        {"num_modules": 1, "scope": "hound", "mm2pl/registry": ["Registry"]},
    ]
    assert traverse_registry_tree(child, verbose=False) == expected
    assert capsys.readouterr().out == ""
    assert traverse_registry_tree(root) == expected
    assert "Find 1 modules in hound's 'dogs' registry" in capsys.readouterr().out


def test_count_registered_modules(tmp_path) -> None:
    counted = count_registered_modules(str(tmp_path), verbose=False)
    assert "DistSamplerSeedHook" in str(counted["registries"]["HOOKS"][0])
    assert json.loads((tmp_path / "modules_statistic_results.json").read_text()) == counted


def test_init_default_scope(capsys) -> None:
    for scope in ("mmdet", "mmseg", "mmseg", "mmdet"):
        init_default_scope(scope)
        assert DefaultScope.get_current_instance().scope_name == scope
    warning = 'The current default scope "mmseg" is not "mmdet"'
    assert capsys.readouterr().out.count(warning) == 1
