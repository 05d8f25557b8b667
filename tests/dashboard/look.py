"""Looks at the page as people do: takes the picture of the documentation, and measures what the page costs.

python -m tests.dashboard.look picture
python -m tests.dashboard.look measure
"""

from __future__ import annotations

import sys
import time
from typing import Any

from playwright import sync_api as playwright

from tests.blocks import PAGES
from tests.dashboard.test_browser import CHROMIUM, EPISODE, OPTIONS, opened, until, watching

PICTURE = PAGES / "pictures" / "dashboard.png"
NETWORKS = {
    5: (),
    100: ("--topology", "scale_free(nodes = 100, channels = 400)"),
    1000: ("--topology", "scale_free(nodes = 1000, channels = 4000)"),
}
"""What ``lnsim watch`` is told for each number of nodes; all have 20 payments a step."""
PAINTS = 6
MEASURED_S = 10.0
FIRST_PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
FRAMES = """ms => new Promise((done) => {
    let frames = 0;
    const begin = performance.now();
    const count = (now) => {
        frames += 1;
        if (performance.now() - begin < ms) requestAnimationFrame(count);
        else done(frames);
    };
    requestAnimationFrame(count);
})"""


def take_picture(browser: Any) -> None:
    """Write the picture of the documentation."""
    settings = ("--agent", "noop", "--steps-per-second", "2", "--topology", "scale_free(nodes = 20, channels = 40)")
    view = {"viewport": {"width": 1200, "height": 800}}
    with watching(*settings) as address, opened(browser, address, **view) as page:
        until(page, f"!!{EPISODE}?.last && {EPISODE}.steps >= 25")
        page.screenshot(path=PICTURE)


def measure(browser: Any) -> None:
    """Print, for each number of nodes, the first paint, and what a step and frames cost while payments stream.

    Beside it stands what a plain text of the same server gets: how fast browser and machine are.
    """
    for nodes, settings in NETWORKS.items():
        with watching(*settings, "--agent", "noop", "--steps-per-second", "2") as address:
            paints = sorted(first_paint(browser, address) for _ in range(PAINTS))
            text = f"{address}vendor/LICENSES.txt"
            texts = sorted(first_paint(browser, text) for _ in range(PAINTS))
            print(f"{nodes} nodes: first paint {paints[0]:.0f} ms ({texts[0]:.0f} ms), ", end="")
            with opened(browser, text) as page:
                most = page.evaluate(FRAMES, 1000 * MEASURED_S) / MEASURED_S
            with opened(browser, address, reduced_motion="no-preference") as page:
                until(page, f"!!{EPISODE}?.last")
                session = page.context.new_cdp_session(page)
                session.send("Performance.enable")
                before, steps = script_s(session), page.evaluate(f"{EPISODE}.steps")
                frames = page.evaluate(FRAMES, 1000 * MEASURED_S)
                spent, made = script_s(session) - before, page.evaluate(f"{EPISODE}.steps") - steps
            rate, script_ms = frames / MEASURED_S, 1000 * spent / made
            print(f"{rate:.0f} frames/s ({most:.0f}), {script_ms:.1f} ms of script a step", flush=True)


def first_paint(browser: Any, address: str) -> float:
    """Return after how many ms a page that was never opened before shows something."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(address, wait_until="commit")
    while (painted := page.evaluate(FIRST_PAINT)) is None:
        time.sleep(0.1)
    context.close()
    return float(painted)


def script_s(session: Any) -> float:
    """Return for how many seconds the page has run scripts so far."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return float(next(metric["value"] for metric in metrics if metric["name"] == "ScriptDuration"))


if __name__ == "__main__":
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        {"picture": take_picture, "measure": measure}[sys.argv[1]](chromium)
        chromium.close()
