"""What an object was made of, as JSON, and the same object again.

Layers, functions, losses, schedules and optimisers are described by their class and by the
arguments that would make them as they are now:

.. code-block:: text

    {"class": "Dense", "arguments": {"in_features": 784, ...,
                                     "weight_quantizer": {"class": "SignSTE", "arguments": {...}}}}

Each argument is the attribute of the same name. A class whose attributes differ has a method
``arguments()``, which returns those that do, by name:

.. code-block:: python

    def arguments(self):
        return {**super().arguments(), "bias": self.bias is not None}

Other values are numbers, texts, None and lists; ``{"mapping": ...}`` for a dict,
``{"function": name}`` for a function, ``{"parameter": path}`` for a parameter of the model, and
``{"float": "nan"}``, ``"inf"`` or ``"-inf"`` for what JSON does not have.
"""

from __future__ import annotations

import inspect
import math
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np

from minibnn.parameter import Buffer, Parameter

__all__ = ["Described", "build", "describe", "describe_loosely", "require_known"]

_DEEPEST = 100  # objects, lists and dicts inside each other
_MOST = 10_000  # objects
_LONGEST = 200  # characters of a name
_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_NO_PARAMETERS: Mapping[int, str] = {}


class Described(NamedTuple):
    """A description, and what `build` needs to follow it.

    Attributes:
        description: as JSON has it.
        classes: the classes and functions in it, by name.
    """

    description: Any
    classes: dict[str, Any]


def describe(thing: Any, name: str, *, parameters: Mapping[int, str] = _NO_PARAMETERS) -> Described:
    """Describe an object by class and arguments, from its current attributes, as JSON has it.

    Args:
        thing: the object.
        name: of the object, for messages: ``"model"``.
        parameters: from ``id(parameter)`` to its path in the model; needed for an optimiser.

    Raises:
        TypeError: for a part that cannot be described; the message has its name, such as
            ``model.layers[2].weight_init``, and what to do.
    """
    describer = _Strict(parameters)
    return Described(describer.value(thing, name, 0), describer.classes)


def describe_loosely(thing: Any, *, parameters: Mapping[int, str] = _NO_PARAMETERS) -> Any:
    """The description of any object: to be compared with another, not to be built.

    What cannot be described is a text: module and name of a function, or a repr without addresses.
    """
    return _Loose(parameters).value(thing, "", 0)


class _Describer:
    """Describes values; `refuse` says what becomes of those that cannot be."""

    def __init__(self, parameters: Mapping[int, str]) -> None:
        self.parameters = parameters

    def value(self, value: Any, name: str, depth: int) -> Any:
        if depth > _DEEPEST:
            expected = f"at most {_DEEPEST} objects inside each other, got more"
            return self.refuse(value, name, expected, "does one contain itself?")
        if isinstance(value, np.bool_ | np.integer | np.float32 | np.float64):
            value = value.item()
        if type(value) is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) in (list, tuple):
            return [self.value(v, f"{name}[{i}]", depth + 1) for i, v in enumerate(value)]
        if type(value) is dict and all(type(key) is str for key in value):
            return {
                "mapping": {k: self.value(v, f"{name}[{k!r}]", depth + 1) for k, v in value.items()}
            }
        if id(value) in self.parameters:
            return {"parameter": self.parameters[id(value)]}
        if isinstance(value, Parameter | Buffer):
            expected = f"arguments that are no arrays of a model, got {value!r}"
            return self.refuse(value, name, expected, "let the constructor make its own")
        if isinstance(value, type | FunctionType):
            return self.function(value, name)
        return self.object(value, name, depth)

    def object(self, thing: Any, name: str, depth: int) -> Any:
        arguments = _arguments(thing)
        if isinstance(arguments, tuple):
            return self.refuse(thing, name, *arguments)
        return {
            "class": type(thing).__name__,
            "arguments": {k: self.value(v, f"{name}.{k}", depth + 1) for k, v in arguments.items()},
        }

    def function(self, value: Any, name: str) -> Any:
        raise NotImplementedError

    def refuse(self, value: Any, name: str, expected: str, hint: str) -> Any:
        raise NotImplementedError


class _Strict(_Describer):
    """Describes what `build` can make again."""

    def __init__(self, parameters: Mapping[int, str]) -> None:
        super().__init__(parameters)
        self.classes: dict[str, Any] = {}
        self.seen: dict[int, tuple[Any, str]] = {}

    def object(self, thing: Any, name: str, depth: int) -> Any:
        _, before = self.seen.setdefault(id(thing), (thing, name))
        # What has no state may be shared: two equal objects do the same.
        if before != name and getattr(thing, "state", dict)():
            expected = f"an object of its own, got the one that is also {before}"
            self.refuse(thing, name, expected, "make a new object for each place")
        found = super().object(thing, name, depth)
        self.name(type(thing), name)
        return found

    def function(self, value: Any, name: str) -> Any:
        if getattr(value, "__closure__", None) or value.__name__ == "<lambda>":
            self.refuse(
                value, name, f"an object that a file can name, got {_plain_repr(value)}",
                "write a class whose arguments are its attributes (a dataclass, with __call__), or "
                "a function with a name that uses no variable of another function",
            )  # fmt: skip
        self.name(value, name)
        return {"function": value.__name__}

    def name(self, value: Any, name: str) -> None:
        """Keep a class or function by its name, which no other may have."""
        other = self.classes.setdefault(value.__name__, value)
        if other is not value:
            expected = f"a class with a name of its own, got a second {value.__name__}"
            self.refuse(value, name, expected, "rename one of them")

    def refuse(self, value: Any, name: str, expected: str, hint: str) -> Any:
        raise TypeError(f"{name}: expected {expected}; {hint}")


class _Loose(_Describer):
    """Describes everything, so that it can be compared."""

    def function(self, value: Any, name: str) -> Any:
        return f"{value.__module__}.{value.__qualname__}"

    def object(self, thing: Any, name: str, depth: int) -> Any:
        try:
            return super().object(thing, name, depth)
        except Exception:  # from a property of a user's class
            return _plain_repr(thing)

    def refuse(self, value: Any, name: str, expected: str, hint: str) -> Any:
        if isinstance(value, set | frozenset):  # texts in it have another order in each process
            return sorted(map(_plain_repr, value))
        if isinstance(value, np.ndarray):  # its repr leaves most of it out
            import hashlib  # slow to import

            content = value.tobytes()
            if value.dtype.hasobject:  # these are addresses
                content = _plain_repr(value.tolist()).encode()
            digest = hashlib.sha256(content).hexdigest()
            return f"{value.dtype} {value.shape} sha256 {digest}"
        return _plain_repr(value)


def _arguments(thing: Any) -> dict[str, Any] | tuple[str, str]:
    """The constructor's arguments that would make this object; or what was expected, and a hint."""
    cls = type(thing)
    try:
        if cls.__module__.partition(".")[0] in ("builtins", "numpy"):
            raise ValueError
        signature = inspect.signature(cls)
    except ValueError:
        return (
            f"an object of a class of Python, got {_short(_plain_repr(thing))}",
            "use numbers, texts, lists, and objects whose arguments are their attributes",
        )
    own = thing.arguments() if callable(getattr(cls, "arguments", None)) else {}
    found = {}
    for parameter in signature.parameters.values():
        name = parameter.name
        if name not in own and not hasattr(thing, name):
            return (
                f"an attribute {name!r} of {cls.__name__}, which its constructor has as an "
                "argument, got none",
                f"write self.{name} = {name} there, or give the class a method arguments() that "
                f"returns a dict with {name!r}",
            )
        found[name] = own[name] if name in own else getattr(thing, name)
    return found


def build(
    description: Any,
    name: str,
    classes: Mapping[str, Callable[..., Any]],
    *,
    parameters: Mapping[str, Any] = {},
) -> Any:
    """The object of a description, which may come from anywhere.

    Nothing is imported, and nothing is called but what is given.

    Args:
        description: as from `describe`.
        name: of the object, for messages.
        classes: the classes and functions, by name.
        parameters: of the model, by path; for an optimiser.

    Raises:
        ValueError: for anything that `describe` does not give, and for arguments that a class
            refuses.
    """
    require_known(description, classes)
    return _Builder(classes, parameters).value(description, name, 0)


def require_known(description: Any, classes: Mapping[str, Any]) -> None:
    """Raise ValueError with all names of a description that are not among the classes."""
    names = list(_names(description, 0))
    if len(names) > _MOST:
        raise ValueError(f"expected at most {_MOST:,} objects, got {len(names):,}")
    unknown = sorted({name for name in names if name not in classes})
    if unknown:
        listed = ", ".join(unknown[:20])
        raise ValueError(
            f"expected classes of minibnn or those given, got {listed}; import them, and write "
            f"load_model(path, classes=[{listed}])"
        )


def _names(value: Any, depth: int) -> Iterator[str]:
    """The classes and functions in a description."""
    if depth > 2 * _DEEPEST:
        raise ValueError(f"expected at most {_DEEPEST} objects inside each other, got more")
    if type(value) is list:
        for v in value:
            yield from _names(v, depth + 1)
    if type(value) is not dict:
        return
    for kind in {"class", "function"} & set(value):
        name = value[kind]
        if type(name) is not str or len(name) > _LONGEST or not name.isidentifier():
            raise ValueError(f"expected the name of a {kind}, got {_short(repr(name))}")
        yield name
    for part in ("arguments", "mapping"):
        if type(value.get(part)) is dict:
            for v in value[part].values():
                yield from _names(v, depth + 1)


class _Builder:
    """Makes objects from descriptions."""

    def __init__(self, classes: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
        self.classes = classes
        self.parameters = dict(parameters)  # each may be taken once: an optimiser copies it

    def value(self, value: Any, name: str, depth: int) -> Any:
        if depth > _DEEPEST:
            raise ValueError(
                f"{name}: expected at most {_DEEPEST} objects inside each other, got more"
            )
        if type(value) is list:
            return [self.value(v, f"{name}[{i}]", depth + 1) for i, v in enumerate(value)]
        if type(value) is not dict:
            return value
        keys = set(value)
        if keys == {"class", "arguments"} and type(value["arguments"]) is dict:
            return self.object(value["class"], value["arguments"], name, depth)
        inside: Any = value.get(next(iter(keys), ""))
        if keys == {"mapping"} and type(inside) is dict:
            return {k: self.value(v, f"{name}[{k!r}]", depth + 1) for k, v in inside.items()}
        if keys == {"function"} and isinstance(self.classes[inside], type | FunctionType):
            return self.classes[inside]
        if keys == {"float"} and type(inside) is str and inside in _FLOATS:
            return _FLOATS[inside]
        if keys == {"parameter"} and type(inside) is str and inside in self.parameters:
            return self.parameters.pop(inside)
        raise ValueError(f"{name}: expected a description, got {_short(repr(value))}")

    def object(self, class_name: str, described: dict[str, Any], name: str, depth: int) -> Any:
        cls = self.classes[class_name]
        if not isinstance(cls, type):
            raise ValueError(f"{name}: expected {class_name} to be a class, got {cls!r}")
        arguments = {k: self.value(v, f"{name}.{k}", depth + 1) for k, v in described.items()}
        signature = inspect.signature(cls)
        unknown = sorted(set(arguments) - set(signature.parameters))
        if unknown:
            raise ValueError(
                f"{name}: expected arguments of {class_name}, got {_short(repr(unknown[0]))}"
            )
        for p in signature.parameters.values():
            if p.kind is p.VAR_POSITIONAL and type(arguments.get(p.name, [])) is not list:
                raise ValueError(f"{name}.{p.name}: expected a list")
            if p.kind is p.VAR_KEYWORD and type(arguments.get(p.name, {})) is not dict:
                raise ValueError(f"{name}.{p.name}: expected a mapping")
        bound = inspect.BoundArguments(signature, OrderedDict(arguments))
        try:
            bound.apply_defaults()
            return cls(*bound.args, **bound.kwargs)
        except Exception as error:
            raise ValueError(
                f"{name}: expected arguments that {class_name} accepts, got "
                f"{type(error).__name__}: {error}"
            ) from error


def _plain_repr(value: Any) -> str:
    """The repr, without addresses."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."
