"""The command verify, on runs of images, points and tokens."""

import json

import pytest

from aigc_jax import cli

pytestmark = pytest.mark.standard_promotion


@pytest.mark.parametrize("name", ["gan_digits", "flow_2d", "d3pm_digits"])
def test_verify_certifies_then_confirms(trained_run, name, capsys):
    run = trained_run(name)
    command = ["verify", str(run), "--num", "20"]
    assert cli.main(command) == 0
    assert "there was no certificate: wrote" in capsys.readouterr().out
    assert cli.main(command) == 0
    out = capsys.readouterr().out
    assert "EQUAL: 20 of 20 are those of the certificate, bit for bit" in out
    assert out.count("equal") == 2  # in other blocks, on several devices


def test_verify_explains_a_difference(trained_run, capsys):
    run = trained_run("flow_2d")
    command, file = ["verify", str(run), "--num", "20"], run / "certificate.json"
    assert cli.main(command) == 0
    certificate = json.loads(file.read_text())
    certificate["digests"][3] = 64 * "0"
    certificate["environment"]["device"] = "another\nchip"
    file.write_text(json.dumps(certificate))
    assert cli.main(command) == 1
    out = capsys.readouterr().out
    assert "DIFFERENT: 19 of 20 are those of the certificate bit for bit, 20 as files hold them" in out
    assert "because of device: another\\nchip -> " in out


@pytest.mark.parametrize(
    ("words", "text", "expected"),
    [
        (["--checkpoint", "best"], None, "expected --checkpoint latest or a step"),
        (["--checkpoint", "7"], None, "no checkpoint at step 7: use one of 2"),
        (["--num", "0"], None, "expected 1 to 4096 samples"),
        (["--seed", "-1"], None, "seed"),
        ([], "[" * 10_000, "cannot read"),
        ([], "{}", "is broken"),
    ],
)
def test_verify_refuses_in_one_line(trained_run, words, text, expected, capsys):
    run = trained_run("flow_2d")
    if text is not None:
        (run / "certificate.json").write_text(text)
    assert cli.main(["verify", str(run), *words]) == 2
    assert expected in capsys.readouterr().err


def test_verify_refuses_a_model_that_draws_nothing(trained_run, capsys):
    assert cli.main(["verify", str(trained_run("classifier_digits"))]) == 2
    assert "draws no samples" in capsys.readouterr().err


def test_verify_says_that_the_certified_checkpoint_is_gone(trained_run, capsys):
    run = trained_run("flow_2d")
    assert cli.main(["verify", str(run), "--num", "2"]) == 0
    (run / "checkpoints" / "2").rename(run / "checkpoints" / "3")
    assert cli.main(["verify", str(run)]) == 2
    assert "no checkpoint at step 2: restore that checkpoint, or remove" in capsys.readouterr().err
