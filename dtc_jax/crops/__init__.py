"""What a training example is: from a manifest row and a scan to a record."""
