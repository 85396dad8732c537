"""One file a mode of `launch.py`, each with a function `run`; this room sees all others."""
