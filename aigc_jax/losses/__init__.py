"""Losses, one value per example, and transforms of losses."""
