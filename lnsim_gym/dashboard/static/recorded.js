// Whole episodes with a time slider: two agents beside each other, a record, a trace beside its simulation.

import { Chart, columns, share } from "./charts.js";
import { Episode, Network } from "./episode.js";
import { NetworkView } from "./network_view.js";
import { showDecision, showNode, showNumbers } from "./panels.js";
import { Log } from "./tables.js";
import { h, sat, toast, visible } from "./text.js";

const STEP_MS = 700;
const LINES = [{ colour: "initiator" }, { colour: "peer", dash: [8, 5] }]; // of the panes, in the chart that they share

export class Recorded {
  #panes = [];
  #step = 0;
  #playing = 0;
  #kind = "";

  constructor(box, connection) {
    this.box = box;
    this.connection = connection;
    connection.on("recording", ({ data }) => this.#take(data));
    connection.on("error", ({ data }) => this.#waiting(false, data.reason));
  }

  /** Show the form for a comparison or for records. */
  choose(kind, { agents, recordings }) {
    if (this.#kind === kind) return;
    this.#kind = kind;
    this.#clear();
    this.form = kind === "compare" ? this.#compareForm(agents) : this.#replayForm(recordings);
    this.body = h("div", {});
    this.box.replaceChildren(this.form, this.body);
  }

  redraw() {
    this.#panes.forEach(({ view }) => view?.redraw()); // which a pane that is still to come lacks
    this.chart?.redraw();
  }

  #compareForm(agents) {
    const choice = (label, chosen) => h("select", { "aria-label": label }, agents.map((agent) => h("option", { selected: agent === chosen }, agent)));
    const [one, other] = [choice("First agent", "noop"), choice("Second agent", "targeted")];
    const seed = h("input", { type: "number", min: "0", value: "0", id: "compare-seed" });
    const steps = h("input", { type: "number", min: "1", max: "1000", value: "60", id: "compare-steps" });
    const submit = (event) => {
      event.preventDefault();
      this.#ask({ type: "compare", agents: [one.value, other.value], seed: Number(seed.value), steps: Number(steps.value) });
    };
    return h("form", { class: "form card", id: "compare-form", onsubmit: submit }, h("label", {}, "Agent", one), h("label", {}, "against", other),
      h("label", {}, "Seed", seed), h("label", {}, "Steps", steps), h("button", { class: "primary" }, "Compare"), (this.wait = h("span", { role: "status", class: "faint" })));
  }

  #replayForm(recordings) {
    this.wait = h("span", { role: "status", class: "faint" });
    if (!recordings.length)
      return h("div", { class: "card" }, h("p", {}, "No records here. Start the page with some, as in ", h("code", {}, "lnsim watch trace.jsonl"), ", a trace of ", h("code", {}, "lnsim record"), " or a folder of ", h("code", {}, "lnsim run --record"), "."), this.wait);
    const record = h("select", { "aria-label": "Record", id: "record" }, recordings.map((path) => h("option", { value: path }, visible(path, 60))));
    this.episodes = h("select", { "aria-label": "Episode", id: "record-episode" }, h("option", { value: "" }, "first"));
    record.addEventListener("change", () => this.episodes.replaceChildren(h("option", { value: "" }, "first")));
    const simulate = h("input", { type: "checkbox", id: "simulate" });
    const submit = (event) => {
      event.preventDefault();
      this.#ask({ type: "open_recording", name: record.value, episode: this.episodes.value === "" ? null : Number(this.episodes.value), simulate: simulate.checked });
    };
    return h("form", { class: "form card", id: "replay-form", onsubmit: submit }, h("label", {}, "Record", record), h("label", {}, "Episode", this.episodes),
      h("label", {}, simulate, "beside its simulation"), h("button", { class: "primary" }, "Open"), this.wait);
  }

  #ask(message) {
    if (this.connection.send(message)) this.#waiting(true);
    else toast("there is no connection", "bad");
  }

  #waiting(waits, problem = "") {
    if (this.wait) this.wait.textContent = waits ? "playing…" : visible(problem, 200);
  }

  #take(data) {
    if (data.pane === 0) this.#clear();
    this.#panes[data.pane] = this.#makePane(data);
    if (this.#panes.length < data.panes) return;
    this.#waiting(false);
    this.#lay(data);
  }

  #makePane(data) {
    const network = new Network([data.network], data.positions);
    const pane = { data, network, graph: h("div", { class: "canvas", role: "img", "aria-label": `The network: ${visible(data.title)}` }),
      numbers: h("div", { class: "numbers" }), decision: h("p", { class: "decision" }), node: h("div", { class: "card node", hidden: true }) };
    pane.whole = fresh(pane);
    data.steps.forEach((step) => pane.whole.apply(step));
    return pane;
  }

  #lay(data) {
    const { steps } = this;
    this.slider = h("input", { type: "range", min: "0", max: `${steps}`, value: "0", "aria-label": "Step", id: "slider", oninput: () => this.seek(Number(this.slider.value)) });
    this.place = h("span", { class: "faint" });
    this.play = h("button", { type: "button", id: "play", onclick: () => this.#toggle() }, "Play");
    const chart = h("div", {});
    const log = h("div", { class: "card log" });
    this.body.replaceChildren(
      h("div", { class: "panes" }, this.#panes.map((pane) => h("section", { class: "card pane" }, h("h2", {}, visible(pane.data.title, 80)), pane.numbers,
        h("div", { class: "stage" }, pane.graph, pane.decision), pane.node))),
      h("div", { class: "time card" }, this.play, h("button", { type: "button", "aria-label": "One step back", onclick: () => this.seek(this.#step - 1) }, "‹"),
        h("div", { class: "track" }, this.slider, this.#differing()), h("button", { type: "button", "aria-label": "One step on", onclick: () => this.seek(this.#step + 1) }, "›"), this.place),
      this.#differences() ?? "", h("div", { class: "card chart" }, h("h2", {}, "Success rate so far ", this.#panes.map((pane, place) => h("span", { class: `line ${LINES[place].colour}` }, visible(pane.data.title, 40)))), chart), log);
    for (const pane of this.#panes)
      pane.view = new NetworkView(pane.graph, { onSelect: (node) => this.#select(pane, node) });
    this.chart = new Chart(chart, this.#panes.map((pane, place) => ({ label: visible(pane.data.title), ...LINES[place] })), { range: [0, 1], format: share });
    const all = this.#panes.map((pane) => columns(pane.whole));
    this.chart.show(all.reduce((longest, one) => (one.steps.length > longest.length ? one.steps : longest), []), ...all.map((one) => one.soFar));
    this.log = new Log(log, (node) => this.#select(this.#panes[0], node), ["payments", "decisions", "channels"]);
    if (this.episodes && data.pane >= 0)
      this.episodes.replaceChildren(...data.episodes.map((number) => h("option", { value: `${number}`, selected: number === data.network.episode }, `${number}`)));
    this.seek(0);
  }

  get steps() {
    return Math.max(...this.#panes.map((pane) => pane.data.steps.length));
  }

  /** Show the state after some steps. */
  seek(step) {
    const to = Math.min(this.steps, Math.max(0, step));
    for (const pane of this.#panes) {
      const { episode } = pane;
      const end = Math.min(to, pane.data.steps.length);
      if (!episode || episode.steps > end) pane.episode = fresh(pane);
      while (pane.episode.steps < end) pane.episode.apply(pane.data.steps[pane.episode.steps]);
      if (pane.view.episode !== pane.episode) {
        const { selected } = pane.view;
        if (pane.view.episode && pane.view.episode.network === pane.network) (pane.view.episode = pane.episode), pane.view.redraw();
        else pane.view.show(pane.episode);
        pane.view.selected = selected;
      } else pane.view.redraw();
      if (to === this.#step + 1 && pane.episode.last) pane.view.step(pane.episode.last, STEP_MS);
      showNumbers(pane.numbers, pane.episode);
      showDecision(pane.decision, pane.episode);
      this.#select(pane, pane.view.selected);
    }
    this.#step = to;
    this.slider.value = `${to}`;
    this.place.textContent = `step ${to} of ${this.steps}`;
    this.log.show(this.#panes[0].episode);
  }

  #select(pane, node) {
    if (pane.view.selected !== node) pane.view.select(node);
    showNode(pane.node, pane.episode, node, { onClose: () => this.#select(pane, null), onSelect: (other) => this.#select(pane, other) });
  }

  #toggle() {
    this.#playing = this.#playing ? clearInterval(this.#playing) ?? 0 : setInterval(() => this.#advance(), STEP_MS);
    this.play.textContent = this.#playing ? "Pause" : "Play";
    if (this.#playing && this.#step >= this.steps) this.seek(0);
  }

  #advance() {
    if (this.#step >= this.steps) this.#toggle();
    else this.seek(this.#step + 1);
  }

  /** Marks below the slider where a simulation came out differently. */
  #differing() {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", `0 0 ${this.steps} 1`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    for (const step of new Set(this.#panes.flatMap((pane) => pane.data.differences.map((one) => one.step)))) {
      const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      for (const [key, value] of Object.entries({ x: Math.max(0, step), y: 0, width: 1, height: 1 })) rect.setAttribute(key, value);
      svg.append(rect);
    }
    return svg;
  }

  #differences() {
    const simulated = this.#panes[1];
    if (!simulated || this.#kind !== "replay") return null;
    const found = simulated.data.differences;
    const row = (one) => h("tr", {}, h("td", {}, h("button", { type: "button", class: "link", onclick: () => this.seek(one.step + 1) }, `${one.step + 1}`)), h("td", {}, one.payment === null ? "" : `${one.payment + 1}`),
      h("td", {}, visible(one.field)), h("td", {}, visible(JSON.stringify(one.expected), 60)), h("td", {}, visible(JSON.stringify(one.got), 60)));
    return h("div", { class: "card log", id: "differences" }, h("h2", { class: found.length ? "bad" : "ok" }, found.length ? (found.length === 1 ? "1 field differs" : `${sat(found.length)} fields differ`) : "No field differs: the simulator made the same of every payment"),
      found.length ? h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Differences" }, h("table", {}, h("thead", {}, h("tr", {}, ["step", "payment", "field", "recorded", "simulated"].map((label) => h("th", {}, label)))), h("tbody", {}, found.slice(0, 300).map(row)))) : null);
  }

  #clear() {
    if (this.#playing) this.#toggle();
    this.#panes.forEach(({ view }) => view?.kill());
    this.#panes = [];
    this.#step = 0;
    this.body?.replaceChildren();
  }
}

const fresh = ({ data, network }) => new Episode(network, data.network.episode, data.network.seed);
