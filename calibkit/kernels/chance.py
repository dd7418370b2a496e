"""Poisson numbers made from normal ones, so that a changed mean changes the number and not the sequence.

References
----------
Giles, M. B. 2016, "Algorithm 955: approximation of the inverse Poisson cumulative distribution function",
ACM Transactions on Mathematical Software 42, 7: the expansion for large means.
"""

from __future__ import annotations

import math

import numpy as np

from calibkit.kernels._jit import kernel

#: From this mean on the expansion is used; below it the probabilities are summed.
_LARGE = 30.0


@kernel
def poisson_from_normal(mean, z):
    """Overwrite standard normals *z* with Poisson numbers of these means, at the same quantiles."""
    for y in range(mean.shape[0]):
        for x in range(mean.shape[1]):
            m = np.float64(mean[y, x])
            w = np.float64(z[y, x])
            if m >= _LARGE:
                s = math.sqrt(m)
                w2 = w * w
                count = (
                    m
                    + s * w
                    + (2.0 + w2) / 6.0
                    - w * (2.0 + w2) / (72.0 * s)
                    + (-16.0 + 7.0 * w2 + 3.0 * w2 * w2) / (810.0 * m)
                )
                z[y, x] = max(0.0, math.floor(count))
            elif m > 0.0:
                upper = 0.5 * math.erfc(w / math.sqrt(2.0))  # chance of a larger normal
                p = math.exp(-m)
                left = 1.0 - p  # chance of more than k
                k = 0
                while left > upper and k < 400:
                    k += 1
                    p *= m / k
                    left -= p
                z[y, x] = k
            else:
                z[y, x] = 0.0
