"""LaTeX as MathML that browsers show by themselves."""

import pytest

from docs.generate import formulas, mathml


def test_names_of_several_letters_are_words_and_code_is_marked():
    written = mathml.mathml(r"\mathrm{eps\_root}\ \texttt{max_norm}", is_block=False)
    assert "<mi>eps_root</mi>" in written
    assert '<mtext class="code">max_norm</mtext>' in written


def test_a_sign_with_nothing_before_it_belongs_to_what_follows():
    assert '<mo form="prefix">-</mo><mi>g</mi>' in mathml.mathml(r"u = -g", False).replace("\N{MINUS SIGN}", "-")
    assert "prefix" not in mathml.mathml("u - g", False)
    assert "prefix" in mathml.mathml(formulas.latex("u = -g"), False)


def test_cells_say_by_style_where_they_lie():
    written = mathml.mathml(formulas.latex("m <- g\nu  = m"), is_block=True)
    assert written.count("text-align: -webkit-right") == written.count("text-align: -webkit-left") == 2
    assert 'displaystyle="true"' in written
    assert 'display="block"' in written


def test_sizes_of_brackets_that_are_not_known_are_left_out():
    assert mathml.mathml(r"\bigl(x\bigr)", False) == mathml.mathml("(x)", False)


def test_a_macro_that_is_not_known_is_an_error():
    with pytest.raises(ValueError, match=r"the macro \\nosuch is not known"):
        mathml.mathml(r"\nosuch x", False)
