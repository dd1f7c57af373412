import io
import json
import os
import stat
import zipfile

import numpy as np
import pytest

from aigc_jax.data import files
from aigc_jax.data.files import parse_json, read_json, read_npz, read_text, visible, whole_file, write_text
from aigc_jax.types import UsageError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain text, Größe, 猫, नमस्ते", "plain text, Größe, 猫, नमस्ते"),
        ("👩\u200d🚀 क्\u200cष", "👩\u200d🚀 क्\u200cष"),  # joiners are spelling
        ("two\nlines\r", "two\\nlines\\r"),
        ("\x1b[2J\x9b\x00", "\\x1b[2J\\x9b\\x00"),
        ("a\u2028b\u202egnp.exe", "a\\u2028b\\u202egnp.exe"),
        (os.fsdecode(b"gr\xfcn.png"), "gr\\xfcn.png"),
        ("\ud800", "\\ud800"),
    ],
)
def test_visible_escapes_only_control_characters(text, expected):
    assert visible(text) == expected
    visible(text).encode()


def test_whole_file_follows_no_link_of_a_guessable_name(tmp_path):
    # The temporary name was .NAME.PID.tmp: a link there had the file behind it overwritten.
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / f".report.html.{os.getpid()}.tmp").symlink_to(victim)
    write_text(tmp_path / "report.html", "new")
    assert (victim.read_text(), (tmp_path / "report.html").read_text()) == ("precious", "new")


def test_whole_file_opens_no_existing_file(tmp_path, monkeypatch):
    monkeypatch.setattr(files.secrets, "token_hex", lambda num: "0" * num)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for make in (lambda path: path.symlink_to(victim), lambda path: path.hardlink_to(victim)):
        make(tmp_path / ".out.00000000.tmp")
        with pytest.raises(UsageError):
            write_text(tmp_path / "out", "new")
        assert victim.read_text() == "precious"
        (tmp_path / ".out.00000000.tmp").unlink()


def test_whole_file_has_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "ordinary").write_text("")
    write_text(tmp_path / "whole", "")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ordinary", "whole")]
    assert modes[0] == modes[1]


def test_write_text_takes_paths_that_are_not_utf8(tmp_path):
    write_text(tmp_path / "page", os.fsdecode(b"gr\xfcn ") + "grün")
    assert (tmp_path / "page").read_text() == "gr\\udcfcn grün"


def test_whole_file_takes_the_longest_names(tmp_path):
    for name in ("a" * 255, "ä" * 127):
        write_text(tmp_path / name, "content")
        assert (tmp_path / name).read_text() == "content"
        assert [path.name for path in tmp_path.iterdir()] == [name]
        (tmp_path / name).unlink()


def test_whole_file_leaves_nothing_after_an_error(tmp_path):
    def half():
        with whole_file(tmp_path / "out") as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert not list(tmp_path.iterdir())


def test_read_json_returns_what_was_written(tmp_path):
    content = {"a": [1, 2.5, None, {"b": "ä"}], "big": 10**299, "deep": json.loads("[" * 98 + "]" * 98)}
    write_text(tmp_path / "x.json", json.dumps(content))
    assert read_json(tmp_path / "x.json", advice="") == content


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[" * 100_000 + b"]" * 100_000, "nested more than 100 deep"),
        (b'{"a": ' * 5000 + b"1" + b"}" * 5000, "nested more than 100 deep"),
        (b'{"a": ' + b"9" * 400 + b"}", "a number of 400 digits"),
        (b'{"a": ' + b"9" * 5000 + b"}", "a number of 5000 digits"),
        (b'{"a": "\xff"}', "utf-8"),
        (b"[1]", "expected a JSON object, got a list"),
        (b"{", "Expecting"),
        (b"", "Expecting value"),
    ],
)
def test_read_json_refuses_bad_content_in_one_line(tmp_path, content, reason):
    (tmp_path / "x\x1b[2J.json").write_bytes(content)
    with pytest.raises(UsageError, match=reason) as caught:
        read_json(tmp_path / "x\x1b[2J.json", advice="make it anew")
    assert str(caught.value).startswith(f"cannot read {tmp_path}/x\\x1b[2J.json (")
    assert str(caught.value).endswith("): make it anew")
    assert "\n" not in str(caught.value)


def test_read_text_opens_only_regular_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "endless"):
        with pytest.raises(UsageError, match="not a regular file"):
            read_text(tmp_path / name, advice="")
    for name in ("folder", "missing", "n" * 300):
        with pytest.raises(UsageError):
            read_text(tmp_path / name, advice="")


def test_read_text_has_a_size_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_TEXT_BYTES", 1 << 20)
    (tmp_path / "most").write_bytes(b"x" * (1 << 20))
    assert len(read_text(tmp_path / "most", advice="")) == 1 << 20
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 40)  # sparse: it takes no room
    with pytest.raises(UsageError, match="larger than 1 MiB"):
        read_text(tmp_path / "huge", advice="")


@pytest.mark.parametrize("text", ["[" * 101 + "]" * 101, '{"a":' * 101 + "1" + "}" * 101])
def test_parse_json_counts_levels_of_lists_and_objects(text):
    with pytest.raises(ValueError, match="nested more than 100 deep"):
        parse_json(text)
    parse_json(text[5 if text[0] == "{" else 1 : -1])


def npy(array_header, body=b"", name="a.npy"):
    """An archive with one array entry of any header."""
    entry, archive = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_1_0(entry, array_header)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(name, entry.getvalue() + body)
    return archive.getvalue()


def header(shape, descr="<f4"):
    return {"descr": descr, "fortran_order": False, "shape": shape}


def test_read_npz_returns_what_was_written(tmp_path):
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.array(["x", "yz"]), "c": np.zeros((0, 4)), "d": np.array(3)}
    np.savez_compressed(tmp_path / "x.npz", **arrays)
    loaded = read_npz(tmp_path / "x.npz", advice="")
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name], array)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (npy(header((10**13,))), "claim 40000000000000 bytes"),
        (npy(header((2**40, 2**40, 2**40))), "claim"),
        (npy(header((3,)), bytes(4)), "cannot read"),
        (npy(header((3,), "|O"), bytes(24)), "Python objects"),
        (npy(header((-3,)), bytes(12)), "cannot read"),
        (npy(header((1,)), bytes(1 << 22)), "claim"),  # a bomb: more in the archive than the header says
        (npy(header((1,)), bytes(4))[:-30], "cannot read"),
        (b"no archive", "cannot read"),
        (b"", "cannot read"),
    ],
)
def test_read_npz_checks_sizes_before_reading(tmp_path, monkeypatch, content, reason):
    monkeypatch.setattr(files, "MAX_ARRAY_BYTES", 1 << 20)
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(UsageError, match=reason):
        read_npz(tmp_path / "x.npz", advice="evaluate again")


def test_read_npz_reads_no_pickle(tmp_path):
    class Planted:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "executed"),))

    np.savez(tmp_path / "x.npz", a=np.array([Planted()], dtype=object))
    with pytest.raises(UsageError, match="Python objects"):
        read_npz(tmp_path / "x.npz", advice="")
    assert not (tmp_path / "executed").exists()
