"""Scripts as modules: found, checked, run once; `load` for Python, `import` for scripts."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tdsl.compiler.source import NameError, RuntimeError, TdslError
from tdsl.lang import ast, files, scope
from tdsl.lang.binding import used_names
from tdsl.lang.check import check
from tdsl.lang.emit import emit
from tdsl.lang.errors import SOURCES, located
from tdsl.lang.frozen import freeze
from tdsl.lang.parse import parse_source, read


class ScriptModule:
    """A module that was run: its top-level names as attributes; those that start with `_` are not visible."""

    def __init__(self, name: str, file: str, names: dict[str, Any]) -> None:
        object.__setattr__(self, "tdsl_module_name", name)
        object.__setattr__(self, "tdsl_file", file)
        object.__setattr__(self, "tdsl_names", names)

    def __getattr__(self, name: str) -> Any:
        names = object.__getattribute__(self, "tdsl_names")
        if name in names and name[0] not in "_$":
            return names[name]
        raise AttributeError(f"module {self.tdsl_module_name!r} has no attribute {name!r}")

    def __dir__(self) -> list[str]:
        return sorted(n for n in self.tdsl_names if n[0] not in "_$")

    def __repr__(self) -> str:
        return f"<tdsl module {self.tdsl_module_name!r} from {self.tdsl_file!r}>"


@dataclass(eq=False, slots=True)
class Session:
    """One run: where modules are looked for, what is allowed, what was imported."""

    path: tuple[str, ...] = ()
    allow_python: bool | tuple[str, ...] = False
    policy: files.Policy = files.DEFAULT
    modules: dict[Path, ScriptModule] = field(default_factory=dict)
    packages: dict[tuple[Path, tuple[str, ...]], ScriptModule] = field(default_factory=dict)
    importing: list[Path] = field(default_factory=list)

    def load(self, file: str | Path) -> ScriptModule:
        """Run the top level of a file."""
        path = Path(file)
        real = path.resolve()
        if real in self.modules:
            return self.modules[real]
        if not path.is_file():
            raise RuntimeError(f"there is no file {path.absolute()}", code="E0704")
        module = self.run_text(read(path), str(file), real)
        self.modules[real] = module
        return module

    def run_text(self, text: str, file: str, real: Path) -> ScriptModule:
        source = ast.Source(file, text)
        tree = parse_source(source)
        faults = [f for f in check(tree, source) if f.code[0] == "E"]
        if faults:
            raise faults[0]
        return self.run(tree, source, real)

    def run(self, tree: ast.File, source: ast.Source, real: Path) -> ScriptModule:
        """The module of a checked tree."""
        shadowed = [s.name for s in tree.body if isinstance(s, (ast.FuncDef, ast.FunctionDef, ast.ModelDef))]
        code, constants = emit(tree, source, shadowed)
        SOURCES[source.file] = source
        builtin = scope.names(used_names(tree))
        builtin.update(files.functions(real, self.policy))
        builtin["$import"] = lambda path: self.importer(path, real)
        builtin["$package"] = lambda path: self.package(path, real)
        names: dict[str, Any] = {"__builtins__": builtin, "__name__": "script", **constants}
        self.importing.append(real)
        try:
            exec(code, names)
        except Exception as error:
            raise located(error) from None if isinstance(error, TdslError) else error
        finally:
            self.importing.pop()
        return ScriptModule(real.stem, source.file, names)

    def package(self, path: tuple[str, ...], importing: Path) -> Any:
        """`import a.b`: the name `a`, which holds `b`; modules of one folder stand under one name."""
        module = self.importer(path, importing)
        for depth in range(len(path) - 1, 0, -1):
            key = (importing, path[:depth])
            if key not in self.packages:
                self.packages[key] = ScriptModule(".".join(path[:depth]), str(importing.parent), {})
            self.packages[key].tdsl_names[path[depth]] = module
            module = self.packages[key]
        return module

    def importer(self, path: tuple[str, ...], importing: Path) -> Any:
        if path[0] == "python":
            return self.python(path[1:], importing)
        folders = [str(importing.parent), *self.path, *filter(None, os.environ.get("TDSL_PATH", "").split(os.pathsep))]
        for folder in folders:
            found = Path(folder, *path).with_suffix(".tdsl")
            if not found.is_file():
                continue
            real = found.resolve()
            if real in self.importing:
                chain = " imports ".join(p.stem for p in [*self.importing[self.importing.index(real) :], real])
                raise RuntimeError(f"modules import each other: {chain}", code="E0702")
            known = real in self.modules
            module = self.load(os.path.relpath(found) if not importing.is_absolute() else found)
            if not known:
                freeze(module.tdsl_names)
            return module
        looked = ", ".join(folders)
        name = ".".join(path)
        hint = f"for a Python module write `import python.{name}`" if path[0] in sys.stdlib_module_names else None
        raise NameError(f"there is no module `{name}`", code="E0703", notes=(f"looked in {looked}",), hint=hint)

    def python(self, path: tuple[str, ...], importing: Path) -> Any:
        allowed = False if self.policy.sandbox else self.allow_python
        if allowed is False or (allowed is not True and (not path or path[0] not in allowed)):
            name = path[0] if path else "NAME"
            raise RuntimeError(
                "this script may not import Python modules",
                code="E0701",
                notes=("a Python module can do anything on this machine",),
                hint=f"if you trust it: tdsl run --allow-python={name} {importing.name}",
            )
        name = ".".join(path)
        beside = importing.parent.joinpath(*path).with_suffix(".py")
        if beside.is_file():
            spec = importlib.util.spec_from_file_location(name, beside)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            raise NameError(f"there is no Python module `{name}`", code="E0703") from None


def load(
    path: str | Path, *, allow_python: bool | tuple[str, ...] = False, search: tuple[str, ...] = ()
) -> ScriptModule:
    """Run the top level of a `.tdsl` file and give its names as attributes.

    `allow_python` lets the script import Python modules: all (True) or those of a tuple of names.
    Raises `SyntaxError`, `NameError` and whatever the script runs into, with its place in the file.
    """
    return Session(search, allow_python).load(path)
