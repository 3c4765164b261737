// The chart of a data set and number of images, and the curves of runs, drawn by Observable Plot.
"use strict";
const SERIES = [ // Told apart by line and shape too, for those who see no colours.
  { colour: "var(--one)", dash: null, border: "solid", symbol: "circle" },
  { colour: "var(--two)", dash: "7 3", border: "dashed", symbol: "diamond2" },
  { colour: "var(--three)", dash: "2 3", border: "dotted", symbol: "triangle" },
  { colour: "var(--four)", dash: "9 3 2 3", border: "double", symbol: "square" },
];
const RULES = { whole: null, random: "5 4" };

function textWidth(text) {
  const context = textWidth.canvas ??= document.createElement("canvas").getContext("2d");
  context.font = "12px system-ui, sans-serif";
  return context.measureText(text).width;
}

function accuracyChart(chart, width) {
  const rows = chart.bars.flatMap((bar, number) => number && bar.system !== chart.bars[number - 1].system ? [null, bar] : [bar]);
  const bars = rows.map((bar, row) => ({ ...bar, row, there: bar !== null })).filter((bar) => bar.there);
  const papers = bars.filter((bar) => bar.paper);
  const values = bars.map((bar) => `${bar.mean.toFixed(1)} ± ${bar.spread.toFixed(1)}`);
  const right = 10 + Math.max(...values.map(textWidth)), left = Math.min(width * .42, 10 + Math.max(...bars.map((bar) => textWidth(bar.short))));
  const ends = [...bars.flatMap((bar) => [bar.mean - bar.spread, bar.mean + bar.spread]), ...papers.map((bar) => bar.paper[0]), ...chart.lines.flatMap((line) => [line.low, line.high])];
  const room = .04 * (Math.max(...ends) - Math.min(...ends) || 1);
  const mark = (cmi) => bars.filter((bar) => bar.cmi === cmi);
  const top = 18 + 15 * chart.lines.length;
  const plot = Plot.plot({
    width, height: 19 * rows.length + top + 42, marginTop: top, marginLeft: left, marginRight: right, marginBottom: 38,
    style: { fontSize: "12px", fontFamily: "inherit", background: "none" },
    x: { label: "test accuracy, per cent", domain: [Math.min(...ends) - room, Math.max(...ends) + room], ticks: Math.max(3, Math.round((width - left - right) / 70)) },
    y: { type: "band", domain: d3.range(rows.length), label: null },
    marks: [
      Plot.gridX({ strokeOpacity: .12 }),
      Plot.axisY(bars.map((bar) => bar.row), { tickSize: 0, tickFormat: (row) => rows[row].short }),
      Plot.rect(chart.lines.filter((line) => line.high > line.low), { x1: "low", x2: "high", fill: "currentColor", fillOpacity: .07 }),
      chart.lines.map((line) => Plot.ruleX([line], { x: "mean", stroke: "var(--soft)", strokeWidth: 1.5, strokeDasharray: line.kind in RULES ? RULES[line.kind] : "1 3" })),
      chart.lines.map((line, number) => Plot.text([line], { x: "mean", text: (each) => `${each.kind} ${each.mean.toFixed(1)}`, frameAnchor: "top", textAnchor: anchor(line.mean, ends), dy: -8 - 15 * (chart.lines.length - 1 - number), dx: anchor(line.mean, ends) === "start" ? -2 : 2, fill: "var(--soft)" })),
      Plot.ruleY(bars, { y: "row", x1: (bar) => bar.mean - bar.spread, x2: (bar) => bar.mean + bar.spread, stroke: (bar) => bar.cmi ? "var(--two)" : "var(--one)", strokeWidth: 2 }),
      Plot.dot(papers, { y: "row", x: (bar) => bar.paper[0], r: 6, stroke: "var(--soft)", strokeWidth: 1.8, title: (bar) => `published, ${bar.label}: ${bar.paper_text}` }),
      [false, true].map((cmi) => Plot.dot(mark(cmi), { y: "row", x: "mean", r: 4.5, symbol: cmi ? "diamond2" : "circle", fill: cmi ? "var(--two)" : "var(--one)", title: (bar) => [`${bar.label}: ${bar.text}`, bar.apart, bar.note].filter(Boolean).join("\n") })),
      Plot.text(bars, { y: "row", frameAnchor: "right", textAnchor: "start", dx: 10, text: (bar) => `${bar.mean.toFixed(1)} ± ${bar.spread.toFixed(1)}` }),
    ],
  });
  plot.setAttribute("role", "img");
  plot.setAttribute("aria-label", chart.alt);
  return plot;
}

// A label leans inwards, so that it stays within the chart.
function anchor(value, ends) {
  return value > (Math.min(...ends) + Math.max(...ends)) / 2 ? "end" : "start";
}

function drawCharts() {
  const charts = data.story.charts.filter(passes);
  document.getElementById("charts").replaceChildren(...charts.map((chart) => element("figure", {},
    element("h3", {}, chart.title), responsive((width) => accuracyChart(chart, width)))));
  document.getElementById("charts-section").hidden = !charts.length;
}

// The same curve of several runs, over iterations or over seconds of distillation.
function curveChart(title, runs, over, width) {
  const at = over === "seconds" ? 1 : 0;
  const series = runs.map((run, number) => ({ run, look: SERIES[number % SERIES.length], points: points(run, title).filter((point) => point[at] !== null) })).filter((each) => each.points.length);
  if (!series.length) return element("p", { className: "hint" }, `${title}: no seconds were recorded`);
  const few = Math.max(...series.map((each) => each.points.length)) < 25;
  const plot = Plot.plot({
    width, height: 150, marginLeft: 48, marginRight: 12, marginTop: 10, marginBottom: 34,
    style: { fontSize: "11px", fontFamily: "inherit", background: "none" },
    x: { label: over, ticks: 5, tickFormat: "~s" }, y: { label: null, ticks: 4, grid: true, nice: true },
    marks: series.map(({ look, points }) => [
      Plot.areaY(points, { x: (point) => point[at], y1: (point) => point[2] - point[3], y2: (point) => point[2] + point[3], fill: look.colour, fillOpacity: .13 }),
      Plot.lineY(points, { x: (point) => point[at], y: (point) => point[2], stroke: look.colour, strokeDasharray: look.dash, strokeWidth: 1.8 }),
      few ? Plot.dot(points, { x: (point) => point[at], y: (point) => point[2], fill: look.colour, symbol: look.symbol, r: 3 }) : null,
    ]),
  });
  plot.setAttribute("role", "img");
  plot.setAttribute("aria-label", `${title} over ${over}: ` + series.map(({ run, points }) =>
    `${run.name} from ${points[0][2]} at ${points[0][at]} to ${points.at(-1)[2]} at ${points.at(-1)[at]}`).join("; "));
  return plot;
}

function points(run, title) {
  return run.curves.find((curve) => curve.title === title)?.points ?? [];
}

function curves(runs, over) {
  const titles = [...new Set(runs.flatMap((run) => run.curves.map((curve) => curve.title)))];
  if (!titles.length) return null;
  const keys = runs.length > 1 ? [element("p", { className: "keys" }, ...runs.map((run, number) => {
    const look = SERIES[number % SERIES.length];
    return element("span", {}, element("i", { style: `border-top-style: ${look.border}; border-color: ${look.colour}` }), run.name);
  }))] : [];
  const figures = titles.map((title) => element("figure", {}, element("figcaption", {}, title), responsive((width) => curveChart(title, runs, over, width))));
  return element("div", { className: "curves" }, ...keys, element("div", {}, ...figures));
}
