// What happened, as tables with filters.

import { DRY } from "./episode.js";
import { bar } from "./panels.js";
import { h, inWords, msat, name, sat, visible } from "./text.js";

const MOST_ROWS = 200;

export class Log {
  #kind = "payments";
  #text = "";
  #outcome = "all";
  #made = new WeakMap(); // rows of what does not change any more
  #seen = false;
  #stale = false;

  /** @param {(node: number) => void} onSelect */
  constructor(box, onSelect, kinds = ["payments", "decisions", "suggestions", "channels"]) {
    this.onSelect = onSelect;
    this.suggestions = [];
    this.body = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table" });
    this.note = h("span", { class: "faint", role: "status" });
    this.tabs = kinds.map((kind) => h("button", { type: "button", "aria-pressed": String(kind === this.#kind), onclick: () => this.#choose(kind) }, kind));
    this.filter = h("select", { "aria-label": "Outcome", onchange: (event) => this.#filter({ outcome: event.target.value }) });
    const search = h("input", { type: "search", placeholder: "Filter by node or text", "aria-label": "Filter the table", oninput: (event) => this.#filter({ text: event.target.value }) });
    box.replaceChildren(h("div", { class: "tabs" }, this.tabs, h("span", { class: "filters" }, this.note, this.filter, search)), this.body);
    this.#choose(this.#kind);
    new IntersectionObserver((changes) => this.#see(changes.at(-1).isIntersecting)).observe(this.body);
  }

  /** Show what happened in an episode so far, once the table is on the screen. */
  show(episode) {
    if (episode.network !== this.episode?.network) this.#made = new WeakMap();
    this.episode = episode;
    this.#stale = !this.#seen;
    if (this.#seen) this.#draw();
  }

  #see(seen) {
    this.#seen = seen;
    if (seen && this.#stale) this.show(this.episode);
  }

  #draw() {
    const rows = this[`_${this.#kind}`]();
    const text = this.#text.toLowerCase();
    const chosen = rows.filter((row) => (this.#outcome === "all" || row.outcome === this.#outcome) && (!text || row.text().toLowerCase().includes(text)));
    const [head] = this.#columns();
    this.note.textContent = chosen.length > MOST_ROWS ? `the last ${MOST_ROWS} of ${sat(chosen.length)}` : `${sat(chosen.length)} rows`;
    this.body.replaceChildren(chosen.length
      ? h("table", {}, h("thead", {}, h("tr", {}, head.map((label) => h("th", {}, label)))),
        h("tbody", {}, chosen.slice(0, MOST_ROWS).map((row) => this.#row(row))))
      : h("p", { class: "empty" }, `no ${this.#kind} to show`));
  }

  #row({ lasts, cells }) {
    const made = this.#made.get(lasts) ?? h("tr", {}, cells());
    if (lasts) this.#made.set(lasts, made);
    return made;
  }

  #choose(kind) {
    this.#kind = kind;
    this.tabs.forEach((tab) => tab.setAttribute("aria-pressed", String(tab.textContent === kind)));
    this.tabs.forEach((tab) => tab.classList.toggle("primary", tab.textContent === kind));
    this.#outcome = "all";
    this.filter.replaceChildren(...["all", ...this.#columns()[1]].map((outcome) => h("option", {}, outcome)));
    if (this.episode) this.#draw();
  }

  #filter({ text = this.#text, outcome = this.#outcome }) {
    this.#text = text;
    this.#outcome = outcome;
    if (this.episode) this.#draw();
  }

  #columns() {
    return {
      payments: [["step", "from", "to", "sat", "fee", "way", "for", "outcome"], ["settled", "failed"]],
      decisions: [["step", "way", "asked, sat", "moved, sat", "fee", "outcome"], ["applied", "refused", "failed"]],
      suggestions: [["from", "to", "sat", "confidence", "why", "outcome"], ["queued", "applied", "refused", "failed"]],
      channels: [["initiator", "balance", "peer", "initiator, sat", "peer, sat", "capacity"], ["dry"]],
    }[this.#kind];
  }

  #node(node, most = 18) {
    return h("button", { type: "button", class: "link", onclick: () => this.onSelect(node) }, name(this.episode.network.names[node], most));
  }

  #way(ends) {
    const { network } = this.episode;
    return ends.length ? [network.source[ends[0]], ...ends.map((end) => network.destination[end])] : [];
  }

  _payments() {
    const { network, payments } = this.episode;
    return payments.toReversed().map((payment) => ({
      lasts: payment, outcome: payment.success ? "settled" : "failed",
      text: () => `${network.names[payment.sender]} ${network.names[payment.receiver]} ${payment.description} ${inWords(payment.failure_reason)}`,
      cells: () => [
        h("td", {}, `${payment.step + 1}`), h("td", {}, this.#node(payment.sender)), h("td", {}, this.#node(payment.receiver)),
        h("td", { class: "right" }, msat(payment.amount_msat)), h("td", { class: "right" }, msat(payment.fee_msat)),
        h("td", {}, payment.success ? this.#hops(payment.parts) : this.#stopped(payment)), h("td", {}, visible(payment.description)),
        h("td", { class: payment.success ? "ok" : "bad" }, payment.success ? "settled" : inWords(payment.failure_reason)),
      ],
    }));
  }

  #hops(parts) {
    const [first] = parts;
    const between = this.#way(first.route).slice(1, -1);
    const via = between.flatMap((node, place) => [place ? " → " : "", this.#node(node, 12)]);
    return h("span", {}, via.length ? ["via ", via] : "direct", parts.length > 1 ? ` and ${parts.length - 1} more parts` : "");
  }

  #stopped({ stopped, sender }) {
    const { network } = this.episode;
    if (stopped.end < 0) return h("span", {}, "at ", this.#node(sender, 12));
    return h("span", { title: "on the shortest way, by the balances that the payment met" }, this.#node(network.source[stopped.end], 12), " → ",
      this.#node(network.destination[stopped.end], 12), ` holds ${sat(stopped.held)} sat`);
  }

  _decisions() {
    const { network, decisions } = this.episode;
    return decisions.filter((one) => one.status !== "none").toReversed().map((one) => ({
      lasts: one, outcome: one.status,
      text: () => `${this.#way(one.route).map((node) => network.names[node]).join(" ")} ${inWords(one.why)}`,
      cells: () => [
        h("td", {}, `${one.step + 1}`), h("td", {}, this.#way(one.route).flatMap((node, place) => [place ? " → " : "", this.#node(node, 14)])),
        h("td", { class: "right" }, sat(one.amount_msat / 1000)), h("td", { class: "right" }, sat(one.applied_msat / 1000)), h("td", { class: "right" }, msat(one.fee_msat)),
        h("td", { class: one.status === "applied" ? "ok" : "bad" }, one.status === "applied" ? "applied" : `${one.status}: ${visible(inWords(one.why), 80)}`),
      ],
    }));
  }

  _suggestions() {
    return this.suggestions.toReversed().map((one) => ({
      outcome: one.status,
      text: () => `${one.from_node} ${one.to_node} ${one.reason} ${one.why}`,
      cells: () => [
        h("td", {}, name(one.from_node)), h("td", {}, name(one.to_node)), h("td", { class: "right" }, sat(one.amount)),
        h("td", { class: "right" }, one.confidence === undefined ? "" : `${one.confidence}`), h("td", {}, visible(one.reason ?? "", 80)),
        h("td", { class: { applied: "ok", refused: "bad", failed: "bad" }[one.status] ?? "" }, one.why ? `${one.status}: ${visible(inWords(one.why), 100)}` : one.status),
      ],
    }));
  }

  _channels() {
    const { network, balances } = this.episode;
    return Array.from({ length: network.channels }, (_, channel) => {
      const [one, other] = [2 * channel, 2 * channel + 1];
      const lowest = Math.min(this.episode.share(one), this.episode.share(other));
      return {
        lowest, outcome: lowest < DRY ? "dry" : "", text: () => `${network.names[network.source[one]]} ${network.names[network.destination[one]]}`,
        cells: () => [
          h("td", {}, this.#node(network.source[one])), h("td", {}, bar(this.episode, one)), h("td", {}, this.#node(network.destination[one])),
          h("td", { class: "right" }, sat(balances[one])), h("td", { class: "right" }, sat(balances[other])), h("td", { class: "right" }, sat(network.capacity[channel])),
        ],
      };
    }).sort((one, other) => (network.channels > 30 ? one.lowest - other.lowest : 0));
  }
}
