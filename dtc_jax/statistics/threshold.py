"""The threshold of the decision, chosen on the validation split, never on the reported lesions.

Rules: 'youden', 'accuracy', 'sensitivity:0.9', 'specificity:0.9' (at least that much), 'fixed:0.5'.
"""

import numpy as np
import pandas as pd

from dtc_jax.errors import UsageError
from dtc_jax.statistics import roc

_HELP = "choose 'youden', 'accuracy', 'sensitivity:0.9', 'specificity:0.9' or 'fixed:0.5'"


def choose(labels: np.ndarray, scores: np.ndarray, rule: str) -> float:
    """The threshold that `rule` selects; a score at or above it is a positive decision.

    It lies midway between two scores, so that rounding does not decide a new score near one of
    them. Of equally good thresholds, the highest (the most specific) is taken; by 'specificity' the
    lowest that keeps what the rule asks, so that it is not more specific than that.

    Args:
      labels: [N] 0 or 1, of both classes (not needed for 'fixed').
      scores: [N].
      rule: see the module's docstring.

    Raises:
      UsageError: there is no such rule.
    """
    name, target = parse(rule)
    if name == "fixed":
        return target
    labels = np.asarray(labels)
    if not 0 < np.sum(labels) < len(labels):
        raise ValueError("choosing a threshold needs both classes.")
    fpr, tpr, points = roc.curve(labels, scores)  # [K+1], thresholds descending
    between = np.append(points[1:-1] + points[2:], 0) / 2  # [K]
    between[-1] = points[-1]  # the lowest score: all positive
    candidates = np.append(np.nextafter(points[1], np.inf), between)  # [K+1]: none, ..., all
    if name == "sensitivity":
        return float(candidates[np.argmax(tpr >= target - 1e-12)])
    if name == "specificity":
        return float(candidates[np.flatnonzero(1 - fpr >= target - 1e-12)[-1]])
    prevalence = np.mean(labels) if name == "accuracy" else 0.5
    gain = prevalence * tpr + (1 - prevalence) * (1 - fpr)
    return float(candidates[np.argmax(gain >= gain.max() - 1e-12)])


def parse(rule: str) -> tuple[str, float]:
    """The name of a rule and its number (0 if it has none)."""
    name, colon, number = str(rule).partition(":")
    try:
        target = float(number) if colon else 0.0
    except ValueError as error:
        raise UsageError(f"threshold={rule!r} is not a valid rule; {_HELP}.") from error
    takes_number = name in ("sensitivity", "specificity", "fixed")
    if (name not in ("youden", "accuracy") and not takes_number) or bool(colon) != takes_number:
        raise UsageError(f"threshold={rule!r} is not a valid rule; {_HELP}.")
    if not 0 <= target <= 1:
        raise UsageError(f"threshold={rule!r}: the number must be between 0 and 1.")
    return name, target


def apply(predictions: pd.DataFrame, rule: str) -> pd.DataFrame:
    """Fills `threshold`, `threshold_source` and `decision`, fold by fold.

    A fold without both classes in its labelled validation rows gets 0.5, and its source says so.

    Args:
      predictions: columns fold, split, label (NaN: unlabelled) and score (NaN: unknown).
      rule: see the module's docstring.

    Returns:
      A copy; `decision` is 0, 1, or NaN if the score is NaN.
    """
    name, _ = parse(rule)
    table = predictions.copy()
    for _, rows in table.groupby("fold", dropna=False).groups.items():
        fold = table.loc[rows]
        chosen_on = fold[(fold.split == "validation") & fold.label.notna() & fold.score.notna()]
        if name == "fixed":
            value, source = choose(np.empty(0), np.empty(0), rule), rule
        elif chosen_on.label.nunique() == 2:
            value = choose(chosen_on.label.to_numpy(), chosen_on.score.to_numpy(), rule)
            source = f"{rule} on the validation split"
        else:
            value, source = 0.5, "0.5 by default: the validation split lacks a class"
        table.loc[rows, "threshold"] = value
        table.loc[rows, "threshold_source"] = source
    table["decision"] = (table.score >= table.threshold).astype(float).where(table.score.notna())
    return table
