// Runs before anything is painted: chooses light or dark, and lets the page be seen before its network and charts are
// fetched and made, which takes a moment.

const SOON = ["/vendor/graph.js", "/vendor/uplot.js", "/live.js", "/network_view.js", "/plain_sigma.js"]; // else found one after the other

document.documentElement.dataset.theme =
  localStorage.getItem("theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");

function begin() {
  const links = [["stylesheet", "/vendor/uplot.css"], ...SOON.map((href) => ["modulepreload", href])];
  for (const [rel, href] of links) document.head.append(Object.assign(document.createElement("link"), { rel, href }));
  import("/app.js");
}

addEventListener("DOMContentLoaded", () => {
  if (document.hidden) begin(); // what is not seen is not painted either
  else requestAnimationFrame(() => setTimeout(begin));
});
