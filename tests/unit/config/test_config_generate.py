"""What is made from the table of options: the example file and the reference page."""

import tomllib
from pathlib import Path

import pytest

from rs3gwd.config import load
from rs3gwd.config.generate import EXAMPLE_PATH, REFERENCE_PATH, example_toml, reference_markdown
from rs3gwd.config.option import options_of
from rs3gwd.config.settings import Config

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("path", "text"), [(EXAMPLE_PATH, example_toml()), (REFERENCE_PATH, reference_markdown())]
)
def test_the_generated_file_is_up_to_date(path: str, text: str) -> None:
    """What is in the tree is what the table gives; else run `python -m rs3gwd.config.generate`."""
    assert (ROOT / path).read_text() == text


def test_the_example_gives_the_defaults(tmp_path: Path) -> None:
    """The example is valid as it stands and with every option uncommented, and changes nothing."""
    lines = example_toml().splitlines()
    uncommented = "\n".join(
        line[1:] if line.startswith("#") and not line.startswith("# ") else line for line in lines
    )
    assert len(tomllib.loads(uncommented)) > 20
    for name, text in (("as-is.toml", example_toml()), ("full.toml", uncommented)):
        (tmp_path / name).write_text(text)
        assert load(["--config", str(tmp_path / name)], {}) == Config()


def test_every_option_is_on_the_reference_page() -> None:
    """A heading, the variable, the flag and the help of each option."""
    page = reference_markdown()
    for option in options_of(Config):
        assert f"### {option.key}\n" in page
        assert f"`{option.spec.env}`" in page
        assert option.flag in page
