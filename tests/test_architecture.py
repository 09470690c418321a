"""The shape of pipeline/: who imports whom, who does I/O, who catches all, how long files are.

Each rule is a function from a path and a source to its breaches, so that the second half of this
file can show on small sources that the rule can fail. Imports that stand under
``if TYPE_CHECKING`` count for the floors and not for I/O.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.errors import explain

ROOT = Path(__file__).resolve().parent.parent
PATHS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "pipeline").rglob("*.py"))

# Who may import whom -------------------------------------------------------------------------

TOP = frozenset(
    {
        "__main__",
        "backtest",
        "cli",
        "display",
        "testing",
        "trader",
        "verbs",
    }
)
CHILDREN = frozenset({"feed", "strategy", "risk", "recorder"})  # what the supervisor forks
FLOORS = (
    TOP,
    CHILDREN | {"supervisor", "simulator"},
    frozenset({"brokers", "results"}),
    frozenset({"channels", "runtime"}),
    frozenset({"settings"}),
    frozenset({"records", "errors"}),
)
CONTRACT = "pipeline.strategy.contract"
BESIDE_THE_FLOORS = {  # rooms that stand on the contract, these and nothing else
    "strategies": frozenset({"settings", "records", "errors"}),
    "": frozenset({"settings", "records", "errors"}),  # pipeline/__init__.py
}
ROOMS = frozenset().union(*FLOORS, BESIDE_THE_FLOORS)

# Who does I/O --------------------------------------------------------------------------------

SHELLS = frozenset(
    {"process", "connection", "orders", "ledger", "files", "report", "topology", "display"}
)
SHELL_ROOMS = frozenset({"channels", "runtime", "simulator", "verbs"})
SHELL_FILES = frozenset(
    f"pipeline/{name}.py"
    for name in (
        "__main__",
        "cli",
        "backtest",
        "brokers/recorded/counts",
        "brokers/recorded/journal",
        "brokers/recorded/parquet",
        "brokers/recorded/recording",
        "testing",
        "feed/connecting",
        "feed/connections",
        "settings/options",
        "settings/secrets",
        "strategy/loading",
        "trader/__main__",
        "trader/arguments",
        "trader/broker",
        "trader/live",
        "trader/screen",
    )
)
STORAGE = {"fcntl", "mmap", "os", "shutil", "sqlite3", "tempfile"}
NETWORK = {"aiohttp", "http", "select", "selectors", "socket", "ssl", "urllib.request", "websocket"}
PROCESSES = {"ctypes", "multiprocessing", "psutil", "signal", "subprocess"}
WAITING = {"asyncio", "concurrent", "threading", "time"}
MACHINE = frozenset(STORAGE | NETWORK | PROCESSES | WAITING)
CALLS = frozenset({"open", "print", "input", "breakpoint"})
METHODS = frozenset({"open", "read_text", "read_bytes", "write_text", "write_bytes", "mkdir"})
CLOCKS = frozenset({"now", "utcnow", "today"})

# Who catches everything, and why -------------------------------------------------------------

CATCHES_EVERYTHING = {
    "pipeline/runtime/boundary.py::guard": "the one boundary of a process: log it, name the code",
    "pipeline/runtime/rehearsing.py::Rehearsing._rehearsed": "nobody waits for it: told, given up",
    "pipeline/strategy/session.py::StrategySession._decide": "user's code: a failure is counted",
    "pipeline/strategy/session.py::_failure_of": "user's code: the same count",
    "pipeline/strategy/loading.py::_users_code": "user's code: becomes a StrategyLoadError",
    "pipeline/brokers/orders.py::BrokerGateway._guarded": "a thread: raised again in take()",
    "pipeline/feed/connecting.py::Attempt._run": "a thread: raised again where it is asked for",
    "pipeline/trader/broker.py::BrokerAdapter._push": "user's code: told, and the ticks go on",
    "pipeline/trader/screen.py::Screen._work": "user's code: told, and the run goes on",
}

# How long a file is --------------------------------------------------------------------------

LINES_MAX = 450


@dataclass(frozen=True)
class Import:
    module: str  # absolute
    name: str  # "" for `import module`
    bound: str  # what the file calls it
    line: int
    in_function: bool
    for_types: bool

    @property
    def target(self) -> str:
        """The thing imported, as a dotted name."""
        return f"{self.module}.{self.name}" if self.name else self.module

    @property
    def room(self) -> str:
        """The room of pipeline/ that it is in; "" for the package's own names."""
        parts = self.module.split(".")
        if len(parts) > 1:
            return parts[1]
        return self.name if self.name in ROOMS else ""


def room_of(path: str) -> str:
    part = path.removeprefix("pipeline/").split("/")[0].removesuffix(".py")
    return "" if part == "__init__" else part


def imports_of(path: str, source: str) -> Iterator[Import]:
    package = path.split("/")[:-1]

    def visit(node: ast.AST, in_function: bool, for_types: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, "", "", node.lineno, in_function, for_types)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, node.module] if node.module else above)
            for alias in node.names:
                bound = alias.asname or alias.name
                yield Import(module, alias.name, bound, node.lineno, in_function, for_types)
        in_function |= isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        guarded = node.body if isinstance(node, ast.If) and if_types else []
        for child in ast.iter_child_nodes(node):
            yield from visit(child, in_function, for_types or child in guarded)

    return visit(ast.parse(source), False, False)


def is_within(target: str, module: str) -> bool:
    return target == module or target.startswith(module + ".")


def may_import(room: str, found: Import) -> bool:
    if found.room == room:
        return True
    if room in BESIDE_THE_FLOORS:
        return found.room in BESIDE_THE_FLOORS[room] or is_within(found.target, CONTRACT)
    if room in TOP:
        return True
    if room == "supervisor" and found.room in CHILDREN:
        return found.in_function
    rank = next(rank for rank, floor in enumerate(FLOORS) if room in floor)
    return any(found.room in floor for floor in FLOORS[rank + 1 :])


def floor_breaches(path: str, source: str) -> list[str]:
    room = room_of(path)
    if room not in ROOMS:
        return [
            explain(
                f"{path}: {room} stands on no floor",
                rule="every room of pipeline/ has its place in the order of imports",
                cure="put it into FLOORS, or the code into a room that is there",
            )
        ]
    return [
        explain(
            f"{path}:{found.line}: {room or 'pipeline'} imports {found.target}",
            rule="imports go down only: "
            + " > ".join("|".join(sorted(f)) for f in FLOORS)
            + "; rooms of one floor are strangers, the supervisor imports a child's room inside a "
            "function only, strategies/ stands on the contract and the settings",
            cure="take the value as an argument, or move what both need down a floor",
        )
        for found in imports_of(path, source)
        if found.module.split(".")[0] == "pipeline" and not may_import(room, found)
    ]


def is_shell(path: str) -> bool:
    return room_of(path) in SHELL_ROOMS or path in SHELL_FILES or Path(path).stem in SHELLS


def names_a_shell(found: Import) -> bool:
    """Whether it is a shell, a name in one, or something of channels/."""
    parts = found.target.split(".")
    if parts[0] != "pipeline" or len(parts) < 2:
        return False
    files = (parts, parts[:-1]) if found.name else (parts,)
    exists = any((ROOT / Path(*file)).with_suffix(".py").exists() for file in files)
    return parts[1] == "channels" or (exists and any(file[-1] in SHELLS for file in files))


def annotations_of(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation:
            yield node.annotation
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns:
            yield node.returns


def is_used(name: str, tree: ast.AST) -> bool:
    """Whether ``name`` stands anywhere but in annotations; `import module` always is used."""
    in_annotations = {id(part) for note in annotations_of(tree) for part in ast.walk(note)}
    return not name or any(
        isinstance(node, ast.Name) and node.id == name and id(node) not in in_annotations
        for node in ast.walk(tree)
    )


def touches_the_machine(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Name):
        return node.func.id in CALLS
    if not isinstance(node.func, ast.Attribute):
        return False
    owner = ast.unparse(node.func.value).split(".")[-1]
    reads_clock = node.func.attr in CLOCKS and owner in {"datetime", "date"}
    return reads_clock or node.func.attr in METHODS


def io_breaches(path: str, source: str) -> list[str]:
    if is_shell(path):
        return []
    tree = ast.parse(source)
    found = [
        (each.line, f"imports {each.target}")
        for each in imports_of(path, source)
        if not each.for_types
        and (
            any(is_within(each.target, module) for module in MACHINE)
            or (names_a_shell(each) and is_used(each.bound, tree))
        )
    ]
    found += [
        (node.lineno, f"calls {ast.unparse(node.func)}()")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and touches_the_machine(node)
    ]
    return [
        explain(
            f"{path}:{line}: {what}",
            rule=f"only the shells do I/O: {', '.join(sorted(SHELLS))}.py; a shell reaches any "
            "other file as an argument",
            cure="return what to do and let the shell of the room do it; take now_ns as a value",
        )
        for line, what in found
    ]


def broad_handlers(path: str, source: str) -> Iterator[tuple[str, int]]:
    """Yield "path::function" and line wherever every exception is caught and not raised again."""

    def visit(node: ast.AST, where: tuple[str, ...]) -> Iterator[tuple[str, int]]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            where = (*where, node.name)
        caught: list[ast.expr | None] = []
        if isinstance(node, ast.ExceptHandler) and not raises_again(node):
            caught = [node.type]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
            caught = list(node.args)
        if any(is_broad(kind) for kind in caught):
            yield f"{path}::{'.'.join(where)}", getattr(node, "lineno", 0)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, where)

    return visit(ast.parse(source), ())


def raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def is_broad(kind: ast.expr | None) -> bool:
    kinds = kind.elts if isinstance(kind, ast.Tuple) else [kind]
    names = {"" if each is None else ast.unparse(each).split(".")[-1] for each in kinds}
    return not names.isdisjoint({"", "Exception", "BaseException"})


def broad_breaches(path: str, source: str) -> list[str]:
    return [
        explain(
            f"{path}:{line}: {where.split('::')[1] or 'the module'} catches everything",
            rule="catch only what you can answer where you can answer it",
            cure="name the exceptions, or put the function into CATCHES_EVERYTHING with the reason",
        )
        for where, line in broad_handlers(path, source)
        if where not in CATCHES_EVERYTHING
    ]


def length_breaches(path: str, source: str) -> list[str]:
    lines = source.count("\n")
    if lines <= LINES_MAX:
        return []
    return [
        explain(
            f"{path} has {lines} lines",
            rule=f"a file has at most {LINES_MAX}",
            cure="split it by the decision each part makes",
        )
    ]


Rule = Callable[[str, str], list[str]]
RULES: dict[str, Rule] = {
    "imports go down only": floor_breaches,
    "only the shells do I/O": io_breaches,
    "nothing else catches everything": broad_breaches,
    "files stay short": length_breaches,
}

# The product keeps the rules -----------------------------------------------------------------


def source_of(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_every_file_keeps_the_rule(rule: Rule) -> None:
    breaches = [breach for path in PATHS for breach in rule(path, source_of(path))]
    assert not breaches, "\n" + "\n".join(breaches)


def test_the_files_were_found() -> None:
    assert "pipeline/strategy/contract.py" in PATHS


@pytest.mark.parametrize("where", CATCHES_EVERYTHING)
def test_what_may_catch_everything_still_does(where: str) -> None:
    path = where.split("::")[0]
    assert where in {found for found, _ in broad_handlers(path, source_of(path))}


# Each rule can fail --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("pipeline/records.py", "from pipeline.settings import Settings"),
        ("pipeline/records.py", "from pipeline.errors import explain"),
        ("pipeline/settings.py", "from pipeline.channels.ring import RingReader"),
        ("pipeline/settings.py", "from pipeline import channels"),
        ("pipeline/settings.py", "import pipeline.channels.ring as ring"),
        ("pipeline/settings.py", "from . import channels"),
        ("pipeline/settings.py", "from .channels.ring import RingReader"),
        ("pipeline/settings.py", "from pipeline import __version__"),
        ("pipeline/channels/ring.py", "from pipeline.runtime.stopping import Stop"),
        ("pipeline/channels/ring.py", "from ..runtime import stopping"),
        ("pipeline/runtime/logs.py", "from pipeline.results.trades import Trade"),
        ("pipeline/brokers/kite/wire.py", "from pipeline.results.trades import Trade"),
        ("pipeline/brokers/contract.py", "from pipeline.strategy.contract import Signal"),
        ("pipeline/results/files.py", "from pipeline.strategy.contract import ist"),
        ("pipeline/risk/limits.py", "from pipeline.strategy.contract import Signal"),
        ("pipeline/risk/limits.py", "def f():\n    from pipeline.feed import process"),
        ("pipeline/feed/process.py", "from pipeline.simulator.process import run"),
        ("pipeline/feed/process.py", "if TYPE_CHECKING:\n    from pipeline.risk import desk"),
        ("pipeline/feed/process.py", "from pipeline.cli import main"),
        ("pipeline/feed/process.py", "from pipeline import Tick"),
        ("pipeline/strategy/session.py", "from pipeline.strategies.momentum import Momentum"),
        (
            "pipeline/strategies/momentum.py",
            "from pipeline.strategy.session import StrategySession",
        ),
        ("pipeline/strategies/momentum.py", "from pipeline.strategy import loading"),
        ("pipeline/strategies/momentum.py", "from pipeline.channels.ring import RingReader"),
        ("pipeline/supervisor/process.py", "from pipeline.feed.process import run"),
        ("pipeline/supervisor/process.py", "class A:\n    from pipeline.risk import process"),
        ("pipeline/supervisor/process.py", "def f():\n    from pipeline.simulator import process"),
        ("pipeline/__init__.py", "from pipeline.channels.ring import RingReader"),
        ("pipeline/utils.py", ""),
    ],
)
def test_an_import_that_does_not_go_down_is_found(path: str, source: str) -> None:
    assert len(floor_breaches(path, source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("pipeline/settings.py", "import os\nfrom pipeline.records import TICK"),
        ("pipeline/channels/ring.py", "from . import layout\nfrom .layout import MAGIC"),
        ("pipeline/brokers/kite/wire.py", "from ..contract import Received"),
        ("pipeline/risk/process.py", "from pipeline.brokers.paper.orders import PaperGateway"),
        ("pipeline/strategy/session.py", "from pipeline.strategy.contract import Tick"),
        ("pipeline/strategies/momentum.py", "from pipeline.strategy.contract import Tick"),
        ("pipeline/strategies/momentum.py", "from pipeline.strategy import contract"),
        ("pipeline/supervisor/process.py", "def child():\n    from pipeline.feed import process"),
        ("pipeline/cli.py", "from pipeline import __version__\nfrom pipeline.backtest import run"),
        ("pipeline/testing.py", "from pipeline.strategies.momentum import Momentum"),
        ("pipeline/__init__.py", "from pipeline.strategy.contract import Tick"),
    ],
)
def test_an_import_that_goes_down_is_not_found(path: str, source: str) -> None:
    assert floor_breaches(path, source) == []


@pytest.mark.parametrize("module", sorted(MACHINE))
def test_a_pure_file_that_imports_the_machine_is_found(module: str) -> None:
    assert len(io_breaches("pipeline/risk/limits.py", f"import {module}")) == 1
    assert len(io_breaches("pipeline/risk/limits.py", f"from {module} import x")) == 1


@pytest.mark.parametrize(
    "source",
    [
        "import os.path",
        "from urllib import request",
        "def f():\n    import time",
        "print(1)",
        "with open('x') as file: ...",
        "text = Path('x').read_text()",
        "Path('x').open()",
        "moment = datetime.now(IST)",
        "moment = datetime.datetime.utcnow()",
        "day = date.today()",
        "from pipeline.risk.ledger import Ledger\nledger = Ledger('x')",
        "from pipeline.risk.ledger import Ledger as L\ndef f(): return L('x')",
        "from pipeline.risk import ledger\nledger.Ledger('x')",
        "import pipeline.risk.ledger",
        "from pipeline.channels.ring import RingReader\nRingReader('x')",
    ],
)
def test_a_pure_file_that_does_io_is_found(source: str) -> None:
    assert len(io_breaches("pipeline/risk/desk.py", source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "from datetime import time\nstart = time(9, 15)",
        "from urllib.parse import urlsplit",
        "def act(now_ns): return now_ns",
        "from pipeline.risk.ledger import Ledger\ndef desk(ledger: Ledger) -> None: ...",
        "if TYPE_CHECKING:\n    from pipeline.risk.ledger import Ledger\n    import sqlite3",
        "timezones = signal = 1\nbar.open + self.now()",
        "from pipeline.results.trades import report",
    ],
)
def test_a_pure_file_that_takes_values_is_not_found(source: str) -> None:
    assert io_breaches("pipeline/risk/desk.py", source) == []


@pytest.mark.parametrize(
    "path",
    [
        "pipeline/feed/process.py",
        "pipeline/brokers/kite/orders.py",
        "pipeline/risk/ledger.py",
        "pipeline/results/files.py",
        "pipeline/results/report.py",
        "pipeline/supervisor/topology.py",
        "pipeline/channels/waiting.py",
        "pipeline/runtime/logs.py",
        "pipeline/simulator/exchange.py",
        "pipeline/strategy/loading.py",
        "pipeline/settings/secrets.py",
    ],
)
def test_a_shell_may_do_io(path: str) -> None:
    assert io_breaches(path, "import os\nprint(open('x'))") == []
    assert io_breaches("pipeline/risk/limits.py", "import os\nprint(open('x'))") != []


@pytest.mark.parametrize(
    "source",
    [
        "try: f()\nexcept: pass",
        "try: f()\nexcept Exception: pass",
        "try: f()\nexcept BaseException as error: log(error)",
        "try: f()\nexcept (ValueError, Exception): pass",
        "try: f()\nexcept builtins.Exception: pass",
        "try: f()\nexcept* Exception: pass",
        "try: f()\nexcept Exception as error: raise Other from error",
        "with contextlib.suppress(Exception): f()",
        "with suppress(KeyError, BaseException): f()",
    ],
)
def test_a_function_that_catches_everything_is_found(source: str) -> None:
    assert len(broad_breaches("pipeline/risk/limits.py", source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "try: f()\nexcept ValueError: pass",
        "try: f()\nexcept (KeyError, OSError): pass",
        "try: f()\nexcept BaseException:\n    undo()\n    raise",
        "with suppress(KeyError): f()",
    ],
)
def test_a_function_that_catches_what_it_can_answer_is_not_found(source: str) -> None:
    assert broad_breaches("pipeline/risk/limits.py", source) == []


def test_the_permission_to_catch_everything_is_for_one_function() -> None:
    source = "def {}():\n    try: f()\n    except Exception: pass\n"
    path = "pipeline/runtime/boundary.py"
    assert broad_breaches(path, source.format("guard")) == []
    assert len(broad_breaches(path, source.format("other"))) == 1


def test_a_file_that_is_too_long_is_found() -> None:
    assert length_breaches("pipeline/risk/limits.py", "\n" * LINES_MAX) == []
    assert len(length_breaches("pipeline/risk/limits.py", "\n" * (LINES_MAX + 1))) == 1


def test_a_breach_names_the_place_the_rule_and_the_cure() -> None:
    source = "import numpy\n\nfrom pipeline.feed import process\n"
    (breach,) = floor_breaches("pipeline/risk/limits.py", source)
    what, rule, cure = breach.split("\n")
    assert what == "pipeline/risk/limits.py:3: risk imports pipeline.feed.process"
    assert rule.startswith("  rule: imports go down only: ")
    assert cure.startswith("  cure: take the value as an argument")
