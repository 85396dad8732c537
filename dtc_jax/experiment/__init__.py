"""From a configuration to trained networks and their figures: what the modes of launch.py share."""
