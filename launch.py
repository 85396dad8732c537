"""The command line: flags and dispatch, no logic.

python launch.py --config=configs/senet.py:demo             train, evaluate, write the results
python launch.py --mode=evaluate --workdir=runs/senet-demo  the figures of a trained run, again
python launch.py --mode=evaluate --workdir=runs/senet --manifest=CSV    on a new labelled cohort
python launch.py --mode=evaluate --workdir=runs/vnet --scans=CSV    its segmenter on whole scans
python launch.py --mode=predict --scan=CT --segmenter=RUN --classifier=RUN --out=DIR   CT to answer
python launch.py --mode=predict --scan=CT --lesions=MASK --classifier=RUN --out=DIR   outlined ones
python launch.py --mode=predict --out=DIR --review=CSV      from a review to the final answer
python launch.py --mode=report --predictions=a.csv,b.csv --out=report   the study in figures
python launch.py --mode=export --workdir=runs/senet-demo --out=BUNDLE    formats to serve it in
python launch.py --mode=audit --claims=configs/claims/dtc_study.yaml    do a paper's figures agree?
python launch.py --mode=pipeline --config=configs/pipeline.py:demo      both networks on one split
python launch.py --mode=leakage --config=configs/senet.py:demo    the bias of a split by lesion
python launch.py --mode=sweep --config=configs/senet.py --sweep=configs/sweeps/study.py --out=DIR
                                                            train variants, compare them in a table
python launch.py --config=configs/senet.py --coordinator=HOST:PORT --processes=4 --process_id=0
                                     one training by several processes, see docs/several-hosts.md

Exit codes: 0 done; 1 failed; 2 wrong use; 75 stopped by a signal, the same command resumes.
"""

import gc
import importlib
import os
import re
import signal
import sys
from collections.abc import Sequence

from absl import flags
from ml_collections import config_flags

from dtc_jax import progress
from dtc_jax.command_line import config_name, parse
from dtc_jax.errors import (
    InputError,
    Stopped,
    a_long_name_is_an_input_error,
    no_library_is_an_input_error,
    no_memory_is_an_input_error,
)
from dtc_jax.runs import flag_checks
from dtc_jax.sweep import lifeline

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "FILE[:VARIANT]; single fields are set by --config.a.b=VALUE."
)
_MODE = flags.DEFINE_enum(
    "mode",
    "train",
    ["train", "evaluate", "predict", "report", "audit", "leakage", "pipeline", "export", "sweep"],
    "What to do.",
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; default runs/CONFIG[-VARIANT].")
_SCANS = flags.DEFINE_string(
    "scans", None, "evaluate, sweep: manifest of whole scans to segment; predict: CSV of scans."
)
_MANIFEST = flags.DEFINE_string(
    "manifest", None, "evaluate: labelled cohort on which the classifier of --workdir is evaluated."
)
_SCAN = flags.DEFINE_string(
    "scan", None, "predict: NIfTI, NRRD, MHA or DICOM folder, or dicomweb://… of a series."
)
_SEND = flags.DEFINE_string(
    "send", None, "predict: dicomweb://… or dicom://HOST:PORT/AET to which the DICOM SEG is sent."
)
_SERIES = flags.DEFINE_string("series", None, "predict: number or UID of the series of --scan.")
_LUNGS = flags.DEFINE_string("lungs", None, "predict: mask of the lungs of --scan.")
_LESIONS = flags.DEFINE_string(
    "lesions", None, "predict: mask, or CSV of points with a radius, of the lesions of --scan."
)
_SEGMENTER = flags.DEFINE_string(
    "segmenter", None, "predict: folder of a segmenter's run or bundle."
)
_CLASSIFIER = flags.DEFINE_string(
    "classifier", None, "predict: folder of a classifier's run or bundle."
)
_CANDIDATES = flags.DEFINE_string(
    "candidates",
    None,
    "Run, or for predict a bundle, that tells lesions from false findings: predict, pipeline, "
    "evaluate --scans.",
)
_REVIEW = flags.DEFINE_string(
    "review", None, "predict: CSV of the review page of --out; of a batch a folder."
)
_MASK = flags.DEFINE_string("mask", None, "predict: edited instance mask, with --review.")
_KEEP_IDENTITY = flags.DEFINE_bool(
    "keep_identity", False, "predict: the DICOM SEG names the patient as its series does."
)
_PREDICTIONS = flags.DEFINE_list("predictions", None, "CSV[,CSV…] to report on.")
_CLAIMS = flags.DEFINE_string("claims", None, "YAML of a paper's figures to audit.")
_SWEEP = flags.DEFINE_string("sweep", None, "sweep: FILE of the variants; see configs/sweeps/.")
_ENGINE = flags.DEFINE_string("engine", "local", "sweep: what runs the trials: local, ray, slurm.")
_SHARE = flags.DEFINE_float("share", None, "sweep, ray: share of a GPU for each trial.", 0.01, 1.0)
_CORES = flags.DEFINE_integer("cores", None, "sweep, ray or slurm: CPU cores for each trial.", 1)
_RAY_ADDRESS = flags.DEFINE_string(
    "ray_address", None, "sweep, ray: address of a running cluster; or auto."
)
_SLURM = flags.DEFINE_list(
    "slurm", None, "sweep, slurm: NAME=VALUE[,…] for submitit, as slurm_partition=gpu."
)
_ASHA = flags.DEFINE_integer(
    "asha",
    None,
    "sweep: stop trials early; at each rung the best 1 in ASHA on validation go on.",
    2,
)
_RUNGS = flags.DEFINE_string(
    "rungs", None, "train: folder of the rungs; set by --mode=sweep with --asha."
)
_RETRIES = flags.DEFINE_integer(
    "retries", 1, "sweep: how often a trial that failed is started again.", 0
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "train, by several processes: HOST:PORT of process 0; or auto."
)
_PROCESSES = flags.DEFINE_integer("processes", None, "train: how many processes there are.", 1)
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "train: number of this one, from 0.", 0)
_OUT = flags.DEFINE_string(
    "out", None, "Folder of the prediction, report, export or sweep, or of the audit's audit.json."
)
_THRESHOLD = flags.DEFINE_float(
    "threshold",
    None,
    "report: threshold of the decisions where a table has none; default 0.5.",
    0.0,
    1.0,
)
_FORMAT = flags.DEFINE_list(
    "format",
    None,
    "export: stablehlo, onnx, savedmodel, safetensors; default all that are installed.",
)
_MEMBER = flags.DEFINE_integer(
    "member", None, "export: number of the one fold to export; default all."
)
_DTYPE = flags.DEFINE_string(
    "dtype", None, "export: float32, or bfloat16 or float16 where a format takes it."
)
flags.DEFINE_alias("keep-identity", "keep_identity")
_HELP = flags.DEFINE_bool("help", False, "Show this text.", short_name="h")

_SMALLER = "Stop other programs there, or use a machine or an accelerator with more memory."
_OR_LESS = " Or lower {0}.train.batch_size, {0}.predict.batch_size or {0}.preprocess.crop_mm."


def main(
    argv: list[str],
    name: str = "launch.py",
    program: Sequence[str] = (os.path.abspath(__file__),),
) -> int:
    """Runs one mode and returns the exit code.

    Args:
      argv: of the program.
      name: of the program, for its messages.
      program: what Python is told to run for a command of its own, see `sweep.run`.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a scheduler's Ctrl-C
    progress.accept_any_terminal()
    lifeline.follow()  # of a sweep, if this is a trial
    try:
        parse(argv, _CONFIG)
        if _HELP.value:
            print(f"{_described(name)}\nFlags:\n{flags.FLAGS.module_help(sys.modules[__name__])}")
            return 0
        flag_checks.check(flags.FLAGS)
        _join()
        advice = _SMALLER
        if _CONFIG.value is not None:
            of_network = "config.segmenter (or classifier)"
            advice += _OR_LESS.format(of_network if _MODE.value == "pipeline" else "config")
        no_memory = no_memory_is_an_input_error(f"--mode={_MODE.value}", advice)
        no_library = no_library_is_an_input_error(f"--mode={_MODE.value}")
        with a_long_name_is_an_input_error(), no_memory, no_library:
            _run(argv, program)
    except (InputError, Stopped) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(
            f"{name}: Stopped; what is finished is kept. Run the same command again to go on "
            "from here.",
            file=sys.stderr,
        )
        return Stopped.exit_code
    return 0


def _join() -> None:
    """Makes this process one of several, where --coordinator says so."""
    if _COORDINATOR.value is not None:
        from dtc_jax.training import hosts

        hosts.join(_COORDINATOR.value, _PROCESSES.value, _PROCESS_ID.value)


def _run(argv: list[str], program: Sequence[str]) -> None:
    """Calls the function of the mode with its flags."""
    if _MODE.value == "predict":
        _predict()
        return
    # After the flags, and of one mode alone: JAX takes seconds to import. Looking for garbage, of
    # which there is none, would add a quarter, and later each look would go through all of it.
    name = f"dtc_jax.runs.{_MODE.value}"
    is_new = name not in sys.modules
    gc.disable()
    try:
        mode = importlib.import_module(name)
    finally:
        gc.enable()
    if is_new:
        gc.freeze()
    if _MODE.value == "train":
        from dtc_jax.runs import sweep

        home = _WORKDIR.value or f"runs/{config_name(argv)}"
        mode.run(_CONFIG.value, home, sweep.callback(_RUNGS.value, home))
    elif _MODE.value == "leakage":
        mode.run(_CONFIG.value, _WORKDIR.value or f"runs/{config_name(argv)}-leakage")
    elif _MODE.value == "pipeline":
        home = _WORKDIR.value or f"runs/{config_name(argv)}"
        mode.run(_CONFIG.value, home, _CANDIDATES.value or "")
    elif _MODE.value == "evaluate":
        given = (_WORKDIR, _SCANS, _CANDIDATES, _MANIFEST)
        mode.run(*(flag.value or "" for flag in given))
    elif _MODE.value == "report":
        mode.run(_PREDICTIONS.value or [], _OUT.value or "", _THRESHOLD.value)
    elif _MODE.value == "export":
        mode.run(
            _WORKDIR.value or "",
            _OUT.value or "",
            _FORMAT.value or [],
            _MEMBER.value,
            _DTYPE.value or "float32",
        )
    elif _MODE.value == "audit":
        mode.run(_CLAIMS.value or "", _OUT.value)
    elif _MODE.value == "sweep":
        mode.run(
            _CONFIG.value,
            _SWEEP.value or "",
            _OUT.value or "",
            program=program,
            given=config_flags.get_override_values(flags.FLAGS[_CONFIG.name]),
            engine=_ENGINE.value,
            retries=_RETRIES.value,
            share=_SHARE.value,
            cores=_CORES.value,
            ray_address=_RAY_ADDRESS.value,
            slurm=_SLURM.value,
            asha=_ASHA.value,
            scans=_SCANS.value or "",
        )


def _predict() -> None:
    """Predicts, or makes the final answer of a review; networks of bundles need no JAX."""
    from dtc_jax.runs import predict

    if _REVIEW.value:
        predict.review(
            _OUT.value or "",
            _REVIEW.value,
            mask=_MASK.value or "",
            scan=_SCAN.value or "",
            series=_SERIES.value,
            classifier=_CLASSIFIER.value or "",
            keep_identity=_KEEP_IDENTITY.value,
            send=_SEND.value or "",
        )
    else:
        predict.run(
            _OUT.value or "",
            _SEGMENTER.value or "",
            _CLASSIFIER.value or "",
            scan=_SCAN.value or "",
            scans=_SCANS.value or "",
            series=_SERIES.value,
            lungs=_LUNGS.value or "",
            lesions=_LESIONS.value or "",
            candidates=_CANDIDATES.value or "",
            keep_identity=_KEEP_IDENTITY.value,
            send=_SEND.value or "",
        )


def _described(name: str) -> str:
    """The docstring, for a program of this name."""
    if name == "launch.py":
        return str(__doc__)
    by_mode = re.sub(r"python launch\.py --mode=", f"{name} ", str(__doc__))
    return by_mode.replace("python launch.py", f"{name} train")


if __name__ == "__main__":
    sys.exit(main(sys.argv))
