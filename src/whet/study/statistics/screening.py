"""Who is left out of the scores, by rules fixed before anybody looks at the result.

In this order, each on those who are left: unfinished, hasty, inattentive, ITU-R
BT.500 (kurtosis), ITU-T P.913 (correlation); for pairs, agreement in place of the
last two. The report names the rule for everyone.

Screening must not choose the result. A rule that keeps whoever agrees with the
majority makes every majority larger, so agreement leaves out only those whom
guessing explains and the panel does not, and nobody about whom little is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from whet.study.design import Rating
from whet.study.plan import RUINED, Plan

__all__ = [
    "agreement",
    "bt500",
    "correlations",
    "gold_failures",
    "hasty",
    "inattentive",
    "p913",
    "repeat_distance",
    "unfinished",
]

Floats = NDArray[np.float64]

LEAST_SHARE = 0.5
"""Share of their trials that a participant must have answered. Ours."""
GOLD_ALLOWED = 0.25
"""Share of gold items that may go wrong: one slip in four. Ours."""
REPEAT_LIMIT = 2.0
"""Mean distance, in points of a scale of 5, at which repeats count as guesses. Ours: pairs of
random answers lie 1.6 apart on average, those of an attentive rater about 0.7."""
REPEATS_NEEDED = 4
"""Fewer repeats say too little about anybody. Ours."""
BT500_SHARE, BT500_BALANCE = 0.05, 0.3
"""ITU-R BT.500-14, Part 1 Annex 1, 2.3.1."""
R_PICTURES, R_METHODS = 0.75, 0.8
"""Thresholds of r1 and r2: ITU-T P.913, post-experiment screening by Pearson correlation,
in the form of VQEG's multimedia test plan, Annex VI: out if below both."""
TOO_FAST_MS = 750
"""A page takes no answer in its first 500 ms, and pressing a key at a light takes another 250
(simple reaction time): who is faster pressed without deciding anything. Ours."""
HASTY_SHARE = 0.5
"""Share of answers that may be that fast. Ours."""
CLEAR_MAJORITY = 0.6
"""Share of the others from which on their preference counts as one. Ours."""
MAJORITIES_NEEDED = 10
"""Fewer say too little about anybody: five right of five are no proof of anything. Ours."""
WORSE_LEVEL, GUESS_LEVEL = 0.001, 0.05
"""A chooser is left out whose agreement would be this rare in the panel (one in a thousand
attentive people is lost), and is not rare at this level, to either side, for coins. Ours."""


def unfinished(plan: Plan, by_rater: Mapping[int, Sequence[Rating]]) -> dict[int, str]:
    """Return those who answered less than half of the trials that count."""
    pairs = len(plan.conditions) * (len(plan.conditions) - 1) // 2
    total = plan.scenes_each * (pairs if plan.paired else len(plan.conditions))
    found = {}
    for rater, ratings in by_rater.items():
        count = sum(rating.kind == "test" for rating in ratings)
        if count < LEAST_SHARE * total:
            found[rater] = f"unfinished: {count} of {total} trials"
    return found


def gold_failures(plan: Plan, ratings: Sequence[Rating]) -> tuple[int, int]:
    """Return how many gold items went wrong, and how many there were.

    Wrong: the ruined picture at the middle of the scale or above, the sharp one below
    the middle, or the ruined one preferred.
    """
    gold = [rating for rating in ratings if rating.kind == "gold"]
    middle = (len(plan.scale) + 1) / 2

    def wrong(rating: Rating) -> bool:
        if plan.paired:
            return (rating.candidate, rating.versus)[rating.answer - 1] == RUINED
        return rating.answer >= middle if rating.candidate == RUINED else rating.answer < middle

    return sum(map(wrong, gold)), len(gold)


def repeat_distance(ratings: Sequence[Rating]) -> tuple[float, int]:
    """Return the mean distance between first and second answer, and the number of repeats."""
    first = {(r.scene, r.candidate, r.versus): r.answer for r in ratings if r.kind == "test"}
    distances = [
        abs(r.answer - first[key])
        for r in ratings
        if r.kind == "repeat" and (key := (r.scene, r.candidate, r.versus)) in first
    ]
    return (float(np.mean(distances)) if distances else 0.0), len(distances)


def hasty(by_rater: Mapping[int, Sequence[Rating]]) -> dict[int, str]:
    """Return those who answered most trials faster than anybody can look and decide.

    Times of 0 ms say that nobody measured.
    """
    found = {}
    for rater, ratings in by_rater.items():
        times = [r.elapsed_ms for r in ratings if r.kind == "test" and r.elapsed_ms]
        fast = sum(elapsed_ms < TOO_FAST_MS for elapsed_ms in times)
        if fast > HASTY_SHARE * len(times):
            found[rater] = f"haste: {fast} of {len(times)} answers within {TOO_FAST_MS} ms"
    return found


def inattentive(plan: Plan, by_rater: Mapping[int, Sequence[Rating]]) -> dict[int, str]:
    """Return those who fail the attention checks."""
    found = {}
    for rater, ratings in by_rater.items():
        wrong, count = gold_failures(plan, ratings)
        distance, repeats = repeat_distance(ratings)
        if wrong > GOLD_ALLOWED * count:
            found[rater] = f"attention: {wrong} of {count} gold items wrong"
        elif not plan.paired and repeats >= REPEATS_NEEDED and distance >= REPEAT_LIMIT:
            found[rater] = f"attention: repeats {distance:.1f} points apart"
    return found


def bt500(scores: Floats) -> list[int]:
    """Return rows to reject by the kurtosis test of ITU-R BT.500-14, Part 1 Annex 1, 2.3.1.

    Per item, mean, standard deviation S (N-1) and kurtosis ``m4 / m2^2``. A rating is
    out of range beyond 2 S where the kurtosis lies in [2, 4], else beyond sqrt(20) S. With P
    ratings of somebody above and Q below: rejected if ``(P+Q)/items > 0.05`` and
    ``|P-Q|/(P+Q) < 0.3``, that is if they are off often, and to both sides.

    Args:
        scores: (raters, items), NaN where missing.
    """
    deviation = scores - np.nanmean(scores, axis=0)
    m2, m4 = np.nanmean(deviation**2, axis=0), np.nanmean(deviation**4, axis=0)
    count = (~np.isnan(scores)).sum(axis=0)
    spread = np.sqrt(m2 * count / np.maximum(count - 1, 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        kurtosis = m4 / m2**2
    limit = spread * np.where((kurtosis >= 2) & (kurtosis <= 4), 2, np.sqrt(20))
    usable = m2 > 0
    above = ((deviation >= limit) & usable).sum(axis=1)
    below = ((deviation <= -limit) & usable).sum(axis=1)
    off, seen = above + below, (~np.isnan(scores)).sum(axis=1)
    often = off > BT500_SHARE * seen
    balance = np.abs(above - below) / np.maximum(off, 1)
    return [int(row) for row in np.flatnonzero(often & (balance < BT500_BALANCE))]


def correlations(scores: Floats) -> tuple[Floats, Floats]:
    """Return each rater's Pearson correlation with the panel: r1 by picture, r2 by condition.

    Args:
        scores: (raters, scenes, conditions), NaN where missing.

    Returns:
        Two (raters,) arrays in [-1, 1]; 0 for whoever gives the same answer always.
    """
    raters = scores.shape[0]
    r1, r2 = np.zeros(raters), np.zeros(raters)
    panel = np.nanmean(scores, axis=0)
    for i, own in enumerate(scores):
        seen = ~np.isnan(own)
        r1[i] = _pearson(own[seen], panel[seen])
        mask = np.where(seen, 1.0, np.nan)
        complete = seen.any(axis=0)
        mine, theirs = own[:, complete], (panel * mask)[:, complete]
        r2[i] = _pearson(np.nanmean(mine, axis=0), np.nanmean(theirs, axis=0))
    return r1, r2


def p913(scores: Floats) -> list[int]:
    """Return rows to reject because they do not follow the panel, the worst first.

    Out is whoever has r1 < 0.75 and r2 < 0.8 (see :func:`correlations`). The worst is
    removed, the panel's means are computed again, and so on: one careless rater
    makes others look bad. At least two stay.
    """
    left = list(range(scores.shape[0]))
    rejected: list[int] = []
    while len(left) > 2:
        r1, r2 = correlations(scores[left])
        worst = int(np.argmin(np.where((r1 < R_PICTURES) & (r2 < R_METHODS), r1, np.inf)))
        if r1[worst] >= R_PICTURES or r2[worst] >= R_METHODS:
            break
        rejected.append(left.pop(worst))
    return rejected


def agreement(choices: Mapping[int, Mapping[tuple[str, str, str], int]]) -> dict[int, str]:
    """Return choosers who agree with majorities significantly less than the panel, as coins would.

    A majority is what at least :data:`CLEAR_MAJORITY` of the *others* prefer. Left out is
    who agrees with significantly fewer than the others do, measured by how far the better
    half of the panel spreads, and with no more and no fewer than chance: who disagrees
    consistently looks, and has another taste. The worst goes first and the majorities are
    counted anew. At least two stay.

    Args:
        choices: rater -> (scene, first, second) -> 1 or 0, whether first was preferred;
            names sorted, so that all raters use one key for a pair.
    """
    raters = list(choices)
    keys = sorted({key for own in choices.values() for key in own})
    votes = np.array([[own.get(key, np.nan) for key in keys] for own in choices.values()])
    left = np.ones(len(raters), dtype=np.bool_)
    found: dict[int, str] = {}
    while left.sum() > 2:
        agreed, asked = _with_majorities(np.where(left[:, None], votes, np.nan))
        worst = _like_a_coin(agreed, asked)
        if worst is None:
            break
        left[worst] = False
        found[raters[worst]] = (
            f"agreement: with {agreed[worst]} of {asked[worst]} majorities, as by chance"
        )
    return found


def _with_majorities(votes: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return with how many majorities of the others each rater agrees, and how many there were.

    Args:
        votes: (raters, pairs) of 0 and 1, NaN where missing.
    """
    seen = ~np.isnan(votes)
    first = np.where(seen, votes, 0.0)
    others = seen.sum(axis=0) - seen
    share = (first.sum(axis=0) - first) / np.maximum(others, 1)
    clear = seen & (others > 0) & (np.maximum(share, 1 - share) >= CLEAR_MAJORITY)
    agreed = clear & ((first == 1) == (share > 0.5))
    return agreed.sum(axis=1), clear.sum(axis=1)


def _like_a_coin(agreed: NDArray[np.int64], asked: NDArray[np.int64]) -> int | None:
    """Return the row whom guessing explains and the panel does not, the worst of several."""
    known = asked >= MAJORITIES_NEEDED
    if known.sum() < 3:
        return None
    rate = (agreed[known].sum() - agreed) / np.maximum(asked[known].sum() - asked, 1)
    expected, variance = asked * rate, asked * rate * (1 - rate)
    deviation = (agreed - expected) / np.sqrt(np.maximum(variance, 1e-9))
    # Careless raters widen the lower half; 1.4826 makes a median deviation a standard one.
    above = deviation[known] - np.median(deviation[known])
    spread = max(1.0, 1.4826 * float(np.median(above[above >= 0])))
    # A binomial distribution as wide as the panel: of fewer answers, but as many right.
    tail = special.betainc(
        np.maximum((asked - agreed) / spread**2, 1e-9), agreed / spread**2 + 1, 1 - rate
    )
    guessed = np.minimum(special.bdtrc(agreed - 1, asked, 0.5), special.bdtr(agreed, asked, 0.5))
    suspects = known & (tail < WORSE_LEVEL) & (guessed > GUESS_LEVEL)
    return int(np.argmin(np.where(suspects, tail, np.inf))) if suspects.any() else None


def _pearson(a: Floats, b: Floats) -> float:
    if a.size < 2 or a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
