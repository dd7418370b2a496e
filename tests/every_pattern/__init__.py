"""What every public function does on every kind of colour filter array: the scene, and the checks by subject."""
