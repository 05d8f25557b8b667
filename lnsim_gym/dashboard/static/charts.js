// Charts over the steps of an episode.

import uPlot from "./vendor/uplot.js";

const HEIGHT = 128;
const WHOLE = [1, 2, 5].flatMap((digit) => [0, 1, 2, 3, 4, 5, 6, 7].map((zeros) => digit * 10 ** zeros)).sort((one, other) => one - other);

/** A chart of some lines by step. */
export class Chart {
  /** @param {{label: string, colour: string, width?: number, fill?: boolean, dots?: boolean, dash?: number[]}[]} lines colours as names of the style sheet */
  constructor(box, lines, { range = null, whole = false, format = (value) => `${value}` } = {}) {
    Object.assign(this, { box, lines, range, whole, format, data: [[], ...lines.map(() => [])] });
    new ResizeObserver(() => this.#fit()).observe(box);
    this.redraw();
  }

  /** Show other numbers: the steps, and one list for each line. */
  show(steps, ...columns) {
    this.data = [steps, ...columns];
    this.plot.setData(this.data);
    this.box.setAttribute("role", "img");
    const last = columns.map((column, place) => `${this.lines[place].label} ${this.format(column.at(-1) ?? 0)}`);
    this.box.setAttribute("aria-label", `after ${steps.length} steps: ${last.join(", ")}`);
  }

  /** Draw again, in the colours of now. */
  redraw() {
    this.plot?.destroy();
    const style = getComputedStyle(document.documentElement);
    const colour = (key) => style.getPropertyValue(`--${key}`).trim();
    const axis = { stroke: colour("faint"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    this.plot = new uPlot({
      width: this.box.clientWidth || 280, height: HEIGHT, cursor: { y: false, points: { size: 6 } }, legend: { show: false },
      scales: { x: { time: false }, y: this.range ? { range: this.range } : { range: (_, low, high) => padded(low, high) } },
      axes: [{ ...axis, size: 22, space: 44, incrs: WHOLE }, { ...axis, size: 44, space: 26, ...(this.whole && { incrs: WHOLE }), values: (_, values) => values.map(this.format) }],
      series: [{}, ...this.lines.map((line) => ({
        label: line.label, stroke: colour(line.colour), width: line.width ?? 2, dash: line.dash, spanGaps: true,
        points: { show: Boolean(line.dots), size: 4, fill: colour(line.colour) },
        paths: line.dots ? () => null : undefined, fill: line.fill ? `${colour(line.colour)}22` : undefined,
      }))],
    }, this.data, this.box);
  }

  #fit() {
    if (this.box.clientWidth) this.plot.setSize({ width: this.box.clientWidth, height: HEIGHT });
  }
}

const padded = (low, high) => [Math.min(low ?? 0, 0), Math.max((high ?? 0) + 0.05 * (high - low), low < 0 ? 0 : 1)];

/** The columns that the charts show of an episode. */
export function columns(episode) {
  const steps = [];
  const made = { success: [], soFar: [], reward: [], dry: [], income: [], cost: [], profit: [] };
  let [payments, succeeded, reward, profit] = [0, 0, 0, 0];
  episode.sums.forEach((one, step) => {
    if (!one) return;
    steps.push(step + 1);
    payments += one.payments;
    succeeded += one.succeeded;
    reward += one.reward ?? 0;
    made.success.push(one.payments ? one.succeeded / one.payments : null);
    made.soFar.push(payments ? succeeded / payments : null);
    made.reward.push(one.reward === null ? null : reward);
    made.dry.push(one.dry);
    const [income = 0, ...costs] = Object.values(one.rewards); // of an own node
    const cost = costs.reduce((sum, each) => sum + each, 0);
    profit += income - cost;
    made.income.push(income);
    made.cost.push(-cost);
    made.profit.push(profit);
  });
  return { steps, ...made };
}

export const share = (value) => `${Math.round(100 * value)}%`;
