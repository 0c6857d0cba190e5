"""What the tests of MMEngine-style projects compare with, and a small run to try hooks on (``mmengine.testing``)."""

from mm2pl.testing.compare import assert_allclose as assert_allclose
from mm2pl.testing.compare import assert_attrs_equal as assert_attrs_equal
from mm2pl.testing.compare import assert_dict_contains_subset as assert_dict_contains_subset
from mm2pl.testing.compare import assert_dict_has_keys as assert_dict_has_keys
from mm2pl.testing.compare import assert_is_norm_layer as assert_is_norm_layer
from mm2pl.testing.compare import assert_keys_equal as assert_keys_equal
from mm2pl.testing.compare import assert_params_all_zeros as assert_params_all_zeros
from mm2pl.testing.compare import check_python_script as check_python_script
from mm2pl.testing.runner_test_case import RunnerTestCase as RunnerTestCase
