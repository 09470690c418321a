"""From ``strategy.use`` to the strategy object.

This file does I/O besides process.py: importing a user's class reads the user's file.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from pipeline.errors import StrategyLoadError, explain
from pipeline.settings import StrategySettings
from pipeline.strategy.contract import Strategy

WAYS = ("on_tick", "on_batch")
FORMS = "strategy.use is module:Class or path/to/file.py:Class"


def load_strategy(settings: StrategySettings) -> Strategy:
    """Import the class that ``settings.use`` names and return one object of it.

    Raises StrategyLoadError when the module or the class is not there, the class is not a
    Strategy with either on_tick or on_batch, or the user's code raised while it was imported or
    constructed.
    """
    place, _, name = settings.use.partition(":")
    module = _import_file(Path(place)) if place.endswith(".py") else _import_module(place)
    chosen = _class_in(module, name, settings.use)
    with _users_code(
        f"{settings.use}: constructor",
        cure="write __init__(self, settings), and set what it reads in [strategy.parameters]",
    ):
        return chosen(settings)


def _import_module(name: str) -> ModuleType:
    with _users_code(f"importing {name}", cure="correct the module"):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise  # it is there, but something that it imports is not
    raise StrategyLoadError(
        explain(
            f"no module {name!r}",
            rule=FORMS,
            cure=f"install it, put its folder on PYTHONPATH, or name the file: {_as_path(name)}",
        )
    )


def _as_path(module_name: str) -> str:
    return module_name.replace(".", "/") + ".py:Class"


def _import_file(path: Path) -> ModuleType:
    full = path.expanduser().resolve()
    if not full.is_file():
        raise StrategyLoadError(
            explain(
                f"no file {full}",
                rule=FORMS,
                cure="correct the path; a relative one starts in the working directory",
            )
        )
    name = f"tickpipe_user_{full.stem}"  # the prefix keeps random.py from hiding the random module
    spec = importlib.util.spec_from_file_location(name, full)
    assert spec is not None, "a .py file always has a spec"
    assert spec.loader is not None, "and a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    with _users_code(f"importing {full}", cure="correct the file"):
        spec.loader.exec_module(module)
    return module


def _class_in(module: ModuleType, name: str, use: str) -> type[Strategy]:
    found = vars(module)
    if name not in found:
        raise StrategyLoadError(
            explain(
                f"{use}: no {name!r} in {module.__file__}",
                rule=FORMS,
                cure=_nearest(name, module),
            )
        )
    chosen = found[name]
    if not (isinstance(chosen, type) and issubclass(chosen, Strategy)):
        raise StrategyLoadError(
            explain(
                f"{use}: {name} is {chosen!r}",
                rule="a strategy is a subclass of pipeline.Strategy",
                cure=f"write class {name}(Strategy)",
            )
        )
    ways = [way for way in WAYS if getattr(chosen, way) is not getattr(Strategy, way)]
    if len(ways) != 1:
        raise StrategyLoadError(
            explain(
                f"{use}: {name} has {' and '.join(ways) or 'no on_tick'}",
                rule="a strategy answers every tick in on_tick(self, tick), "
                "or whole batches in on_batch(self, ticks)",
                cure=f"write one of the two in {name}",
            )
        )
    return chosen


def _nearest(name: str, module: ModuleType) -> str:
    names = [
        key
        for key, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Strategy) and value is not Strategy
    ]
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if near:
        return f"the nearest strategy there is {near[0]!r}"
    if names:
        return f"its strategies are {', '.join(sorted(names))}"
    return "write a subclass of pipeline.Strategy in it"


@contextmanager
def _users_code(what: str, *, cure: str) -> Iterator[None]:
    """Turn what the user's code raises into a StrategyLoadError with that as its cause."""
    try:
        yield
    except StrategyLoadError:
        raise  # the strategy refused its parameters in its own words
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError):
            cure = f"install what has {error.name} into {sys.prefix}, or correct the import"
        raise StrategyLoadError(
            explain(
                f"{what} raised {type(error).__name__}: {error}{_place_of(error)}",
                rule="a strategy is imported and constructed without an exception",
                cure=cure,
            )
        ) from error


def _place_of(error: BaseException) -> str:
    """Return where in the user's code it was raised; nothing where its message says so."""
    frames = traceback.extract_tb(error.__traceback__)
    user_frames = [frame for frame in frames[1:] if not frame.filename.startswith("<frozen ")]
    if not user_frames or isinstance(error, SyntaxError):
        return ""
    return f" ({Path(user_frames[-1].filename).name}, line {user_frames[-1].lineno})"
