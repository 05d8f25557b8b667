// Runs before anything is painted: chooses light or dark, and lets the page be seen before its network and charts are
// made, which takes a moment.

document.documentElement.dataset.theme =
  localStorage.getItem("theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");

addEventListener("DOMContentLoaded", () => {
  const begin = () => import("/app.js");
  if (document.hidden) begin(); // what is not seen is not painted either
  else requestAnimationFrame(() => setTimeout(begin));
});
