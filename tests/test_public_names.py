"""What `from pipeline import …` offers: exactly these names, each with its own docstring."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

import pipeline

PUBLIC = ["Action", "Depth", "Gap", "Position", "Signal", "Strategy", "Tick", "__version__"]
CLASSES = [name for name in PUBLIC if name != "__version__"]
SETUP = Path(__file__).resolve().parent.parent / "setup.cfg"


def test_the_public_names_are_exactly_these() -> None:
    assert sorted(pipeline.__all__) == sorted(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_exists(name: str) -> None:
    assert hasattr(pipeline, name)


@pytest.mark.parametrize("name", CLASSES)
def test_every_public_name_has_a_docstring_of_its_own(name: str) -> None:
    written = vars(getattr(pipeline, name))["__doc__"]
    generated = (f"{name}(", "An enumeration.")  # what dataclass, NamedTuple and Enum make up
    assert written, f"pipeline.{name} has no docstring"
    assert not written.startswith(generated), f"the docstring of pipeline.{name} is generated"


def test_the_package_says_what_it_is() -> None:
    assert pipeline.__doc__
    assert pipeline.__doc__.startswith("tickpipe: ")


def test_the_version_is_a_plain_one_and_the_distribution_takes_it_from_here() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", pipeline.__version__)
    setup = configparser.ConfigParser()
    setup.read(SETUP, encoding="utf-8")
    assert setup["metadata"]["version"] == "attr: pipeline.__version__"
