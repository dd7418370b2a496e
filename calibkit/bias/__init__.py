"""The bias: interference in it, the level beside the image, and a bias with less noise."""
