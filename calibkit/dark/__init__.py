"""The dark: how it grows with temperature, how strong it is in a light, and its own noise taken out."""
