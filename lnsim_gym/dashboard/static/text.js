// Texts and elements. Whatever comes from a network is data: it is shown as text only, with what cannot be seen made visible.

const HIDDEN = /[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Zl}\p{Zp}\u034f\u115f\u1160\u17b4\u17b5\u3164\ufe00-\ufe0f\uffa0]/gu;
const MARKS = /(\p{M}{3})\p{M}+/gu; // more than three marks on a letter would paint over what is near

/** Return a text of strangers as it may be shown: control, direction and other hidden characters as their code points. */
export function visible(text, most = 40) {
  const shown = String(text)
    .replace(HIDDEN, (hidden) => `⟨${hidden.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`)
    .replace(MARKS, "$1");
  const letters = [...shown];
  return letters.length > most ? `${letters.slice(0, most - 1).join("")}…` : shown;
}

/** Make an element of attributes and children; strings become text, never markup. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && typeof value !== "string") element[name] = value;
    else if (value !== null && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

/** A name of strangers as an element that keeps its direction to itself. */
export const name = (text, most) => h("bdi", { title: visible(text, 200) }, visible(text, most));

const whole = new Intl.NumberFormat("en");
const decimals = new Intl.NumberFormat("en", { maximumFractionDigits: 3 });

/** Show an amount in sat. */
export const sat = (amount) => whole.format(Math.round(amount));

/** Show an amount in sat in at most six characters. */
export function shortSat(amount) {
  const size = Math.abs(amount);
  if (size < 1_000) return `${Math.round(amount)}`;
  if (size < 999_500) return `${Math.round(amount / 1_000)}k`;
  if (size < 999_500_000) return `${(amount / 1_000_000).toPrecision(3)}M`;
  return `${(amount / 100_000_000).toPrecision(3)} BTC`;
}

/** Show an amount in msat as sat, with the decimals that it has. */
export const msat = (amount) => decimals.format(amount / 1000);

export const percent = (share) => (Number.isFinite(share) ? `${(100 * share).toFixed(1)} %` : "–");

/** Say one of LND's reasons in words. */
export const inWords = (reason) => reason.toLowerCase().replaceAll("_", " ");

/** Tell something for a few seconds. */
export function toast(text, kind = "info") {
  const box = h("div", { class: "toast", "data-kind": kind }, visible(text, 300));
  document.getElementById("toasts").append(box);
  setTimeout(() => box.remove(), 6000);
}
