"""Small numba functions over plain arrays, each behind a validated function of the public layer.

Nothing here checks its input. Every kernel is made by `calibkit.kernels._jit.kernel`, which says how
compiled code is kept between sessions.
"""
