"""The sentences about the page of a run in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_bdd import parsers, then, when

from fixtures import PROJECT
from steps.common.vocabulary import rows

if TYPE_CHECKING:
    from fixtures.gate.sample_project import OpenPage, OpenPageIn, SampleTree

Table = list[list[str]]
CONTRAST = PROJECT / "fixtures/reporting/page/contrast.js"


@when(parsers.parse('"{name}" is opened in a browser'), target_fixture="opened")
def open_in_browser(open_page: OpenPageIn, sample_tree: SampleTree, name: str) -> OpenPage:
    """Open a page from the file system."""
    return open_page(sample_tree.root / name)


@when(parsers.parse('"{name}" is opened in a browser in {scheme} mode, {width:d} pixels wide'), target_fixture="opened")
def open_in_size(open_page: OpenPageIn, sample_tree: SampleTree, name: str, scheme: str, width: int) -> OpenPage:
    """Open a page on a screen of some width."""
    return open_page(sample_tree.root / name, width, scheme)


@then("it has asked for nothing else, and nothing went wrong")
def check_requests(opened: OpenPage) -> None:
    """Find one request, for the page itself, and no complaint."""
    assert opened.requests == [opened.path.as_uri()], f"it asked for {opened.requests}"
    assert not opened.complaints, f"the browser says {opened.complaints}"


@then("its filters leave these scenarios")
def check_filters(opened: OpenPage, datatable: Table) -> None:
    """Fill in each row and compare the beginnings of the names that can be seen, in the order of the page."""
    for row in rows(datatable, ["STATUS", "PRACTICE", "TEXT", "SCENARIOS"]):
        opened.page.select_option("[name=status]", row["STATUS"])
        opened.page.select_option("[name=practice]", row["PRACTICE"])
        opened.page.fill("[name=text]", row["TEXT"])
        seen = [one.inner_text() for one in opened.page.locator(".scenario > summary .name").all() if one.is_visible()]
        wanted = [] if row["SCENARIOS"] == "none" else row["SCENARIOS"].split(", ")
        said = opened.page.locator("output").inner_text()
        assert len(seen) == len(wanted), f"{row} leaves {seen}"
        assert sorted(wanted) == sorted(want for want in wanted for name in seen if name.startswith(want)), seen
        assert said.startswith(f"{len(wanted)} of "), said


@then(parsers.parse('"{scenario}" is open and shows "{message}"'))
def check_open(opened: OpenPage, scenario: str, message: str) -> None:
    """Find the message where nobody has to search for it."""
    opened.page.reload()
    shown = opened.page.locator(".scenario[open]", has=opened.page.get_by_text(scenario)).first
    assert message in shown.inner_text(), shown.inner_text()


@then(parsers.parse('a link in "{heading}" leads to what failed'))
def check_link(opened: OpenPage, heading: str) -> None:
    """Follow the first link below a heading; it opens a scenario that was closed."""
    opened.run("document.querySelectorAll('.scenario').forEach((one) => { one.open = false; })")
    opened.page.locator("section", has_text=heading).locator("a").first.click()
    shown = opened.page.locator(".scenario[open]")
    shown.wait_for(timeout=5000)
    assert shown.get_attribute("data-status") == "failed"


@then("nothing on it is wider than the screen")
def check_width(opened: OpenPage) -> None:
    """Open everything; the page does not scroll sideways, and nothing reaches beyond it but what scrolls alone."""
    opened.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    wide = "[document.documentElement.scrollWidth, innerWidth]"
    page, screen = opened.run(wide)
    assert page <= screen, f"it is {page} pixels wide"
    beyond = opened.run(
        "[...document.querySelectorAll('body *')].filter((one) => !one.closest('.scroll, .skip, .quiet, pre')"
        " && one.getBoundingClientRect().right > innerWidth + 1).map((one) => one.outerHTML.slice(0, 80))"
    )
    assert not beyond, f"these reach beyond the screen: {beyond}"


@then(parsers.parse("every text on it has a contrast of at least {least:g}"))
def check_contrast(opened: OpenPage, least: float) -> None:
    """Compute the contrast of every text with what is behind it."""
    faint = opened.page.evaluate(CONTRAST.read_text(encoding="utf-8"), least)
    assert not faint, "\n".join(faint)


@then("the first press of Tab shows the way past the navigation")
def check_skip_link(opened: OpenPage) -> None:
    """Press Tab, then Enter."""
    opened.page.keyboard.press("Tab")
    box = opened.page.locator(".skip").bounding_box()
    assert box and box["x"] >= 0, f"it is at {box}"  # noqa: PT018 - a box that is there and is seen
    opened.page.keyboard.press("Enter")
    assert opened.run("document.activeElement.id") == "specification"


@then("Enter opens a scenario that has the focus, and the focus can be seen")
def check_keyboard(opened: OpenPage) -> None:
    """Press Tab until a scenario that is closed has the focus, look at its outline, and press Enter."""
    closed = "document.activeElement.matches('.scenario:not([open]) > summary')"
    for _ in range(60):
        opened.page.keyboard.press("Tab")
        if opened.run(closed):
            break
    assert opened.run(closed), "Tab reaches no scenario that is closed"
    assert opened.run("parseFloat(getComputedStyle(document.activeElement).outlineWidth)") >= 2  # noqa: PLR2004 - pixels that can be seen
    opened.page.keyboard.press("Enter")
    assert opened.run("document.activeElement.parentElement.open")


@then("every step is printed")
def check_print(opened: OpenPage) -> None:
    """Look at the page as it is printed, without asking for a printer."""
    opened.run("document.querySelectorAll('details').forEach((one) => { one.open = false; })")
    opened.page.emulate_media(media="print")
    steps = opened.page.locator(".steps li").all()
    unseen = [step.text_content() for step in steps if not (step.bounding_box() or {"height": 0})["height"]]
    assert steps, "there is no step"
    assert not unseen, f"these are not printed: {unseen}"


@then("without script every step can be read, and no filter is offered")
def check_without_script(open_page: OpenPageIn, opened: OpenPage) -> None:
    """Open the page with scripts switched off, and each scenario by a click."""
    page = open_page(opened.path, script=False).page
    assert not page.locator("#filters").is_visible()
    for scenario in page.locator(".scenario").all():
        if scenario.get_attribute("open") is None:
            scenario.locator("> summary").click()
    unseen = [step.text_content() for step in page.locator(".steps li").all() if not step.is_visible()]
    assert not unseen, f"these cannot be read: {unseen}"
