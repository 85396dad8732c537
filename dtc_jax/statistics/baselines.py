"""Baselines that a network must beat, fitted on the same training lesions.

| name | model | input |
|---|---|---|
| majority | constant | the share of positives |
| diameter | logistic regression | the diameter of the lesion |
| box_extent | logistic regression | the sides of the mask's bounding box and of the stored scan |
| features | random forest | features of size, shape and HU |
| age_sex_diameter | logistic regression | age, sex, diameter |
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from sklearn import ensemble, linear_model, pipeline, preprocessing

from dtc_jax.errors import InputError
from dtc_jax.statistics import sex as sex_of
from dtc_jax.statistics import threshold

TREES = 500  # of the forest on `features`
_COLUMNS = ("fold", "split", "label", "lesion_id")


def inputs(
    *,
    diameter_mm: np.ndarray,
    box_mm: np.ndarray | None = None,
    scan_box_mm: np.ndarray | None = None,
    features: np.ndarray | None = None,
    age: np.ndarray | None = None,
    sex: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """The input of each baseline, [N, K]; a baseline without its arrays is left out.

    Args:
      diameter_mm: [N].
      box_mm: [N, 3] sides of the mask's bounding box.
      scan_box_mm: [N, 3] sides of the stored scan: the crop of a lesion can reveal its size.
      features: [N, F].
      age: [N] years.
      sex: [N] words, see `sex.read`; those that it does not understand are unknown.
    """
    diameter = np.asarray(diameter_mm, dtype=np.float64)[:, None]
    matrices = {"majority": np.zeros_like(diameter), "diameter": diameter}
    if box_mm is not None and scan_box_mm is not None:
        matrices["box_extent"] = np.column_stack([box_mm, scan_box_mm]).astype(np.float64)
    if features is not None:
        matrices["features"] = np.asarray(features, dtype=np.float64)
    if age is not None and sex is not None:
        female = pd.Series(sex_of.read(sex)).map({sex_of.FEMALE: 1, sex_of.MALE: 0})
        matrices["age_sex_diameter"] = np.column_stack(
            [np.asarray(age, dtype=np.float64), female.to_numpy(np.float64), diameter]
        )
    return matrices


def scores(
    name: str, matrix: np.ndarray, labels: np.ndarray, train: np.ndarray, seed: int = 0
) -> np.ndarray:
    """Probabilities of the positive class by a baseline that is fitted on the training rows.

    Args:
      name: of the baseline, see the module's docstring.
      matrix: [N, K] inputs; a row with NaN is neither fitted nor scored.
      labels: [N] 0, 1 or NaN.
      train: [N] bool.
      seed: of the random forest.

    Returns:
      [N], NaN for rows with NaN, and everywhere if the training rows lack a class.
    """
    labels = np.asarray(labels, dtype=np.float64)
    complete = np.isfinite(matrix).all(axis=1)
    fitted = complete & np.asarray(train, dtype=bool) & np.isfinite(labels)
    result = np.full(len(labels), np.nan)
    if len(np.unique(labels[fitted])) < 2:
        return result
    if name == "majority":
        result[complete] = labels[fitted].mean()
        return result
    if name == "features":
        model = ensemble.RandomForestClassifier(
            n_estimators=TREES, min_samples_leaf=2, random_state=seed, n_jobs=1
        )
    else:
        model = pipeline.make_pipeline(
            preprocessing.StandardScaler(), linear_model.LogisticRegression(max_iter=1000)
        )
    model.fit(matrix[fitted], labels[fitted].astype(int))
    result[complete] = model.predict_proba(matrix[complete])[:, 1]
    return result


def predict(
    predictions: pd.DataFrame, matrices: Mapping[str, np.ndarray], rule: str, seed: int = 0
) -> pd.DataFrame:
    """Predictions tables of all baselines, with the rows, folds and splits of the network.

    Each is fitted on the training rows of a fold, and its threshold is chosen on the validation
    rows by the rule of the network; only the threshold of the majority is 0.5.

    Args:
      predictions: [N] rows with the columns of predictions.csv.
      matrices: of `inputs`, with the rows of `predictions`.
      rule: see `threshold`.
      seed: of the random forest.

    Returns:
      The tables of all baselines, distinguished by `run`; one without inputs is absent.

    Raises:
      InputError: a column is missing, or the training rows of a fold lack a class.
    """
    missing = [column for column in _COLUMNS if column not in predictions]
    if missing:
        raise InputError(f"predictions: no column {', '.join(missing)}.")
    folds = predictions.fold.to_numpy()
    train = (predictions.split == "train").to_numpy()
    labels = predictions.label.to_numpy(np.float64)
    for fold in np.unique(folds):
        if len(np.unique(labels[(folds == fold) & train & np.isfinite(labels)])) < 2:
            raise InputError(
                f"predictions: the training split of fold {fold} lacks a class, so no baseline "
                "can be fitted. Keep the rows of the training split in the table."
            )
    tables = []
    for name, matrix in matrices.items():
        table = predictions.assign(run=name, score=np.nan)
        for fold in np.unique(folds):
            rows = folds == fold
            table.loc[rows, "score"] = scores(name, matrix[rows], labels[rows], train[rows], seed)
        if table.score.notna().any():
            tables.append(threshold.apply(table, "fixed:0.5" if name == "majority" else rule))
    return pd.concat(tables, ignore_index=True)
