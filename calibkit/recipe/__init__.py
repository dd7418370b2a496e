"""What is done with a session, as a small file: written by the workbench, run by the command."""

from calibkit.recipe.files import read_recipe, write_recipe
from calibkit.recipe.model import (
    AlignSettings,
    CameraSettings,
    DarkSettings,
    DefectSettings,
    FrameSettings,
    LightSettings,
    MasterSettings,
    PictureSettings,
    Recipe,
    StackSettings,
)

__all__ = [
    "AlignSettings",
    "CameraSettings",
    "DarkSettings",
    "DefectSettings",
    "FrameSettings",
    "LightSettings",
    "MasterSettings",
    "PictureSettings",
    "Recipe",
    "StackSettings",
    "read_recipe",
    "write_recipe",
]
