"""What griffe, which reads the source, cannot know of a signature."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import griffe


class Signatures(griffe.Extension):
    """Gives attrs classes their constructors, and signatures what their short names stand for.

    ``Partners``, for one, is a name of the source alone: shown is the type that it stands for.
    """

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Look at each class and function of the package, once all are loaded."""
        modules = [*_modules(pkg)]
        short = {path: value for each in modules for path, value in _short_names(each)}
        for module in modules:
            for each in _classes_and_functions(module):
                if isinstance(each, griffe.Class) and _is_attrs(each):
                    _add_constructor(each)
            for each in _classes_and_functions(module):
                if isinstance(each, griffe.Function):
                    _write_out(each, short)


def _modules(module: griffe.Module) -> Iterator[griffe.Module]:
    yield module
    for each in module.modules.values():
        if not each.is_alias:
            yield from _modules(each)


def _classes_and_functions(
    within: griffe.Module | griffe.Class,
) -> Iterator[griffe.Class | griffe.Function]:
    for each in [*within.members.values()]:
        if isinstance(each, griffe.Function):
            yield each
        elif isinstance(each, griffe.Class):
            yield each
            yield from _classes_and_functions(each)


def _short_names(module: griffe.Module) -> Iterator[tuple[str, Any]]:
    """The names of types and of plain constants, by their paths, with what they stand for."""
    for name, each in module.attributes.items():
        if each.is_alias or each.annotation is not None:
            continue
        of_type = isinstance(each.value, (griffe.ExprBinOp, griffe.ExprSubscript))
        if (of_type and name[0].isupper() and not name.isupper()) or isinstance(each.value, str):
            yield each.path, each.value


def _write_out(function: griffe.Function, short: dict[str, Any]) -> None:
    for each in function.parameters:
        each.annotation = _written_out(each.annotation, short)
        each.default = _written_out(each.default, short)
    function.returns = _written_out(function.returns, short)


def _written_out(value: Any, short: dict[str, Any]) -> Any:
    if isinstance(value, griffe.ExprName) and value.canonical_path in short:
        return _written_out(short[value.canonical_path], short)
    if isinstance(value, griffe.Expr):
        parts = {
            each.name: _written_out(getattr(value, each.name), short)
            for each in dataclasses.fields(value)
            if each.init and each.name != "parent"
        }
        return dataclasses.replace(value, **parts)
    if isinstance(value, list):
        return [_written_out(each, short) for each in value]
    return value


def _is_attrs(cls: griffe.Class) -> bool:
    return any(each.callable_path in ("attrs.frozen", "attr.frozen") for each in cls.decorators)


def _add_constructor(cls: griffe.Class) -> None:
    """Add an ``__init__`` with the fields, those that are inherited first."""
    fields: dict[str, griffe.Parameter] = {}
    for each in (*reversed(cls.mro()), cls):
        if _is_attrs(each):
            for name, attribute in each.attributes.items():
                if not attribute.is_alias and _is_field(attribute):
                    fields[name] = _parameter(name, attribute)
    itself = griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword)
    constructor = griffe.Function(
        "__init__", parameters=griffe.Parameters(itself, *fields.values())
    )
    cls.set_member("__init__", constructor)


def _is_field(attribute: griffe.Attribute) -> bool:
    if "property" in attribute.labels or attribute.annotation is None:
        return False
    return not str(attribute.annotation).startswith("ClassVar")


def _parameter(name: str, attribute: griffe.Attribute) -> griffe.Parameter:
    return griffe.Parameter(
        name,
        annotation=attribute.annotation,
        kind=griffe.ParameterKind.keyword_only,
        default=_default(attribute.value),
    )


def _default(value: Any) -> Any:
    if not (isinstance(value, griffe.ExprCall) and str(value.function) == "field"):
        return value
    keywords = [each for each in value.arguments if isinstance(each, griffe.ExprKeyword)]
    given = {each.name: each.value for each in keywords}
    return f"{given['factory']}()" if "factory" in given else given.get("default")
