"""Turning the big-endian numbers of FITS files into the processor's, in place."""

from __future__ import annotations

import numpy as np


def swap_bytes(bits: np.ndarray, flip: np.unsignedinteger) -> None:
    """Reverse the bytes of each number, then xor it with *flip*, in place: numpy's way takes several times as long.

    Parameters
    ----------
    bits : numpy.ndarray
        Unsigned integers, C-contiguous.
    flip : numpy.unsignedinteger
        The top bit where a file stores unsigned numbers as signed ones, else 0.
    """
    from calibkit.kernels import samples

    flat = np.reshape(bits, -1, copy=False)
    if bits.itemsize == 2:
        samples.swap_bytes_16(flat, np.uint16(flip))
    elif bits.itemsize == 4:
        samples.swap_bytes_32(flat, np.uint32(flip))
    else:
        if bits.itemsize > 1:
            bits.byteswap(inplace=True)
        bits ^= flip
