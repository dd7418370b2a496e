"""Recipes as YAML files: read without trust, written so that the same recipe gives the same bytes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from calibkit.errors import SettingError
from calibkit.io.atomic import part_file
from calibkit.recipe import rules
from calibkit.recipe.model import SECTIONS, UNTIL, VERSION, Recipe, Section

#: A recipe is some lines; what is larger or deeper is something else.
MOST_BYTES, MOST_DEPTH, MOST_NODES = 64 * 1024, 8, 4096
_HEAD = "calibkit recipe"
_SCALARS = ("null", "bool", "int", "float", "str")


class _Loader(yaml.SafeLoader):
    """Plain values only: no anchors (which can multiply without end), no tags, nothing deep."""

    depth = nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise yaml.MarkedYAMLError(
                problem="anchors (&, *) are not allowed", problem_mark=event.start_mark
            )
        self.nodes += 1
        self.depth += 1
        if self.depth > MOST_DEPTH or self.nodes > MOST_NODES:
            raise yaml.MarkedYAMLError(problem="it is nested too deeply", problem_mark=event.start_mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def read_recipe(path: str | os.PathLike[str]) -> Recipe:
    """Read a recipe and check all of it.

    Parameters
    ----------
    path : path
        A YAML file as `write_recipe` writes it; settings that are left out have their defaults.

    Returns
    -------
    Recipe

    Raises
    ------
    SettingError
        The file cannot be read, or holds what a recipe does not: the message has the line, and the nearest name of
        those that are known.

    Examples
    --------
    >>> import calibkit
    >>> import tempfile
    >>> path = calibkit.write_recipe(calibkit.Recipe(), tempfile.mkdtemp() + "/recipe.yaml")
    >>> calibkit.read_recipe(path) == calibkit.Recipe()
    True
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror or error})"
        raise SettingError(msg) from error
    if len(data) > MOST_BYTES:
        msg = f"{path}: is larger than {MOST_BYTES // 1024} kB, which no recipe is"
        raise SettingError(msg)
    try:
        loader = _Loader(data.decode("utf-8-sig"))
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
    except UnicodeDecodeError as error:
        msg = f"{path}: is not text in UTF-8 (byte {error.start}), as a recipe is"
        raise SettingError(msg) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}" if mark else ""
        msg = f"{path}{where}: is not YAML as a recipe is written: {error.problem or error.context}"
        raise SettingError(msg) from error
    except yaml.YAMLError as error:
        msg = f"{path}: is not text as a recipe is written: {error}"
        raise SettingError(msg) from error
    return _recipe(path, node)


def write_recipe(recipe: Recipe, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a recipe as a YAML file with every setting, the same bytes for the same recipe.

    Parameters
    ----------
    recipe : Recipe
    path : path
    overwrite : bool
        Replace a file that is there.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    OutputError
        The file exists, or cannot be written.

    Examples
    --------
    >>> import calibkit
    >>> import tempfile
    >>> path = calibkit.write_recipe(calibkit.Recipe(), tempfile.mkdtemp() + "/recipe.yaml")
    >>> path.read_text().splitlines()[0]
    'calibkit recipe: 1'
    """
    path = Path(path)
    with part_file(path, overwrite=overwrite) as part:
        part.write_at(0, recipe_text(recipe).encode("utf-8"))
        part.finish(overwrite=overwrite)
    return path


def recipe_text(recipe: Recipe) -> str:
    """What `write_recipe` writes."""
    return yaml.safe_dump(
        plain(recipe), sort_keys=False, allow_unicode=True, default_flow_style=None, width=100
    )


def plain(recipe: Recipe) -> dict[str, Any]:
    """A recipe as dictionaries, lists, numbers and texts."""
    found: dict[str, Any] = {_HEAD: VERSION, "until": recipe.until}
    for name in SECTIONS:
        section = getattr(recipe, name)
        found[name] = {setting.name: _simple(getattr(section, setting.name)) for setting in fields(section)}
    return found


def _simple(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _simple(value[name]) for name in sorted(value)}
    return [_simple(entry) for entry in value] if isinstance(value, tuple) else value


def _recipe(path: Path, node: yaml.Node | None) -> Recipe:
    if not isinstance(node, yaml.MappingNode):
        msg = f"{path}: is not a recipe, which begins with the line '{_HEAD}: {VERSION}'"
        raise SettingError(msg)
    entries = _entries(path, node, (_HEAD, "until", *SECTIONS), "section")
    version = _value(path, entries.pop(_HEAD)) if _HEAD in entries else None
    if type(version) is not int or version < 1:
        msg = f"{path}, line {node.start_mark.line + 1}: is not a recipe, which says '{_HEAD}: {VERSION}'"
        raise SettingError(msg)
    if version > VERSION:
        msg = (
            f"{path}: is a recipe of version {version}, and this calibkit knows versions up to {VERSION}: "
            "use a newer calibkit"
        )
        raise SettingError(msg)
    made: dict[str, Any] = {}
    if "until" in entries:
        made["until"] = _checked(path, entries.pop("until"), "until", rules.one_of(*UNTIL))
    for name, part in entries.items():
        made[name] = _section(path, part, name, SECTIONS[name])
    return Recipe(**made)


def _section(path: Path, node: yaml.Node, name: str, section: type[Section]) -> Section:
    if _is_null(node):
        return section()
    settings = {setting.name: setting for setting in fields(section)}
    entries = _entries(path, node, settings, f"setting of {name}")
    return section(
        **{
            key: _checked(path, part, f"{name}: {key}", settings[key].metadata["rule"])
            for key, part in entries.items()
        }
    )


def _entries(path: Path, node: yaml.Node, known: Any, what: str) -> dict[str, yaml.Node]:
    """Name → node of a mapping whose names are all *known*, each there once."""
    if not isinstance(node, yaml.MappingNode):
        raise _error(
            path, node, f"wanted are names with values, one a line; a {what} is one of {', '.join(known)}"
        )
    entries: dict[str, yaml.Node] = {}
    for key, value in node.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else "a list or mapping as a name"
        if name not in known:
            near = rules.nearest(name, known)
            raise _error(path, key, f"{name!r} is no {what}{near}; there are {', '.join(known)}")
        if name in entries:
            raise _error(path, key, f"{name!r} is there twice")
        entries[name] = value
    return entries


def _checked(path: Path, node: yaml.Node, name: str, rule: rules.Rule) -> Any:
    value = _value(path, node)
    try:
        return rule(value)
    except ValueError as error:
        raise _error(path, node, f"{name}: {error}") from error


def _value(path: Path, node: yaml.Node) -> Any:
    """A plain value; what YAML takes for a date or the like is no setting."""
    if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
        return [_value(path, part) for part in node.value]
    if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
        entries: dict[str, Any] = {}
        for key, part in node.value:
            name = _value(path, key)
            if not isinstance(name, str) or name in entries:
                raise _error(path, key, f"{key.value!r} is no name, or is there twice")
            entries[name] = _value(path, part)
        return entries
    kind = node.tag.removeprefix("tag:yaml.org,2002:")
    if kind == "timestamp":
        return node.value
    if not isinstance(node, yaml.ScalarNode) or kind not in _SCALARS or len(node.value) > 1000:
        raise _error(path, node, "wanted is a number, a text, true, false or null")
    if kind == "str":
        return node.value
    try:
        return yaml.safe_load(node.value)
    except (ValueError, yaml.YAMLError) as error:
        raise _error(path, node, f"{node.value!r} is not understood") from error


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _error(path: Path, node: yaml.Node, text: str) -> SettingError:
    return SettingError(f"{path}, line {node.start_mark.line + 1}: {text}")
