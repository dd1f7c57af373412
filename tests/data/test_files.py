import os
import stat

import pytest

from aigc_jax.data import files
from aigc_jax.data.files import visible, whole_file, write_text
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
def test_visible_escapes_control_characters_alone(text, expected):
    assert visible(text) == expected
    visible(text).encode()


def test_whole_file_does_not_follow_a_link_under_a_name_that_can_be_guessed(tmp_path):
    # The temporary name was .NAME.PID.tmp: a link there had the file behind it overwritten.
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / f".report.html.{os.getpid()}.tmp").symlink_to(victim)
    write_text(tmp_path / "report.html", "new")
    assert (victim.read_text(), (tmp_path / "report.html").read_text()) == ("precious", "new")


def test_whole_file_never_opens_what_is_there(tmp_path, monkeypatch):
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
