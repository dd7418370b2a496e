"""What calibkit raises and warns with.

Every message says what was asked, what was found, what is allowed and what to do.
"""

from __future__ import annotations


class CalibkitError(ValueError):
    """Base of every error that calibkit raises on purpose."""


class FrameFileError(CalibkitError):
    """A file cannot be read as a frame; the message names the file and the cause."""


class MismatchError(CalibkitError):
    """Frames or masters that do not belong together: size, pattern, gain, exposure, temperature."""


class SettingError(CalibkitError):
    """A setting that cannot work, with the reason."""


class OutputError(CalibkitError):
    """A result cannot be written: disk full, folder not writable, file in the way."""


class Cancelled(CalibkitError):
    """Raised by a progress callback to stop long work cleanly."""


class CalibkitWarning(UserWarning):
    """Something works but not as well as asked, or cannot be known; the message says what."""
