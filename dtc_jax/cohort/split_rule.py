"""The rule by which patients are divided: read and checked once, from `config.split`.

No other module reads a field of it. A run makes one `Rule` and asks it on which side a lesion or a
patient is, whether the run is a cross-validation, and what to say of the split in its figures.
"""

import dataclasses
import pathlib
from typing import Any

import pandas as pd

from dtc_jax import csv_reader, storage
from dtc_jax.cohort import splits
from dtc_jax.errors import InputError, UsageError, unknown_choice

_KINDS = ("holdout", "kfold", "temporal", "center", "column", "file", "two_part")
_UNITS = ("patient", "lesion")


@dataclasses.dataclass(frozen=True)
class Rule:
    """How the lesions of a study are divided into training, validation and test.

    Attributes:
      cohort: that is divided; lesions of every other cohort are test only.
      kind: 'holdout'; 'kfold'; 'temporal', the latest patients are the test; 'center', one centre
        is the test; 'column', as the manifest gives it; 'file', as `file` gives it; 'two_part', a
        hold-out without validation, as the study had it: the network of the last epoch is the
        result, and nothing is chosen.
      unit: 'patient', or 'lesion', whose figures are optimistically biased, since a patient is on
        both sides.
      folds: of 'kfold', else 0.
      seed: of what is drawn.
      test_fraction: of 'holdout', 'two_part' and 'temporal'.
      validation_fraction: of the development patients; of 'column' and 'file' where they name no
        validation.
      center: of 'center', the one left out.
      file: of 'file', a CSV of patient_id and split.
      first_patients: how many patients of the cohort take part, the first by scan_order; the later
        ones are left out. 0 for all.
    """

    cohort: str = "primary"
    kind: str = "holdout"
    unit: str = "patient"
    folds: int = 0
    seed: int = 0
    test_fraction: float = 0.3
    validation_fraction: float = 0.15
    center: str = ""
    file: str = ""
    first_patients: int = 0

    def __post_init__(self):
        for field, choices in (("kind", _KINDS), ("unit", _UNITS)):
            if getattr(self, field) not in choices:
                raise unknown_choice(f"config.split.{field}", getattr(self, field), choices)
        for field in ("test_fraction", "validation_fraction"):
            value = getattr(self, field)
            if not 0 < value < 1:
                raise UsageError(f"config.split.{field} is {value}; it must be between 0 and 1.")
        if self.first_patients < 0:
            raise UsageError(
                f"config.split.first_patients is {self.first_patients}; give a number of patients, "
                "or 0 for all."
            )
        if not 0 <= self.seed < 2**31:
            raise UsageError(f"config.split.seed is {self.seed}; it must be from 0 to 2**31 - 1.")

    @property
    def is_cross_validation(self) -> bool:
        """Whether each lesion of the cohort is tested once, by one of several networks."""
        return self.kind == "kfold"

    @property
    def parts(self) -> tuple[str, ...]:
        """The sides that lesions of the cohort are on."""
        return tuple(name for name in splits.SPLITS if self.has_validation or name != "validation")

    @property
    def has_validation(self) -> bool:
        """Whether the best epoch is chosen on validation lesions; else the last one is taken."""
        return self.kind != "two_part"

    def describe(self, rows: pd.DataFrame) -> dict[str, Any]:
        """What metrics.json says of the split of `rows`, which `assign` gave."""
        fingerprint = splits.fingerprint(rows[["lesion_id", "fold", "split"]])
        said: dict[str, Any] = {
            "kind": self.kind,
            "unit": self.unit,
            "fingerprint": fingerprint,
        }
        if self.first_patients:
            said["first_patients"] = self.first_patients
        return said | ({"leaked_patients": len(_leaked(rows))} if self.unit == "lesion" else {})

    def notes(self, rows: pd.DataFrame) -> list[str]:
        """What a reader of the figures has to know of the split of `rows`."""
        said = []
        if self.unit == "lesion":
            tested = rows[rows.split == "test"].patient_id.nunique()
            said.append(
                f"split by LESION: {len(_leaked(rows))} of the {tested} tested patients are in "
                "training, too, so every figure is optimistically biased"
            )
        if not self.has_validation:
            said.append("no validation: the network is that of the last epoch, nothing was chosen")
        if self.first_patients:
            said.append(f"only the first {self.first_patients} patients in time order take part")
        return said

    def of_cohort(self, table: pd.DataFrame) -> pd.DataFrame:
        """The rows of `table` that belong to the divided cohort."""
        return table[table.cohort == self.cohort]

    def home(self, workdir: pathlib.Path, fold: int) -> pathlib.Path:
        """The folder of a fold's network: `workdir` itself, or folds/00, folds/01, … in it."""
        return workdir / "folds" / f"{fold:02d}" if self.is_cross_validation else workdir

    def homes(self, workdir: pathlib.Path) -> list[pathlib.Path]:
        """The folder of each network of a run, by fold."""
        return [self.home(workdir, fold) for fold in range(max(self.folds, 1))]

    def assign(
        self,
        table: pd.DataFrame,
        classes: tuple[str, str] = splits.CLASSES,
        each_side_needs_both: bool = True,
    ) -> pd.DataFrame:
        """`table` with `fold` and `split`; in a cross-validation every lesion once a fold.

        Lesions outside `cohort` are test lesions; in a cross-validation, where no single network
        stands for the run, they are left out.

        Args:
          table: the lesions of all cohorts, see `splits.assign`, with `cohort`.
          classes: what the labels 0 and 1 mean, for messages.
          each_side_needs_both: see `splits.assign`.

        Raises:
          InputError: see `splits.assign` and `_sides_of_file`.
          UsageError: no lesion is of `cohort`.
        """
        rule = self
        if self.kind == "file":
            table, rule = self._with_sides_of_file(table), dataclasses.replace(self, kind="column")
        in_cohort = self._taking_part(self.of_cohort(table))
        if in_cohort.empty:
            names = ", ".join(sorted(table.cohort.unique()))
            raise UsageError(f"config.split.cohort is {self.cohort!r}; the cohorts are: {names}.")
        elsewhere = table[table.cohort != self.cohort].label.notna().any()
        sides = splits.assign(in_cohort, rule, classes, each_side_needs_both, bool(elsewhere))
        if not self.is_cross_validation:
            others = table.loc[table.cohort != self.cohort, ["lesion_id"]]
            sides = pd.concat([sides, others.assign(fold=0, split="test")], ignore_index=True)
        return sides.merge(table.drop(columns="split", errors="ignore"), on="lesion_id", how="left")

    def _taking_part(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows of the first patients in time order."""
        if not self.first_patients or rows.empty:
            return rows
        if "scan_order" not in rows or rows.scan_order.isna().any():
            raise InputError(
                "config.split.first_patients needs the time order of the patients, but scan_order "
                "is empty for some; fill it in, or set the field to 0."
            )
        firsts = rows.groupby("patient_id").scan_order.min().reset_index()
        if len(firsts) < self.first_patients:
            raise UsageError(
                f"config.split.first_patients is {self.first_patients}, but there are only "
                f"{len(firsts)} patients of the cohort {self.cohort!r}; lower it."
            )
        ordered = firsts.sort_values(["scan_order", "patient_id"]).patient_id
        return rows[rows.patient_id.isin(ordered.iloc[: self.first_patients])]

    def assign_unlabelled(self, table: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
        """The side of patients without a labelled lesion, see `splits.assign_unlabelled`.

        Args:
          table: rows of the manifest, of patients none of whom is in `rows`.
          rows: of `assign`.

        Returns:
          patient_id and split; patients outside `cohort` are test, as all others are.
        """
        rule = self
        if self.kind == "file":
            table, rule = self._with_sides_of_file(table), dataclasses.replace(self, kind="column")
        sides = splits.assign_unlabelled(self.of_cohort(table), self.of_cohort(rows), rule)
        others = table.loc[table.cohort != self.cohort, ["patient_id"]].drop_duplicates()
        return pd.concat([sides, others.assign(split="test")], ignore_index=True)

    def refuse_two_sides(self, table: pd.DataFrame) -> None:
        """Refuses patients whose rows, labelled or not, are on several sides.

        Args:
          table: patient_id, cohort, split and center of all rows of a manifest. An empty `split` is
            on no side.

        Raises:
          InputError: there are such patients; names one.
        """
        side = {"column": table.split, "center": table.center == self.center}.get(self.kind)
        if side is None:
            return
        sides = side[table.cohort == self.cohort].groupby(table.patient_id).nunique()
        divided = sorted(sides.index[sides > 1])
        if divided:
            raise InputError(
                f"split: {len(divided)} patients have scans on more than one side, such as "
                f"{divided[0]}; give all rows of a patient the same {self.kind}, or choose another "
                "config.split.kind."
            )

    def _with_sides_of_file(self, table: pd.DataFrame) -> pd.DataFrame:
        """`table` with the split of each patient of the cohort, as `file` gives it."""
        sides = self.sides_of_file()
        absent = sorted(set(self.of_cohort(table).patient_id) - set(sides.index))
        if absent:
            raise InputError(
                f"{self.file}: has no row for {len(absent)} patients of the cohort "
                f"{self.cohort!r}, such as {absent[0]}; add them."
            )
        return table.assign(split=table.patient_id.map(sides))

    def sides_of_file(self) -> pd.Series:
        """The split of each patient that `file` has. # index: patient_id

        Raises:
          InputError: it is missing, or is no such table.
        """
        path = storage.existing_file(self.file, "config.split.file")
        sides = csv_reader.read(path, "the table of splits")
        if not {"patient_id", "split"} <= {*sides}:
            raise InputError(f"{path}: needs the columns patient_id and split.")
        if sides.patient_id.duplicated().any():
            raise InputError(f"{path}: a patient has several rows; give each patient one.")
        return sides.set_index("patient_id").split


def _leaked(rows: pd.DataFrame) -> set[str]:
    """The patients who are tested by a network that was trained on them."""
    pairs = {side: part[["fold", "patient_id"]] for side, part in rows.groupby("split")}
    if not {"train", "test"} <= set(pairs):
        return set()
    return set(pairs["test"].merge(pairs["train"], on=["fold", "patient_id"]).patient_id)


def make_rule(split: Any) -> Rule:
    """The rule of `config.split`: a cross-validation where `folds` is above 0.

    Raises:
      UsageError: a field has no possible value; names it.
    """
    fields = split.to_dict()
    if fields["folds"] < 0:
        raise UsageError(f"config.split.folds is {fields['folds']}; it must be 0 or more.")
    if fields["folds"] > 0:
        if fields["kind"] not in ("holdout", "kfold"):
            raise UsageError(
                f"config.split.kind is {fields['kind']!r}, which is one split, and "
                f"config.split.folds is {fields['folds']}; set folds to 0, or kind to 'holdout'."
            )
        fields["kind"] = "kfold"
    elif fields["kind"] == "kfold":
        raise UsageError("config.split.kind is 'kfold'; give config.split.folds as well.")
    return Rule(**fields)
