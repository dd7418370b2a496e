"""Sessions: find the frames of a folder, say what they are, group them and match them."""

from calibkit.session.frame import Frame, Group
from calibkit.session.matching import Match
from calibkit.session.scanning import scan
from calibkit.session.session import Session
from calibkit.session.tolerances import Tolerances

__all__ = ["Frame", "Group", "Match", "Session", "Tolerances", "scan"]
