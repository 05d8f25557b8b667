// The drawn network: nodes as large as their channels, channels split where their funds are, dry ends in a colour of
// their own, and payments that flow over them. Each channel is two pieces that meet in a point where its funds part. Each
// piece is two edges of which one is seen: the other lies above all that is not dry, so that nothing need be sorted.

import { EdgeRectangleProgram, MultiDirectedGraph, Sigma } from "./vendor/graph.js";
import { DRY } from "./episode.js";
import { PlainSigma, hasGraphicsCard } from "./plain_sigma.js";
import { visible } from "./text.js";

const SHORTEST_PIECE = 0.12; // of a channel: less could not be seen
const MOST_FLOWS = 60;
const REACH_PX = 9; // of a pointer that takes a channel
const ROOMY_PX = 640; // side of a box from which on everything has its full size
const HUBS = 8; // biggest nodes of a large network, which are named before others
// By the number of nodes at most: radius of the biggest node and of the least, width of large channels, of the least,
// and of dry ends at least, in pixels.
const SIZES = [[12, [21, 6, 13, 3, 4]], [40, [16, 5, 8, 1.6, 3.5]], [150, [12, 3, 4, 1, 2.6]], [Infinity, [10, 1.4, 2, 1, 2.2]]];
const BOX = { x: [-1.02, 1.02], y: [-1.02, 1.02] }; // networks keep their own shape: a circle in a wide box
const still = matchMedia("(prefers-reduced-motion: reduce)");

export class NetworkView {
  #sigma;
  #overlay = document.createElement("canvas");
  #flows = [];
  #marks = [];
  #drag = null;
  #labels = []; // boxes of the names that are drawn
  #frame = 0;
  #sized = new ResizeObserver(() => this.#resize());
  #colours = {};

  /** @param {{onSelect: (node: number|null) => void, onDrag?: (from: number, to: number) => void}} listeners */
  constructor(box, { onSelect, onDrag = null }) {
    this.box = box;
    this.onSelect = onSelect;
    this.onDrag = onDrag;
    this.drags = ""; // what onDrag is told of: "nodes", or "channels" by the ends that were touched
    this.selected = null;
    this.frames = 0;
    this.readColours();
    this.#sigma = new (hasGraphicsCard() ? Sigma : PlainSigma)(new MultiDirectedGraph(), box, {
      nodeReducer: (key, data) => ({ ...data, ...(key[0] === "n" ? this.#node(Number(key.slice(1))) : this.#joint()) }),
      edgeReducer: (key, { type }) => this.#piece(Number(key.slice(1)), type), edgeProgramClasses: { above: EdgeRectangleProgram },
      allowInvalidContainer: true, minEdgeThickness: 1, labelColor: { color: this.#colours.ink }, labelFont: "system-ui, DejaVu Sans, sans-serif",
      labelSize: 13, labelWeight: "600", labelDensity: 0.6, labelGridCellSize: 90, stagePadding: 40,
      minCameraRatio: 0.02, maxCameraRatio: 3, defaultDrawNodeHover: (...drawn) => this.#drawHover(...drawn),
      defaultDrawNodeLabel: (...drawn) => this.#drawLabel(...drawn),
    });
    this.#sigma.setCustomBBox(BOX);
    this.#overlay.className = "flows";
    this.#overlay.style.cssText = "position:absolute;inset:0;width:100%;height:100%;pointer-events:none";
    box.append(this.#overlay);
    this.#listen();
    this.#sized.observe(box);
    this.#resize();
  }

  /** Draw another network, in the state of an episode on it. */
  show(episode) {
    this.episode = episode;
    const { network } = episode;
    const count = network.nodes.length;
    this.#flows = [];
    this.#marks = [];
    this.large = Math.max(1, network.capacity.toSorted((one, other) => one - other)[Math.floor(0.95 * (network.channels - 1))]);
    this.biggest = Math.max(...network.size, 1);
    const [radius, least, widest, thinnest, dry] = SIZES.find(([most]) => count <= most)[1];
    Object.assign(this, { radius, least, widest, thinnest, dryWidth: dry, few: count <= 40 });
    const bySize = network.size.map((size, node) => [size, node]).sort(([one], [other]) => other - one);
    this.hubs = new Set(bySize.slice(0, this.few ? count : HUBS).map(([, node]) => node));
    this.fading = Math.min(0.9, network.channels / 500); // of the least channel
    this.calm = Math.min(1, Math.max(0, (network.channels - 60) / 240)); // many channels: only what is dry is coloured
    this.aside = parallelOffsets(network);
    this.#sigma.getCamera().setState({ x: 0.5, y: 0.5, ratio: 1, angle: 0 });
    this.#sigma.setGraph(makeGraph(network, (channel) => this.#parting(channel)));
    this.#set("labelRenderedSizeThreshold", this.few ? 0 : 6);
  }

  /** Draw what a step changed, and let its payments flow for a while. */
  step(activity, durationMs) {
    this.#drawChannels(activity.balances_sat.map(([channel]) => channel));
    this.#flow(activity, durationMs);
  }

  /** Draw all balances again. */
  redraw() {
    this.readColours();
    if (!this.episode) return;
    const { nodes, capacity } = this.episode.network;
    this.#drawChannels([...capacity.keys()], nodes.map((_, node) => `n${node}`));
  }

  select(node) {
    this.selected = node;
    this.redraw();
  }

  /** Whether channels are coloured by whose funds they hold, at least some. */
  get coloured() {
    return this.calm < 1 || this.selected !== null;
  }

  /** Bring a node into the middle. */
  focus(node) {
    const { x, y } = this.#sigma.getNodeDisplayData(`n${node}`);
    const ratio = this.episode.network.nodes.length > 40 ? 0.35 : 0.8;
    this.#sigma.getCamera().animate({ x, y, ratio }, { duration: still.matches ? 0 : 350 });
  }

  zoom(factor) {
    const camera = this.#sigma.getCamera();
    camera.animate({ ratio: camera.getBoundedRatio(camera.ratio * factor) }, { duration: still.matches ? 0 : 200 });
  }

  fit() {
    this.#sigma.getCamera().animate({ x: 0.5, y: 0.5, ratio: 1 }, { duration: still.matches ? 0 : 250 });
  }

  /** Where a node is drawn, in pixels of the box. */
  at(node) {
    const [x, y] = this.episode.network.positions[node];
    return this.#sigma.graphToViewport({ x, y });
  }

  /** The node at a place in pixels of the box; null when there is none. */
  nodeAt(x, y) {
    const radius = (node) => Math.max(12, this.#sigma.scaleSize(this.#size(node)));
    let best = null;
    let nearest = Infinity;
    this.episode.network.nodes.forEach((_, node) => {
      const place = this.at(node);
      const distance = Math.hypot(place.x - x, place.y - y);
      if (distance < nearest && distance <= radius(node) + 4) [best, nearest] = [node, distance];
    });
    return best;
  }

  /** The end of a channel at a place in pixels of the box; null when there is none. */
  endAt(x, y) {
    const { network } = this.episode;
    const place = this.#sigma.viewportToGraph({ x, y });
    const beside = this.#sigma.viewportToGraph({ x: x + REACH_PX, y });
    let best = null;
    let nearest = Math.hypot(beside.x - place.x, beside.y - place.y);
    for (let channel = 0; channel < network.channels; channel++) {
      const middle = this.#parting(channel);
      for (const end of [2 * channel, 2 * channel + 1]) {
        const [nodeX, nodeY] = network.positions[network.source[end]];
        const distance = fromSegment(place, { x: nodeX, y: nodeY }, middle);
        if (distance < nearest) [best, nearest] = [end, distance];
      }
    }
    return best;
  }

  /** Draw channels anew, and nodes by their keys. */
  #drawChannels(channels, nodes = []) {
    const graph = this.#sigma.getGraph();
    const joints = channels.map((channel) => `j${channel}`);
    const edges = channels.flatMap((channel) => [2 * channel, 2 * channel + 1]).flatMap((end) => [`e${end}`, `a${end}`]);
    channels.forEach((channel, place) => Object.assign(graph.getNodeAttributes(joints[place]), this.#parting(channel))); // told below, at once
    const skipIndexation = !this.#sigma.needToProcess; // else the next frame looks at everything anew, and at these
    this.#sigma.refresh({ partialGraph: { nodes: [...nodes, ...joints], edges }, skipIndexation, schedule: true });
  }

  /** Change a setting of sigma, which then looks at everything anew. */
  #set(key, value) {
    if (JSON.stringify(this.#sigma.getSetting(key)) !== JSON.stringify(value)) this.#sigma.setSetting(key, value);
  }

  readColours() {
    const style = getComputedStyle(document.documentElement);
    for (const key of ["ink", "card", "initiator", "peer", "dry", "neutral", "applied", "refused", "node", "faint"])
      this.#colours[key] = style.getPropertyValue(`--${key}`).trim();
    if (this.#sigma) this.#set("labelColor", { color: this.#colours.ink });
  }

  kill() {
    this.#sized.disconnect();
    cancelAnimationFrame(this.#frame);
    this.#sigma.kill();
  }

  /** How a node is drawn. */
  #node(node) {
    const { network } = this.episode;
    const near = this.selected === null || node === this.selected || network.between(node, this.selected).length > 0;
    const own = node === this.selected ? this.#colours.initiator : this.#colours.node;
    return {
      label: visible(network.names[node], 22), size: this.#size(node),
      color: near ? own : mix(this.#colours.card, own, 0.3), forceLabel: node === this.selected || this.hubs.has(node),
    };
  }

  #size(node) {
    const weight = Math.sqrt(this.episode.network.size[node] / this.biggest);
    return this.room * (this.least + (this.radius - this.least) * weight);
  }

  /** How the point is drawn where the funds of a channel part: not at all. */
  #joint() {
    return { size: 0.01, color: this.#colours.card, label: null };
  }

  /** Where the funds of a channel part; sigma takes places from the graph alone. */
  #parting(channel) {
    const { network } = this.episode;
    const [a, b] = [2 * channel, 2 * channel + 1].map((end) => network.positions[network.source[end]]);
    const share = Math.min(1 - SHORTEST_PIECE, Math.max(SHORTEST_PIECE, this.episode.share(2 * channel)));
    const aside = this.aside[channel];
    return { x: a[0] + share * (b[0] - a[0]) - aside * (b[1] - a[1]), y: a[1] + share * (b[1] - a[1]) + aside * (b[0] - a[0]) };
  }

  /** How an edge, of a type, for the piece of a channel is drawn that belongs to an end. */
  #piece(end, type) {
    const { network } = this.episode;
    const weight = Math.min(1, Math.sqrt(network.capacity[end >> 1] / this.large));
    const chosen = this.selected === null ? null : [network.source[end], network.destination[end]].includes(this.selected);
    const dry = this.episode.share(end) < DRY;
    if ((chosen ?? dry) !== (type === "above")) return { type, hidden: true };
    const own = dry ? this.#colours.dry : mix(this.#colours[end % 2 ? "peer" : "initiator"], this.#colours.neutral, chosen ? 0 : this.calm);
    const strength = chosen === false ? 0.12 : dry || chosen ? 1 : 1 - this.fading * (1 - weight);
    return {
      size: this.room * Math.max(dry ? this.dryWidth : this.thinnest, this.widest * weight * (dry ? 1.25 : 1)) * (chosen ? 1.4 : 1),
      color: mix(this.#colours.card, own, strength), type,
    };
  }

  /** Write a name below its node, with a rim that keeps it apart from channels. */
  #drawLabel(context, data, settings) {
    if (!data.label) return;
    context.font = `${settings.labelWeight} ${settings.labelSize}px ${settings.labelFont}`;
    const { width } = context.measureText(data.label);
    const x = data.x - width / 2;
    const y = data.y + data.size + settings.labelSize;
    const hidden = this.#labels.some((box) => x < box.x + box.width && box.x < x + width && Math.abs(y - box.y) < settings.labelSize);
    if (hidden && !this.few && data.key !== `n${this.selected}`) return;
    this.#labels.push({ x, y, width });
    context.lineJoin = "round";
    context.lineWidth = 4;
    context.strokeStyle = this.#colours.card;
    context.strokeText(data.label, x, y);
    context.fillStyle = this.#colours.ink;
    context.fillText(data.label, x, y);
  }

  #drawHover(context, data, settings) {
    context.font = `${settings.labelWeight} ${settings.labelSize}px ${settings.labelFont}`;
    context.lineWidth = 1;
    const width = data.label ? context.measureText(data.label).width + data.size + 14 : 0;
    context.fillStyle = this.#colours.card;
    context.strokeStyle = this.#colours.faint;
    context.beginPath();
    context.roundRect(data.x - data.size - 3, data.y - 12, width + data.size + 3, 24, 8);
    context.fill();
    context.stroke();
    context.fillStyle = data.color;
    context.beginPath();
    context.arc(data.x, data.y, data.size, 0, 2 * Math.PI);
    context.fill();
    context.fillStyle = this.#colours.ink;
    if (data.label) context.fillText(data.label, data.x + data.size + 5, data.y + settings.labelSize / 3);
  }

  #listen() {
    const sigma = this.#sigma;
    sigma.on("clickNode", ({ node }) => node[0] === "n" && this.onSelect(Number(node.slice(1))));
    sigma.on("clickStage", () => this.onSelect(null));
    sigma.on("downNode", ({ node, event }) => this.drags === "nodes" && node[0] === "n" && this.#take(Number(node.slice(1)), event));
    sigma.on("downStage", ({ event }) => this.drags === "channels" && this.#take(this.endAt(event.x, event.y), event));
    sigma.getMouseCaptor().on("mousemovebody", (event) => this.#dragTo(event));
    sigma.getTouchCaptor().on("touchmove", (event) => event.touches[0] && this.#dragTo(event, event.touches[0]));
    sigma.getMouseCaptor().on("mouseup", () => this.#drop());
    sigma.getTouchCaptor().on("touchup", () => this.#drop());
    sigma.on("beforeRender", () => (this.#labels = []));
    sigma.on("afterRender", () => this.#draw()); // in the same frame, or what flows would lag behind a moving camera
  }

  #take(from, event) {
    if (from === null) return;
    this.#drag = { from, x: event.x, y: event.y, moved: false };
    event.preventSigmaDefault();
  }

  #dragTo(event, place = event) {
    if (!this.#drag) return;
    event.preventSigmaDefault?.();
    this.#drag.moved ||= Math.hypot(place.x - this.#drag.x, place.y - this.#drag.y) > 8;
    Object.assign(this.#drag, { x: place.x, y: place.y });
    this.#wake();
  }

  #drop() {
    const drag = this.#drag;
    this.#drag = null;
    this.#wake();
    if (!drag?.moved) return;
    const to = this.drags === "nodes" ? this.nodeAt(drag.x, drag.y) : this.endAt(drag.x, drag.y);
    if (to !== null && to !== drag.from) this.onDrag(drag.from, to);
  }

  /** Let the payments of a step flow one after the other. */
  #flow(activity, durationMs) {
    const now = performance.now();
    const shown = activity.payments.slice(0, MOST_FLOWS);
    const length = Math.max(150, Math.min(900, 0.55 * durationMs));
    const lag = Math.max(0, durationMs - length) / Math.max(1, shown.length);
    this.#flows = shown.flatMap((payment, place) => {
      const begin = now + place * lag;
      const ways = payment.success ? payment.parts.map((part) => part.route) : [payment.stopped?.way ?? []];
      return ways.map((way) => ({ way, begin, length, failed: !payment.success, sender: payment.sender,
        size: 2.5 + Math.min(4, Math.log10(1 + payment.amount_msat / 1e6)) }));
    });
    this.#marks = activity.rebalances.filter((one) => one.route.length)
      .map((one) => ({ way: one.route, status: one.status, end: now + Math.max(600, durationMs) }));
    this.#wake();
  }

  #wake() {
    if (!this.#frame) this.#frame = requestAnimationFrame(() => this.#draw());
  }

  #resize() {
    const scale = devicePixelRatio || 1;
    this.#overlay.width = Math.max(1, this.box.clientWidth * scale);
    this.#overlay.height = Math.max(1, this.box.clientHeight * scale);
    this.room = Math.min(1, Math.max(0.5, Math.min(this.box.clientWidth, this.box.clientHeight) / ROOMY_PX));
    this.#sigma.refresh({ schedule: true });
    this.#wake();
  }

  #draw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.frames += 1;
    const context = this.#overlay.getContext("2d");
    const scale = devicePixelRatio || 1;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, this.#overlay.width, this.#overlay.height);
    if (!this.episode) return;
    const now = performance.now();
    this.#marks = this.#marks.filter((mark) => mark.end > now);
    this.#flows = this.#flows.filter((flow) => now < flow.begin + flow.length + (flow.failed ? 700 : 0));
    for (const mark of this.#marks) this.#drawMark(context, mark);
    for (const flow of this.#flows) still.matches ? this.#drawWay(context, flow) : this.#drawFlow(context, flow, now);
    if (this.#drag?.moved) this.#drawDrag(context);
    if (this.#marks.length || this.#flows.length) this.#wake();
  }

  #points(way) {
    const { network } = this.episode;
    return way.length ? [network.source[way[0]], ...way.map((end) => network.destination[end])].map((node) => this.at(node)) : [];
  }

  #drawMark(context, { way, status }) {
    const points = this.#points(way);
    context.strokeStyle = context.fillStyle = this.#colours[status === "applied" ? "applied" : "refused"];
    context.lineWidth = 3;
    context.setLineDash(status === "applied" ? [] : [7, 6]);
    for (let hop = 0; hop + 1 < points.length; hop++) arrow(context, points[hop], points[hop + 1]);
    context.setLineDash([]);
  }

  #drawFlow(context, { way, begin, length, failed, sender, size }, now) {
    const time = (now - begin) / length;
    if (time < 0) return;
    const points = this.#points(way);
    if (!points.length) points.push(this.at(sender));
    const { x, y } = along(points, Math.min(1, time) * reached(points, failed));
    context.fillStyle = context.strokeStyle = failed ? this.#colours.refused : this.#colours.applied;
    if (failed && time >= 1) return cross(context, x, y, this.few ? 6 : 4);
    context.beginPath();
    context.arc(x, y, size, 0, 2 * Math.PI);
    context.fill();
    context.strokeStyle = this.#colours.card;
    context.lineWidth = 1;
    context.stroke();
  }

  #drawWay(context, { way, failed, sender }) {
    const points = this.#points(way);
    if (!points.length) points.push(this.at(sender));
    const end = along(points, reached(points, failed));
    context.strokeStyle = failed ? this.#colours.refused : this.#colours.applied;
    context.lineWidth = 1.5;
    context.globalAlpha = this.few ? 0.8 : 0.45;
    context.beginPath();
    [...(failed ? points.slice(0, -1) : points), end].forEach(({ x, y }, place) => (place ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.stroke();
    context.globalAlpha = 1;
    if (failed) cross(context, end.x, end.y, this.few ? 6 : 4);
  }

  #drawDrag(context) {
    const { from, x, y } = this.#drag;
    const { network } = this.episode;
    const nodes = this.drags === "nodes";
    const to = nodes ? this.nodeAt(x, y) : this.endAt(x, y);
    const touched = (end) => [network.source[end], network.destination[end]];
    const joined = to !== null && (nodes ? network.between(from, to).length > 0 : to >> 1 !== from >> 1 && touched(from).some((node) => touched(to).includes(node)));
    context.strokeStyle = context.fillStyle = this.#colours[joined ? "applied" : "faint"];
    context.lineWidth = 4;
    arrow(context, nodes ? this.at(from) : this.#sigma.graphToViewport(this.#parting(from >> 1)), this.#drag, 0);
  }
}

/** How far a place is from a straight line between two others. */
function fromSegment(place, one, other) {
  const [dx, dy] = [other.x - one.x, other.y - one.y];
  const along = Math.min(1, Math.max(0, ((place.x - one.x) * dx + (place.y - one.y) * dy) / (dx * dx + dy * dy || 1)));
  return Math.hypot(one.x + along * dx - place.x, one.y + along * dy - place.y);
}

/** A graph of the nodes and, for each channel, of two pieces that meet in a node of its own. */
function makeGraph(network, parting) {
  const graph = new MultiDirectedGraph();
  network.positions.forEach(([x, y], node) => graph.addNode(`n${node}`, { x, y }));
  for (let channel = 0; channel < network.channels; channel++) {
    graph.addNode(`j${channel}`, parting(channel));
    for (const end of [2 * channel, 2 * channel + 1])
      for (const [key, type] of [["e", "line"], ["a", "above"]])
        graph.addDirectedEdgeWithKey(`${key}${end}`, `n${network.source[end]}`, `j${channel}`, { type });
  }
  return graph;
}

/** How far each channel is bent aside, so that parallel ones lie beside each other. */
function parallelOffsets(network) {
  const seen = new Map();
  return network.capacity.map((_, channel) => {
    const [one, other] = [network.source[2 * channel], network.destination[2 * channel]];
    const pair = one < other ? `${one},${other}` : `${other},${one}`;
    const before = seen.get(pair) ?? 0;
    seen.set(pair, before + 1);
    return 0.05 * Math.ceil(before / 2) * (before % 2 ? 1 : -1) * (one < other ? 1 : -1);
  });
}

/** How many hops a payment gets: one that failed stops halfway over the channel that lacked the balance. */
const reached = (points, failed) => Math.max(0, points.length - 1) - (failed && points.length > 1 ? 0.5 : 0);

/** The place after so many hops of a way. */
function along(points, gone) {
  const hop = Math.min(Math.max(0, points.length - 2), Math.floor(gone));
  const [one, two] = [points[hop], points[hop + 1] ?? points[hop]];
  return { x: one.x + (gone - hop) * (two.x - one.x), y: one.y + (gone - hop) * (two.y - one.y) };
}

function cross(context, x, y, arm) {
  context.lineWidth = 3;
  context.beginPath();
  context.moveTo(x - arm, y - arm);
  context.lineTo(x + arm, y + arm);
  context.moveTo(x + arm, y - arm);
  context.lineTo(x - arm, y + arm);
  context.stroke();
}

function arrow(context, from, to, bend = 0.16) {
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const middle = { x: from.x + dx / 2 - bend * dy, y: from.y + dy / 2 + bend * dx };
  const angle = Math.atan2(to.y - middle.y, to.x - middle.x);
  const tip = { x: to.x - 16 * Math.cos(angle) * (bend ? 1 : 0), y: to.y - 16 * Math.sin(angle) * (bend ? 1 : 0) };
  context.beginPath();
  context.moveTo(from.x, from.y);
  context.quadraticCurveTo(middle.x, middle.y, tip.x, tip.y);
  context.stroke();
  context.beginPath();
  context.moveTo(tip.x + 9 * Math.cos(angle), tip.y + 9 * Math.sin(angle));
  context.lineTo(tip.x + 8 * Math.cos(angle + 2.4), tip.y + 8 * Math.sin(angle + 2.4));
  context.lineTo(tip.x + 8 * Math.cos(angle - 2.4), tip.y + 8 * Math.sin(angle - 2.4));
  context.fill();
}

/** Mix two colours given as #rrggbb. */
function mix(one, other, share) {
  const part = (colour, place) => parseInt(colour.slice(place, place + 2), 16);
  return `#${[1, 3, 5].map((place) =>
    Math.round(part(one, place) + share * (part(other, place) - part(one, place))).toString(16).padStart(2, "0")).join("")}`;
}
