"""The vocabulary of what a picture suffers from."""

from __future__ import annotations

import math

import numpy as np
import pytest

from whet.conditions import KINDS, MEASURES, Condition, in_words, scaled, unscaled


def test_measures_are_the_fields_of_a_condition_in_order() -> None:
    assert MEASURES == ("blur_px", "noise_levels", "coding", "motion_px")
    assert Condition("lens", 1.0, 2.0, 0.3, 4.0).measures == (1.0, 2.0, 0.3, 4.0)
    assert len(set(KINDS)) == len(KINDS)


def test_scale_runs_from_nothing_to_the_largest_and_keeps_what_is_unknown() -> None:
    ends = scaled([[0, 0, 0, 0], [6, 12, 1, 24], [99, 99, 9, 99], [math.nan] * 4])
    assert ends.dtype == np.float32
    assert ends[:3].tolist() == [[0] * 4, [1] * 4, [1] * 4]
    assert np.isnan(ends[3]).all()
    # log(1 + 1.5 / .5) / log(1 + 6 / .5), and linear in coding and motion.
    expected = [math.log(4) / math.log(13), math.log(4) / math.log(13), 0.25, 0.5]
    assert scaled([1.5, 3, 0.25, 12]) == pytest.approx(expected, rel=1e-6)


def test_unscaled_is_the_inverse_of_scaled() -> None:
    measures = np.random.default_rng(0).random((50, 4)) * (6, 12, 1, 24)
    assert unscaled(scaled(measures)) == pytest.approx(measures, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (Condition("lens", 2.13, 1.0, 0.0, 0.0), "soft by 2.1 px, little noise"),
        (Condition("clean", 0.0, 0.0, 0.0, 0.0), "sharp"),
        (Condition("clean"), "sharp"),
        (Condition("lens", 0.2, 0.1, 0.05, 0.0), "sharp"),
        (Condition("jpeg", 0.0, 0.0, 0.7, 0.0), "much compression"),
        (Condition("message", 1.0, 0.0, 0.3), "soft by 1.0 px, little compression"),
        (Condition("shake", motion_px=11.6, noise_levels=5.0), "moved by 12 px, much noise"),
        (Condition("shake"), "moved"),
        (Condition("oversharpened", coding=0.2), "oversharpened, little compression"),
    ],
)
def test_conditions_are_said_in_words(condition: Condition, words: str) -> None:
    assert in_words(condition) == words
