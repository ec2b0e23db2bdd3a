"""Test the page of a run in a browser: screens, keyboard, print, without network and script."""

from __future__ import annotations

from functools import partial

import pytest

from tests.browser import OpenFile, check_legible
from tests.project import Project
from tests.test_page import PAGE, write_features

pytestmark = pytest.mark.browser


@pytest.fixture
def open_page(open_file: OpenFile, project: Project) -> OpenFile:
    """Give a function that opens the page of a run."""
    write_features(project).run("--report", "results")
    return partial(open_file, project.root / PAGE)


FILTERS = [
    ("", "", "", ["reads by", "failing over", "several nodes", "<name>"]),
    ("failed", "", "", ["reads by", "<name>"]),
    ("skipped", "pure_cache", "", ["several nodes"]),
    ("", "", "ONE node only", ["several nodes"]),
    ("passed", "", "robots", []),
]
"""Status, practice and text to filter by, and the beginnings of the remaining names."""


@pytest.mark.slow
def test_page_opened_from_the_file_system(open_page: OpenFile, project: Project) -> None:
    """The page loads no other file, its filters work, and a link opens its scenario."""
    opened = open_page()
    assert opened.requests == [(project.root / PAGE).as_uri()], f"it asked for {opened.requests}"
    assert not opened.complaints, f"the browser says {opened.complaints}"
    for status, practice, text, wanted in FILTERS:
        opened.page.select_option("[name=status]", status)
        opened.page.select_option("[name=practice]", practice)
        opened.page.fill("[name=text]", text)
        seen = [one.inner_text() for one in opened.page.locator(".scenario > summary .name").all() if one.is_visible()]
        assert len(seen) == len(wanted), f"{(status, practice, text)} leaves {seen}"
        assert sorted(wanted) == sorted(want for want in wanted for name in seen if name.startswith(want)), seen
        assert opened.page.locator("output").inner_text().startswith(f"{len(wanted)} of ")
    opened.page.reload()
    shown = opened.page.locator(".scenario[open]", has=opened.page.get_by_text("reads by")).first
    assert "a read: seen 3.1 s, bound <= 2.5 s" in shown.inner_text()
    opened.run("document.querySelectorAll('.scenario').forEach((one) => { one.open = false; })")
    opened.page.locator("section", has_text="Failed scenarios").locator("a").first.click()
    shown = opened.page.locator(".scenario[open]")
    shown.wait_for(timeout=5000)
    assert shown.get_attribute("data-status") == "failed"


@pytest.mark.slow
@pytest.mark.parametrize("width", [320, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_legible(open_page: OpenFile, width: int, scheme: str) -> None:
    """Nothing is wider than the screen but scrolling parts, and every contrast is at least 4.5."""
    opened = open_page(width, scheme)
    check_legible(opened)


@pytest.mark.slow
def test_page_with_keyboard_on_paper_and_without_script(open_page: OpenFile) -> None:
    """The keyboard opens a scenario; print and a browser without script show every step."""
    opened = open_page()
    press = opened.page.keyboard.press
    press("Tab")
    box = opened.page.locator(".skip").bounding_box()
    assert box
    assert box["x"] >= 0, f"the way past the navigation is at {box}"
    press("Enter")
    assert opened.run("document.activeElement.id") == "specification"
    closed = "document.activeElement.matches('.scenario:not([open]) > summary')"
    assert any(press("Tab") or opened.run(closed) for _ in range(60)), "Tab reaches no scenario that is closed"
    assert opened.run("parseFloat(getComputedStyle(document.activeElement).outlineWidth)") >= 2
    press("Enter")
    assert opened.run("document.activeElement.parentElement.open")

    opened.run("document.querySelectorAll('details').forEach((one) => { one.open = false; })")
    opened.page.emulate_media(media="print")
    steps = opened.page.locator(".steps li").all()
    assert steps, "there is no step"
    hidden = [step.text_content() for step in steps if not (step.bounding_box() or {"height": 0})["height"]]
    assert not hidden, f"these are not printed: {hidden}"

    page = open_page(script=False).page
    assert not page.locator("#filters").is_visible()
    for scenario in page.locator(".scenario").all():
        if scenario.get_attribute("open") is None:
            scenario.locator("> summary").click()
    hidden = [step.text_content() for step in page.locator(".steps li").all() if not step.is_visible()]
    assert not hidden, f"these cannot be read: {hidden}"
