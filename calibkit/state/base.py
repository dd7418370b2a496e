"""What every panel's settings have in common: they are checked, listed, and written out as Python."""

from __future__ import annotations

from typing import Any

import traitlets


class State(traitlets.HasTraits):
    """Settings of a panel, without any widget.

    A subclass declares its settings as traits and says in `call` what they are settings of. An unknown name
    is refused, when the state is made and later, so that no typing mistake passes silently.

    Traits tagged ``setting=False`` are what the panel shows at the moment (the pixel that was clicked), not
    something to set again: they stay out of `settings` and `code`.

    Examples
    --------
    >>> class Clip(State):
    ...     call = "clip"
    ...     sigma = traitlets.Float(3.0, min=0.0)
    >>> clip = Clip()
    >>> clip.sigma = 2.5
    >>> clip.settings(), clip.code("stack")
    ({'sigma': 2.5}, 'clip(stack, sigma=2.5)')
    """

    #: The function or class that the settings belong to, as one writes it.
    call: str = ""

    def __init__(self, **settings: Any) -> None:
        known = self.setting_names()
        unknown = sorted(set(settings) - set(known))
        if unknown:
            msg = (
                f"{type(self).__name__} has no setting {', '.join(map(repr, unknown))}; "
                f"its settings are {', '.join(known)}"
            )
            raise TypeError(msg)
        super().__init__(**settings)

    def __setattr__(self, name: str, value: Any) -> None:
        # traitlets would make a new attribute of a misspelt setting, and nothing would happen.
        if not name.startswith("_") and not hasattr(type(self), name):
            msg = (
                f"{type(self).__name__} has no setting {name!r}; "
                f"its settings are {', '.join(self.setting_names())}"
            )
            raise AttributeError(msg)
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={value!r}" for name, value in self.settings().items())
        return f"{type(self).__name__}({inside})"

    @classmethod
    def setting_names(cls) -> list[str]:
        """Names of the settings, in the order in which they were declared."""
        return [
            name
            for base in reversed(cls.__mro__)
            for name, trait in vars(base).items()
            if isinstance(trait, traitlets.TraitType) and trait.metadata.get("setting", True)
        ]

    def settings(self) -> dict[str, Any]:
        """The settings that differ from their defaults, in the order in which they were declared."""
        values = {name: getattr(self, name) for name in self.setting_names()}
        return {name: value for name, value in values.items() if value != self._default_of(name)}

    def restore(self) -> None:
        """Put every setting back to its default."""
        with self.hold_trait_notifications():
            for name in self.setting_names():
                setattr(self, name, self._default_of(name))

    def code(self, *arguments: str) -> str:
        """The call with these settings, as Python.

        Parameters
        ----------
        *arguments : str
            Python text of what comes before the settings: names of variables, for instance.

        Returns
        -------
        str
        """
        given = [f"{name}={value!r}" for name, value in self.settings().items()]
        return f"{self.call}({', '.join([*arguments, *given])})"

    def _default_of(self, name: str) -> Any:
        return self.traits()[name].default(self)
