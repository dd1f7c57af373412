"""Oracles of tests: closed forms, exact distributions, and scripts that record other libraries' numbers."""
