"""One function a mode of `launch.py`."""
