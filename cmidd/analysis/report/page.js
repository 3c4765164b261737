// The page from its top: headline, table, filters; and what happens when something is chosen.
"use strict";

function drawHead() {
  const { headline, sentences, made_by } = data.story;
  document.getElementById("headline").textContent = headline;
  document.getElementById("sentences").replaceChildren(...sentences.map((line) => element("li", {}, line)));
  document.getElementById("made-by").textContent = [`Written on ${data.date}`, ...made_by].join("; ");
  if (data.runs.length) return;
  document.getElementById("runs-section").hidden = document.getElementById("filters").hidden = true;
  const nothing = document.getElementById("nothing");
  nothing.hidden = false;
  nothing.append(element("p", {}, "Nothing was found to show: no folder here holds a finished run that was tested on the test set. This makes one, in a minute or two:"), command(data.first));
}

function rowBody(row) {
  const lines = row.lines.map(([[name], ...cells], number) => element("tr", { className: number ? "gain" : "" },
    element("th", { scope: "row" }, name),
    ...cells.map(([first, ...rest]) => element("td", {}, first, ...rest.map((text) => element("small", {}, text))))));
  return Object.assign(element("tbody", {}, ...lines), { values: row.values });
}

// The first click puts the best on top, the second the worst, the third the order of the layout.
function sortBy(table, bodies, column, head) {
  const now = { none: "descending", descending: "ascending", ascending: "none" }[head.getAttribute("aria-sort")];
  table.querySelectorAll("th[aria-sort]").forEach((other) => other.setAttribute("aria-sort", "none"));
  head.setAttribute("aria-sort", now);
  const sign = now === "ascending" ? 1 : -1;
  const value = (body) => body.values[column] ?? -sign * Infinity; // What is empty stays below.
  table.append(...(now === "none" ? bodies : bodies.toSorted((one, other) => sign * (value(one) - value(other)) || 0)));
}

function tableOf({ head: [, ...titles], rows, notes, not_shown, commands }) {
  const table = element("table"), bodies = rows.map(rowBody);
  const heads = titles.map((title, column) => {
    const head = element("th", { scope: "col", "aria-sort": "none" }, element("button", { type: "button" }, title));
    head.firstElementChild.addEventListener("click", () => sortBy(table, bodies, column, head));
    return head;
  });
  table.append(element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "Method"), ...heads)), ...bodies);
  const scroll = element("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": `Table: ${titles.join(", ")}` }, table);
  const folded = (lines, summary) => lines.length ? [element("details", {}, element("summary", {}, summary), ...lines.map((line) => element("p", {}, line)))] : [];
  return element("div", {}, scroll, ...folded(notes ? [notes] : [], "What the marks say"), ...folded(not_shown.slice(1), not_shown[0]),
    ...folded(data.missing ? commands : [], `The ${commands.length} missing cells`));
}

function drawTables() {
  const tables = data.tables.filter((table) => table.rows.length && (table.dataset === null || passes({ dataset: table.dataset })));
  document.getElementById("table-section").hidden = !tables.length;
  document.getElementById("tables").replaceChildren(...tables.map(tableOf));
}

function drawFilters() {
  const form = document.getElementById("filters");
  for (const [name, title] of Object.entries(FILTERS)) {
    const values = [...new Set(data.runs.map((run) => String(run[name])))].sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
    const select = element("select", { id: name }, element("option", { value: "" }, "all"), ...values.map((value) => element("option", { value }, value)));
    select.addEventListener("change", () => setAddress(name, select.value));
    form.append(element("label", {}, title, select));
  }
  if (!data.runs.some((run) => run.curves.length)) return;
  const choices = ["iterations", "seconds"].map((over) => {
    const input = element("input", { type: "radio", name: "over", value: over, checked: over === (address().get("over") ?? "iterations") });
    input.addEventListener("change", () => setAddress("over", over === "iterations" ? "" : over));
    return element("label", {}, input, over);
  });
  form.append(element("fieldset", {}, element("legend", {}, "Curves over"), ...choices));
}

function drawRest() {
  for (const name of Object.keys(FILTERS)) document.getElementById(name).value = address().get(name) ?? "";
  drawCharts();
  drawTables();
  drawCards();
}

drawHead();
drawFilters();
drawRest();
window.addEventListener("hashchange", drawRest);
document.querySelector(".skip").addEventListener("click", () => document.getElementById("runs").focus());
const large = document.getElementById("large");
large.querySelector("img").addEventListener("click", () => large.close());
document.getElementById("large-close").addEventListener("click", () => large.close());
large.addEventListener("click", (event) => event.target === large && large.close());
