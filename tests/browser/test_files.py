"""What the page is made of: small, our own or named, and loaded in one go."""

import hashlib
import re

import pytest

from tests.browser.stage import PAGES

LONG = {"statuswire.js"}  # one file, so that it can be taken elsewhere
VENDORED = {"dagre.js": "b0ddaf4af1417bec9bd89373a3a3987f081727d6cc6d95fc40dbf85a19bdf3b0"}
IMPORT = re.compile(r'^(?:import|export)\b[^"]*from "\./([^"]+)";', re.MULTILINE)


def reached(name: str, seen: set[str]) -> set[str]:
    """Modules that are loaded with this one."""
    if name not in seen:
        seen.add(name)
        for other in IMPORT.findall((PAGES / name).read_text()):
            reached(other, seen)
    return seen


def test_modules_are_asked_for_at_once() -> None:
    """The page names all of them, or each would be waited for before the next is known of."""
    page = (PAGES / "index.html").read_text()
    named = set(re.findall(r'rel="modulepreload" href="/dashboard/([^"]+)"', page))
    assert named == reached("dashboard.js", set()) - {"dashboard.js"}
    assert not any(name.startswith("vendor/") for name in named)


@pytest.mark.parametrize("path", sorted(PAGES.glob("*.js")), ids=lambda path: path.name)
def test_a_module_fits_in_a_head(path: object) -> None:
    """And says in its first line what it is for."""
    text = (PAGES / path.name).read_text()  # type: ignore[attr-defined]
    assert text.startswith("/**")
    assert path.name in LONG or len(text.splitlines()) <= 310  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", VENDORED)
def test_what_is_not_ours_is_unchanged(name: str) -> None:
    """Byte for byte what its makers published, with its licence beside it."""
    content = (PAGES / "vendor" / name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == VENDORED[name]
    assert (PAGES / "vendor" / f"{name.removesuffix('.js')}.LICENSE.txt").exists()


def test_nothing_else_is_vendored() -> None:
    """A file that nobody checks is one that nobody knows."""
    code = {path.name for path in (PAGES / "vendor").iterdir() if path.suffix == ".js"}
    assert code == set(VENDORED)
