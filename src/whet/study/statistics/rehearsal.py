"""A study rehearsed with simulated raters: how sure its answer will be, before anybody is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from whet.errors import InputError
from whet.study.plan import Plan
from whet.study.statistics.analysis import analyse
from whet.study.statistics.inference import Estimate
from whet.study.statistics.result import Result
from whet.study.statistics.simulate import Panel, Truth, draw_truth, simulate

__all__ = ["ESTIMATORS", "Rehearsal", "rehearse"]

ESTIMATORS: Mapping[str, str] = {
    "bias removed": "unbiased",
    "DMOS": "dmos",
    "recovered": "recovered",
    "MOS": "mos",
}
"""Name in reports -> field of :class:`~whet.study.statistics.result.Score`."""


@dataclass
class Rehearsal:
    """What came out of many simulated studies of one design; filled study by study.

    Attributes:
        studies: how many were simulated.
        panel: who took part in each.
        trials: that each participant answers.
        tau_conditions: Kendall's tau of MOS and truth over the conditions, one per study.
        tau_items: the same over all pictures.
        half_widths: estimator -> half-width of the 95% interval, one per study: the mean over
            the conditions that have it.
        kept: participants whose ratings counted, one per study.
        found, careless: careless raters left out, and all of them.
        lost, attentive: attentive raters left out, and all of them.
    """

    studies: int
    panel: Panel
    trials: int
    tau_conditions: list[float] = field(default_factory=list)
    tau_items: list[float] = field(default_factory=list)
    half_widths: dict[str, list[float]] = field(default_factory=dict)
    kept: list[int] = field(default_factory=list)
    found: int = 0
    careless: int = 0
    lost: int = 0
    attentive: int = 0

    def to_markdown(self) -> str:
        """Return a table; means, and the worst study."""
        share = f"{self.panel.careless:.0%} careless"
        head = f"{self.studies} studies, {self.panel.raters} raters ({share}), {self.trials} trials"
        lines = [f"{head} each:", "", "| | mean | worst study |", "|---|---:|---:|"]
        rows = [
            ("participants kept", _means(self.kept, min, 1)),
            ("Kendall's tau, conditions", _means(self.tau_conditions, min, 2)),
            ("Kendall's tau, pictures", _means(self.tau_items, min, 2)),
            *((f"half-width, {n}", _means(v, max, 3)) for n, v in self.half_widths.items()),
        ]
        lines += [f"| {name} | {values} |" for name, values in rows]
        left_out = f"{self.found} of {self.careless} careless raters"
        lines += ["", f"Left out: {left_out}, {self.lost} of {self.attentive} attentive ones."]
        return "\n".join(lines)


def _means(values: Sequence[float], worst: Callable[[Sequence[float]], float], digits: int) -> str:
    return f"{np.mean(values):.{digits}f} | {worst(values):.{digits}f}"


def rehearse(plan: Plan, panel: Panel, studies: int, seed: int = 0) -> Rehearsal:
    """Simulate a study of categories many times, screen and analyse each as if it were real.

    Args:
        plan: the design; its pictures are not looked at.
        panel: who takes part.
        studies: how many times, each with another truth and other people.
        seed: of the first study; the next one has the next.

    Raises:
        InputError: the plan is of pairs, or a panel is too small to be analysed.
    """
    if plan.paired:
        raise InputError("pairs have no mean opinion; rehearse a study with --protocol acr or dcr")
    trials = len(plan.conditions) * plan.scenes_each
    made = Rehearsal(studies, panel, trials, half_widths={name: [] for name in ESTIMATORS})
    for number in range(seed, seed + studies):
        truth = draw_truth(plan, number)
        result = analyse(plan, simulate(plan, truth, panel, number))
        made.tau_conditions.append(_tau(_by_condition(plan, truth, result)))
        made.tau_items.append(
            _tau((truth(i.scene, i.condition), i.mos.value) for i in result.items)
        )
        made.kept.append(result.kept)
        for name, field_name in ESTIMATORS.items():
            made.half_widths[name].append(_half_width(result, field_name))
        careless = panel.who_is_careless(number)
        rejected = {rater.participant for rater in result.raters if rater.rejected}
        made.found += len(rejected & careless)
        made.careless += len(careless)
        made.lost += len(rejected - careless)
        made.attentive += panel.raters - len(careless)
    return made


def _by_condition(plan: Plan, truth: Truth, result: Result) -> Iterator[tuple[float, float]]:
    for score in result.scores:
        true = float(np.mean([truth(scene, score.condition) for scene in plan.scenes]))
        yield true, score.mos.value


def _half_width(result: Result, name: str) -> float:
    found = [getattr(score, name) for score in result.scores]
    return float(np.mean([each.half_width for each in found if isinstance(each, Estimate)]))


def _tau(pairs: Iterator[tuple[float, float]]) -> float:
    from scipy.stats import kendalltau

    true, found = zip(*pairs, strict=True)
    return float(kendalltau(true, found)[0])
