"""Test that every form of a password is hidden, and other text stays unchanged."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any
from urllib.parse import quote, quote_plus
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fixtures.reporting.redaction import HIDDEN, SHORTEST, Secrets

STEERING = "".join(map(chr, (*range(9), *range(11, 32), *range(127, 160), 0x61C, 0x200E, 0x200F)))
STEERING += "".join(map(chr, (*range(0x2028, 0x202F), *range(0x2066, 0x206A))))
"""Characters that move a cursor, end a line or reverse text, except for tab and newline."""

# Without characters that XML lacks or that are escaped, and without asterisks.
SIGNS = st.characters(exclude_categories=["Cs", "Cc", "Cn"], exclude_characters=f"*{STEERING}")
# Letters alone seldom need escapes of URLs, HTML and Python.
PASSWORDS = st.text(SIGNS | st.sampled_from("%+&<>'\"\\:/@?#= é"), min_size=SHORTEST).filter(
    lambda word: "password=" not in word  # the text after it is hidden, too
)
SHORT_PASSWORDS = st.text(SIGNS, min_size=1, max_size=SHORTEST - 1)
TEXTS = st.text(SIGNS)

URLS = (
    "redis://me:{}@h:1",
    "rediss://:{}@h",
    "redis://h?password={}",
    "rediss://h:1/0?db=1&ssl_password={}&timeout=2",
)
FORMS: dict[str, Callable[[str], str]] = {
    "as written": lambda word: quote(word, safe=""),
    "as meant": str,
    "in HTML": escape,
    "as Python shows it": lambda word: repr(word)[1:-1],
    "as Python shows it beside both quotes": lambda word: repr("'\"" + word)[4:-1],
}

without_deadline = settings(deadline=None)


def secrets(password: str, url: str = URLS[0]) -> Secrets:
    """Return the secrets of a run on a server with this password."""
    return Secrets([url.format(quote(password, safe=""))])


@given(form=st.sampled_from(list(FORMS)), url=st.sampled_from(URLS), password=PASSWORDS, before=TEXTS, after=TEXTS)
@example("as Python shows it beside both quotes", URLS[0], "it's", "", "")
@settings(without_deadline, max_examples=500)
def test_password_of_the_run_is_hidden_anywhere(form: str, url: str, password: str, before: str, after: str) -> None:
    """Every form of the password is hidden, in any context."""
    word = FORMS[form](password)
    shown = secrets(password, url).hide(before + word + after)
    assert HIDDEN in shown
    assert word not in shown


@given(password=PASSWORDS)
@example("one+two@three")
@without_deadline
def test_plus_is_a_blank_in_queries_alone(password: str) -> None:
    """A password with a plus is hidden encoded and decoded, in user info and query of a URL."""
    for url, written in ((URLS[0], quote(password, safe="+")), (URLS[2], quote_plus(password))):
        hide = Secrets([url.format(written)]).hide
        assert (hide(written), hide(password)) == (HIDDEN, HIDDEN)


@given(password=SHORT_PASSWORDS)
@without_deadline
def test_short_password_is_hidden_between_delimiters(password: str) -> None:
    """A short password is hidden in a URL and in a Python string, but not inside a word."""
    hide = secrets(password).hide
    assert hide(f"at redis://me:{password}@h:1") == f"at redis://{HIDDEN}@h:1"
    assert (hide(f"='{password}'"), hide(f'="{password}"')) == (f"='{HIDDEN}'", f'="{HIDDEN}"')
    assert hide(f"a{password}b") == f"a{password}b"


@given(user=st.text(SIGNS).map(lambda word: quote(word, safe="")), password=PASSWORDS)
@without_deadline
def test_password_of_any_other_url_is_hidden(user: str, password: str) -> None:
    """The password of any other URL is hidden, even if it contains unescaped characters."""
    hide = Secrets([]).hide
    for word in (quote(password, safe=""), "".join(password.replace("/", "@").split()) or "word"):
        assert hide(f"see redis://{user}:{word}@h:1/0 there") == f"see redis://{HIDDEN}@h:1/0 there"
    assert hide(f"redis://h?password={quote(password, safe='')}&db=1") == f"redis://h?password={HIDDEN}&db=1"


@given(text=TEXTS.filter(lambda text: not any(word in text for word in ("://", "password=", "s3cret"))))
@without_deadline
def test_text_without_a_password_is_unchanged(text: str) -> None:
    """Text without a password is unchanged."""
    said = f"{text} redis://h:1/0?db=1 redis://me@h {text}"
    assert secrets("s3cret").hide(said) == said


@given(st.text(st.sampled_from(STEERING) | st.characters(exclude_categories=["Cs"])))
@without_deadline
def test_what_steers_a_terminal_is_written_out(text: str) -> None:
    """Control characters and marks that reverse text are escaped, in texts, names and XML."""
    secrets = Secrets([])
    shown = secrets.hidden({text: [text]})
    for words in (*shown, *shown[next(iter(shown))]):
        assert not set(words) & set(STEERING)
    assert secrets.hide("\x1b[31m\x9b\u202e a\tb\n") == "\\x1b[31m\\x9b\\u202e a\tb\n"
    assert secrets.hide_in_xml("<a>\u202e</a>").endswith("<a>\\u202e</a>")


@given(st.recursive(st.none() | st.integers() | st.just("a b"), lambda one: st.lists(one) | st.tuples(one)))
@without_deadline
def test_structure_is_kept(value: Any) -> None:
    """Lists and tuples keep their type, and each text in them is hidden."""
    hide = secrets("s3cret").hidden
    assert hide([value]) == [value]
    assert hide({"name": ("file", 1, "s3cret"), "value": value}) == {"name": ("file", 1, HIDDEN), "value": value}


@given(password=PASSWORDS)
@without_deadline
def test_xml_is_hidden_as_it_reads(password: str) -> None:
    """A password in escaped XML is hidden."""
    root = ET.Element("testcase", name=f"a {password}")
    root.text = f"{password} b"
    shown = ET.fromstring(secrets(password).hide_in_xml(ET.tostring(root, encoding="unicode")))  # noqa: S314 - our own
    assert (shown.attrib, shown.text) == ({"name": f"a {HIDDEN}"}, f"{HIDDEN} b")


@pytest.mark.parametrize("password", ["testcase", "name", "1", "version"])
def test_syntax_of_xml_is_no_password(password: str) -> None:
    """A password that is also the name of an element leaves the file readable."""
    text = '<testsuite errors="1"><testcase name="a" /></testsuite>'
    assert secrets(password).hide_in_xml(text).endswith(f"?>{text}")


def test_xml_that_is_not_whole_is_hidden() -> None:
    """A password in an incomplete XML file is hidden."""
    assert secrets("s3cret").hide_in_xml('<testsuite name="s3cret"><test') == f'<testsuite name="{HIDDEN}"><test'


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("WRONGPASS for p@ss<word", "WRONGPASS for ***"),
        ("at rediss://me:p%40ss%3Cword@h:1", "at rediss://***@h:1"),
        ("<b>p@ss&lt;word</b>", "<b>***</b>"),
        ("a second one", "a *** one"),
        ("redis://h:1/0?password=other&db=1", "redis://h:1/0?password=***&db=1"),
        ("redis://h:1/0", "redis://h:1/0"),
    ],
)
def test_passwords_of_two_urls(text: str, shown: str) -> None:
    """The passwords of all URLs of a run are hidden."""
    assert Secrets(["rediss://me:p%40ss%3Cword@h:1", "redis://h?password=second"]).hide(text) == shown
