"""The documentation is whole: all pages are in order, what is made of the code is made, nothing is from elsewhere."""

import importlib.util
import os
import re
import subprocess
import sys
import threading
import urllib.request
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from lnsim_gym.bridge.messages import INBOUND, OUTBOUND
from lnsim_gym.cli import docs, make_app
from lnsim_gym.environment.files import environment_files
from lnsim_gym.errors import ConfigError, MissingDependency
from lnsim_gym.tasks.config import EnvironmentConfig
from tests.blocks import CHECKOUT, PAGES

FROM_ELSEWHERE = re.compile(
    r"""<(?:script|img|link|iframe|source)[^>]*?(?:src|href)=["']?(?:https?:)?//[^>]*>|@import[^;]*//"""
)


@pytest.fixture(scope="module")
def pages():
    """What makes pages of the code."""
    spec = importlib.util.spec_from_file_location("pages", CHECKOUT / ".ci" / "pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_is_in_the_order_once(pages):
    nav = pages.on_config(SimpleNamespace(nav=None)).nav
    listed = [page for section in nav for found in section.values() for page in found]
    written = {path.relative_to(PAGES).as_posix() for path in PAGES.rglob("*.md")}
    assert sorted(listed) == sorted(written | pages.made_pages().keys())


def test_every_environment_has_a_page_with_spaces_and_a_picture(pages):
    for file in environment_files():
        page = pages.made_pages()[f"environments/{file.id}.md"]
        assert "| Action space | `" in page
        assert "| Observation space | `" in page
        picture = PAGES / "pictures" / f"{file.id}.gif"
        assert picture.is_file(), f"make it: {' '.join(pages.film_command(file))}"
        assert picture.stat().st_size < 1_000_000
        assert picture.name in page


def test_every_setting_and_message_is_in_the_reference(pages):
    settings = pages.filled("<!-- made: settings -->")
    for name in EnvironmentConfig.of({}).__struct_fields__:
        assert f"| `{name}` |" in settings
    sent, taken = pages.messages(OUTBOUND), pages.messages(INBOUND)
    for kinds, text in ((OUTBOUND, sent), (INBOUND, taken)):
        for kind in kinds:
            heading = " or ".join(f"`{name}`" for name in pages.types_of(kind))
            assert f"\n### {heading}\n" in f"\n{text}"
        assert re.findall(r"^\|.*\| +\|$", text, re.MULTILINE) == [], "fields without a meaning"
    assert "### ChannelEnd" in sent
    assert "### InboundSuggestion" in taken


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path):
    pytest.importorskip("material", reason="needs the extra 'docs'")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(tmp_path / "site")]
    variables = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=CHECKOUT, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    html = sorted((tmp_path / "site").rglob("*.html"))
    assert len(html) > 20
    for path in [*html, *(tmp_path / "site").rglob("*.css")]:
        assert FROM_ELSEWHERE.search(path.read_text(encoding="utf-8")) is None, path


def test_the_pages_are_served_to_this_machine_only(tmp_path):
    (tmp_path / "index.html").write_text("<h1>hello</h1>")
    with docs.serve_site(tmp_path, 0) as server:
        host, port = server.server_address
        assert host == "127.0.0.1"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
            assert answer.read() == b"<h1>hello</h1>"
        with pytest.raises(ConfigError, match="choose another --port"):
            docs.serve_site(tmp_path, port)
        server.shutdown()
        thread.join()


def test_without_built_pages_the_markdown_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(docs, "_PACKAGE", tmp_path)
    done = CliRunner().invoke(make_app(), ["docs", "--no-browser"])
    assert isinstance(done.exception, MissingDependency)
    assert str(tmp_path / "docs") in str(done.exception)
