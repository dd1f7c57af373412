"""Load the tests' settings for the doctests inside the package as well."""

pytest_plugins = ["tests.conftest"]
