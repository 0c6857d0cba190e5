"""Take turns, and compare within each round: a machine whose speed drifts slows all rows alike.

One more turn counts the Python functions that are called, which no machine's noise changes.
"""

from __future__ import annotations

import contextlib
import cProfile
import gc
import math
import os
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

Run = Callable[[], "Sample"]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What one turn took: seconds on the wall, seconds of CPU in all threads, MB at the peak, calls of functions.

    What was not measured is NaN.
    """

    wall: float
    cpu: float
    memory: float = math.nan
    calls: float = math.nan


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One table.

    Args:
        title: What is measured.
        unit: Of the times, such as ``µs/iteration``.
        scale: What seconds are multiplied by to be in that unit.
        rows: Name → what measures it once.
        ours: The row whose time is divided by the others'.
        rounds: Turns that count; one more goes before them.
        iterations: Of one turn, for the calls per iteration; 0: calls are not counted.
    """

    title: str
    unit: str
    scale: float
    rows: dict[str, Run]
    ours: str = "mm2pl"
    rounds: int = 10
    iterations: int = 0


@dataclass
class Stopwatch:
    """Measure from :meth:`start` to :meth:`stop`, which hooks and callbacks of a run call."""

    counting: ClassVar[bool] = False
    """Count calls instead, Python's and those of built-in functions; profiling makes the times useless."""

    device: str = "cpu"
    _profile: cProfile.Profile = field(default_factory=cProfile.Profile)
    _began: tuple[float, float] = (0.0, 0.0)
    sample: Sample = field(default_factory=lambda: Sample(wall=math.nan, cpu=math.nan))

    def start(self) -> None:
        """Begin, with an idle device."""
        if self.device == "cuda":
            import torch

            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        if self.counting:
            self._profile.enable()
        self._began = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        """End, when the device has done all its work."""
        self._profile.disable()
        memory = math.nan
        if self.device == "cuda":
            import torch

            torch.cuda.synchronize()
            memory = torch.cuda.max_memory_allocated() / 1e6
        wall, cpu = time.perf_counter() - self._began[0], time.process_time() - self._began[1]
        calls = math.nan
        if self.counting:
            calls = sum(entry.callcount for entry in self._profile.getstats())
        self.sample = Sample(wall=wall, cpu=cpu, memory=memory, calls=calls)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Throw away what a run prints and warns of; its log files are written as ever."""
    with (
        open(os.devnull, "w") as nowhere,
        warnings.catch_warnings(),
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        warnings.simplefilter("ignore")
        yield


def take_turns(scenario: Scenario, rounds: int) -> dict[str, list[Sample]]:
    """Return each row's samples. The order is turned round every time; the first round warms up."""
    samples: dict[str, list[Sample]] = {name: [] for name in scenario.rows}
    for number in range(rounds + 1):
        names = list(scenario.rows)
        for name in names if number % 2 else reversed(names):
            gc.collect()
            with quiet():
                sample = scenario.rows[name]()
            if number:
                samples[name].append(sample)
    return samples


def count_calls(scenario: Scenario) -> dict[str, float]:
    """Return each row's calls per iteration, in one turn."""
    if not scenario.iterations:
        return {}
    Stopwatch.counting = True
    try:
        with quiet():
            return {name: run().calls / scenario.iterations for name, run in scenario.rows.items()}
    finally:
        Stopwatch.counting = False


def table(scenario: Scenario, samples: dict[str, list[Sample]], calls: dict[str, float]) -> str:
    """Return the rows as Markdown: medians of times; medians of each round's ratio of ours to the row's; calls."""
    ours = samples[scenario.ours]
    width = max(map(len, samples))
    lines = [
        f"### {scenario.title}",
        "",
        f"| {scenario.unit:<{width}} | wall | CPU | min–max wall | peak MB | mm2pl ÷ it: wall | CPU | calls |",
        f"| {'-' * width} | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for name, own in samples.items():
        wall, cpu, memory = (
            [getattr(sample, key) for sample in own] for key in ("wall", "cpu", "memory")
        )
        peak = statistics.median(memory)
        cells: list[Any] = [
            f"{name:<{width}}",
            digits(scenario.scale * statistics.median(wall)),
            digits(scenario.scale * statistics.median(cpu)),
            f"{digits(scenario.scale * min(wall))}–{digits(scenario.scale * max(wall))}",
            "" if math.isnan(peak) else f"{peak:.0f}",
            f"{median_ratio([sample.wall for sample in ours], wall):.3f}",
            spread([sample.cpu for sample in ours], cpu),
            f"{calls[name]:.0f}" if name in calls else "",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def median_ratio(ours: list[float], theirs: list[float]) -> float:
    """Return the median of the ratios of each round, whose turns were close together in time.

    >>> median_ratio([1.0, 2.0, 4.0], [2.0, 4.0, 4.0])
    0.5
    """
    ratios = [mine / other if other else math.nan for mine, other in zip(ours, theirs, strict=True)]
    return statistics.median(ratios)


def spread(ours: list[float], theirs: list[float]) -> str:
    """Return the median of the ratios of each round, and the smallest and largest.

    >>> spread([1.0, 2.0, 4.0], [2.0, 4.0, 4.0])
    '0.500 (0.50–1.00)'
    """
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True) if other]
    around = f" ({min(ratios):.2f}–{max(ratios):.2f})" if ratios else ""
    return f"{median_ratio(ours, theirs):.3f}{around}"


def digits(value: float) -> str:
    """Return a number with at least three significant digits.

    >>> digits(1234.5), digits(12.345), digits(0.0123456)
    ('1234', '12.3', '0.0123')
    """
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
