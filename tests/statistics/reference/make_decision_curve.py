"""Makes decision_curve.csv from lesions.csv with dcurves, which needs an older pandas:

python -m venv other && other/bin/pip install "dcurves==1.1.7" "setuptools<80"
other/bin/python make_decision_curve.py
"""

import pathlib

import dcurves
import pandas as pd

here = pathlib.Path(__file__).parent
curve = dcurves.dca(
    data=pd.read_csv(here / "lesions.csv"),
    outcome="label",
    modelnames=["first"],
    thresholds=[i / 100 for i in range(1, 100)],
)
wide = curve.pivot(index="threshold", columns="model", values="net_benefit")
wide[["first", "all"]].to_csv(here / "decision_curve.csv")
