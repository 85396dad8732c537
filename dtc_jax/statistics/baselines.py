"""What a network must beat: trivial and hand-made predictors fitted on the same training lesions.

| name | model | sees |
|---|---|---|
| majority | constant | the class shares |
| diameter | logistic regression | the lesion's diameter |
| box_extent | logistic regression | the sides of the mask's box and of the stored scan |
| features | random forest | features of the mask's size and shape and of HU |
| age_sex_diameter | logistic regression | age, sex, diameter |
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from sklearn import ensemble, linear_model, pipeline, preprocessing

from dtc_jax.errors import InputError
from dtc_jax.statistics import threshold

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
    """What each baseline sees, [N, K] a baseline; one without its arrays is left out.

    Args:
      diameter_mm: [N].
      box_mm: [N, 3] sides of the mask's bounding box.
      scan_box_mm: [N, 3] sides of the stored scan: how a lesion was cut out can betray its size.
      features: [N, F].
      age: [N] years.
      sex: [N] words that begin with F or M; all else is unknown.
    """
    diameter = np.asarray(diameter_mm, dtype=np.float64)[:, None]
    matrices = {"majority": np.zeros_like(diameter), "diameter": diameter}
    if box_mm is not None and scan_box_mm is not None:
        matrices["box_extent"] = np.column_stack([box_mm, scan_box_mm]).astype(np.float64)
    if features is not None:
        matrices["features"] = np.asarray(features, dtype=np.float64)
    if age is not None and sex is not None:
        female = pd.Series(sex, dtype=object).astype(str).str.upper().str[0].map({"F": 1, "M": 0})
        matrices["age_sex_diameter"] = np.column_stack(
            [np.asarray(age, dtype=np.float64), female.to_numpy(np.float64), diameter]
        )
    return matrices


def scores(
    name: str, matrix: np.ndarray, labels: np.ndarray, train: np.ndarray, seed: int = 0
) -> np.ndarray:
    """Probabilities of the positive class by the baseline `name` fitted on the rows of `train`.

    Args:
      name: one of the module docstring's table.
      matrix: [N, K] what it sees; a row with a NaN is neither fitted nor scored.
      labels: [N] 0, 1 or NaN.
      train: [N] bool.
      seed: of the random forest.

    Returns:
      [N], NaN for rows with a NaN, and everywhere if they leave no two classes to fit.
    """
    labels = np.asarray(labels, dtype=np.float64)
    known = np.isfinite(matrix).all(axis=1)
    fitted = known & np.asarray(train, dtype=bool) & np.isfinite(labels)
    result = np.full(len(labels), np.nan)
    if len(np.unique(labels[fitted])) < 2:
        return result
    if name == "majority":
        result[known] = labels[fitted].mean()
        return result
    if name == "features":
        model = ensemble.RandomForestClassifier(
            n_estimators=500, min_samples_leaf=2, random_state=seed, n_jobs=1
        )
    else:
        model = pipeline.make_pipeline(
            preprocessing.StandardScaler(), linear_model.LogisticRegression(max_iter=1000)
        )
    model.fit(matrix[fitted], labels[fitted].astype(int))
    result[known] = model.predict_proba(matrix[known])[:, 1]
    return result


def predict(
    predictions: pd.DataFrame, matrices: Mapping[str, np.ndarray], rule: str, seed: int = 0
) -> pd.DataFrame:
    """Predictions tables of all baselines, in the rows, folds and splits of a network's.

    Each is fitted on the training rows of a fold, and its threshold comes from the validation rows
    by the network's own rule; only the majority is decided at 0.5.

    Args:
      predictions: [N] rows with the columns of predictions.csv.
      matrices: see `inputs`; rows as in `predictions`.
      rule: see `threshold`.
      seed: of the random forest.

    Returns:
      One table under the other, told apart by `run`; a baseline without known inputs is absent.

    Raises:
      InputError: a column is missing, or a fold has not both classes to train on.
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
                f"predictions: fold {fold} has not both classes in its training split, so no "
                "baseline can be fitted. Keep the rows of the training split in the table."
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
