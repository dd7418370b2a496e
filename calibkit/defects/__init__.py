"""Bad pixels: finding them, keeping them in a map, replacing them."""

from calibkit.defects.defect_map import DefectMap
from calibkit.defects.finding import find_defects
from calibkit.defects.mending import repair

__all__ = ["DefectMap", "find_defects", "repair"]
