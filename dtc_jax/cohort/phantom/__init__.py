"""A synthetic cohort with known labels: chest CTs, exact masks, a manifest with evidence."""

from dtc_jax.cohort.phantom.generate import generate, generate_in
from dtc_jax.cohort.phantom.spec import PhantomSpec, attainable_auc, fingerprint

__all__ = ["PhantomSpec", "attainable_auc", "fingerprint", "generate", "generate_in"]
