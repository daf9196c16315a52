"""Who is left out of the scores, by rules fixed before anybody looks at the result.

In this order, each on those who are left: unfinished, inattentive, ITU-R BT.500
(kurtosis), ITU-T P.913 (correlation); for pairs, agreement in place of the last
two. The report names the rule for everyone.
"""

from __future__ import annotations

from collections import defaultdict
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
CLEAR_MAJORITY = 0.75
CHANCE_LEVEL = 0.05
"""A chooser must agree with clear majorities more often than chance would at this level. Ours."""


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
    """Return choosers who agree with clear majorities of the others no more than chance would.

    Args:
        choices: rater -> (scene, first, second) -> 1 or 0, whether first was preferred;
            names sorted, so that all raters use one key for a pair.
    """
    found = {}
    votes: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for own in choices.values():
        for key, vote in own.items():
            votes[key].append(vote)
    for rater, own in choices.items():
        agreed = asked = 0
        for key, vote in own.items():
            others = len(votes[key]) - 1
            share = (sum(votes[key]) - vote) / others if others else 0.5
            if max(share, 1 - share) >= CLEAR_MAJORITY:
                asked += 1
                agreed += vote == (share > 0.5)
        if asked and special.bdtrc(agreed - 1, asked, 0.5) > CHANCE_LEVEL:
            found[rater] = f"agreement: with {agreed} of {asked} clear majorities, as by chance"
    return found


def _pearson(a: Floats, b: Floats) -> float:
    if a.size < 2 or a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
