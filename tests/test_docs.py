"""The pages say what is there: names, paths and links in them exist, and their tables are whole.

A name or a path is looked for where it stands between backticks in running text. Blocks of code
are tests/test_examples.py's business.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from pipeline.channels import control, depths, gaps, line, newest, readers, rundir
from pipeline.cli import main
from pipeline.records import TICK
from pipeline.risk.limits import _ALL, _CLOSE, _ENTRY, _SIZE, Code
from pipeline.risk.mandate import TradingState
from pipeline.risk.reasons import STRATEGY_SIGNAL, TAKE_PROFIT, Reason
from pipeline.runtime.exit_codes import ExitCode
from pipeline.runtime.stopping import KEYBOARD_INTERRUPT, STOP_REQUESTED
from pipeline.settings import Instrument, RiskSettings, Settings
from pipeline.strategy.contract import Position, Tick
from pipeline.strategy.session import FAILED_REASON
from pipeline.trader.config import FIXED, MOVED

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
WRITTEN = [page for page in PAGES if page.name != "settings.md"]  # that one is generated
STRATEGY_PAGE = ROOT / "docs" / "writing-a-strategy.md"
RULES_PAGE = ROOT / "docs" / "risk-rules.md"

RUN_FILES = {
    *(
        line.TICKS,
        gaps.GAPS,
        depths.DEPTHS,
        line.SIGNALS,
        line.POSITIONS,
        control.CONTROL,
        newest.NEWEST,
        readers.FILE_NAME,
        rundir.RUN_LOCK,
    ),
    *(
        f"{role}.{kind}"
        for role in (*line.ROLES, line.RECORDER, line.ADAPTER)
        for kind in ("lock", "beat")
    ),
}
_SECTION_CLASSES: dict[str, Any] = {
    name: Instrument if name == "instruments" else field.annotation
    for name, field in Settings.model_fields.items()
}
SECTIONS = {name: set(section.model_fields) for name, section in _SECTION_CLASSES.items()}
VARIABLES = {
    "tick": "Tick",
    "position": "Position",
    "settings": "StrategySettings",
    "self": "Strategy",
    "trader": "LiveTrader",
    "broker": "BrokerAdapter",
}
GUIDES = {  # names of the guide's program that have others here
    *(*MOVED, *FIXED),
    *("session.start_hour", "session.start_min", "performance_callback()"),
    *("live.trader", "live.broker_adapter", "trader.strategy"),
}
FOREIGN = {
    *("True", "False"),
    "MultiProcessingHandler",
    "MultiProcessingHandler._receive_thread",
    "Queue._reader",
    "datetime.now()",
    "install_mp_handler()",
    "multiprocessing.Queue",
    "read()",
    "threading.Lock",
}

# What there is -------------------------------------------------------------------------------


@cache
def modules() -> dict[str, list[ast.Module]]:
    """Return the modules that pages may name, by the name of their file."""
    found: dict[str, list[ast.Module]] = {}
    places = [*(ROOT / "pipeline").rglob("*.py"), *(ROOT / "docs" / "examples").glob("*.py")]
    for path in (*places, ROOT / "tests" / "test_architecture.py"):
        found.setdefault(path.stem, []).append(ast.parse(path.read_text(encoding="utf-8")))
    return found


def nodes() -> Iterator[ast.AST]:
    return (node for trees in modules().values() for tree in trees for node in ast.walk(tree))


def bound_in(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.AnnAssign):
            yield ast.unparse(node.target)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                yield from ast.unparse(target).strip("()").split(", ")


@cache
def classes() -> dict[str, set[str]]:
    """Return the members of every class, those of classes of one name together."""
    found: dict[str, set[str]] = {}
    bases: dict[str, set[str]] = {}
    for node in nodes():
        if isinstance(node, ast.ClassDef):
            members = found.setdefault(node.name, set())
            members |= set(bound_in(node.body)) | set(
                re.findall(r"\bself\.(\w+)(?=[^=]* = |: )", ast.unparse(node))
            )
            bases.setdefault(node.name, set()).update(ast.unparse(base) for base in node.bases)
    return {
        name: members.union(*(found[base] for base in bases[name] if base in found))
        for name, members in found.items()
    }


@cache
def functions() -> set[str]:
    return {n.name for n in nodes() if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}


def module_names(stem: str) -> set[str]:
    return {name for tree in modules()[stem] for name in bound_in(tree.body)}


# What a page says ----------------------------------------------------------------------------

PATH = re.compile(r"(?:pipeline|tests|scripts|configs|docs|\.ci)/[\w./*-]*")
EXTENSIONS = (
    "py",
    "md",
    "toml",
    "cfg",
    *["ring", "queue", "cell", "table", "sock", "ctl", "lock", "beat"],
)


def path_exists(path: str) -> bool:
    return any(True for _ in ROOT.glob(path.rstrip("/")))


def file_exists(name: str) -> bool:
    return name in RUN_FILES or any(True for _ in ROOT.glob(name)) or is_in_a_room(name)


def is_in_a_room(name: str) -> bool:
    return any(True for _ in (ROOT / "pipeline").rglob(name))


def is_member(owner: str, member: str) -> bool:
    if owner in classes():
        return member in classes()[owner]
    if owner in VARIABLES:
        return member in classes()[VARIABLES[owner]]
    if owner in SECTIONS:
        return member in SECTIONS[owner]
    if owner == "pipeline":
        return member in modules() or path_exists(f"pipeline/{member}")
    return owner in modules() and member in module_names(owner)


KINDS: list[tuple[re.Pattern[str], Callable[[re.Match[str]], bool]]] = [
    (PATH, lambda m: path_exists(m[0])),
    (re.compile(rf"[a-z][\w-]*\.(?:{'|'.join(EXTENSIONS)})"), lambda m: file_exists(m[0])),
    (re.compile(r"(?:self\.)?([A-Za-z_]\w*)\.(\w+)(?:\(\))?"), lambda m: is_member(m[1], m[2])),
    (re.compile(r"(\w+)\(\)"), lambda m: m[1] in functions()),
    (re.compile(r"_?[A-Z]\w*[a-z]\w*"), lambda m: m[0] in classes()),
    (
        re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+"),
        lambda m: any(m[0] in module_names(stem) for stem in modules()),
    ),
]


def unknown_in(text: str) -> list[str]:
    """Return what stands between backticks in ``text``, looks like a name of ours and is none."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    spans = re.findall(r"`([^`\n]+)`", prose)
    words = [span for span in spans if not re.search(r"[\s<…]", span)]
    words += [word for span in spans if " " in span for word in span.split() if PATH.match(word)]
    return sorted({word for word in words if word not in FOREIGN | GUIDES and not is_known(word)})


def is_known(word: str) -> bool:
    for pattern, holds in KINDS:
        found = pattern.fullmatch(word)
        if found:
            return holds(found)
    return True


def broken_links(page: Path, text: str) -> list[str]:
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    return [link for link in links if "://" not in link and not resolves(page, link)]


def resolves(page: Path, link: str) -> bool:
    name, _, anchor = link.partition("#")
    target = page.parent / name if name else page
    if not target.exists():
        return False
    return not anchor or anchor in anchors_of(target.read_text(encoding="utf-8"))


def anchors_of(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# The pages -----------------------------------------------------------------------------------


@pytest.mark.parametrize("page", WRITTEN, ids=[str(page.relative_to(ROOT)) for page in WRITTEN])
def test_what_a_page_names_exists(page: Path) -> None:
    assert unknown_in(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    assert broken_links(page, page.read_text(encoding="utf-8")) == []


def first_cells(page: Path) -> list[str]:
    """Return the first cell of every row of every table."""
    rows = re.findall(r"^\| ([^|]*[^| ]) *\|", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [name.strip("`") for row in rows for name in row.split("`, `")]


def test_the_rules_are_on_their_page_in_the_order_of_judging() -> None:
    judged = [code for code, _ in (*_ALL, *_CLOSE, *_ENTRY, *_SIZE)]
    assert [cell for cell in first_cells(RULES_PAGE) if cell in list(Code)] == judged
    assert set(judged) == set(Code)


def test_every_reason_of_an_exit_has_its_row() -> None:
    reasons = {*Reason, f"{TAKE_PROFIT} n", f"{STRATEGY_SIGNAL}…"}
    cells = first_cells(RULES_PAGE)
    assert [(reason, cells.count(reason)) for reason in sorted(reasons)] == [
        (reason, 1) for reason in sorted(reasons)
    ]
    assert {KEYBOARD_INTERRUPT, STOP_REQUESTED, FAILED_REASON} <= set(Reason)


def test_every_state_of_trading_has_its_row() -> None:
    assert set(TradingState) <= set(first_cells(RULES_PAGE))


def test_every_setting_of_a_rule_is_named_on_their_page() -> None:
    charged = {"charges", *(name for name in RiskSettings.model_fields if name[-7:] == "percent")}
    elsewhere = charged | {"commission_per_trade", "when_lapped", "dead_feed_seconds_max"}
    named = set(re.findall(r"`risk\.(\w+)`", RULES_PAGE.read_text(encoding="utf-8")))
    assert set(RiskSettings.model_fields) - elsewhere - named == set()


@pytest.mark.parametrize("record", [Tick, Position])
def test_every_field_that_a_strategy_sees_has_its_row(record: type) -> None:
    fields = {name for name in vars(record) if not name.startswith("_") and name != "get"}
    assert fields - set(first_cells(STRATEGY_PAGE)) == set()


def test_every_verb_has_its_row(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    verbs = re.findall(r"^    ([a-z-]+)(?:  |$)", capsys.readouterr().out, re.MULTILINE)
    assert "replay" in verbs
    assert set(verbs) - set(first_cells(ROOT / "README.md")) == set()


def test_the_exit_codes_that_the_readme_names_are_right() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = {int(number) for number in re.findall(r"exit code (\d+)", text)}
    assert named == {
        ExitCode.FEED_LOST,
        ExitCode.PORT_IN_USE,
        ExitCode.ALREADY_RUNNING,
        ExitCode.BAD_SETTINGS,
        ExitCode.BAD_TICK_FILE,
        ExitCode.BAD_STRATEGY,
    }


def test_a_tick_has_the_size_that_the_pages_say() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert f"ring of TICK, {TICK.itemsize} bytes each" in text


# Each check can fail -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "word",
    [
        "pipeline/risk/limit.py",
        "scripts/benches --runs 5",
        "pipeline/brokers/*/wires.py",
        "limit.py",
        "positions.ring",
        "RingWriter.publsh",
        "RingWriter.publsh()",
        "RingRider.read",
        "duty_cycle.runs",
        "risk.slipage_points",
        "tick.prize",
        "self.position.flat",
        "pipeline.testings",
        "RingWriters",
        "exit_due()",
        "INSTRUMENT_MAX",
    ],
)
def test_a_wrong_name_is_found(word: str) -> None:
    assert unknown_in(f"see `{word}` there") == [word.split()[0]]


@pytest.mark.parametrize(
    "word",
    ["RingWriter.publish", "RingReader.lost", "duty_cycle.run", "risk.slippage_points", "a word"],
)
def test_a_right_name_is_not_found(word: str) -> None:
    assert unknown_in(f"see `{word}` there\n```\n`Nonsense.at_all`\n```\n") == []


@pytest.mark.parametrize("link", ["nowhere.md", "architecture.md#nothing", "#nothing"])
def test_a_broken_link_is_found(link: str) -> None:
    assert broken_links(STRATEGY_PAGE, f"# Top\n[x]({link})") == [link]


def test_a_right_link_is_not_found() -> None:
    text = "[a](architecture.md#the-picture) [b](settings.md) [c](https://example.org/x)"
    assert broken_links(STRATEGY_PAGE, text) == []
