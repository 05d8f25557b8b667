"""Looks at the page as people do: takes the picture of the documentation, and measures what the page costs.

python -m tests.dashboard.look picture
python -m tests.dashboard.look measure
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from typing import Any

import psutil
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
TRACED = ["devtools.timeline", "disabled-by-default-devtools.timeline", "blink.user_timing", "loading", "toplevel"]
SCRIPTS = {"FireAnimationFrame", "FunctionCall", "EvaluateScript", "v8.callFunction", "TimerFire", "EventDispatch"}
"""Events of a trace in which scripts run."""
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
    """Print, for each number of nodes, the first paint, frames per second while payments stream, and what frames cost.

    In brackets stands what a plain text of the same server gets: how fast browser and machine are. Times are of the
    processor, as tracing and the system count it, so that other work on the machine does not count: those of the page's
    own thread up to the first paint, in its scripts for a frame (half and 19 of 20 take less), and those of the process
    that draws for it, which a graphics card would take over.
    """
    for nodes, settings in NETWORKS.items():
        with watching(*settings, "--agent", "noop", "--steps-per-second", "2") as address:
            text = f"{address}vendor/LICENSES.txt"
            paints, texts = (sorted(first_paint(browser, page) for _ in range(PAINTS)) for page in (address, text))
            busy = sorted(busy_until_painted(browser, address) for _ in range(PAINTS))[PAINTS // 2]
            print(
                f"{nodes} nodes: first paint {paints[0]:.0f} ms ({texts[0]:.0f}), {busy:.0f} of them at work; ", end=""
            )
            with opened(browser, text) as page:
                most = page.evaluate(FRAMES, 1000 * MEASURED_S) / MEASURED_S
            with opened(browser, address, reduced_motion="no-preference") as page:
                until(page, f"!!{EPISODE}?.last")
                drawn_s = drawing_s()
                browser.start_tracing(page=page, categories=TRACED)
                frames = page.evaluate(FRAMES, 1000 * MEASURED_S)
                events = json.loads(browser.stop_tracing())["traceEvents"]
                drawn_ms = 1000 * (drawing_s() - drawn_s) / frames
            costs = sorted(script_ms(events))
            half, most_of = (costs[int(share * (len(costs) - 1))] for share in (0.5, 0.95))
            print(
                f"{frames / MEASURED_S:.0f} frames/s ({most:.0f}), scripts {half:.1f} ms a frame, 19 of 20 below "
                f"{most_of:.1f}, drawing {drawn_ms:.1f}",
                flush=True,
            )


def script_ms(events: list[dict[str, Any]]) -> list[float]:
    """Return the time of the processor that scripts took for each frame of a trace, in ms.

    All scripts between two frames count for the later one: what draws, what takes in a step, and what tables take.
    """
    threads = Counter((one["pid"], one["tid"]) for one in events if one["name"] == "FireAnimationFrame")
    main, _ = threads.most_common(1)[0]
    mine = sorted((one for one in events if (one["pid"], one["tid"]) == main and one["ph"] == "X"), key=_start)
    costs, end, spent = [], 0, 0.0
    for event in mine:
        if event["name"] in SCRIPTS and _start(event) >= end:  # one within another is part of it
            end = _start(event) + event["dur"]
            spent += event.get("tdur", event["dur"]) / 1000
            if event["name"] == "FireAnimationFrame":
                costs.append(spent)
                spent = 0.0
    return costs


def _start(event: dict[str, Any]) -> float:
    """Return when an event of a trace began, in microseconds."""
    return float(event["ts"])


def drawing_s() -> float:
    """Return the seconds of the processor that Chromium's drawing processes have taken, where this started them."""
    children = psutil.Process().children(recursive=True)
    drawing = (one for one in children if any("--type=gpu-process" in word for word in one.cmdline()))
    return sum(sum(one.cpu_times()[:2]) for one in drawing)


def busy_until_painted(browser: Any, address: str) -> float:
    """Return the ms of the processor that the thread of a page takes until something is seen."""
    context = browser.new_context()
    page = context.new_page()
    browser.start_tracing(page=page, categories=TRACED)
    page.goto(address, wait_until="commit")
    while page.evaluate(FIRST_PAINT) is None:
        time.sleep(0.1)
    events = json.loads(browser.stop_tracing())["traceEvents"]
    context.close()
    painted = max((one for one in events if one["name"] == "firstContentfulPaint"), key=_start)
    begun = max(_start(one) for one in events if one["name"] == "navigationStart" and _start(one) < _start(painted))
    thread = painted["pid"], painted["tid"]
    tasks = (one for one in events if one["name"] == "RunTask" and (one["pid"], one["tid"]) == thread)
    return sum(one.get("tdur", 0) for one in tasks if begun <= _start(one) <= _start(painted)) / 1000


def first_paint(browser: Any, address: str) -> float:
    """Return after how many ms a page that was never opened before shows something."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(address, wait_until="commit")
    while (painted := page.evaluate(FIRST_PAINT)) is None:
        time.sleep(0.1)
    context.close()
    return float(painted)


if __name__ == "__main__":
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        {"picture": take_picture, "measure": measure}[sys.argv[1]](chromium)
        chromium.close()
