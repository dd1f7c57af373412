"""KL divergences of Gaussians without their formula: scipy's entropy, and Gauss-Hermite points that are exact."""

import numpy as np
from scipy import stats

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(5)


def gaussian_kl(mean, logvar, other_mean, other_logvar):
    """KL(N(mean, e^logvar) || N(other_mean, e^other_logvar)), elementwise."""
    mean, std = np.asarray(mean, np.float64), np.exp(0.5 * np.asarray(logvar, np.float64))
    other = stats.norm(np.asarray(other_mean, np.float64), np.exp(0.5 * np.asarray(other_logvar, np.float64)))
    cross = sum(w * other.logpdf(mean + std * node) for w, node in zip(WEIGHTS, NODES, strict=True)) / WEIGHTS.sum()
    return -stats.norm(mean, std).entropy() - cross
