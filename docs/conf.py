"""How the pages of this folder become a site: `make docs`. Nothing is fetched, neither here nor by who reads them."""

import os
import sys
from importlib.metadata import version as version_of
from pathlib import Path

# What pages show is computed on any machine as on one without an accelerator.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# What makes pages is imported from the repository: `docs.generate`.
sys.path.insert(0, str(Path(__file__).parent.parent))

project = "gradxform"
author = "The gradxform developers"
project_copyright = author
version = release = version_of("gradxform")

extensions = ["myst_nb", "sphinx_copybutton", "docs.generate.site", "docs.generate.extension"]
highlight_language = "text"

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 4

# Notebooks show what they showed when they were run: `make notebooks-afresh` and the tests run them.
nb_execution_mode = "off"
nb_merge_streams = True
# A widget is shown by the picture that is kept beside it: its scripts would come from elsewhere.
nb_ipywidgets_js = {}

html_theme = "furo"
html_title = "gradxform"
html_logo = "_static/logo.svg"
html_favicon = "_static/logo.svg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "github-dark"
_LIGHT = {"brand": "#0a5a8c", "grid": "#d5dde4", "code": "#f5f7f9"}
_DARK = {"brand": "#6db9e8", "grid": "#3b444c", "code": "#0d1117"}
# Nothing is smaller than 14 pixels: the theme's smaller sizes are brought up to that, within each other too.
_SIZES = {f"font-size--small{step}": "0.875rem" for step in ("", "--2", "--3", "--4")}


def _variables(colours: dict[str, str]) -> dict[str, str]:
    return _SIZES | {
        "color-brand-primary": colours["brand"],
        "color-brand-content": colours["brand"],
        "color-brand-visited": colours["brand"],
        "color-site-grid": colours["grid"],
        "color-site-code": colours["code"],
    }


html_theme_options = {
    "light_css_variables": _variables(_LIGHT),
    "dark_css_variables": _variables(_DARK),
    "top_of_page_buttons": [],
}
