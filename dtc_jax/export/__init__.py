"""Trained networks for use elsewhere: serving formats that give the same numbers."""
