"""Every solver converges to the exact answer at its published order, with every process."""

import pytest

from benchmarks import results
from tests.oracles import orders

COARSE, FINE = 24, 48
INTERIOR = [name for name in orders.PROCESSES if name != orders.ENDS]
QUICK = (orders.ENDS, "variance_preserving")


def cases(samplers, processes, quick):
    """The quick processes always, the others among the slow tests."""
    for sampler in samplers:
        for process in processes:
            marks = [] if process in quick else [pytest.mark.slow]
            yield pytest.param(sampler, process, marks=marks, id=f"{sampler}-{process}")


@pytest.mark.one_case
@pytest.mark.parametrize(("sampler", "process"), list(cases(orders.DETERMINISTIC, orders.PROCESSES, QUICK)))
def test_deterministic_solvers_converge_to_the_quantile_map(sampler, process):
    errors = [orders.ode_error(sampler, process, n) for n in (COARSE, FINE)]
    order, published = orders.fitted_order((COARSE, FINE), errors), orders.DETERMINISTIC[sampler].order
    if (sampler, process) == ("dpm_solver", orders.ENDS):
        # Steps of infinite length in lambda: the order is h^2 log h, see the table for finer grids.
        assert order > 1.3
    else:
        assert published - 0.2 < order < published + 0.3
    assert errors[-1] < {1: 0.15, 2: 0.01}[published]


@pytest.mark.one_case
@pytest.mark.parametrize(
    ("sampler", "process"), list(cases(orders.STOCHASTIC, INTERIOR, ("rectified_flow", "variance_preserving")))
)
def test_stochastic_solvers_converge_to_the_exact_gaussian(sampler, process):
    errors = [orders.gaussian_error(sampler, process, n) for n in (COARSE, FINE)]
    order, published = orders.fitted_order((COARSE, FINE), errors), orders.STOCHASTIC[sampler].order
    # The leading term of Euler-Maruyama nearly cancels for variance exploding: it converges faster at first.
    assert published - 0.2 < order < published + (0.8 if process == "variance_exploding" else 0.3)
    assert errors[-1] < {1: 0.05, 2: 0.005}[published]


def test_orders_command_prints_its_table(capsys):
    orders_only = {"euler": orders.DETERMINISTIC["euler"]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(orders, "DETERMINISTIC", orders_only)
        patch.setattr(orders, "STOCHASTIC", {})
        patch.setattr(orders, "PROCESSES", {"edm": orders.PROCESSES["edm"]})
        assert results.main(["orders", "--nums", "8", "16"]) == 0
    head, _, row = capsys.readouterr().out.splitlines()
    assert head.split("|")[1:3] == [" sampler ", " process "]
    assert row.startswith("| euler | edm | ")
