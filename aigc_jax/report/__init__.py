"""The reliability report of a model, as JSON and as a page."""
