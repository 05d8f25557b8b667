// Begins the page: views, theme, status, and the connection that they share.

import { Connection } from "./connection.js";
import { Live } from "./live.js";
import { Recorded } from "./recorded.js";

const byId = (id) => document.getElementById(id);
const VIEWS = ["live", "compare", "replay"];

const dark = matchMedia("(prefers-color-scheme: dark)");
let { theme } = document.documentElement.dataset;

const connection = new Connection();
const live = new Live(connection);
const recorded = new Recorded(byId("recorded"), connection);
window.lnsim = { live, recorded, connection }; // for the curious, and for tests

let wanted = VIEWS.includes(location.hash.slice(1)) ? location.hash.slice(1) : null;

function show(view) {
  for (const one of VIEWS) {
    byId(`tab-${one}`).setAttribute("aria-selected", String(one === view));
    byId(`tab-${one}`).tabIndex = one === view ? 0 : -1;
  }
  byId("live").hidden = view !== "live";
  byId("recorded").hidden = view === "live";
  byId("recorded").setAttribute("aria-labelledby", `tab-${view}`);
  if (view !== "live") recorded.choose(view, live.extra);
}

function setTheme(chosen) {
  theme = chosen;
  document.documentElement.dataset.theme = chosen;
  live.redraw();
  recorded.redraw();
}

function status(state) {
  const words = { connected: "live", lost: "no connection, trying again", token: "a token is asked for" };
  byId("status").dataset.state = state === "connected" ? "live" : state;
  byId("status").textContent = words[state] ?? state;
  byId("token-form").hidden = state !== "token";
  byId("main").hidden = state === "token";
}

VIEWS.forEach((view, place) => {
  byId(`tab-${view}`).addEventListener("click", () => show((wanted = view)));
  byId(`tab-${view}`).addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) byId(`tab-${VIEWS[(place + step + VIEWS.length) % VIEWS.length]}`).focus();
  });
});
byId("theme").addEventListener("click", () => {
  setTheme(theme === "dark" ? "light" : "dark");
  localStorage.setItem("theme", theme);
});
dark.addEventListener("change", () => localStorage.getItem("theme") ?? setTheme(dark.matches ? "dark" : "light"));
byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  connection.useToken(byId("token").value.trim());
});
connection.on("state", status);
live.onPlay = (paused) => {
  if (byId("status").dataset.state === "live") byId("status").textContent = paused ? "paused" : "live";
};
live.dispatch = ({ recordings }) => {
  if (wanted === null && recordings.length) wanted = "replay"; // whoever brings records wants to see them
  if (wanted && wanted !== "live") show(wanted);
};
connection.open();
