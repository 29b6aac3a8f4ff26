"""Every link of every page leads somewhere, and what pages are made of is in the site."""

from collections import defaultdict
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest

# What a browser fetches by itself.
PARTS = {("script", "src"), ("img", "src"), ("link", "href"), ("source", "src"), ("iframe", "src"), ("video", "src")}


class Reader(HTMLParser):
    """The names of places, the links and the parts of a page."""

    def __init__(self, text):
        super().__init__()
        self.places, self.links, self.parts = set(), set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name == "id" or (tag == "a" and name == "name"):
                self.places.add(value)
            elif tag == "a" and name == "href":
                self.links.add(value)
            elif (tag, name) in PARTS:
                self.parts.add(value)


@pytest.fixture(scope="module")
def pages(site):
    # What the theme has to be read by, and not to be looked at.
    return {path: Reader(path.read_text()) for path in site.rglob("*.html") if "_static" not in path.parts}


def test_links_within_the_site_lead_to_what_is_there(site, pages):
    lost = defaultdict(list)
    for path, page in pages.items():
        for link in page.links | page.parts:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            place = unquote(parts.fragment)
            there = target.is_file() and target.is_relative_to(site)
            if not there or (place and target in pages and place not in pages[target].places):
                lost[path.relative_to(site).as_posix()].append(link)
    assert lost == {}


def test_no_page_is_made_of_what_is_elsewhere(site, pages):
    parts = {part for page in pages.values() for part in page.parts if urlsplit(part).scheme not in ("", "data")}
    assert parts == set()
    for sheet in site.rglob("*.css"):
        # A namespace is a name, and nothing is fetched by it.
        text = sheet.read_text().replace("http://www.w3.org/", "")
        assert "://" not in "".join(text.split("url(")[1:]), sheet


def test_links_out_of_the_site_are_addresses(pages):
    links = {link for page in pages.values() for link in page.links if urlsplit(link).scheme}
    wrong = [
        link
        for link in links
        if urlsplit(link).scheme != "https"
        or "." not in (urlsplit(link).hostname or "")
        or set(link) & set(" <>\"'`\\")
    ]
    assert wrong == []
