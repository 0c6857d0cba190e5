"""Times and memory as ratios, in one run: ``python -m tests.benchmarks [SCENARIO …]``."""

from __future__ import annotations

import argparse
import logging
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch

from tests.benchmarks import data, detector, iterations, operators, parts, processes, two_processes
from tests.benchmarks.measure import Scenario, count_calls, table, take_turns

Maker = Callable[[str, bool], Scenario]

SCENARIOS: dict[str, Maker] = {
    **dict.fromkeys(iterations.TASKS, iterations.scenario),
    **dict.fromkeys(parts.SCENARIOS, parts.scenario),
    **dict.fromkeys(data.SCENARIOS, data.scenario),
    **dict.fromkeys([*operators.SCENARIOS, *operators.OTHERS], operators.scenario),
    **dict.fromkeys(detector.SCENARIOS, detector.scenario),
    **dict.fromkeys(processes.SCENARIOS, processes.scenario),
    **dict.fromkeys(two_processes.SCENARIOS, two_processes.scenario),
}
"""Name → what makes its table."""


def lacking(name: str) -> str:
    """Return what a scenario needs and is not there, or nothing."""
    if name in iterations.TASKS and iterations.TASKS[name][1].device == "cuda":
        return "" if torch.cuda.is_available() else "CUDA"
    return (
        "MMDetection and MMCV" if name in detector.SCENARIOS and not detector.is_installed() else ""
    )


def machine() -> str:
    """Name what was measured on."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    cores, load = os.cpu_count(), os.getloadavg()[0]
    day = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
    return (
        f"{day} UTC · {cores} cores, {device} · {torch.get_num_threads()} thread(s) · load {load:.1f} · "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "scenarios",
        nargs="*",
        metavar="SCENARIO",
        help=f"which to run, of {', '.join(SCENARIOS)}; all that this machine can, if none is named",
    )
    parser.add_argument("--rounds", type=int, help="turns that count (10; whole processes 5)")
    parser.add_argument(
        "--quick", action="store_true", help="two short rounds, to see that it runs"
    )
    parser.add_argument("--threads", type=int, default=1, help="torch's threads (1)")
    parser.add_argument("--out", type=Path, help="also write the tables to this file")
    options = parser.parse_args()
    unknown = [name for name in options.scenarios if name not in SCENARIOS]
    if unknown:
        parser.error(f"no scenario {unknown} → one of {', '.join(SCENARIOS)}")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    torch.set_num_threads(options.threads)

    def tell(text: str) -> None:
        print(text, flush=True)
        if options.out:  # at once: what a run that is stopped has measured is kept
            with options.out.open("a") as file:
                print(text, file=file)

    tell(machine() + "\n")
    for name in options.scenarios or SCENARIOS:
        if lacking(name):
            tell(f"{name}: needs {lacking(name)}, left out\n")
            continue
        scenario = SCENARIOS[name](name, options.quick)
        rounds = options.rounds or (2 if options.quick else scenario.rounds)
        samples = take_turns(scenario, rounds)
        tell(table(scenario, samples, count_calls(scenario)))
    tell(machine())


if __name__ == "__main__":
    main()
