"""The formulas of docstrings as LaTeX."""

import re

import pytest

from docs.generate import docstring, formulas, pages, symbols

ARGUMENTS = {"eps": False, "eps_root": False, "decay": False, "nesterov": True, "max_norm": False, "beta3": False}
# A line of a docstring, and what is made of it.
LINES = {
    "u = g": r"u = g",
    "mu <- b1 mu + (1 - b1) g": r"\mu \leftarrow b_{1}\,\mu + \left(1 - b_{1}\right)\,g",
    "u = m / (sqrt(nu) + eps)": r"u = \frac{m}{\sqrt{\nu} + \mathrm{eps}}",
    "c = a / b x": r"c = \frac{a}{b}\,x",
    "c = x y / b / d": r"c = \frac{x\,y}{b\,d}",
    "c = (x + y) / (b d)": r"c = \frac{x + y}{b\,d}",
    "c = (x + y) (z / d)": r"c = \left(x + y\right)\,\left(\frac{z}{d}\right)",
    "m = mu / (1 - b1^(t+1))": r"m = \frac{\mu}{1 - b_{1}^{t{+}1}}",
    "x = b^(k / (n - 1))": r"x = b^{k / \left(n - 1\right)}",
    "u = -decay g": r"u = {-}\mathrm{decay}\,g",
    "a = Ql h Qr^T,   b = Ql^-T": r"a = Q_{l}\,h\,Q_{r}^{\top}\text{,}\quad b = Q_{l}^{-\top}",
    "x ~ f^-1(q / 7)": r"x \sim f^{-1}\left(\frac{q}{7}\right)",
    "c = beta3 c": r"c = \beta_{3}\,c",
    "d = g - g_before": r"d = g - g_{\mathrm{before}}",
    "r = rms(g)   over all leaves": r"r = \mathrm{rms}\left(g\right)\quad \text{over all leaves}",
    "u = min(1, max_norm / |g|)": r"u = \mathrm{min}\left(1\text{,}\ \frac{\mathrm{max\_norm}}{\left|g\right|}\right)",
    "n = |g - mu|^2 + |s|_1": r"n = \left|g - \mu\right|^{2} + \left|s\right|_{1}",
    "h = mean|m| n": r"h = \mathrm{mean}\left|m\right|\,n",
    "c = <g, s / d> x": r"c = \left\langle g\text{,}\ \frac{s}{d} \right\rangle\,x",
    "u = v,   with nesterov g + v": r"u = v\text{,}\quad \text{with}\ \texttt{nesterov}\ g + v",
    'u = n,   with rescale="rms" n / d': r'u = n\text{,}\quad \text{with}\ \texttt{rescale="rms"}\ \frac{n}{d}',
    "u = a leaf": r"u = \text{a leaf}",
    "u = sum_i g_i / D": r"u = \sum_{i}\,\frac{g_{i}}{D}",
    "e = 1e-16 and 2^-23": r"e = 10^{-16}\ \text{and}\ 2^{-23}",
    "q = g_(t-1) t": r"q = g_{t{-}1}\,t",
    "m = debias'(mu, b1)": r"m = \mathrm{debias}'\left(\mu\text{,}\ b_{1}\right)",
    "u = the update of `adam`": r"u = \text{the update of}\ \texttt{adam}",
    "f = grad f(x0)": r"f = \nabla\,f\left(x_{0}\right)",
    "m[i] <- max |x|": r"m\left[i\right] \leftarrow \mathrm{max}\,\left|x\right|",
    "with <,> and |.|_1": r"\text{with}\ \left\langle \cdot, \cdot \right\rangle\ \text{and}\ \left|\cdot\right|_{1}",
}
# A line that cannot be read, the column, and a word of the reason.
WRONG = {
    "u = g +": (7, "follows"),
    "u = (g + m": (5, "closed"),
    "u = g) m": (6, "closes nothing"),
    "u = g /": (7, "follows"),
    "u = / g": (5, "divided"),
    "u = mean of G / mean of S": (17, "words"),
    "u = g.real": (6, "language"),
    "u = g_ m": (5, "underscore"),
    "matrices:  u = g^(": (18, "closed"),
    "u = |g + 1": (5, "closed"),
}


@pytest.mark.parametrize("line", LINES)
def test_a_line_is_read(line):
    assert re.sub(r"\s+", " ", formulas.latex(line, ARGUMENTS)).strip() == LINES[line]


@pytest.mark.parametrize("line", WRONG)
def test_a_line_that_cannot_be_read_is_an_error_that_tells_the_column(line):
    column, reason = WRONG[line]
    with pytest.raises(formulas.FormulaError, match=reason) as caught:
        formulas.latex(line, ARGUMENTS)
    assert caught.value.column == column
    assert line in str(caught.value)


def test_lines_are_aligned_at_their_signs():
    assert formulas.latex("m <- g\nu  = m") == r"\begin{align*}m &  \leftarrow g \\ u &  = m\end{align*}"


def test_labels_have_a_column_of_their_own_where_most_lines_have_one():
    many = formulas.latex("input:  u = g\nsign:  u = 1\nu = 2")
    assert many.startswith(r"\begin{align*}& \text{input}\text{:} & u &")
    few = formulas.latex("u = g\nv = g\nsign:  u = 1")
    assert few.startswith(r"\begin{array}{l}\begin{align*}u &")
    assert r"\\ \text{sign}\text{:}\quad u" in few


def test_words_before_a_sign_are_not_aligned():
    assert "align" not in formulas.latex("at steps k + 1 with n ~ m\nfor all leaves")


def test_python_is_told_from_formulas():
    assert formulas.is_code("gx.adam(1e-3)")
    assert formulas.is_code("losses = sweep(adam, {})")
    assert formulas.is_code("import gradxform.as_optax as optax")
    assert not formulas.is_code("u = g")
    assert not formulas.is_code("u = f(g, params)")


def every_block():
    """The formulas of all docstrings, with the names that have a value there."""
    for name in symbols.all_names():
        value = symbols.object_of(name)
        blocks = [each for each in docstring.parse(symbols.docstring_of(name)).blocks() if not formulas.is_code(each)]
        known = {assigned for block in blocks for assigned in formulas.assigned(block)}
        for block in blocks:
            if pages.table(block) is None:
                yield name, block, formulas.latex(block, pages.arguments_of(value), known)


def test_every_name_and_word_of_a_docstring_is_in_its_latex_in_its_order():
    # What has a sign of its own in LaTeX.
    signs = {"cbrt": "sqrt[3]", "grad": "nabla", "inf": "infty", "T": "top"}
    found = list(every_block())
    assert len(found) > 150
    for name, block, latex in found:
        # Without what LaTeX writes around names, and the underscore of an index.
        plain, at = re.sub(r"\\(?:mathrm|texttt|text)\b|[\\{}_ ]", "", latex), 0
        for power, word in re.findall(r"(\^-?|\b)([A-Za-z]\w*)", re.sub(r"\d+e-\d+", "", block)):
            sign = signs.get(word, word) if power or word != "T" else word
            at = plain.find(sign.replace("_", ""), at)
            assert at >= 0, (name, word, latex)


def test_an_unknown_formula_names_its_docstring():
    part = docstring.Part("block", "u = g +")
    with pytest.raises(formulas.FormulaError, match=r"^some_rule: column 7 of"):
        pages.written("some_rule", lambda g: g, docstring.parse("A rule.\n\n    u = g +\n"), [part])
