"""model_card.md, made of what the run left: nothing in it is typed by hand, and no id is in it."""

import collections
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from dtc_jax import storage
from dtc_jax.export.served import Served
from dtc_jax.statistics.formatting import count, estimate, number, setting
from dtc_jax.tasks import fields, unlabelled
from dtc_jax.tasks.trained import TrainedNetwork

_NOTICE = (
    "For research only. This is not a medical device and must not be used for decisions about "
    "patients."
)
_OF_DATA = ("source", "size_mm", "phantom")  # no field that names a file or a patient


def make(served: Served, run: pathlib.Path, described: Mapping[str, Any]) -> str:
    """The card.

    Args:
      served: the network.
      run: folder of it: data.json, metrics.json, init.json and, of whole scans, scans/metrics.json
        are read where they are.
      described: contents of preprocessing.json.
    """
    metrics, data, init = (_read(run / f"{name}.json") for name in ("metrics", "data", "init"))
    scans = _read(run / "scans" / "metrics.json")
    members = served.network.fingerprints_by_fold()
    config = fields.plain(served.network.config)
    parts = [
        f"# {described['network']}, {described['task']}",
        *([f"**{about}**"] if (about := described["about"]) else ()),
        _NOTICE,
        "## Model",
        *_model(served, described),
        "## Data",
        *_data(config, data, metrics, init),
        "## Figures",
        *(_figures(metrics) if metrics else ["The run was not evaluated."]),
        *(_whole_scans(scans) if scans.get("networks") == members else ()),
        "## Limits",
        *_limits(config, metrics, served.network),
    ]
    return "\n\n".join(parts) + "\n"


def _read(path: pathlib.Path) -> dict[str, Any]:
    return storage.read_json(path) if path.is_file() else {}


def _model(served: Served, described: Mapping[str, Any]) -> Iterator[str]:
    threshold, folds = described["threshold"], len(served.network.members)
    common, kinds = _networks(served)
    yield f"{served.network.task.words.noun.capitalize()}: {_listed(common)}."
    if (total := len(served.network.networks)) > 1:
        of_folds = ", one a fold" if total == folds else f", of {folds} folds" if folds > 1 else ""
        yield f"The probability is that of the mean logit of {total} networks{of_folds}."
    if len(kinds) > 1:
        yield "\n".join(f"- {count(many, 'network')}: {own}" for own, many in kinds.items())
    if fitted := [one.temperature for one in served.network.members if one.temperature]:
        values = ", ".join(
            f"{one.value:.3f} ({one.low:.2f}–{one.high:.2f}, n {one.n})" for one in fitted
        )
        of_folds = ", by fold" if len(fitted) > 1 else ""
        yield f"The weights have the temperature, fitted on validation{of_folds}: {values}."
    yield f"Threshold: {number(threshold['value'], 4)} ({threshold['origin']})."
    if least := described["before_the_model"].get("lesion_threshold"):
        yield f"A finding whose highest probability is below {least} is probably no lesion."
    precision = described["precision"]
    if precision["dtype"] != "float32":
        found = ", ".join(f"{kind} {x:.1e}" for kind, x in precision["largest_difference"].items())
        yield (
            f"Computed in {precision['dtype']}. The figures below are of float32, from which the "
            f"probabilities on the cases of the contract differ by at most: {found}."
        )
    marks = described["fingerprints"]
    yield f"SHA-256 of the weights: `{marks['weights']}`; of what made them: `{marks['config']}`."


def _networks(served: Served) -> tuple[dict[str, Any], dict[str, int]]:
    """Fields of all networks that decide together, and how many have which others."""
    each = []
    for one in served.network.networks:
        config = fields.plain(one.config)
        each.append({**config["preprocess"], **config["model"]})
    first = each[0]
    common = {name: first[name] for name in first if all(one[name] == first[name] for one in each)}
    own = [_listed({k: v for k, v in one.items() if k not in common}) for one in each]
    return common, dict(collections.Counter(own))


def _data(
    config: dict[str, Any],
    data: Mapping[str, Any],
    metrics: Mapping[str, Any],
    init: Mapping[str, Any],
) -> Iterator[str]:
    section = {name: config["data"][name] for name in _OF_DATA if name in config["data"]}
    if config["data"]["source"] != "phantom":
        section.pop("phantom", None)
    yield f"{_listed(section)}."
    split = metrics.get("split") or config["split"]
    folds = f", {config['split']['folds']} folds" if config["split"]["folds"] else ""
    yield f"Split by {split['unit']}: {split['kind']}{folds}, seed {config['split']['seed']}."
    marks = {"split": split.get("fingerprint", "")} | {
        name: data.get(name, "") for name in ("labels", "crops")
    }
    lines = [f"- SHA-256 of the {name}: `{mark}`" for name, mark in marks.items() if mark]
    if lines:
        yield "\n".join(lines)
    if learned := metrics.get("unlabelled"):
        said = unlabelled.sentence(learned)
        yield f"{said[0].upper()}{said[1:]}."
    if init:
        seen = f"{sum(map(len, init['seen'].values()))} other" if init["seen"] else "unknown"
        yield (
            f"The training began with weights (SHA-256 `{init['weights']}`) that had seen {seen} "
            "patients."
        )


def _figures(metrics: Mapping[str, Any]) -> Iterator[str]:
    """A table a cohort: estimates of the test split with 95 % intervals and n, by network."""
    yield "Of the test split, with 95 % intervals; the baselines see no more than simple measures."
    columns = {"network": metrics["network"]}
    if metrics.get("network_where_centred", metrics["network"]) != metrics["network"]:
        columns["network, lesion in the middle"] = metrics["network_where_centred"]
    columns |= metrics["baselines"]
    for cohort, by_split in metrics["network"].items():
        test = by_split.get("test", {})
        names = [name for name, value in test.items() if _is_estimate(value)]
        if not names:
            continue
        rows = [f"| {cohort} | n | patients | {' | '.join(columns)} |", "|---" * (len(columns) + 3)]
        rows[1] += "|"
        for name in names:
            found = [of.get(cohort, {}).get("test", {}).get(name) for of in columns.values()]
            counts = f"{test[name]['n']} | {test[name]['patients']}"
            rows.append(f"| {name} | {counts} | {' | '.join(map(estimate, found))} |")
        yield "\n".join(rows)


def _whole_scans(scans: Mapping[str, Any]) -> Iterator[str]:
    """What `--mode=evaluate --scans` found by these very networks, with 95 % intervals."""
    who = (
        "none of whom the network had seen"
        if len(scans["networks"]) == 1
        else "each by the network of a fold that had not seen the patient"
    )
    yield (
        f"On {count(scans['scans'], 'whole scan')} with {count(scans['lesions'], 'lesion')}, of "
        f"{count(scans['patients'], 'patient')}, {who}:"
    )
    rows = ["| whole scans | n | patients | network |", "|---|---|---|---|"]
    rows += [
        f"| {name} | {value['n']} | {value['patients']} | {estimate(value)} |"
        for name, value in scans.items()
        if _is_estimate(value)
    ]
    yield "\n".join(rows)


def _is_estimate(value: Any) -> bool:
    return isinstance(value, dict) and {"value", "low", "high", "n", "patients"} <= value.keys()


def _limits(
    config: dict[str, Any], metrics: Mapping[str, Any], network: TrainedNetwork
) -> Iterator[str]:
    points = ["It was tested on no other data than those above."]
    if network.unfinished:
        points.append(f"It was not trained to the end: {', '.join(network.unfinished)}.")
    if config["data"]["source"] == "phantom":
        points.append("It was trained on simulated scans: it says nothing about patients.")
    if config["split"]["unit"] != "patient":
        points.append("Lesions of one patient are on both sides of the split: figures are biased.")
    if config["split"]["folds"]:
        what = (
            "The mean of the networks, which is what this model is, was tested on no patient."
            if len(network.members) > 1
            else "This model is that of one fold alone, whose own figures are not listed."
        )
        points.append(
            f"The figures are those of each fold's network on its own test patients. {what}"
        )
    if not metrics:
        points.append("Its performance is unknown.")
    yield "\n".join(f"- {point}" for point in points)


def _listed(section: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {_listed(value) if isinstance(value, dict) else setting(value)}"
        for name, value in section.items()
    )
