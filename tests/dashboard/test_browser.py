"""The page in a real browser: Chromium, driven by Playwright."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager

import psutil
import pytest
from PIL import Image

from lnsim_gym.backends.lnd.nodes.folders import records
from lnsim_gym.network import Channel, Topology
from tests.waiting import wait_until

playwright = pytest.importorskip("playwright.sync_api") if not os.environ.get("LNSIM_REQUIRE_BROWSER") else None
if playwright is None:
    from playwright import sync_api as playwright

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Without a graphics card WebGL is drawn by SwiftShader, and pages are composed without it, which is much faster.
OPTIONS = ["--no-sandbox", "--enable-unsafe-swiftshader"]
PATIENCE_S = 90
HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "\u202egnp.exe",
    "a\u200bb\u0007c",
    "'\"><script>document.title='owned'</script>",
    "Z" + "\u0300" * 60,
    "\U0001f9c0" * 80,
]


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        if os.environ.get("LNSIM_REQUIRE_BROWSER") == "1":
            pytest.fail("LNSIM_REQUIRE_BROWSER is set, but there is no Chromium: apt-get install chromium")
        pytest.skip("there is no Chromium: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@contextmanager
def watching(*arguments, port=0):
    """Run ``lnsim watch``, and yield the address of its page."""
    command = [sys.executable, "-c", "from lnsim_gym.cli import main; main()", "watch", "--no-browser"]
    process = subprocess.Popen([*command, "--port", str(port), *map(str, arguments)], stderr=subprocess.PIPE, text=True)
    try:
        address = ""
        for line in process.stderr:
            if found := re.search(r"ws://(\S+),", line):
                address = f"http://{found[1]}/"
                break
        assert address
        yield address
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def opened(browser, address, **options):
    """Open a page of its own, on which nothing may go wrong."""
    # Without a graphics card every frame takes long: what moves is drawn once, unless asked otherwise.
    settings = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce", **options}
    context = browser.new_context(**settings)
    page = context.new_page()
    page.set_default_timeout(1000 * PATIENCE_S)
    wrong = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if "Content Security Policy" in said.text else None)
    page.goto(address, wait_until="commit")
    try:
        yield page
        assert wrong == []
    finally:
        context.close()


def until(page, script, patience_s=PATIENCE_S):
    """Wait until a script is true; what Playwright has for it needs ``eval``, which the page's policy forbids."""
    end_s = time.monotonic() + patience_s
    while not (value := page.evaluate(script)):
        assert time.monotonic() < end_s, f"waited in vain for {script}"
        time.sleep(0.1)
    return value


EPISODE = "window.lnsim?.live.episode"


@pytest.fixture(scope="module")
def stream():
    with watching("--agent", "noop", "--steps-per-second", "2") as address:
        yield address


def test_a_whole_episode_is_shown_and_adds_up(browser):
    settings = ("--steps-per-second", "2", "--set", "max_episode_steps=10")
    with watching(*settings) as address, opened(browser, address, reduced_motion="no-preference") as page:
        until(page, f"!!{EPISODE}")
        page.click("#pause")
        until(page, "document.getElementById('status').textContent === 'paused'")
        page.fill("#seed", "7")
        page.click("#reset")
        until(page, f"{EPISODE}.seed === 7 && {EPISODE}.steps === 0")
        page.evaluate(
            """() => lnsim.connection.on("episode_end", ({ data }) => {
                const { episode } = lnsim.live;
                if (data.steps === episode.steps && episode.payments.length === 20 * data.steps)
                    window.whole =
                        { sums: episode.sums, told: data, balances: episode.balances.reduce((a, b) => a + b) };
            })"""
        )
        page.click("#pause")  # go on
        whole = until(page, "window.whole")
        assert [one["payments"] for one in whole["sums"]] == [20] * 10
        assert sum(one["succeeded"] for one in whole["sums"]) == whole["told"]["succeeded"]
        started = page.evaluate(f"{EPISODE}.network.capacity.reduce((sum, one) => sum + one, 0)")
        assert 0.99 * started < whole["balances"] < started  # all but commit fees and anchors
        page.evaluate("document.getElementById('log').scrollIntoView()")  # tables are made when they are seen
        until(page, "document.querySelectorAll('#log tbody tr').length > 10")
        assert page.locator("#agent").input_value() == "targeted"


def test_the_page_controls_the_episode_and_acts_by_hand(browser, stream):
    with opened(browser, stream) as page:
        until(page, f"!!{EPISODE}")
        page.click("#pause")
        until(page, "document.getElementById('status').textContent === 'paused'")
        page.fill("#seed", "42")
        page.click("#reset")
        until(page, f"{EPISODE}.seed === 42 && {EPISODE}.steps === 0")
        page.click("#step")
        until(page, f"{EPISODE}.steps === 1")
        until(page, "lnsim.live.view.episode === lnsim.live.episode")
        box = page.locator("#graph").bounding_box()
        ends = page.evaluate("[0, 1].map((node) => lnsim.live.view.at(node))")
        one, other = ((box["x"] + place["x"], box["y"] + place["y"]) for place in ends)
        page.mouse.move(*one)
        page.mouse.down()
        page.mouse.move((one[0] + other[0]) / 2, (one[1] + other[1]) / 2, steps=4)
        page.mouse.move(*other, steps=4)
        page.mouse.up()
        page.keyboard.type("123000")
        page.keyboard.press("Enter")
        until(page, f"{EPISODE}.steps === 2")
        (decision,) = page.evaluate(f"{EPISODE}.last.rebalances")
        assert decision["amount_msat"] == 123_000_000
        until(page, "lnsim.live.log.suggestions.at(-1)?.status === 'applied'")
        assert "moved 123,000 sat" in page.locator("#toasts").inner_text()
        page.get_by_role("button", name="Go on").click()
        until(page, f"{EPISODE}.steps >= 4")


def paused(page, seed=None):
    """Let the episode of a page rest, from its start where a seed is given."""
    until(page, f"!!{EPISODE}?.last")
    page.click("#pause")
    until(page, "document.getElementById('status').textContent === 'paused'")
    if seed is not None:
        page.fill("#seed", str(seed))
        page.click("#reset")
        until(page, f"{EPISODE}.seed === {seed} && {EPISODE}.steps === 0")
        until(page, "lnsim.live.view.episode === lnsim.live.episode")


def drag_channel(page, one, other):
    """Drag from the nearer half of an end of a channel to that of another."""
    box = page.locator("#graph").bounding_box()
    script = """(end) => {
        const { view, episode } = lnsim.live;
        const [near, far] = [view.at(episode.network.source[end]), view.at(episode.network.destination[end])];
        return { x: 0.7 * near.x + 0.3 * far.x, y: 0.7 * near.y + 0.3 * far.y };
    }"""
    ends = [page.evaluate(script, end) for end in (one, other)]
    begin, end = ((box["x"] + place["x"], box["y"] + place["y"]) for place in ends)
    page.mouse.move(*begin)
    page.mouse.down()
    page.mouse.move((begin[0] + end[0]) / 2, (begin[1] + end[1]) / 2, steps=3)
    page.mouse.move(*end, steps=3)
    page.mouse.up()


LAST_SUGGESTION = "lnsim.live.log.suggestions.at(-1)"


def test_a_rebalance_around_is_dragged_from_channel_to_channel(browser):
    with watching("--agent", "noop", "--set", "operation=circular") as address, opened(browser, address) as page:
        paused(page, seed=3)
        alice_bob, alice_carol = page.evaluate(
            f"(({{ network }}) => [1, 2].map((peer) => network.between(0, peer)[0]))({EPISODE})"
        )
        held = page.evaluate(f"[{alice_bob}, {alice_carol} ^ 1].map((end) => {EPISODE}.balances[end])")
        drag_channel(page, alice_bob, alice_carol)
        until(page, "!document.getElementById('push').hidden")
        page.fill("#amount", "1000")
        page.keyboard.press("Enter")
        until(page, f"{EPISODE}.steps === 1")
        until(page, f"['applied', 'refused', 'failed'].includes({LAST_SUGGESTION}?.status)")
        told = page.evaluate(LAST_SUGGESTION)
        assert told["route"] == [alice_bob, *told["route"][1:-1], alice_carol ^ 1]
        (decision,) = page.evaluate(f"{EPISODE}.last.rebalances")
        assert told["status"] == decision["status"]
        assert decision["route"] == told["route"]
        assert decision["applied_msat"] == (1_000_000 if min(held) > 10_000 else 0)
        assert "around, out to bob, back from carol: " in page.locator("#toasts").inner_text()


def test_an_operator_sets_a_fee_and_refills_a_channel_by_hand(browser):
    settings = ("--env", "LightningOperator-v0", "--agent", "noop", "--steps-per-second", "2")
    with watching(*settings) as address, opened(browser, address) as page:
        until(page, f"!!{EPISODE}?.last", 300)
        paused(page)
        steps = page.evaluate(f"{EPISODE}.steps")
        page.get_by_role("button", name="Fees of the channel to").first.click()
        page.get_by_label("fee rate, ppm").fill("321")
        page.keyboard.press("Enter")
        until(page, f"{EPISODE}.steps === {steps + 1}")
        until(page, f"{LAST_SUGGESTION}?.status === 'applied'")
        mine = "(({ network, last }) => last.policies.filter((one) => network.source[one.direction] === network.own))"
        changes = page.evaluate(f"{mine}({EPISODE})")
        assert [change["fee_rate_ppm"] for change in changes] == [321], changes
        assert page.evaluate(f"{EPISODE}.network.feeRate[{changes[0]['direction']}]") == 321
        until(page, "document.querySelector('#node .scroll').innerText.includes('+ 321')")

        page.get_by_role("button", name="Move around, leaving to").last.click()  # the fullest
        page.fill("#amount", "20000")
        page.fill("#fee-limit", "100000")
        page.keyboard.press("Enter")
        until(page, f"{EPISODE}.steps === {steps + 2}")
        until(page, f"{LAST_SUGGESTION}.action.rebalance && {LAST_SUGGESTION}.status === 'applied'")
        (decision,) = page.evaluate(f"{EPISODE}.last.rebalances")
        assert decision["amount_msat"] == 20_000_000
        moved = page.evaluate(LAST_SUGGESTION)["amount"]
        assert decision["applied_msat"] == 1000 * moved
        assert (f"moved {moved:,} sat" if moved else "moved nothing") in page.locator("#toasts").inner_text()


def test_an_impossible_push_is_told_truthfully(browser, stream):
    with opened(browser, stream) as page:
        until(page, f"!!{EPISODE}?.last")
        page.evaluate(
            "lnsim.live.connection.send({type: 'rebalance_suggestion', suggestion: "
            "{from_node: 'alice', to_node: 'dave', amount: 5, id: 'x'}})"
        )
        until(page, "lnsim.live.log.suggestions.some((one) => one.id === 'x' && one.status === 'refused')")
        assert "share no channel" in page.locator("#toasts").inner_text()


def test_a_node_is_found_and_read_with_the_keyboard_alone(browser, stream):
    with opened(browser, stream, color_scheme="dark") as page:
        until(page, f"!!{EPISODE}?.last")
        page.click("#pause")  # else what is shown of a node is drawn anew at each step
        until(page, "document.getElementById('status').textContent === 'paused'")
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        page.locator("#find").focus()
        page.keyboard.type("carol")
        page.keyboard.press("Enter")
        until(page, "lnsim.live.view.selected === 2")
        assert "fees earned" in page.locator("#node").inner_text()
        page.get_by_role("button", name="Push to").first.focus()
        page.keyboard.press("Enter")
        until(page, "!document.getElementById('push').hidden")
        page.keyboard.press("Escape")
        until(page, "document.getElementById('push').hidden")
        unnamed = page.evaluate(
            "[...document.querySelectorAll('button, input, select')].filter((one) => !one.disabled && one.offsetParent"
            " && !one.textContent.trim() && !one.getAttribute('aria-label') && !one.closest('label')).length"
        )
        assert unnamed == 0
        page.click("#pause")  # go on
        until(page, "document.getElementById('status').textContent !== 'paused'")


def test_a_phone_shows_everything_without_scrolling_sideways(browser, stream):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page = context.new_page()
    page.goto(stream, wait_until="commit")
    until(page, f"!!{EPISODE}?.last")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    context.close()


def test_two_agents_are_compared(browser, stream):
    with opened(browser, stream) as page:
        until(page, "window.lnsim?.live.extra?.agents?.length > 0")
        page.click("#tab-compare")
        page.fill("#compare-steps", "10")
        page.get_by_role("button", name="Compare", exact=True).click()
        until(page, "document.querySelectorAll('.pane').length === 2")
        page.locator("#slider").fill("10")
        until(
            page,
            "[...document.querySelectorAll('.pane .number b')].filter((one) => one.textContent === '10').length === 2",
        )


def test_a_trace_is_replayed_beside_its_simulation(browser, tmp_path):
    trace = tmp_path / "trace.jsonl"
    record = [
        sys.executable,
        "-c",
        "from lnsim_gym.cli import main; main()",
        "record",
        "--out",
        str(trace),
        "--steps",
        "6",
    ]
    subprocess.run(record, check=True, capture_output=True, timeout=PATIENCE_S)
    lines = trace.read_text().splitlines()
    step = json.loads(lines[3])
    step["payments"][0]["fee_msat"] += 1
    trace.write_text("\n".join([*lines[:3], json.dumps(step), *lines[4:]]) + "\n")
    with watching(trace) as address, opened(browser, address) as page:
        until(page, "!!document.getElementById('simulate')")
        page.check("#simulate")
        page.get_by_role("button", name="Open", exact=True).click()
        until(page, "document.querySelectorAll('.pane').length === 2")
        assert "1 field differs" in page.locator("#differences").inner_text()
        assert page.locator(".track svg rect").count() == 1
        page.get_by_role("button", name="Play", exact=True).click()
        until(page, "document.getElementById('slider').value === '6'")


def test_a_lost_connection_comes_back(browser):
    with watching() as address:
        port = address.rstrip("/").rpartition(":")[2]
        context = browser.new_context()
        page = context.new_page()
        page.goto(address, wait_until="commit")
        until(page, f"!!{EPISODE}?.last")
    until(page, "document.getElementById('status').dataset.state !== 'live'")
    with watching("--seed", "9", port=port):
        until(
            page,
            f"document.getElementById('status').dataset.state === 'live' && {EPISODE}.seed === 9 && !!{EPISODE}.last",
        )
    context.close()


def test_hostile_names_are_shown_as_data(browser, tmp_path):
    nodes = [f"node{place}" for place in range(len(HOSTILE))]
    pairs = zip(nodes, [*nodes[1:], nodes[0]], strict=True)
    channels = tuple(Channel(initiator=one, peer=other, capacity_sat=1_000_000) for one, other in pairs)
    topology = Topology(nodes=tuple(nodes), channels=channels, aliases=tuple(HOSTILE))
    file = tmp_path / "hostile.json"
    file.write_text(json.dumps(topology.to_dict()))
    with watching("--topology", file, "--steps-per-second", "2") as address, opened(browser, address) as page:
        page.on("dialog", lambda dialog: pytest.fail("a name was run"))
        until(page, f"!!{EPISODE}?.last")
        page.evaluate("lnsim.live.select(0)")
        until(page, "document.getElementById('node').innerText.includes('<img src=x')")
        assert page.evaluate("document.querySelectorAll('main img, main script').length") == 0
        assert "owned" not in page.title()
        text = page.evaluate("document.body.innerText")
        assert "\u202e" not in text
        assert "<img src=x onerro" in text


def test_a_thousand_nodes_are_drawn(browser):
    topology = ("--topology", "scale_free(nodes = 1000, channels = 3000, seed = 1)")
    with watching(*topology, "--steps-per-second", "2", "--agent", "noop") as address, opened(browser, address) as page:
        until(page, f"{EPISODE}?.network.nodes.length === 1000 && !!{EPISODE}.last")
        steps = page.evaluate(f"{EPISODE}.steps")
        until(page, f"{EPISODE}.steps > {steps} + 2")
        assert page.evaluate(f"{EPISODE}.sums.every((sum) => sum.dry !== null)")
        page.evaluate("document.getElementById('log').scrollIntoView()")  # tables are made when they are seen
        until(page, "document.querySelectorAll('#log tbody tr').length > 10")


@pytest.mark.slow
def test_an_own_node_is_shown_as_its_operator_thinks_of_it(browser):
    settings = ("--env", "LightningOperator-v0", "--agent", "charge_lnd", "--steps-per-second", "2")
    with watching(*settings) as address, opened(browser, address) as page:
        until(page, f"{EPISODE}?.steps >= 6 && {EPISODE}.steps === {EPISODE}.sums.length", 300)
        assert page.evaluate(f"lnsim.live.view.selected === {EPISODE}.network.own")
        assert "the own node" in page.locator("#node h2").inner_text()
        assert page.locator("#node tbody tr").count() == 18
        shares = page.locator("#node .bar").evaluate_all("bars => bars.map(one => parseFloat(one.ariaLabel))")
        assert shares == sorted(shares)
        page.click("#pause")
        until(page, "document.getElementById('status').textContent === 'paused'")
        drawn = f"after ${{{EPISODE}.sums.length}} steps: profit "
        until(page, f"document.getElementById('chart-profit').ariaLabel.startsWith(`{drawn}`)")
        paid = page.evaluate(f"{EPISODE}.totals.reward")
        terms = page.evaluate(f"{EPISODE}.sums.map(one => Object.values(one.rewards))")
        assert sum(income - sum(costs) for income, *costs in terms) == pytest.approx(paid, abs=1e-6)


@pytest.mark.lnd
@pytest.mark.usefixtures("lnd_binaries")
def test_the_page_plays_on_real_nodes_and_tells_that_one_was_lost(browser):
    settings = ("--backend", "lnd", "--launcher", "process", "--agent", "noop", "--set", "payments_per_step=3")
    with watching(*settings) as address, opened(browser, address) as page:
        paused(page, seed=7)
        assert "on real nodes" in page.locator("#title").inner_text()
        page.evaluate(f"lnsim.live.byHand.push({EPISODE}, 0)")
        page.fill("#amount", "12345")
        page.keyboard.press("Enter")
        until(page, f"{EPISODE}.steps === 1")
        until(page, f"{LAST_SUGGESTION}?.status === 'applied'")
        (decision,) = page.evaluate(f"{EPISODE}.last.rebalances")
        assert decision["applied_msat"] == 12_345_000
        assert page.evaluate(f"{EPISODE}.payments.length") == 3
        (watch,) = (one for one in psutil.Process().children() if {"watch", "lnd"} <= set(one.cmdline()))
        (record,) = (one for one in records() if one.owner_pid == watch.pid)
        (bob,) = (
            one
            for one in psutil.process_iter(["cmdline"])
            if {"--alias=bob", f"--lnddir={record.folder}/node-1"} <= set(one.info["cmdline"] or ())
        )
        bob.kill()
        page.click("#step")
        until(page, "document.getElementById('toasts').innerText.includes('the episode ended: ')")
        page.fill("#seed", "8")
        page.click("#reset")  # which repairs the node
        until(page, f"{EPISODE}.seed === 8 && {EPISODE}.steps === 0")


@pytest.mark.parametrize("card", [True, False])
def test_a_network_is_drawn_and_nodes_are_taken_with_a_graphics_card_and_without(browser, card, stream):
    with opened(browser, stream) as page:
        if card:  # which is not there, but sigma's WebGL does the same without one
            page.add_init_script(
                """const { getParameter } = WebGL2RenderingContext.prototype;
                WebGL2RenderingContext.prototype.getParameter = function (key) {
                    return key === 0x9246 ? "a graphics card" : getParameter.call(this, key);
                };"""
            )
            page.reload()
        paused(page, seed=1)
        assert page.locator("#graph canvas").count() == (8 if card else 4)
        place = """([from, to, share]) => {
            const { view } = lnsim.live;
            const box = document.getElementById("graph").getBoundingClientRect();
            const [one, other] = [view.at(from), view.at(to)];
            const along = { x: one.x + share * (other.x - one.x), y: one.y + share * (other.y - one.y) };
            return [box.x + along.x, box.y + along.y].map(Math.round);
        }"""
        one, other = page.evaluate(f"(({{ network }}) => [network.source[0], network.destination[0]])({EPISODE})")
        share = page.evaluate(f"{EPISODE}.share(0)")
        assert 0.3 < share < 0.7
        places = {"node": 0.0, "initiator": 0.7 * share, "peer": 1 - 0.7 * (1 - share)}
        wanted = [
            page.evaluate(f"getComputedStyle(document.documentElement).getPropertyValue('--{key}').trim()")
            for key in places
        ]

        def drawn():
            shown = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            at = [page.evaluate(place, [one, other, along]) for along in places.values()]
            return ["#{:02x}{:02x}{:02x}".format(*shown.getpixel(tuple(each))) for each in at]

        wait_until(lambda: drawn() == wanted, deadline_s=PATIENCE_S)  # the last step of before may still be seen
        page.evaluate(
            """() => {  // a step that comes while a new size waits to be drawn
                dispatchEvent(new Event("resize"));
                lnsim.live.view.step({ balances_sat: [[0, 1, 1]], payments: [], rebalances: [] }, 100);
                return new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)));
            }"""
        )
        page.mouse.click(*page.evaluate(place, [other, one, 0.0]))
        until(page, f"lnsim.live.view.selected === {other}")
        page.click("#pause")  # go on
        until(page, "document.getElementById('status').textContent !== 'paused'")
