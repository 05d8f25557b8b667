"""What is installed, and what may be, is held to known advisories."""

import runpy
from pathlib import Path

import pytest

SCRIPT = runpy.run_path(str(Path(__file__).parents[1] / ".ci" / "advisories.py"))
AFFECTED = {"some-package": {"CVE-1": ["<2.5", ">=3,<3.1"], "CVE-2": ["<2"]}}


@pytest.mark.parametrize(
    ("version", "advisories"),
    [("1.9", ["CVE-1", "CVE-2"]), ("2.4.9", ["CVE-1"]), ("2.5", []), ("3.0", ["CVE-1"]), ("3.1", [])],
)
def test_versions_that_are_affected_are_known(version, advisories):
    assert SCRIPT["advisories_of"]("Some_Package", SCRIPT["Version"](version), AFFECTED) == advisories


def test_the_least_version_that_a_requirement_allows_counts():
    least = SCRIPT["least_versions"](["some_package[extra]>=2,<4; python_version >= '3.11'", "another", "third<9"])
    assert SCRIPT["found_in"](least, "allowed:", AFFECTED) == ["allowed: some_package 2: CVE-1"]


@pytest.mark.parametrize("wrong", ["", '[affected.gymnasium]\nCVE-1 = [">=1"]\n'])
def test_an_affected_package_fails_the_check(wrong, tmp_path, monkeypatch, capsys):
    main = SCRIPT["main"]
    listed = tmp_path / "advisories.toml"
    listed.write_text(SCRIPT["LISTED"].read_text().replace("[affected.filelock]", f"{wrong}\n[affected.filelock]"))
    monkeypatch.setitem(main.__globals__, "LISTED", listed)
    monkeypatch.setitem(main.__globals__, "is_reached", lambda: False)
    assert main() == bool(wrong)
    said = capsys.readouterr().out
    assert ("installed: gymnasium" in said) == ("allowed: gymnasium" in said) == bool(wrong)
    assert ("2 affected" if wrong else "0 affected") in said
