from __future__ import annotations

import pytest

from mm2pl.plan.explain import problems
from mm2pl.plan.resume import Resume, resume_of
from mm2pl.plan.translate import translate


@pytest.mark.parametrize(
    ("value", "wanted", "required"),
    [(None, 0, 0), (False, 0, 0), (0, 0, 0), (True, 1, 0), (1, 1, 0), ("must", 1, 1)],
    ids=repr,
)
def test_what_it_means(value, wanted, required):
    assert resume_of(value) == Resume(wanted=bool(wanted), required=bool(required))


@pytest.mark.parametrize("value", ["work_dirs/a/epoch_1.pth", "True", "", 2, 0.5, ["must"], {}])
def test_anything_else_is_refused_before_a_run(value):
    with pytest.raises(ValueError, match=r"resume=.* → True, False or 'must'.*load_from=PATH"):
        translate({"model": {}, "resume": value})


def test_must_is_known():
    assert translate({"model": {}, "resume": "must"}).run["resume"] == "must"
    assert problems({"resume": "must"}) == []
