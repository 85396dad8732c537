"""`--mode=audit`: do the figures that a paper prints agree with each other?"""

import pathlib
from typing import Any

from dtc_jax import storage
from dtc_jax.audit import claims as claims_lib
from dtc_jax.audit import summary
from dtc_jax.errors import InputError


def run(claims: storage.PathLike, out: storage.PathLike | None = None) -> dict[str, Any]:
    """Prints the recomputed figures of a paper and those that contradict each other.

    Args:
      claims: YAML file, see `audit.claims`; an example is configs/claims/dtc_study.yaml.
      out: folder for audit.json, or None.

    Returns:
      The result of `claims.recompute`.

    Raises:
      InputError: the file is missing or not YAML, or a claim has a wrong or missing field.
    """
    try:
        result = claims_lib.recompute(claims_lib.read(pathlib.Path(claims)))
    except InputError as error:
        raise InputError(f"{claims}: {error}") from error
    print(summary.text(result))
    if out is not None:
        storage.write_json(pathlib.Path(out) / "audit.json", result)
    return result
