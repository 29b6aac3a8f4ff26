"""The numbers of README and docs are those that are kept, and a page says what makes them."""

import json

import jax
import jax.numpy as jnp
import pytest
from PIL import Image

import gradxform as gx
from docs.generate import blocks, numbers, picture

PAGES = list(numbers.pages())
ANEW = "make it anew with: make numbers"


def test_there_are_pages_with_numbers():
    names = {path.name for path in PAGES}
    assert {"README.md", "steps.md", "programs.md", "storage.md"} <= names


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_has_the_numbers_that_are_kept(path):
    assert path.read_text() == numbers.filled(path.read_text()), ANEW


def test_a_block_that_nothing_makes_is_an_error():
    with pytest.raises(KeyError, match="nonsense"):
        numbers.filled("<!-- numbers: nonsense -->\n<!-- end -->\n")


def test_what_stands_in_a_block_is_written_over_and_what_is_around_it_stays():
    text = "before\n\n<!-- numbers: bench-machine -->\nold\n<!-- end -->\n\nafter\n"
    made = numbers.filled(text)
    assert "old" not in made
    assert blocks.bench_machine() in made
    assert made.startswith("before\n")
    assert made.endswith("\nafter\n")
    assert numbers.filled(made) == made


def test_each_block_is_on_a_page():
    shown = "".join(path.read_text() for path in PAGES)
    assert [name for name in blocks.BLOCKS if f"<!-- numbers: {name} -->" not in shown] == []


def test_pictures_show_the_numbers_that_are_kept():
    with Image.open(picture.PICTURE) as image:
        assert json.loads(image.info["Description"]) == picture.ratios(), ANEW
    with Image.open(picture.STEPS_PICTURE) as image:
        assert image.info["Description"] == picture.digest(), ANEW


def test_the_bytes_of_int8_are_those_of_the_readme():
    params = {"w": jax.ShapeDtypeStruct((4096, 256), jnp.float32)}
    state = jax.eval_shape(gx.stored(gx.adamw(1e-3), gx.int8()).init, params)
    arrays = [leaf for leaf in jax.tree.leaves(state) if leaf.shape]
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in arrays) / params["w"].size
    assert f"{size:.2f} bytes a parameter" in numbers.README.read_text().replace("\n   ", " ")


def test_no_number_of_a_benchmark_is_typed_into_the_readme():
    # Ratios and times stand between marks; what is left are versions, literals of code, and what tests assert.
    outside = numbers.BLOCK.sub("", numbers.README.read_text())
    assert " of optax's time" not in outside
    assert " GB" not in outside
