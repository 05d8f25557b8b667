"""Fails where a package that is installed, or the least version that is asked for, has a known advisory.

`advisories.toml` beside this file is always looked at. Where OSV's service is reached, `pip-audit` is asked as well, in
an environment of its own, about all that is installed: it knows of what came after that file.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
import urllib.request
import venv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT: Final = Path(__file__).resolve().parents[1]
LISTED: Final = ROOT / ".ci" / "advisories.toml"
SERVICE: Final = "https://api.osv.dev/v1/vulns/CVE-2021-33880"
"""What OSV says of some advisory."""
PATIENCE_S: Final = 5.0

Affected = Mapping[str, Mapping[str, Sequence[str]]]
"""By package and advisory, the versions that are affected; any of the specifiers."""


def advisories_of(name: str, version: Version, affected: Affected) -> list[str]:
    """Return the advisories that a version of a package has."""
    return [
        advisory
        for advisory, spans in affected.get(canonicalize_name(name), {}).items()
        if any(SpecifierSet(span).contains(version, prereleases=True) for span in spans)
    ]


def least_versions(requirements: Iterable[str]) -> Iterator[tuple[str, Version]]:
    """Yield the least version that each requirement allows, where it says one."""
    for requirement in map(Requirement, requirements):
        for specifier in requirement.specifier:
            if specifier.operator in (">=", "==", "~="):
                yield requirement.name, Version(specifier.version)


def found_in(versions: Iterable[tuple[str, Version]], what: str, affected: Affected) -> list[str]:
    """Return a line for each version that has advisories."""
    named = ((name, version, advisories_of(name, version, affected)) for name, version in versions)
    return [f"{what} {name} {version}: {', '.join(found)}" for name, version, found in named if found]


def is_reached() -> bool:
    """Whether OSV's service answers."""
    try:
        with urllib.request.urlopen(SERVICE, timeout=PATIENCE_S):
            return True
    except OSError:
        return False


def audited(accepted: Iterable[str], affected: Affected) -> bool:
    """Ask pip-audit about all that is installed here; return whether it knows of nothing."""
    folder = ROOT / ".venv" / "audit"
    venv.create(folder, with_pip=True)
    subprocess.run([folder / "bin" / "pip", "install", "-q", "pip-audit>=2.7"], check=True)
    ignored = [f"--ignore-vuln={advisory}" for package in accepted for advisory in affected[package]]
    paths = [f"--path={path}" for path in sys.path if path.endswith("site-packages")]
    command = [folder / "bin" / "pip-audit", "--vulnerability-service=osv", "--progress-spinner=off", *paths, *ignored]
    return subprocess.run(command, check=False).returncode == 0


def main() -> int:
    """Look at everything; return the exit status."""
    listed = tomllib.loads(LISTED.read_text(encoding="utf-8"))
    accepted, affected = listed["accepted"], listed["affected"]
    held = {name: known for name, known in affected.items() if name not in accepted}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    installed = [(each.name, Version(each.version)) for each in distributions()]
    wrong = found_in(installed, "installed:", held) + found_in(least_versions(asked), "allowed:", held)
    for line in wrong:
        print(line)
    for name, reason in accepted.items():
        for line in found_in([each for each in installed if canonicalize_name(each[0]) == name], "accepted:", affected):
            print(f"{line}; {reason}")
    print(f"{len(installed)} packages held to the advisories of {listed['as_of']}: {len(wrong)} affected")
    if not is_reached():
        print("pip-audit is left out, as OSV's service is not reached")
        return bool(wrong)
    return bool(wrong) or not audited(accepted, affected)


if __name__ == "__main__":
    sys.exit(main())
