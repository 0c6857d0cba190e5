from __future__ import annotations

import numpy as np
import pytest
import torch

from mm2pl.utils.numbers import number_of


@pytest.mark.parametrize(
    "value", [0.5, 1, True, None, float("nan"), np.float32(1), torch.tensor(1.0), np.array(2.0)]
)
def test_a_number_stays_as_it_is(value):
    assert number_of("acc", value) is value
