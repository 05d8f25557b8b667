// The numbers above a network, the last decision, and a node's page.

import { DRY } from "./episode.js";
import { h, inWords, msat, name, percent, sat, shortSat, visible } from "./text.js";

/** Show the main numbers of an episode. */
export function showNumbers(box, episode) {
  const { payments, succeeded, reward } = episode.totals;
  const last = episode.sums.at(-1);
  const ends = episode.network.own === null ? episode.balances.length : episode.network.ends[episode.network.own].length;
  const dry = episode.network.own === null ? episode.dryEnds : episode.dryOf(episode.network.own);
  const numbers = [
    ["step", `${episode.steps}`], ["payments", sat(payments)], ["success rate", percent(succeeded / payments)],
    ["in the last step", last ? percent(last.succeeded / last.payments) : "–"],
    ["reward so far", last && last.reward === null ? "not recorded" : reward.toFixed(2)],
    ["dry ends", `${dry} of ${ends}`], ["episode, seed", `${episode.number}, ${episode.seed}`],
  ];
  box.replaceChildren(...numbers.map(([label, value]) =>
    h("div", { class: `card number${label === "dry ends" && dry > ends / 5 ? " bad" : ""}` }, h("b", {}, value), h("span", {}, label))));
}

/** Say what was decided in a step. */
export function showDecision(box, episode) {
  const done = episode.last?.rebalances ?? [];
  const { network } = episode;
  const [first] = done;
  box.dataset.status = first?.status ?? "none";
  if (!episode.last) return box.replaceChildren(episode.steps ? `after step ${episode.steps}` : "no step yet");
  if (!first) return box.replaceChildren(...feesSaid(network, episode.last.policies));
  const route = first.route.length ? [network.source[first.route[0]], ...first.route.map((end) => network.destination[end])] : [];
  const names = route.flatMap((node, place) => [place ? " → " : "", name(network.names[node], 18)]);
  const outcome = first.status === "applied" ? `moved ${sat(first.applied_msat / 1000)} sat for ${msat(first.fee_msat)} sat`
    : `${sat(first.amount_msat / 1000)} sat ${first.status}: ${visible(inWords(first.why), 90)}`;
  box.replaceChildren(...names, ` · ${outcome}`, done.length > 1 ? ` · and ${done.length - 1} more` : "");
}

/** Say which fees were changed. */
function feesSaid(network, policies) {
  if (policies.length !== 1) return [policies.length ? `${policies.length} fees changed` : "no rebalance in this step"];
  const [{ direction, fee_base_msat, fee_rate_ppm }] = policies;
  return [name(network.names[network.source[direction]], 18), " → ", name(network.names[network.destination[direction]], 18), ` · fee now ${sat(fee_base_msat)} msat + ${sat(fee_rate_ppm)} ppm`];
}

const SVG = "http://www.w3.org/2000/svg";

/** A channel's balance as a bar, from one end's side. */
export function bar(episode, end) {
  const share = episode.share(end);
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "bar");
  svg.setAttribute("viewBox", "0 0 100 10");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `${percent(share)} of the channel's funds`);
  const rect = (x, width, kind) => {
    const one = document.createElementNS(SVG, "rect");
    for (const [key, value] of Object.entries({ x, width: Math.max(0, width), y: 0, height: 10, class: kind })) one.setAttribute(key, value);
    svg.append(one);
  };
  const own = 100 * share;
  rect(0, own, share < DRY ? "d" : "i");
  rect(own, 100 - own, share > 1 - DRY ? "d" : "p");
  if (share < DRY) rect(0, Math.max(2.5, own), "d");
  if (share > 1 - DRY) rect(Math.min(97.5, own), 100, "d");
  return svg;
}

/** Show a node's page: its channels by local share, what it earned, and where payments failed. */
export function showNode(box, episode, node, { onClose, onSelect, deeds = [] }) {
  box.hidden = node === null;
  if (node === null) return;
  const { network } = episode;
  const sums = episode.nodes[node];
  const ends = [...network.ends[node]].sort((one, other) => episode.share(one) - episode.share(other));
  const local = ends.reduce((sum, end) => sum + episode.balances[end], 0);
  const facts = [
    ["channels", sat(ends.length)], ["capacity, sat", sat(network.size[node])], ["local balance, sat", sat(local)],
    ["dry ends", sat(episode.dryOf(node))], ["sent, sat", sat(sums.sent)],
    ["received, sat", sat(sums.received)], ["forwarded payments", sat(sums.forwarded)], ["fees earned, sat", msat(sums.earnedMsat)],
    ["its payments that failed", sat(sums.failed)], ["failed for want of its balance", sat(sums.blocked)],
  ];
  const row = (end) => h("tr", {},
    h("td", {}, h("button", { type: "button", class: "link", onclick: () => onSelect(network.destination[end]) }, name(network.names[network.destination[end]], 16))),
    deeds.length ? h("td", { class: "deeds" }, deeds.map(({ text, label, act }) => h("button", { type: "button", "aria-label": label(end), title: label(end), onclick: () => act(end) }, text))) : null,
    h("td", {}, bar(episode, end)),
    h("td", { class: "right", title: `${sat(episode.balances[end])} of ${sat(network.capacity[end >> 1])} sat` }, shortSat(episode.balances[end])),
    h("td", { class: "right", title: "fees earned by forwarding into the channel" }, msat(episode.earnedMsat[end])),
    h("td", { class: "right faint", title: "its fee for forwarding into the channel" }, `${sat(network.feeBase[end])} + ${sat(network.feeRate[end])}`));
  const scrolled = box.querySelector(".scroll")?.scrollTop ?? 0;
  box.replaceChildren(
    h("h2", {}, h("span", {}, name(network.names[node], 24), node === network.own ? h("span", { class: "faint" }, " the own node") : ""), h("button", { type: "button", "aria-label": "Close the node's page", onclick: onClose }, "✕")),
    h("code", {}, network.nodes[node].public_key),
    h("dl", {}, facts.flatMap(([label, value]) => [h("dt", {}, label), h("dd", {}, value)])),
    h("p", { class: "faint" }, "sums since the page began to watch the episode"),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Channels of the node" }, h("table", {},
      h("thead", {}, h("tr", {}, ["peer", ...(deeds.length ? [""] : []), "balance", "sat", "earned", "msat + ppm"].map((text) => h("th", {}, text)))),
      h("tbody", {}, ends.slice(0, 300).map(row)))));
  box.querySelector(".scroll").scrollTop = scrolled;
}
