"""The product of dense layers compared with numpy, gradient included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.nets.dense import dense_product


def test_dense_product_and_its_gradient_are_those_of_matrices(rng):
    x, kernel, slope = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((2, 3, 4), (4, 5), (2, 3, 5)))
    product, pull = jax.vjp(lambda x, kernel: dense_product(x, kernel, (((2,), (0,)), ((), ()))), x, kernel)
    np.testing.assert_allclose(product, x @ kernel, atol=1e-5)
    of_x, of_kernel = pull(jnp.asarray(slope))
    np.testing.assert_allclose(of_x, slope @ kernel.T, atol=1e-5)
    np.testing.assert_allclose(of_kernel, np.einsum("bli,blo->io", x, slope), atol=1e-5)


def test_dense_product_refuses_other_axes():
    with pytest.raises(ValueError, match="last axis"):
        dense_product(jnp.zeros((2, 3)), jnp.zeros((2, 3)), (((0,), (0,)), ((), ())))
