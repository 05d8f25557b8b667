// Acting by hand: what may be suggested here, asked for in a form, and sent as a suggestion like a model's.

import { h, name, shortSat, toast, visible } from "./text.js";

const FEES = { // what an action may set of a channel, and what leaves it as it is
  fee_rate_ppm: { label: "fee rate, ppm", keep: -1, now: (network, end) => network.feeRate[end] },
  fee_base_msat: { label: "base fee, msat", keep: -1, now: (network, end) => network.feeBase[end] },
  inbound_fee_rate_ppm: { label: "inbound fee, ppm, at most 0", keep: 1, now: (network, end) => network.inboundRate[end] },
};
const FEE_LIMIT_PPM = 1000; // of a rebalance whose route is found, at first

export class ByHand {
  offer = { operation: "none", longest: 0, channels: [], rows: 0, entries: [], rebalances: 0 };

  /** @param {(suggestion: object) => void} suggest */
  constructor(form, suggest) {
    this.form = form;
    this.suggest = suggest;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      form.hidden = true;
      this.submit();
    });
    form.addEventListener("keydown", (event) => {
      if (event.key === "Escape") form.hidden = true;
    });
  }

  /** What is dragged on the map: nodes to nodes, channels to channels, or nothing. */
  get drags() {
    if (this.offer.operation === "push") return "nodes";
    return this.offer.operation === "circular" || this.offer.rebalances ? "channels" : "";
  }

  /** How to act, in a few words. */
  get hint() {
    return { nodes: "push: drag node to node", channels: "rebalance: drag channel to channel" }[this.drags] ?? "";
  }

  /** What can be done of a channel from one of its ends, as buttons on the page of its node. */
  deeds(episode, node) {
    const { operation, entries, rebalances } = this.offer;
    const { network } = episode;
    const peer = (end) => visible(network.names[network.destination[end]], 20);
    const push = { text: "push", label: (end) => `Push to ${peer(end)}`, act: (end) => this.push(episode, end) };
    const around = { text: "around", label: (end) => `Move around, leaving to ${peer(end)}`, act: (end) => this.around(episode, end) };
    const fees = { text: "fee", label: (end) => `Fees of the channel to ${peer(end)}`, act: (end) => this.fees(episode, end) };
    if (operation === "push") return [push];
    if (operation === "circular") return network.ends[node].length > 1 ? [around] : [];
    if (operation !== "own_node" || node !== network.own) return [];
    return [...(entries.some((entry) => entry in FEES) ? [fees] : []), ...(rebalances ? [around] : [])];
  }

  /** Ask how much to push from one node to another. */
  pushBetween(episode, from, to) {
    const { network } = episode;
    const [end] = network.between(from, to);
    if (end === undefined) return toast(`${visible(network.names[from])} and ${visible(network.names[to])} share no channel`, "bad");
    this.push(episode, end);
  }

  /** Ask how much to push from an end of a channel to the other. */
  push(episode, end) {
    const { network } = episode;
    const [from, to] = [network.source[end], network.destination[end]];
    const held = episode.balances[end];
    const amount = amountInput(Math.min(held / 2, network.capacity[end >> 1] / 5), network.capacity[end >> 1]);
    this.#ask(["Push ", name(network.names[from], 16), " → ", name(network.names[to], 16)],
      [["sat", amount, `it holds ${shortSat(held)}`]], () =>
        this.suggest({ from_node: network.nodes[from].name, to_node: network.nodes[to].name, amount: Number(amount.value) }));
  }

  /** Ask how much to move from one channel to another of a node, given as ends in any order of nodes. */
  aroundBetween(episode, one, other) {
    const { network } = episode;
    if (one >> 1 === other >> 1) return;
    const touches = (end, node) => network.source[end] === node || network.destination[end] === node;
    const shared = [network.source[one], network.destination[one]].filter((node) => touches(other, node));
    const node = this.offer.operation === "own_node" ? shared.find((each) => each === network.own) : shared[0];
    if (node === undefined) return toast(this.offer.operation === "own_node" ? "only channels of the own node can be rebalanced" : "the two channels share no node", "bad");
    const out = (end) => (network.source[end] === node ? end : end ^ 1);
    this.around(episode, out(one), out(other));
  }

  /** Ask how much a node is to move around, leaving by one of its channels and coming back by another. */
  around(episode, leave, back = null) {
    const { network, balances } = episode;
    const node = network.source[leave];
    const own = this.offer.operation === "own_node";
    const choice = (label, chosen, held) => h("select", { "aria-label": label }, network.ends[node].map((end) =>
      h("option", { value: `${end}`, selected: end === chosen }, `${visible(network.names[network.destination[end]], 18)}, ${shortSat(balances[held(end)])}`)));
    back ??= network.ends[node].filter((end) => end !== leave).sort((one, other) => episode.share(one) - episode.share(other))[0];
    const [out, into] = [choice("Leave by", leave, (end) => end), choice("Come back by", back, (end) => end ^ 1)];
    const amount = amountInput(Math.min(balances[leave], balances[back ^ 1]) / 2, Math.max(...network.ends[node].map((end) => network.capacity[end >> 1])));
    const limit = h("input", { type: "number", min: "0", max: "1000000", value: `${FEE_LIMIT_PPM}`, id: "fee-limit" });
    this.#ask(["Move around ", name(network.names[node], 18)], [
      ["leave by", out, "what it holds"], ["come back by", into, "what its peer holds"], ["sat", amount],
      ...(own ? [["fee limit, ppm", limit]] : []),
    ], () => {
      const ends = [Number(out.value), Number(into.value)];
      if (ends[0] === ends[1]) return toast("expected two channels", "bad");
      if (own) this.#move(episode, ends, Number(amount.value), Number(limit.value));
      else this.#cycle(episode, ends, Number(amount.value));
    });
  }

  #cycle(episode, [leave, back], amount) {
    const { network } = episode;
    const { longest } = this.offer;
    const way = longest ? network.wayAround(leave, back, amount) : [leave, back ^ 1]; // else it is found when it is sent
    if (!way.length || (longest && way.length > longest))
      return toast(`no way around of at most ${longest} channels leaves and comes back by these two`, "bad");
    this.suggest({ route: way, amount, reason: `by hand: ${this.#around(network, leave, back)}` });
  }

  #move({ network }, [leave, back], amount, limit) {
    const row = (end) => this.offer.channels.indexOf(end);
    const idle = Array.from({ length: this.offer.rebalances - 1 }, () => [-1, 0, 0, 0]);
    this.suggest({ action: { rebalance: [[row(leave), row(back), amount, limit], ...idle] }, reason: `by hand: ${this.#around(network, leave, back)}` });
  }

  #around(network, leave, back) {
    return `around, out to ${visible(network.names[network.destination[leave]], 18)}, back from ${visible(network.names[network.destination[back]], 18)}`;
  }

  /** Ask what fees the own node is to take for forwarding into a channel. */
  fees(episode, end) {
    const { network } = episode;
    const inputs = Object.entries(FEES).filter(([entry]) => this.offer.entries.includes(entry))
      .map(([entry, { label, now }]) => [entry, label, h("input", { type: "number", step: "1", required: true, value: `${now(network, end)}` })]);
    const peer = visible(network.names[network.destination[end]], 18);
    this.#ask(["Fees to ", name(network.names[network.destination[end]], 18)], inputs.map(([, label, input]) => [label, input]), () => {
      const changed = inputs.filter(([, , input]) => input.value !== input.defaultValue);
      if (!changed.length) return toast("nothing was changed");
      const row = this.offer.channels.indexOf(end);
      const whole = ([entry, , input]) => [entry, Array.from({ length: this.offer.rows }, (_, each) => (each === row ? Number(input.value) : FEES[entry].keep))];
      this.suggest({ action: Object.fromEntries(changed.map(whole)), reason: `by hand: ${changed.map(([, label, input]) => `${label.split(",")[0]} ${input.value}`).join(", ")} to ${peer}` });
    });
  }

  /** Show the form. */
  #ask(title, fields, submit) {
    this.submit = submit;
    this.form.replaceChildren(h("h2", {}, title),
      ...fields.map(([label, input, note]) => h("label", {}, h("span", {}, label), input, note ? h("span", { class: "faint" }, note) : null)),
      h("div", {}, h("button", { class: "primary" }, "Suggest"), " ", h("button", { type: "button", onclick: () => (this.form.hidden = true) }, "Cancel")));
    this.form.hidden = false;
    const first = this.form.querySelector("input");
    first.focus();
    first.select();
  }
}

const amountInput = (wanted, most) =>
  h("input", { type: "number", id: "amount", min: "1", max: `${most}`, required: true, value: `${Math.max(1, Math.round(wanted))}` });
