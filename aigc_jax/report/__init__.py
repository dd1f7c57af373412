"""The reliability report: what a model measured, as JSON and as a page."""
