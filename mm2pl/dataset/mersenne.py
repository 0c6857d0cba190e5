"""Jump far ahead in the stream of torch's CPU generator, a Mersenne Twister.

Its words obey a linear recurrence over GF(2) of degree 19937, with a characteristic polynomial
``phi`` that its authors give in closed form (Matsumoto and Nishimura, 1998, appendix). So word
``n + i`` is the sum of the words ``k + i`` over the terms ``t^k`` of ``t^n mod phi``, which takes
``log2 n`` squarings. Polynomials are Python ints: bit ``k`` is the coefficient of ``t^k``.
"""

from __future__ import annotations

import functools

import numpy as np
import torch

N, M = 624, 397
DEGREE = 19937
MATRIX = 0x9908B0DF
WORDS_AT = 24
"""Where the state's words begin in `torch.Generator.get_state`, eight bytes for each."""
LEFT_AT = 8
"""Where the state says how many of its words are left, plus one."""

WORTH_A_JUMP = 2_000_000
"""Drawing so many words takes about as long as a jump."""


@functools.cache
def _folding() -> tuple[int, ...]:
    """Return the exponents of ``phi - t^19937``."""
    inner = [1]
    for _ in range(31):
        inner.append((inner[-1] << N - 1) ^ (inner[-1] << M - 1))
    phi = MATRIX >> 31
    for power, factor in enumerate(inner):
        if power == 31 or MATRIX >> 30 - power & 1:
            phi ^= (factor << N) ^ (factor << M)
    return tuple(k for k in range(DEGREE) if phi >> k & 1)


def _reduced(polynomial: int) -> int:
    while high := polynomial >> DEGREE:
        polynomial ^= high << DEGREE
        for exponent in _folding():
            polynomial ^= high << exponent
    return polynomial


def _power_of_t(exponent: int) -> int:
    """Return ``t^exponent mod phi``."""
    result = 1
    for bit in f"{exponent:b}":
        squared = int(f"{result:b}".replace("0", "00").replace("1", "01"), 2)
        result = _reduced(squared << (bit == "1"))
    return result


def _words_from(state: np.ndarray) -> np.ndarray:
    """Continue the ``N`` words of a state to ``N + DEGREE`` words."""
    words = np.empty(N * (DEGREE // N + 2), np.uint32)
    words[:N] = state
    for start in range(N, len(words), N - M):  # as many at once as depend on known words only
        stop = min(start + N - M, len(words))
        upper, lower = words[start - N : stop - N], words[start - N + 1 : stop - N + 1]
        mixed = (upper & np.uint32(1 << 31)) | (lower & np.uint32((1 << 31) - 1))
        twist = (mixed >> 1) ^ np.where(lower & 1, np.uint32(MATRIX), np.uint32(0))
        words[start:stop] = words[start - N + M : stop - N + M] ^ twist
    return words[: N + DEGREE]


def after_permutations(seed: int, length: int, count: int) -> torch.Generator:
    """Return a generator seeded with ``seed`` that has drawn ``count`` permutations of ``length``.

    The time does not grow with ``count``.
    """
    generator = torch.Generator().manual_seed(seed)
    if count * length > WORTH_A_JUMP and _draws_of_a_permutation(length) == length - 1:
        jump(generator, count * (length - 1))
        return generator
    for _ in range(count):
        torch.randperm(length, generator=generator)
    return generator


@functools.cache
def _draws_of_a_permutation(length: int) -> int | None:
    """Return ``length - 1`` if this torch draws so many words for a permutation, else None."""
    drawn, jumped = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    torch.randperm(length, generator=drawn)
    jump(jumped, length - 1)
    ahead = [torch.randint(2**31, (N,), generator=g) for g in (drawn, jumped)]
    return length - 1 if torch.equal(*ahead) else None


def jump(generator: torch.Generator, draws: int) -> None:
    """Let a CPU generator fresh from ``manual_seed`` go on as if ``draws`` words had been drawn."""
    state = generator.get_state().numpy().copy()
    stored = state[WORDS_AT : WORDS_AT + 8 * N].view(np.uint64)
    words = _words_from(stored.astype(np.uint32))
    terms = np.flatnonzero([bit == "1" for bit in reversed(f"{_power_of_t(draws):b}")])
    stored[:] = np.bitwise_xor.reduce(np.lib.stride_tricks.sliding_window_view(words, N)[terms])
    state[LEFT_AT : LEFT_AT + 4].view(np.int32)[:] = 1
    generator.set_state(torch.from_numpy(state))
