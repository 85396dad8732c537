"""Who is in the study: manifest, selection, splits, phantom cohort."""
