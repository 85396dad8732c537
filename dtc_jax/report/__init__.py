"""The study on a page: figures, tables and one HTML file, out of predictions and a run's files."""
