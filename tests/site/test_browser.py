"""The site in a real browser: every kind of page on a phone in both themes, the search, the picture that plays."""

from pathlib import Path

import pytest

from tests.site.conftest import PHONE

DESKTOP = {"width": 1280, "height": 900}
PROBE = (Path(__file__).parent / "probe.js").read_text()
# Of each kind of symbol one: their pages are made alike.
SYMBOLS = ("adamw", "scale_by_adam", "chain", "cosine_decay_schedule", "int8", "Mask", "transform-class", "plots")


@pytest.fixture(scope="session")
def pages(site):
    """All that are written, the notebooks, and of the symbols one of each kind."""
    found = sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))
    symbols = {f"reference/{name}.html" for name in ("index", *SYMBOLS)}
    assert symbols <= set(found)
    return [name for name in found if not name.startswith("reference/") or name in symbols]


def test_pages_are_sound_on_a_phone_in_both_themes(open_in, address, pages):
    watched = open_in(address, PHONE, color_scheme="light")
    faults = {}
    for name in pages:
        page = watched.open(address + name)
        found = page.evaluate(PROBE)
        page.emulate_media(color_scheme="dark")
        found += page.evaluate(PROBE)
        page.emulate_media(color_scheme="light")
        faults[name] = list(dict.fromkeys(found + watched.take_faults()))
    assert {name: found for name, found in faults.items() if found} == {}


def test_pages_are_sound_on_a_desktop(open_in, address):
    watched = open_in(address, DESKTOP)
    for name in ("index.html", "tutorial.html", "reference/adamw.html", "notebooks/6_a_chain_from_the_inside.html"):
        assert watched.open(address + name).evaluate(PROBE) == []
        assert watched.take_faults() == []


@pytest.mark.parametrize("symbol", ["adamw", "clip_by_global_norm", "from_torch"])
def test_the_search_box_finds_a_symbol(open_in, address, symbol):
    watched = open_in(address, DESKTOP)
    page = watched.open(address + "index.html")
    box = page.get_by_role("searchbox").or_(page.locator("input.sidebar-search")).first
    box.fill(symbol)
    box.press("Enter")
    page.wait_for_function("document.querySelector('#search-results p.search-summary')?.textContent.match(/\\d/)")
    first = page.locator("#search-results ul.search li > a").evaluate_all("links => links.slice(0, 3).map(a => a.href)")
    assert f"{address}reference/{symbol}.html" in [link.partition("#")[0].partition("?")[0] for link in first]
    assert watched.take_faults() == []


def test_the_picture_of_the_home_page_plays(open_in, address):
    picture = open_in(address, DESKTOP).open(address + "index.html").locator(".hero-picture")
    step = picture.locator("input")
    # It began by itself, and may have come to its end before anybody looked.
    step.evaluate("step => { step.value = 0; step.dispatchEvent(new Event('input')); }")
    at_first = picture.screenshot()
    picture.get_by_role("button", name="Play").click()
    picture.page.wait_for_function("document.querySelector('.hero-picture input').value > 0")
    is_same = picture.screenshot() == at_first
    assert not is_same


def test_a_page_opens_from_a_file(open_in, site):
    watched = open_in(site.as_uri(), PHONE)
    for name in ("index.html", "reference/adamw.html"):
        assert watched.open((site / name).as_uri()).evaluate(PROBE) == []
        assert watched.take_faults() == []
