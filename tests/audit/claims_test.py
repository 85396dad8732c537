"""The audit of the study's claims, of claims with known faults, and of invalid claims."""

import pathlib

import numpy as np
import pytest
import yaml
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from dtc_jax.audit import claims, confusion_search
from dtc_jax.audit.printed import Printed
from dtc_jax.errors import InputError

CLAIMS = pathlib.Path(__file__).parents[2] / "configs/claims/dtc_study.yaml"
TABLE = {"name": "x", "positives": "9", "negatives": "9"}
GROUP = {"mean": "8", "sd": "2", "n": "9"}


@pytest.fixture(scope="module")
def result() -> dict:
    return claims.recompute(yaml.load(CLAIMS.read_text(), yaml.BaseLoader))


def test_the_studys_confusion_matrices_are_found(result):
    internal, external, small = result["tables"]
    assert internal["matrices"] == [{"tp": 208, "fn": 63, "tn": 277, "fp": 67}]
    assert internal["misfits"] == []
    assert external["matrices"] == [{"tp": 60, "fn": 23, "tn": 25, "fp": 15}]
    assert external["misfits"] == [{"figure": "npv", "printed": ".721", "implied": [0.5208]}]
    assert small["matrices"][0] == {"tp": 15, "fn": 8, "tn": 27, "fp": 6}
    assert small["matrices_found"] == 10


def test_what_does_not_follow_is_said_and_nothing_else(result):
    npv, diameter = result["findings"]
    assert npv == "external validation: npv .721 does not fit the other figures, which give 0.521."
    assert "P .06 does not agree: Student's t gives 0.112" in diameter
    assert "Welch's t gives 0.103" in diameter


def test_intervals_and_benefits_are_the_studys_recomputed_ones(result):
    internal, external, _ = result["tables"]
    accuracy = internal["rates"]["accuracy"]
    assert (accuracy["low"], accuracy["high"]) == pytest.approx((0.7546, 0.8190), abs=5e-5)
    npv = external["rates"]["npv"]
    assert (npv["low"], npv["high"]) == pytest.approx((0.3833, 0.6553), abs=5e-5)
    assert internal["net_benefit_at_half"]["model"] == pytest.approx(0.2293, abs=5e-5)
    assert external["majority_accuracy"] == pytest.approx(83 / 123)
    assert internal["auc"]["hanley_mcneil_se"] == pytest.approx(0.01475, abs=5e-6)
    assert external["auc"]["hanley_mcneil_se"] == pytest.approx(0.04679, abs=5e-6)
    assert external["auc"]["lesions_a_patient"] == 5.125
    (comparison,) = result["comparisons"]
    assert comparison["z"] == pytest.approx(3.14, abs=0.005)
    assert comparison["tests"]["the z test"]["p"] == pytest.approx(0.0017, abs=5e-5)


def test_the_search_finds_exactly_what_looking_at_every_matrix_finds():
    names = ("accuracy", "sensitivity", "ppv")
    texts = dict(zip(names, (".75", ".7", ".83"), strict=True))
    printed = {name: Printed.parse(text, name) for name, text in texts.items()}
    expected = set()
    for p, n in np.ndindex(31, 31):
        if not p or not n or p + n > 30:
            continue
        for tp, tn in np.ndindex(p + 1, n + 1):
            cells = (tp, p - tp, tn, n - tn)
            if tp + n - tn == 0:
                continue
            value = ((tp + tn) / (p + n), tp / p, tp / (tp + n - tn))
            halves = (0.005, 0.05, 0.005)
            targets = (0.75, 0.7, 0.83)
            gaps = [abs(v - t) - h for v, t, h in zip(value, targets, halves, strict=True)]
            if max(gaps) <= 1e-9:
                expected.add(cells)
    matrices, left_out = confusion_search.search(printed, range(1, 30), range(1, 30), 30)
    assert {(c.tp, c.fn, c.tn, c.fp) for c in matrices} == expected
    assert len(matrices) > 1
    assert left_out == ()


@pytest.mark.extras
def test_too_much_to_search_and_nothing_that_fits_are_said():
    for at_most in ("9999", "999999999"):
        table = {"name": "x", "at_most": at_most, "accuracy": ".8"}
        with pytest.raises(InputError, match=r"x: .* are too many to search"):
            claims.recompute({"tables": [table]})
    table = {"name": "x", "positives": "10", "negatives": "10", "sensitivity": ".123"}
    result = claims.recompute({"tables": [table]})
    assert result["findings"] == ["x: no confusion matrix fits any of its figures."]


def test_printed_intervals_are_recognised_or_refuted():
    low, high = proportion_confint(60, 83, method="beta")
    printed = {"value": ".723", "low": f"{low:.3f}", "high": f"{high:.3f}"}
    base = {"name": "x", "positives": "83", "negatives": "40", "specificity": ".625"}
    result = claims.recompute({"tables": [{**base, "sensitivity": printed}]})
    assert result["tables"][0]["rates"]["sensitivity"]["printed_interval"] == "clopper-pearson"
    assert result["findings"] == []
    wrong = claims.recompute({"tables": [{**base, "sensitivity": {**printed, "low": ".7"}}]})
    assert "x: the interval of sensitivity is not Wilson's" in wrong["findings"][0]


def test_p_values_of_means_and_counts_are_those_of_scipy():
    rows = [["12", "30"], ["25", "21"]]
    groups = [
        {"mean": "8.50", "sd": "5.68", "n": "1077"},
        {"mean": "8.87", "sd": "4.35", "n": "885"},
    ]
    result = claims.recompute(
        {
            "counts": [{"name": "sex", "rows": rows, "p": ".02"}],
            "means": [{"name": "size", "groups": groups, "p": ".11"}],
        }
    )
    tests = result["counts"][0]["tests"]
    table = np.array(rows, dtype=int)
    assert tests["chi-square"]["p"] == stats.chi2_contingency(table, correction=False).pvalue
    assert tests["Fisher's exact test"]["p"] == stats.fisher_exact(table).pvalue
    student = result["means"][0]["tests"]["Student's t"]
    assert student["p"] == stats.ttest_ind_from_stats(8.5, 5.68, 1077, 8.87, 4.35, 885).pvalue
    assert student["low"] < student["p"] < student["high"]
    assert result["findings"] == []


def test_means_that_may_be_equal_may_have_any_p():
    groups = [{"mean": "8.5", "sd": "5", "n": "20"}, {"mean": "8.6", "sd": "5", "n": "20"}]
    result = claims.recompute({"means": [{"name": "size", "groups": groups, "p": ".99"}]})
    assert result["findings"] == []


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ("text", "must be a mapping"),
        ({"table": []}, "Did you mean 'tables'"),
        ({"tables": {}}, "must be a list"),
        ({"tables": [{"accuracy": ".8"}]}, r"tables\[0\] needs name"),
        ({"tables": [{"name": "x", "acuracy": ".8"}]}, "Did you mean 'accuracy'"),
        ({"tables": [{"name": "x", "accuracy": ".8"}]}, "give `positives` and `negatives`"),
        ({"tables": [{"name": "x", "positives": "ten", "negatives": "1"}]}, "not a whole number"),
        ({"tables": [{"name": "x", "positives": "9" * 20, "negatives": "1"}]}, "at most 9 digits"),
        ({"sums": [{"name": "x", "total": "9" * 5000, "parts": []}]}, r"99\.\.\.' is not a whole"),
        ({"tables": [{"name": "x", "at_most": "1", "ppv": ".8"}]}, "x.at_most: 1 must be at"),
        (
            {"tables": [{"name": "x", "positives": "9", "negatives": "9", "ppv": "1e400"}]},
            "x.ppv: '1e400' is not a finite number",
        ),
        ({"sums": [{"name": "x", "total": "3", "parts": "12"}]}, r"sums\[0\].parts must be a list"),
        ({"tables": [{"name": ["x"]}]}, r"tables\[0\].name must be text"),
        ({"counts": [{"name": "x", "rows": ["12", "34"]}]}, "must be a list of lists"),
        ({"means": [{"name": "x", "groups": ["a", "b"]}]}, "must be a list of two"),
        ({"means": [{"name": "x", "groups": [GROUP, GROUP | {"n": "1"}]}]}, "1 must be at least 2"),
        (
            {"means": [{"name": "x", "groups": [GROUP, GROUP | {"sd": "0"}]}]},
            "sd: '0' must be abov",
        ),
        (
            {"tables": [TABLE | {"auc": {"value": ".8", "low": ".8", "high": ".8"}}]},
            "x.auc: `low` must be below `high`",
        ),
        ({"tables": [TABLE, TABLE]}, r"tables\[1\] has the name 'x' of another one"),
        (
            {"tables": [{"name": "x", "positives": "9", "negatives": "9", "ppv": "much"}]},
            "x.ppv: 'much' is not a number",
        ),
        ({"means": [{"name": "x", "groups": []}]}, "must be a list of two"),
        ({"counts": [{"name": "x", "rows": [["1"], ["2", "3"]]}]}, "of equal length"),
        ({"comparisons": [{"name": "x", "first": "a", "second": "b"}]}, "x, first is 'a'"),
    ],
)
def test_invalid_claims_are_refused(entries, message):
    with pytest.raises(InputError, match=message):
        claims.recompute(entries)


@pytest.mark.parametrize(
    ("text", "value", "half"),
    [(".800", 0.8, 5e-4), ("0.8", 0.8, 0.05), ("76.8 %", 0.768, 5e-4), ("12", 12, 0.5)],
)
def test_a_printed_number_is_known_to_its_last_digit(text, value, half):
    printed = Printed.parse(text, "x")
    assert (printed.value, printed.half) == pytest.approx((value, half))
    assert printed.fits(value + 0.99 * half)
    assert not printed.fits(value + 1.01 * half)


def test_a_printed_bound_is_a_bound():
    printed = Printed.parse("< .001", "p")
    assert printed.fits(0.0009)
    assert not printed.fits(0.001)
    assert printed.fits_range(0.0005, 0.5)
