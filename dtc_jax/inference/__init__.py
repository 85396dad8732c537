"""Trained networks on whole scans."""
