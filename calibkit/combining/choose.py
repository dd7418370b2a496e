"""Choosing a rejection: ``reject="auto"``."""

from __future__ import annotations


def choose_rejection(method: str, n: int, *, noise_known: bool) -> tuple[str, str]:
    """Name of the rejection for *n* frames, and why.

    Parameters
    ----------
    method : str
        How the kept samples are combined.
    noise_known : bool
        Gain, read noise and offset level are known, so that a sample's noise can be computed.
    """
    if method == "median":
        return "none", "a median is hardly moved by outliers as it is"
    if method in ("minimum", "maximum"):
        return "none", f"a {method} is asked for, and rejection would change what that means"
    if n < 3:
        return "none", f"{n} frame{'s' if n > 1 else ''} cannot tell which sample is astray"
    if noise_known:
        return (
            "noise_model",
            "gain and read noise are known, and give the noise of every sample from 3 frames on",
        )
    if n < 4:
        return "none", "3 frames do not tell an outlier from noise unless gain and read noise are known"
    if n < 7:
        return "leave_one_out", f"with {n} frames a sample is best compared with the others alone"
    if n < 30:
        return (
            "winsorized",
            f"with {n} frames the spread has to be shielded from outliers while it is measured",
        )
    return (
        "sigma",
        f"with {n} frames a few outliers hardly stretch the standard deviation, and little is lost",
    )
