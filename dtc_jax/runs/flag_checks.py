"""Which flags of launch.py go together."""

from absl import flags

from dtc_jax.command_line import usage

_OF_PREDICT = (
    *("scan", "series", "lungs", "lesions", "segmenter", "classifier", "review", "mask", "send"),
    "keep_identity",
)
_OF_SWEEP = ("sweep", "asha", "share", "cores", "ray_address", "slurm", "engine", "retries")
_OF_OTHERS = {  # some of these modes say themselves why they take none
    "predictions": ("report",),
    "claims": ("audit",),
    "threshold": ("report", "predict"),
    "workdir": ("train", "evaluate", "leakage", "pipeline", "export", "predict", "sweep"),
    "out": ("predict", "report", "audit", "export", "sweep"),
    "scans": ("evaluate", "predict", "sweep"),
}
_NOT_EMPTY = (
    *("format", "dtype", "predictions"),
    *("scan", "scans", "manifest", "lungs", "lesions", "segmenter", "classifier", "candidates"),
    *("review", "mask", "send", "series", "workdir", "out", "sweep", "claims"),
)
_OF_SEVERAL = ("coordinator", "processes", "process_id")
_OF_EXPORT = ("format", "member", "dtype")
_NOT_OF_REVIEW = ("segmenter", "scans", "lungs", "lesions", "candidates")


def check(given: flags.FlagValues) -> None:
    """Checks that the flags fit the mode.

    Raises:
      UsageError: they do not; in one line.
    """
    for flag in _NOT_EMPTY:
        if given[flag].value in ("", []):
            raise usage(f"--{flag} is empty; give it a value, or omit it.")
    modes = dict.fromkeys(_OF_PREDICT, ("predict",)) | dict.fromkeys(_OF_SWEEP, ("sweep",))
    for flag, of in (modes | _OF_OTHERS).items():
        if given[flag].value != given[flag].default and given.mode not in of:
            *others, last = (f"--mode={mode}" for mode in of)
            raise usage(f"--{flag} is for {', '.join(others)}{' and ' if others else ''}{last}.")
    if given.mode != "train" or given.coordinator is None:
        for flag in _OF_SEVERAL:
            if given[flag].value is not None:
                raise usage(f"--{flag} is for --mode=train, with --coordinator.")
    if given.rungs is not None and (given.mode != "train" or given.coordinator is not None):
        raise usage("--rungs is for a trial of --mode=sweep, in one process.")
    if given.manifest is not None and (given.mode != "evaluate" or given.scans):
        raise usage("--manifest is for --mode=evaluate of a classifier, without --scans.")
    if given.mode != "export" and any(given[flag].value is not None for flag in _OF_EXPORT):
        raise usage("--format, --member and --dtype are for --mode=export.")
    of_scans = given.mode == "evaluate" and given.scans
    if given.candidates and not (of_scans or given.mode in ("predict", "pipeline")):
        raise usage(
            "--candidates is for --mode=predict, --mode=pipeline and --mode=evaluate with --scans."
        )
    if given.mode in ("train", "leakage", "pipeline"):
        if given.config is None:
            raise usage(
                f"--mode={given.mode} needs --config=FILE; start with --config=configs/"
                f"{'pipeline' if given.mode == 'pipeline' else 'senet'}.py:demo"
            )
    elif given.mode == "predict":
        _check_predict(given)
    elif given.mode == "report":
        if not given.predictions or given.out is None:
            raise usage("--mode=report needs --predictions=CSV[,CSV…] and --out=DIR.")
    elif given.mode == "sweep":
        if given.config is None or not given.sweep or not given.out:
            raise usage(
                "--mode=sweep needs --config=FILE, --sweep=FILE and --out=DIR; start with --config="
                "configs/senet.py:demo --sweep=configs/sweeps/demo.py --out=runs/sweep-demo"
            )
        if given.workdir is not None:
            raise usage("--mode=sweep has its runs in --out=DIR; omit --workdir.")
    elif given.mode == "audit":
        if given.claims is None:
            raise usage("--mode=audit needs --claims=YAML; see configs/claims/dtc_study.yaml")
    elif given.workdir is None:
        raise usage(f"--mode={given.mode} needs --workdir=DIR, the folder of a trained run.")
    elif given.config is not None:
        raise usage(f"--mode={given.mode} takes the configuration of --workdir; omit --config.")
    elif given.mode == "export" and not given.out:
        raise usage("--mode=export needs --out=DIR, the new folder of the bundle.")


def _check_predict(given: flags.FlagValues) -> None:
    """Checks that the flags fit a prediction, or a review."""
    if given.out is None:
        raise usage("--mode=predict needs --out=DIR, the folder of the answer.")
    if given.threshold is not None:
        raise usage("--mode=predict uses the threshold of --classifier; omit --threshold.")
    if given.config is not None or given.workdir is not None:
        raise usage("--mode=predict takes its networks from --segmenter and --classifier.")
    if given.review is not None:
        if any(given[flag].value for flag in _NOT_OF_REVIEW):
            raise usage(
                "--review is for one predicted scan; omit --segmenter, --candidates, --scans, "
                "--lungs and --lesions."
            )
        return
    if bool(given.scan) == bool(given.scans):
        raise usage("--mode=predict needs --scan=PATH for one scan, or --scans=CSV for many.")
    if given.lesions:
        if given.scans or given.segmenter or given.candidates:
            raise usage(
                "--lesions are the outlined lesions of one --scan; omit --scans, --segmenter and "
                "--candidates."
            )
        if not given.classifier:
            raise usage("--lesions needs --classifier=DIR of a trained run.")
    elif not given.segmenter or not given.classifier:
        raise usage("--mode=predict needs --segmenter=DIR and --classifier=DIR of trained runs.")
    if given.mask:
        raise usage("--mask is the edited mask of a review; give --review=CSV with it.")
    if given.scans and given.send:
        raise usage("--send is for one --scan.")
    if given.scans and (given.series or given.lungs):
        raise usage("with --scans, series and lungs are columns of the CSV.")
