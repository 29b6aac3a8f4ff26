"""The built site, a server for it on this machine alone, and one browser for all tests.

`make docs` builds the site and `make test-docs` runs these; `make test` leaves them out, as it builds no site.
"""

import contextlib
import functools
import http.server
import shutil
import threading
from pathlib import Path

import pytest
from playwright.sync_api import Error, sync_playwright

SITE = Path(__file__).parent.parent.parent / "out" / "site"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="session")
def site():
    if not (SITE / "index.html").exists():
        pytest.fail(f"there is no site in {SITE}: make docs", pytrace=False)
    return SITE


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        pass


@pytest.fixture(scope="session")
def address(site):
    """Where the site is served."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def browser():
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as playwright:
        try:
            # No sandbox: one may be root in a container, where there is none.
            browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        except Error as error:
            pytest.fail(f"no Chromium to open the pages with; one of {BROWSERS} has to be on the PATH\n{error}")
        yield browser
        browser.close()


class Watched:
    """A page of the browser that may not leave the site, and what went wrong in it."""

    def __init__(self, page, allowed):
        self.page, self.faults = page, []
        self._allowed = allowed
        page.route("**/*", self._let_through)
        page.on("console", lambda said: said.type in ("error", "warning") and self.faults.append(said.text))
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("requestfailed", self._failed)
        page.on("response", lambda answer: answer.ok or self.faults.append(f"{answer.status}: {answer.url}"))

    def _let_through(self, route):
        if route.request.url.startswith((self._allowed, "data:", "blob:")):
            route.continue_()
        else:
            self.faults.append(f"left the site: {route.request.url}")
            route.abort()

    def _failed(self, request):
        # What is asked for when another page is gone to is let go: the icon of a page, say.
        if request.failure != "net::ERR_ABORTED":
            self.faults.append(f"{request.failure}: {request.url}")

    def open(self, url):
        """Goes there, and waits until all is loaded."""
        self.page.goto(url, wait_until="load")
        return self.page

    def take_faults(self):
        """What went wrong since it was last asked."""
        faults, self.faults = self.faults, []
        return faults


@pytest.fixture
def open_in(browser):
    """Opens pages in a window of a given size, from where they are allowed to be."""
    with contextlib.ExitStack() as stack:

        def window(allowed, size, **options):
            context = stack.enter_context(contextlib.closing(browser.new_context(viewport=size, **options)))
            return Watched(context.new_page(), allowed)

        yield window
