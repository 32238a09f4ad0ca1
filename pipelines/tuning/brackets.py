"""Hyperband's brackets for a number of trials."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Bracket:
    """Rounds of successive halving: how many trials each has, and after how many epochs in all they end."""

    sizes: tuple[int, ...]
    epochs: tuple[int, ...]


def make_brackets(trials: int, epochs: int, factor: int = 3) -> list[Bracket]:
    """Brackets of exactly so many trials together, promotions included, the most frugal one first.

    They are those of Hyperband (Li et al. 2018, algorithm 1) for `epochs` epochs at most and rounds of which one in
    `factor` goes on; each has the share of the trials that it has there. With too few trials for that, the
    most frugal brackets, and at last all promotions, are left out.
    """
    most = int(math.log(epochs, factor) + 1e-9)
    shares = {s: _total(math.ceil((most + 1) / (s + 1) * factor**s), s, factor) for s in range(most + 1)}
    brackets, left = [], trials
    for s in range(most, -1, -1):
        share = left if s == 0 else min(left, round(trials * shares[s] / sum(shares.values())))
        first = max((n for n in range(1, share + 1) if _total(n, s, factor) <= share), default=0)
        # A round from which all go on decides nothing.
        if first > (1 if s else 0):
            brackets.append((s, _sizes(first, s, factor)))
            left -= sum(brackets[-1][1])
    if not brackets:
        return [Bracket((trials,), (epochs,))]
    brackets[0][1][0] += left
    return [Bracket(tuple(n), tuple(math.ceil(epochs / factor ** (s - i)) for i in range(s + 1))) for s, n in brackets]


def _sizes(first: int, promotions: int, factor: int) -> list[int]:
    return [math.ceil(first / factor**i) for i in range(promotions + 1)]


def _total(first: int, promotions: int, factor: int) -> int:
    return sum(_sizes(first, promotions, factor))
