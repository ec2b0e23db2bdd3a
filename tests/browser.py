"""Open pages in a real browser, and note its requests and complaints."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from fixtures.run.keys import Unsupported

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
CONTRAST = Path(__file__).with_name("contrast.js")
"""A script that returns the texts with less contrast than its argument."""


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Give a headless browser for the session (`Unsupported` without one)."""
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415 - not installed for users
    except ImportError:
        raise Unsupported("needs Playwright: pip install -r requirements-dev.txt") from None
    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, PROGRAMS)), None)
    if not program:
        raise Unsupported("needs a browser: apt-get install chromium, or name one in CHROMIUM")
    # Root and many containers cannot use the sandbox. The browser opens only files of this test.
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=program, args=["--no-sandbox"]) as browser,
    ):
        yield browser


@dataclass
class OpenPage:
    """An open page, with the requests and complaints of the browser."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression on the page."""
        return self.page.evaluate(script)


def check_legible(opened: OpenPage) -> None:
    """Require that nothing is wider than the screen but scrolling parts, and that every contrast is at least 4.5."""
    opened.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page, screen = opened.run("[document.documentElement.scrollWidth, innerWidth]")
    assert page <= screen, f"it is {page} pixels wide"
    beyond = opened.run(
        "[...document.querySelectorAll('body *')].filter((one) => !one.closest('.scroll, .skip, .quiet, pre')"
        " && one.getBoundingClientRect().right > innerWidth + 1).map((one) => one.outerHTML.slice(0, 80))"
    )
    assert not beyond, f"these reach beyond the screen: {beyond}"
    faint = opened.page.evaluate(CONTRAST.read_text(encoding="utf-8"), 4.5)
    assert not faint, "\n".join(faint)


OpenFile = Callable[..., OpenPage]


@pytest.fixture
def open_file(request: pytest.FixtureRequest) -> OpenFile:
    """Give a function that opens a file in the browser; without a browser the test is skipped."""
    return partial(_open, request)


def _open(
    request: pytest.FixtureRequest,
    path: Path,
    width: int = 1280,
    scheme: Literal["light", "dark"] = "light",
    *,
    script: bool = True,
) -> OpenPage:
    """Open a file until the test ends, `width` pixels wide, in the light or dark scheme."""
    # Checked here: an error in the call, not in a fixture, is a skip or fails under --require.
    browser: Browser = request.getfixturevalue("browser")
    size: Any = {"width": width, "height": 800}
    context = browser.new_context(viewport=size, color_scheme=scheme, java_script_enabled=script)
    request.addfinalizer(context.close)
    opened = OpenPage(context.new_page())
    opened.page.on("request", lambda request: opened.requests.append(request.url))
    opened.page.on("console", lambda message: opened.complaints.append(message.text))
    opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
    opened.page.on("dialog", lambda dialog: opened.complaints.append(dialog.message))
    opened.page.goto(path.as_uri())
    return opened
