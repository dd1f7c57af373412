"""The table of algorithms is complete: a public method without a row fails here."""

import importlib
import inspect
import pkgutil

import aigc_jax.algorithms

from .table import ROWS, VARIANTS


def factories():
    for info in pkgutil.iter_modules(aigc_jax.algorithms.__path__):
        module = importlib.import_module(f"aigc_jax.algorithms.{info.name}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            is_own = function.__module__ == module.__name__ and not name.startswith("_")
            signature = inspect.signature(function)
            # Common parts of several methods take their loss as an argument.
            if is_own and "Algorithm" in str(signature.return_annotation) and "loss_fn" not in signature.parameters:
                yield function


def test_table_has_a_row_for_every_public_factory():
    found = {f"{function.__module__}.{function.__name__}" for function in factories()}
    assert {"aigc_jax.algorithms.gan.gan", "aigc_jax.algorithms.classifier.classifier"} <= found
    assert found == {f"{row.factory.__module__}.{row.factory.__name__}" for row in ROWS.values()}


def test_table_has_a_row_for_every_public_objective():
    from aigc_jax.losses import adversarial

    objectives = {
        name
        for name, function in inspect.getmembers(adversarial, inspect.isfunction)
        if "Objective" in str(inspect.signature(function).return_annotation)
    }
    assert len(objectives) >= 6
    for objective in objectives:
        assert any(objective in inspect.getsource(row.build) for row in (ROWS | VARIANTS).values()), objective
