"""Makes lesions.csv: 160 lesions of 50 patients, two models, ties, both classes in a patient."""

import pathlib

import numpy as np
import pandas as pd

rng = np.random.default_rng(20240501)
n, patients = 160, 50
patient = rng.integers(0, patients, n)
label = (rng.normal(size=patients)[patient] + rng.normal(size=n) > 0.1).astype(int)
shared = 0.6 * rng.normal(size=patients)[patient]
signal = 1.3 * label - 0.7 + shared
scores = [1 / (1 + np.exp(-(gain * signal + rng.normal(size=n)))) for gain in (1.0, 0.6)]
pd.DataFrame(
    {
        "patient_id": [f"P{i:02d}" for i in patient],
        "lesion_id": [f"L{i:03d}" for i in range(n)],
        "label": label,
        "first": np.clip(scores[0].round(2), 0.01, 0.99),
        "second": np.clip(scores[1].round(2), 0.01, 0.99),
    }
).to_csv(pathlib.Path(__file__).with_name("lesions.csv"), index=False)
