// What is known of a network and of an episode on it, live or recorded: balances, sums, and logs for the tables.

export const DRY = 0.1; // share of a channel's funds below which an end is dry
const MOST_ROWS = 5000;

/** Nodes and channels; direction 2c leads from the initiator of channel c to its peer, 2c + 1 back. */
export class Network {
  constructor(parts, positions) {
    const [first] = parts;
    Object.assign(this, { environment: first.environment, backend: first.backend, nodes: first.nodes, own: first.own_node });
    const column = (key) => parts.flatMap((part) => part.channels[key]);
    const initiator = column("initiator");
    const peer = column("peer");
    this.channels = initiator.length;
    this.capacity = column("capacity_sat");
    this.reserve = column("reserve_sat");
    this.startBalances = column("balances_sat").flat();
    this.feeBase = column("fee_base_msat").flat();
    this.feeRate = column("fee_rate_ppm").flat();
    this.inboundRate = column("inbound_fee_rate_ppm").flat();
    this.source = initiator.flatMap((node, channel) => [node, peer[channel]]);
    this.destination = initiator.flatMap((node, channel) => [peer[channel], node]);
    this.positions = positions?.length === this.nodes.length ? positions : circle(this.nodes.length);
    this.ends = this.nodes.map(() => []);
    this.source.forEach((node, direction) => this.ends[node].push(direction));
    this.size = this.ends.map((ends) => ends.reduce((sum, end) => sum + this.capacity[end >> 1], 0));
    const shown = this.nodes.map((node) => node.alias);
    this.names = new Set(shown).size === shown.length ? shown : this.nodes.map((node) => node.name);
  }

  /** Channels between two nodes, as directions from the first. */
  between(source, destination) {
    return this.ends[source].filter((end) => this.destination[end] === destination);
  }

  /** Directions of a shortest way around a node, out by one of its ends and back by another; empty when there is none. */
  wayAround(leave, back, amountSat) {
    const node = this.source[leave];
    const [out, into] = [this.destination[leave], this.destination[back]];
    const between = out === into ? [] : this.shortestWay(out, into, amountSat, node);
    return out === into || between.length ? [leave, ...between, back ^ 1] : [];
  }

  /** Directions of a shortest way between two nodes whose channels are large enough; empty when there is none. */
  shortestWay(source, destination, amountSat, avoided = -1) {
    const came = new Map([[source, -1], [avoided, -1]]);
    let rim = [source];
    while (rim.length && !came.has(destination)) {
      const next = [];
      for (const node of rim)
        for (const end of this.ends[node]) {
          const to = this.destination[end];
          if (came.has(to) || this.capacity[end >> 1] < amountSat) continue;
          came.set(to, end);
          next.push(to);
        }
      rim = next;
    }
    const way = [];
    for (let node = destination; came.has(node) && came.get(node) >= 0; node = this.source[came.get(node)])
      way.unshift(came.get(node));
    return way;
  }
}

const circle = (count) =>
  Array.from({ length: count }, (_, node) => [Math.sin((2 * Math.PI * node) / count), Math.cos((2 * Math.PI * node) / count)]);

/** One episode and what happened in it so far. */
export class Episode {
  constructor(network, number, seed, steps = 0, balances = network.startBalances) {
    Object.assign(this, { network, number, seed, steps });
    this.balances = Float64Array.from(balances);
    this.sums = []; // by step: payments, succeeded, reward, its terms, dry ends
    this.payments = [];
    this.decisions = [];
    this.nodes = network.nodes.map(() => ({ sent: 0, received: 0, forwarded: 0, earnedMsat: 0, failed: 0, blocked: 0 }));
    this.earnedMsat = new Float64Array(this.balances.length); // by the end that it was forwarded from
    this.last = null;
  }

  get dryEnds() {
    let dry = 0;
    for (let end = 0; end < this.balances.length; end++) dry += this.share(end) < DRY;
    return dry;
  }

  /** Ends of a node that are dry. */
  dryOf(node) {
    return this.network.ends[node].filter((end) => this.share(end) < DRY).length;
  }

  /** Share of a channel's funds that lies at an end. */
  share(end) {
    const both = this.balances[end] + this.balances[end ^ 1];
    return both ? this.balances[end] / both : 0.5;
  }

  /** Take in a step. Its payments are told where they stopped, judged by the balances that each one met. */
  apply(activity) {
    for (const one of activity.rebalances) {
      if (one.applied_msat) one.route.forEach((end) => this.#move(end, one.applied_msat / 1000));
      this.decisions.push({ step: activity.step, ...one });
    }
    for (const change of activity.policies) {
      this.network.feeBase[change.direction] = change.fee_base_msat;
      this.network.feeRate[change.direction] = change.fee_rate_ppm;
    }
    for (const payment of activity.payments) this.#pay(activity.step, payment);
    for (const [channel, initiator, peer] of activity.balances_sat) {
      this.balances[2 * channel] = initiator;
      this.balances[2 * channel + 1] = peer;
    }
    const succeeded = activity.payments.filter((payment) => payment.success).length;
    this.sums[activity.step] = {
      payments: activity.payments.length, succeeded, reward: activity.reward, rewards: activity.rewards, dry: this.dryEnds,
    };
    this.steps = activity.step + 1;
    this.last = activity;
    this.payments.splice(0, this.payments.length - MOST_ROWS);
    this.decisions.splice(0, this.decisions.length - MOST_ROWS);
  }

  /** Take in the sums of steps that were made before the page was there. */
  recall(history) {
    for (const one of history)
      if (one.episode === this.number && one.step < this.steps)
        this.sums[one.step] = { payments: one.payments, succeeded: one.succeeded, reward: one.reward, rewards: one.rewards, dry: one.dry };
  }

  /** Payments and successes of the whole episode, as far as they are known. */
  get totals() {
    const known = this.sums.filter(Boolean);
    const sum = (key) => known.reduce((total, one) => total + (one[key] ?? 0), 0);
    return { payments: sum("payments"), succeeded: sum("succeeded"), reward: sum("reward") };
  }

  #move(end, amount) {
    this.balances[end] -= amount;
    this.balances[end ^ 1] += amount;
  }

  #pay(step, payment) {
    const { network, nodes } = this;
    for (const part of payment.parts)
      part.route.forEach((end, hop) => {
        this.#move(end, part.hop_msat[hop] / 1000);
        if (!hop) return;
        const forwarder = nodes[network.source[end]];
        forwarder.forwarded += 1;
        const feeMsat = part.hop_msat[hop - 1] - part.hop_msat[hop];
        forwarder.earnedMsat += feeMsat;
        this.earnedMsat[end] += feeMsat;
      });
    if (payment.success) {
      nodes[payment.sender].sent += payment.amount_msat / 1000;
      nodes[payment.receiver].received += payment.amount_msat / 1000;
    } else {
      payment.stopped = this.#whereItStopped(payment);
      nodes[payment.sender].failed += 1;
      if (payment.stopped.end >= 0) nodes[network.source[payment.stopped.end]].blocked += 1;
    }
    this.payments.push({ step, ...payment });
  }

  /** Where a shortest way lacks the balance: LND does not say, so this is what the balances say. */
  #whereItStopped(payment) {
    const amount = payment.amount_msat / 1000;
    const way = this.network.shortestWay(payment.sender, payment.receiver, amount);
    const spare = way.map((end) => this.balances[end] - this.network.reserve[end >> 1] - amount);
    const short = spare.findIndex((one) => one < 0);
    const hop = short < 0 ? spare.indexOf(Math.min(...spare)) : short; // the tightest, where fees or the anchors made it fail
    return hop < 0 ? { way: [], end: -1 } : { way: way.slice(0, hop + 1), end: way[hop], held: this.balances[way[hop]] };
  }
}
