import hashlib
import os

import pytest

from aigc_jax.data.layout import find_images, is_hidden, natural_key
from aigc_jax.types import UsageError


def fill(root, *names):
    """Empty files: a layout is a matter of names alone."""
    assert not any(name.startswith("/") for name in names)
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def found(root, **options):
    """The names of all images by class, and what is said of the others."""
    layout = find_images(root, **{"is_labelled": True, **options})
    by_class = {}
    for path, label in [*layout.train, *layout.held_out]:
        name = None if label is None else layout.class_names[label]
        by_class.setdefault(name, set()).add(path.relative_to(root).as_posix())
    return by_class, "; ".join(layout.remarks)


def message(root, **options):
    with pytest.raises(UsageError) as error:
        find_images(root, **{"is_labelled": True, **options})
    assert str(error.value).isprintable()
    return str(error.value)


def test_find_images_orders_numbered_classes_by_number(tmp_path):
    fill(tmp_path, *(f"{label}/{number}.png" for label in range(12) for number in range(2)))
    assert find_images(tmp_path, is_labelled=True).class_names == [str(label) for label in range(12)]


def test_natural_key_orders_every_pair_of_names():
    names = ["", "0", "1", "01", "2", "10", "a", "a1", "a2b", "a10", "b", "Z", "²", "4²"]
    ordered = sorted(names, key=natural_key)
    assert ordered == sorted(reversed(names), key=natural_key)
    assert [name for name in ordered if name.isascii() and name.isdigit()] == ["0", "01", "1", "2", "10"]
    assert [name for name in ordered if name.startswith("a")] == ["a", "a1", "a2b", "a10"]


@pytest.mark.parametrize(
    "name",
    ["._1.png", ".hidden.png", ".ipynb_checkpoints", "__MACOSX", "@eaDir", "Thumbs", "#recycle", ".DS_Store"],
)
def test_find_images_skips_hidden_names_at_any_depth(tmp_path, name):
    images = [f"{label}/{number}.png" for label in ("a", "b") for number in range(3)]
    fill(tmp_path, *images, "a/deep/er/3.png")
    for place in (".", "a", "a/deep", "a/deep/er"):
        fill(tmp_path, f"{place}/{name}" if name.endswith(".png") else f"{place}/{name}/copy.png")
    assert is_hidden(name)
    by_class, remarks = found(tmp_path)
    assert by_class == {"a": {"a/0.png", "a/1.png", "a/2.png", "a/deep/er/3.png"}, "b": {*images[3:]}}
    assert "4 hidden" in remarks


def test_find_images_follows_linked_folders(tmp_path):
    fill(tmp_path, *(f"data/{label}/{number}.png" for label in ("a", "b") for number in range(3)))
    fill(tmp_path, *(f"elsewhere/{number}.png" for number in range(5)))
    (tmp_path / "data/a/more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data/c").symlink_to(tmp_path / "elsewhere")
    by_class, _ = found(tmp_path / "data")
    assert {name: len(files) for name, files in by_class.items()} == {"a": 8, "b": 3, "c": 5}


def test_find_images_reads_loops_of_links_once(tmp_path):
    images = [f"data/{label}/{number}.png" for label in ("a", "b") for number in range(3)]
    fill(tmp_path, *images, "outside.png")
    for place, target in {"a/self": ".", "a/up": "..", "a/far": "../..", "a/b": "../b"}.items():
        (tmp_path / "data" / place).symlink_to(target)
    (tmp_path / "data/a/loop").symlink_to("loop")
    (tmp_path / "data/a/broken.png").symlink_to("nowhere.png")
    os.mkfifo(tmp_path / "data/a/pipe.png")
    by_class, remarks = found(tmp_path / "data")
    # A link from one class to another is what its owner asked for, but each folder counts once.
    assert {name: len(files) for name, files in by_class.items()} == {"a": 6, "b": 3}
    assert "3 folders linked twice" in remarks
    assert "2 broken links or pipes" in remarks


def test_find_images_keeps_names_despite_a_second_link(tmp_path):
    fill(tmp_path, *(f"a/more/{number}.png" for number in range(3)), "b/0.png", "b/1.png")
    before = found(tmp_path)[0]
    (tmp_path / "a/again").symlink_to("more")
    assert found(tmp_path)[0] == before


def test_find_images_counts_other_files_by_suffix(tmp_path):
    fill(tmp_path, "a/0.png", "a/1.JPG", "a/2.jpeg", *(f"a/{number}.webp" for number in range(20)), "a/note", "a/x.TIF")
    fill(tmp_path, "b/0.png", "b/1.png", "loose.png", "README.txt", "b/x.\x1b[2J")
    by_class, remarks = found(tmp_path)
    assert sum(map(len, by_class.values())) == 5
    for remark in ("20 .webp", "1 without suffix", "1 .tif", "1 .txt", "1 images in no class folder", r"1 .\x1b[2j"):
        assert remark in remarks


def test_find_images_names_the_files_of_an_empty_class(tmp_path):
    fill(tmp_path, "a/0.png", "a/1.png", "b/0.webp")
    assert "1 .webp" in message(tmp_path)
    assert str(tmp_path / "b") in message(tmp_path)


def test_find_images_splits_and_shows_names_that_are_not_utf8(tmp_path):
    fill(tmp_path, *(f"a/{number}.png" for number in range(3)), "b/0.png", "b/1.png")
    os.rename(tmp_path / "a/0.png", os.fsencode(tmp_path) + b"/a/gr\xfcn.png")
    os.rename(tmp_path / "b", os.fsencode(tmp_path) + b"/b\xff")
    layout = find_images(tmp_path, is_labelled=True)
    assert len(layout.train) + len(layout.held_out) == 5
    assert layout.class_names == ["a", "b\\xff"]
    fill(tmp_path, os.fsdecode(b"c\xff\n/note.txt"))
    assert r"c\xff\n" in message(tmp_path)


def test_find_images_gives_printable_class_names(tmp_path):
    fill(tmp_path, "cat\x1b[2J\n/0.png", "cat\x1b[2J\n/1.png")
    assert find_images(tmp_path, is_labelled=True).class_names == [r"cat\x1b[2J\n"]


def test_find_images_holds_out_the_smallest_checksums(tmp_path):
    names = [f"a/{number} ä.png" for number in range(30)]
    fill(tmp_path, *names)
    smallest = sorted(names, key=lambda name: hashlib.sha256(name.encode("utf-8")).digest())[:3]
    assert {path.relative_to(tmp_path).as_posix() for path, _ in find_images(tmp_path, is_labelled=True).held_out} == {
        *smallest
    }


def split_of(layout, root):
    parts = []
    for part in (layout.train, layout.held_out):
        parts.append({(path.relative_to(root).as_posix(), label) for path, label in part})
    return parts


@pytest.mark.parametrize("name", ["val", "valid", "Validation", "test"])
def test_find_images_uses_a_given_split(tmp_path, name):
    fill(tmp_path, "train/apple/1.png", "train/pear/1.png", "train/pear/2.png", f"{name}/pear/1.png", "README.md")
    layout = find_images(tmp_path, is_labelled=True)
    assert layout.class_names == ["apple", "pear"]
    train, held_out = split_of(layout, tmp_path)
    assert train == {("train/apple/1.png", 0), ("train/pear/1.png", 1), ("train/pear/2.png", 1)}
    assert held_out == {(f"{name}/pear/1.png", 1)}
    assert f"train/ and {name}/" in layout.remarks[0]
    assert "1 .md" in layout.remarks[-1]


def test_find_images_prefers_test_with_classes_as_held_out(tmp_path):
    fill(tmp_path, "train/a/1.png", "val/a/2.png", "test/a/3.png")
    layout = find_images(tmp_path, is_labelled=True)
    assert split_of(layout, tmp_path)[1] == {("test/a/3.png", 0)}
    assert "val/ not used" in layout.remarks
    (tmp_path / "test/a/3.png").rename(tmp_path / "test/3.png")
    (tmp_path / "test/a").rmdir()
    assert split_of(find_images(tmp_path, is_labelled=True), tmp_path)[1] == {("val/a/2.png", 0)}


def test_find_images_holds_out_a_tenth_of_a_single_training_folder(tmp_path):
    fill(tmp_path, *(f"train/{label}/{number}.png" for label in "ab" for number in range(20)))
    layout = find_images(tmp_path, is_labelled=True)
    assert layout.class_names == ["a", "b"]
    assert (len(layout.train), len(layout.held_out)) == (36, 4)


def test_find_images_refuses_a_split_without_classes(tmp_path):
    fill(tmp_path, *(f"{part}/{number}.png" for part in ("train", "val") for number in range(4)))
    assert "--num-classes None" in message(tmp_path)
    layout = find_images(tmp_path, is_labelled=False)
    assert (len(layout.train), len(layout.held_out), layout.class_names) == (4, 4, [])
    assert {label for _, label in layout.train} == {None}


def test_find_images_refuses_a_split_with_different_classes(tmp_path):
    fill(tmp_path, "train/a/1.png", "val/a/2.png", "val/b/1.png")
    assert "(b)" in message(tmp_path)


@pytest.mark.parametrize("names", [["train"], ["train", "plane"], ["test", "val"]])
def test_find_images_keeps_classes_named_like_splits(tmp_path, names):
    fill(tmp_path, *(f"{name}/{number}.png" for name in names for number in range(2)))
    assert sorted(find_images(tmp_path, is_labelled=True).class_names) == sorted(names)


def test_find_images_takes_loose_images_without_labels(tmp_path):
    fill(tmp_path, *(f"{number}.png" for number in range(20)), "note.txt")
    assert "--num-classes None" in message(tmp_path)
    layout = find_images(tmp_path, is_labelled=False)
    assert (len(layout.train), len(layout.held_out), layout.class_names) == (18, 2, [])
    assert "1 .txt" in layout.remarks[-1]


def test_find_images_keeps_labels_of_class_folders(tmp_path):
    fill(tmp_path, *(f"{label}/{number}.png" for label in "ab" for number in range(4)), "loose.png")
    assert found(tmp_path, is_labelled=False) == found(tmp_path, is_labelled=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_find_images_names_an_unreadable_folder(tmp_path):
    fill(tmp_path, "a/0.png", "a/1.png", "a/secret/2.png")
    (tmp_path / "a/secret").chmod(0)
    assert "secret" in message(tmp_path)
    (tmp_path / "a/secret").chmod(0o755)
