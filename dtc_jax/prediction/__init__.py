"""From a scan to an answer for each of its lesions, and from a review to the final one."""
