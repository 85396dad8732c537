"""The figures of one variant of a network, trained with several seeds, and its gap to another.

Figures are means over the seeds, on the same test examples, with folds pooled. Their intervals are
clustered by patient: they say what other patients would give, for these trained networks. What
other seeds give is said by the values of the single seeds. With one seed, the figures are those of
the report.

An `Examples` has a column of values for each seed, so that a variant is compared with another on
the seeds and the examples that both have.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dtc_jax.statistics import comparison, detection, predictions_table, rates, roc, tables
from dtc_jax.statistics.estimate import UNIT, Estimate, mean, plain

_KEY = ["fold", "patient_id", "lesion_id"]


@dataclasses.dataclass(frozen=True)
class Examples:
    """The tested examples of a variant.

    Attributes:
      rows: index fold, patient_id, lesion_id; what is the same for all seeds.
      values: name -> [N, seeds], a column for each seed.
    """

    rows: pd.DataFrame
    values: Mapping[str, pd.DataFrame]

    @property
    def patients(self) -> np.ndarray:
        """The patient of each example. # [N]"""
        return self.rows.index.get_level_values("patient_id").to_numpy(str)

    def by_seed(self, name: str) -> np.ndarray:
        """The values of each seed. # [seeds, N]"""
        return self.values[name].to_numpy(np.float64).T

    def common(self, other: "Examples") -> tuple["Examples", "Examples"]:
        """Both on the examples and the seeds that both have.

        One with another label, or a patch with other voxels of the lesion, is another.
        """
        columns = [name for name in ("label", "true_voxels") if name in self.rows]
        mine, theirs = (e.rows.reset_index()[[*_KEY, *columns]] for e in (self, other))
        index = pd.MultiIndex.from_frame(mine.merge(theirs)[_KEY])
        first = next(iter(self.values.values())).columns
        seeds = first.intersection(next(iter(other.values.values())).columns, sort=False)
        a, b = (
            Examples(e.rows.loc[index], {k: v.loc[index, seeds] for k, v in e.values.items()})
            for e in (self, other)
        )
        return a, b


@dataclasses.dataclass(frozen=True)
class Lesions:
    """A classifier: AUC, the figure that is compared, and accuracy."""

    figure: str = "auc"
    names: Mapping[str, str] = dataclasses.field(
        default_factory=lambda: {"auc": "AUC", "accuracy": "accuracy"}
    )

    def examples(self, by_seed: Mapping[int, pd.DataFrame], cohort: str) -> Examples:
        """From tables of predictions, see `predictions_table`."""
        tested = {}
        for seed, table in by_seed.items():
            rows = tables.usable(predictions_table.complete(table))
            rows = rows[(rows.cohort == cohort) & (rows.split == "test")]
            tested[seed] = rows.assign(correct=rows.decision == rows.label).set_index(_KEY)
        return _examples(tested, ("score", "correct"), ("label",))

    def estimates(self, examples: Examples) -> dict[str, Estimate]:
        """AUC and accuracy."""
        labels = examples.rows.label.to_numpy(np.int64)
        area = roc.auc_interval(labels, _single(examples.by_seed("score")), examples.patients)
        correct = examples.by_seed("correct").mean(axis=0)
        return {"auc": area, "accuracy": rates.proportion(correct, examples.patients)}

    def single(self, examples: Examples) -> dict[int, float]:
        """The AUC of each seed."""
        labels = examples.rows.label.to_numpy(np.int64)
        return {seed: roc.auc(labels, v) for seed, v in examples.values["score"].items()}

    def difference(self, first: Examples, second: Examples) -> comparison.Difference:
        """AUC of the first minus that of the second, on the same examples."""
        labels = first.rows.label.to_numpy(np.int64)
        ours, theirs = (_single(examples.by_seed("score")) for examples in (first, second))
        return comparison.paired(labels, ours, theirs, first.patients)


@dataclasses.dataclass(frozen=True)
class Patches:
    """A segmenter: Dice of patches with a lesion, and what is found in those with and without.

    A lesion counts as found where one of its voxels is.
    """

    figure: str = "dice"
    names: Mapping[str, str] = dataclasses.field(
        default_factory=lambda: {
            "dice": "Dice",
            "sensitivity": "lesions found",
            "empty_with_finding": "empty patches with a finding",
        }
    )

    def examples(self, by_seed: Mapping[int, pd.DataFrame], cohort: str) -> Examples:
        """From tables of cases."""
        tested = {}
        for seed, table in by_seed.items():
            rows = table[(table.cohort == cohort) & (table.split == "test")]
            found = rows.overlap_voxels.where(rows.true_voxels > 0, rows.found_voxels) > 0
            tested[seed] = rows.assign(found=found).set_index(_KEY)
        return _examples(tested, ("dice", "found"), ("true_voxels",))

    def estimates(self, examples: Examples) -> dict[str, Estimate]:
        """Dice, sensitivity by lesion, and the share of patches without lesion with a finding."""
        has_lesion = examples.rows.true_voxels.to_numpy() > 0
        dice, found = (examples.by_seed(name).mean(axis=0) for name in ("dice", "found"))
        with_lesion, empty = examples.patients[has_lesion], examples.patients[~has_lesion]
        return {
            "dice": mean(dice[has_lesion], with_lesion, UNIT),
            "sensitivity": rates.proportion(found[has_lesion], with_lesion),
            "empty_with_finding": rates.proportion(found[~has_lesion], empty),
        }

    def single(self, examples: Examples) -> dict[int, float]:
        """The mean Dice of each seed."""
        return {seed: float(v.mean()) for seed, v in examples.values["dice"].items()}

    def difference(self, first: Examples, second: Examples) -> comparison.Difference:
        """Mean Dice of the first minus that of the second, on the same patches."""
        both = (first.rows.true_voxels > 0).to_numpy() & (second.rows.true_voxels > 0).to_numpy()
        ours, theirs = (e.by_seed("dice").mean(axis=0)[both] for e in (first, second))
        return comparison.paired_means(ours, theirs, first.patients[both])


Kind = Lesions | Patches


def compare(
    kind: Kind, variants: Mapping[str, Examples], base: str, margin: float
) -> dict[str, dict[str, Any]]:
    """The figures of each variant, and what it gains over `base`, as JSON values.

    Args:
      kind: of the examples.
      variants: name -> its test examples.
      base: name of the variant that the others are compared with; it may be missing.
      margin: of non-inferiority.

    Returns:
      {variant: {estimates, single, difference, p, p_holm, non_inferiority, compared, seeds}}: the
      last six are missing for the base. Holm's adjustment covers all variants.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, examples in variants.items():
        found[name] = {
            "estimates": {k: v.as_dict() for k, v in kind.estimates(examples).items()},
            "single": {str(seed): plain(v) for seed, v in kind.single(examples).items()},
        }
        if name == base or base not in variants:
            continue
        first, second = examples.common(variants[base])
        difference = kind.difference(first, second)
        found[name] |= {
            "difference": difference.estimate.as_dict(),
            "p": plain(difference.p),
            "non_inferiority": difference.non_inferiority(margin),
            "compared": len(first.rows),
            "seeds": first.values[next(iter(first.values))].shape[1],
        }
    compared = [row for row in found.values() if "p" in row]
    p = np.array([np.nan if row["p"] is None else row["p"] for row in compared], dtype=float)
    for row, adjusted in zip(compared, comparison.holm(p), strict=True):
        row["p_holm"] = plain(float(adjusted))
    return found


def whole_scans(by_seed: Sequence[Mapping[str, pd.DataFrame]]) -> dict[str, dict[str, Any]]:
    """What the segmenters of several seeds find in the same whole scans, in the mean.

    Args:
      by_seed: for each seed the tables of `detection.detection`; where they have a column
        `threshold`, the findings below it are no findings.

    Returns:
      sensitivity and false_positives_per_scan as JSON values; n counts each lesion and scan once.
      With one seed they are those of `detection`.
    """
    pooled = {}
    for name in ("scans", "lesions", "candidates"):
        parts = [tables[name] for tables in by_seed]
        # A table without rows does not say what type its columns have.
        pooled[name] = pd.concat([part for part in parts if len(part)] or parts[:1])
    if "threshold" not in pooled["candidates"]:
        pooled = {name: table.assign(threshold=-np.inf) for name, table in pooled.items()}
    found = detection.at_threshold(**pooled)
    return {name: row | {"n": row["n"] // len(by_seed)} for name, row in found.items()}


def _examples(
    tested: Mapping[int, pd.DataFrame], values: tuple[str, ...], shared: tuple[str, ...]
) -> Examples:
    """The examples that all seeds have, in the order of the first."""
    first, *others = tested.values()
    index = first.index
    for table in others:
        index = index[index.isin(table.index)]
    columns = {
        name: pd.DataFrame({seed: table[name].reindex(index) for seed, table in tested.items()})
        for name in values
    }
    return Examples(first.loc[index, list(shared)], columns)


def _single(scores: np.ndarray) -> np.ndarray:
    """Scores [seeds, N]; of one seed [N], whose interval is also defined for an AUC of 1."""
    return scores[0] if len(scores) == 1 else scores
