"use strict";
// What the other scripts share: the content, the state, and small helpers.
const page = { content: JSON.parse(document.getElementById("content").textContent), on: new Set(), drawers: [] };

page.element = (id) => document.getElementById(id);
page.percent = (value, digits = 1) => (value === null || value === undefined ? "–" : value.toFixed(digits));
page.name = (set) => page.content.modalities.filter((each) => set.has(each)).join("+");

// Makes an element; text is always text, never markup.
page.make = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
};

// A score with its interval, as text.
page.told = (score) => {
  if (!score || score.value === null) return "–";
  const ends = score.interval ? ` (${score.interval.map((end) => end.toFixed(1)).join("–")})` : "";
  return score.value.toFixed(1) + ends;
};

// The runs whose scores at every missing rate are known, this one first; and what goes missing in them.
page.runs = () => [{ name: "this run", rates: page.content.rates }, ...page.content.others.filter((other) => other.rates)];
page.kinds = () => [...new Set(page.content.rates.map((row) => row.type))];

// Sets everything anew that depends on the pattern: each part registers a function.
page.redraw = () => page.drawers.forEach((draw) => draw());

page.save = (blob, name) => {
  const link = page.make("a", { href: URL.createObjectURL(blob), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
};

// The colours of the page, for charts and canvases.
page.colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

page.theme = () => {
  const root = document.documentElement, button = page.element("theme");
  const set = (theme) => {
    root.dataset.theme = theme;
    button.textContent = theme === "dark" ? "Light page" : "Dark page";
  };
  set(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  button.addEventListener("click", () => {
    set(root.dataset.theme === "dark" ? "light" : "dark");
    page.redraw();
  });
};
