// The live view: the episode that is being played, and the controls of it.

import { ByHand } from "./by_hand.js";
import { Chart, columns, share } from "./charts.js";
import { Episode, Network } from "./episode.js";
import { NetworkView } from "./network_view.js";
import { showDecision, showNode, showNumbers } from "./panels.js";
import { Log } from "./tables.js";
import { h, inWords, name, sat, shortSat, toast, visible } from "./text.js";

const byId = (id) => document.getElementById(id);
const TABLES_MS = 350; // between two drawings of what people read

export class Live {
  #parts = [];
  #extra = { positions: [], history: [], agents: [], recordings: [] };
  #controls = null;
  #asked = false;
  #drawn = 0;
  #later = 0;
  #own = 0;
  #stepped = 0;

  constructor(connection) {
    this.connection = connection;
    this.view = new NetworkView(byId("graph"), { onSelect: (node) => this.select(node), onDrag: (from, to) => this.#dragged(from, to) });
    this.byHand = new ByHand(byId("push"), (suggestion) => this.#suggest(suggestion));
    this.log = new Log(byId("log"), (node) => this.select(node, true));
    this.success = new Chart(byId("chart-success"), [{ label: "in the step", colour: "neutral", dots: true }, { label: "so far", colour: "initiator", width: 2.5 }], { range: [0, 1], format: share });
    this.reward = new Chart(byId("chart-reward"), [{ label: "reward", colour: "applied", fill: true }]);
    this.money = new Chart(byId("chart-money"), [{ label: "income", colour: "applied", fill: true }, { label: "costs", colour: "refused", fill: true }], { format: shortSat });
    this.profit = new Chart(byId("chart-profit"), [{ label: "profit", colour: "initiator", fill: true, width: 2.5 }], { format: shortSat });
    this.dry = new Chart(byId("chart-dry"), [{ label: "dry ends", colour: "dry", fill: true }], { whole: true });
    byId("legend").replaceChildren(...[["initiator", "initiator's funds"], ["peer", "peer's funds"], ["dry", "dry end"], ["applied", "payment, rebalance"], ["refused", "failed"]].map(([key, text]) => {
      const patch = h("i");
      patch.style.background = `var(--${key})`;
      return h("span", {}, patch, text);
    }));
    this.#listen();
    this.#wire();
  }

  get extra() {
    return this.#extra;
  }

  redraw() {
    this.view.redraw();
    [this.success, this.reward, this.dry, this.money, this.profit].forEach((chart) => chart.redraw());
    if (this.episode) this.#read();
  }

  select(node, focus = false) {
    this.view.select(node);
    this.#showLegend();
    if (focus && node !== null) this.view.focus(node);
    this.#showNode();
  }

  #listen() {
    const { connection } = this;
    connection.on("state", (state) => {
      this.#asked = false;
      if (state === "connected") this.#ask();
    });
    connection.on("dashboard", ({ data }) => {
      this.#extra = data;
      this.byHand.offer = data.by_hand;
      this.view.drags = this.byHand.drags;
      byId("hint").textContent = this.byHand.hint;
      connection.send({ type: "request_network" }); // which is drawn where this says
      this.dispatch?.(data);
    });
    connection.on("network", (message) => this.#takeNetwork(message));
    connection.on("activity", (message) => this.#takeStep(message));
    connection.on("reset", () => this.#ask());
    connection.on("episode_end", ({ data }) => data.backend_error && toast(`the episode ended: ${data.backend_error}`, "bad"));
    connection.on("dropped", () => this.#ask());
    connection.on("controls", ({ data }) => this.#showControls(data));
    connection.on("rebalance_suggestion", ({ data }) => this.#suggested(data));
    connection.on("suggestion_ack", ({ data }) => this.#acknowledged(data));
    connection.on("error", ({ data }) => toast(data.reason, "bad"));
  }

  /** Ask for the network as it stands; the steps after that follow by themselves. */
  #ask() {
    if (this.#asked) return;
    this.#asked = true;
    for (const type of ["request_dashboard", "request_controls"]) this.connection.send({ type });
  }

  #takeNetwork({ seq, data }) {
    if (data.part === 1) this.#parts = [];
    this.#parts.push(data);
    if (data.part < data.parts) return;
    this.#asked = false;
    const before = this.episode;
    this.seq = seq;
    const network = new Network(this.#parts, this.#extra.positions);
    this.episode = new Episode(network, data.episode, data.seed, Math.max(0, data.step), network.startBalances);
    this.episode.recall(this.#extra.history);
    document.title = `${visible(data.environment || "lnsim")} · lnsim`;
    byId("title").textContent = `${visible(data.environment || "lnsim")} on ${data.backend === "lnd" ? "real nodes" : `the ${data.backend}`}`;
    if (before && sameChannels(before.network, network)) {
      this.view.episode = this.episode;
      this.view.redraw();
    } else {
      this.view.selected = null;
      this.view.show(this.episode);
      document.body.toggleAttribute("data-own", network.own !== null);
      if (network.own !== null) this.select(network.own, true);
      byId("names").replaceChildren(...network.names.slice(0, 2000).map((text) => h("option", { value: visible(text) })));
    }
    this.#showLegend();
    byId("graph").setAttribute("aria-label", `The network: ${network.nodes.length} nodes, ${network.channels} channels`);
    this.#read();
  }

  #takeStep({ seq, data }) {
    const { episode } = this;
    if (!episode || seq <= this.seq) return;
    if (data.episode !== episode.number || data.step !== episode.steps) return this.#ask();
    episode.apply(data);
    const now = performance.now();
    const pace = this.#controls?.steps_per_second || 1000 / Math.max(30, now - this.#stepped);
    this.#stepped = now;
    this.view.step(data, Math.min(2500, 950 / pace));
    this.#readSoon();
  }

  /** Draw what people read, but not more often than they can. */
  #readSoon() {
    if (this.#later) return;
    this.#later = setTimeout(() => this.#read(), Math.max(0, this.#drawn + TABLES_MS - performance.now()));
  }

  #read() {
    clearTimeout(this.#later);
    this.#later = 0;
    this.#drawn = performance.now();
    const { episode } = this;
    showNumbers(byId("numbers"), episode);
    showDecision(byId("decision"), episode);
    const { steps, success, soFar, reward, dry, income, cost, profit } = columns(episode);
    this.success.show(steps, success, soFar);
    this.reward.show(steps, reward);
    this.dry.show(steps, dry);
    this.money.show(steps, income, cost);
    this.profit.show(steps, profit);
    if (!byId("log").matches(":has(:focus-visible)")) this.log.show(episode); // rows stay while someone walks through them
    if (this.view.selected !== null) this.#showNode();
  }

  #showLegend() {
    byId("legend").toggleAttribute("data-calm", !this.view.coloured);
  }

  #showNode() {
    const box = byId("node");
    if (box.matches(":has(:focus-visible)") && this.view.selected === this.shownNode) return;
    this.shownNode = this.view.selected;
    showNode(box, this.episode, this.view.selected, {
      onClose: () => this.select(null), onSelect: (node) => this.select(node, true), deeds: this.episode && this.view.selected !== null ? this.byHand.deeds(this.episode, this.view.selected) : [],
    });
  }

  #wire() {
    const send = (message) => this.connection.send(message) || toast("there is no connection", "bad");
    byId("pause").addEventListener("click", () => send({ type: this.#controls?.paused ? "resume" : "pause" }));
    byId("step").addEventListener("click", () => send({ type: "step" }));
    byId("speed").addEventListener("change", (event) => send({ type: "set_speed", steps_per_second: Number(event.target.value) }));
    byId("agent").addEventListener("change", (event) => send({ type: "choose_agent", agent: event.target.value }));
    byId("reset").addEventListener("click", () => send({ type: "reset", seed: Number(byId("seed").value) }));
    byId("controls").addEventListener("submit", (event) => {
      event.preventDefault();
      byId("reset").click();
    });
    byId("zoom-in").addEventListener("click", () => this.view.zoom(0.6));
    byId("zoom-out").addEventListener("click", () => this.view.zoom(1.6));
    byId("fit").addEventListener("click", () => this.view.fit());
    byId("find").addEventListener("change", (event) => this.#find(event.target.value));
  }

  #find(text) {
    if (!text) return this.select(null);
    const names = this.episode.network.names.map((one) => visible(one).toLowerCase());
    const wanted = text.toLowerCase();
    const found = [names.indexOf(wanted), names.findIndex((one) => one.startsWith(wanted)), names.findIndex((one) => one.includes(wanted))].find((place) => place >= 0);
    if (found === undefined) return toast(`no node is called ${text}`, "bad");
    this.select(found, true);
  }

  #showControls(data) {
    const controls = (this.#controls = { ...data, allowed: data.allowed ?? this.#controls?.allowed ?? false, why: data.why || this.#controls?.why || "" });
    byId("pause").textContent = controls.paused ? "Go on" : "Pause";
    byId("speed").value = `${controls.steps_per_second}`;
    if (byId("speed").selectedIndex < 0) {
      byId("speed").append(h("option", { value: `${controls.steps_per_second}` }, `${controls.steps_per_second} /s`));
      byId("speed").value = `${controls.steps_per_second}`;
    }
    byId("agent").replaceChildren(...controls.agents.map((agent) => h("option", { selected: agent === controls.agent }, agent)));
    for (const element of byId("controls").elements) element.disabled = !controls.allowed;
    byId("locked").hidden = controls.allowed;
    byId("locked").textContent = controls.why;
    this.onPlay?.(controls.paused);
  }

  #dragged(from, to) {
    if (this.view.drags === "nodes") this.byHand.pushBetween(this.episode, from, to);
    else this.byHand.aroundBetween(this.episode, from, to);
  }

  #suggest(suggestion) {
    const id = `hand-${Date.now()}-${(this.#own += 1)}`;
    if (!this.connection.send({ type: "rebalance_suggestion", suggestion: { confidence: 1, reason: "by hand", id, ...suggestion } }))
      return toast("there is no connection", "bad");
    if (this.#controls?.paused && this.#controls.allowed) this.connection.send({ type: "step" }); // one's own move
  }

  #suggested(fields) {
    const known = this.log.suggestions.find((one) => one.id === fields.id);
    if (known) Object.assign(known, { ...fields, status: known.status, why: known.why });
    else this.log.suggestions.push({ status: "queued", why: "", ...fields });
    this.log.suggestions.splice(0, this.log.suggestions.length - 500);
    this.#readSoon();
  }

  #acknowledged(answer) {
    const known = this.log.suggestions.find((one) => one.id === answer.id);
    const { status, why } = answer;
    if (known) Object.assign(known, { status, why });
    else this.log.suggestions.push({ reason: "by hand", ...answer });
    const around = answer.from_node === answer.to_node;
    const what = around ? visible(known?.reason || answer.from_node, 80) : `${visible(answer.from_node, 18)} → ${visible(answer.to_node, 18)}`;
    const feesOnly = known?.action && !known.action.rebalance;
    const idle = status === "applied" && !feesOnly && !answer.amount; // it was done, and moved nothing
    const outcome = status !== "applied" || feesOnly ? status : idle ? "moved nothing" : `moved ${sat(answer.amount)} sat`;
    toast(`${what}: ${outcome}${why ? `, ${inWords(why)}` : ""}`, idle ? "bad" : ({ applied: "ok", queued: "info" }[status] ?? "bad"));
    this.#readSoon();
  }
}

const sameChannels = (one, other) =>
  one.channels === other.channels && one.names.length === other.names.length &&
  one.source.every((node, end) => node === other.source[end]) && one.names.every((text, node) => text === other.names[node]);
