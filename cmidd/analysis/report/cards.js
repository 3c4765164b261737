// The runs: a card for each method, data set, number of images and seed, filled when it comes near the screen.
"use strict";

function enlarge(title, image, alt, file) {
  const dialog = document.getElementById("large");
  document.getElementById("large-title").textContent = title;
  Object.assign(dialog.querySelector("img"), { src: image, alt });
  const link = document.getElementById("large-file");
  link.hidden = !file;
  file ? link.setAttribute("href", encodeURI(file)) : link.removeAttribute("href");
  dialog.showModal();
}

function picture(title, image, alt, size, file) {
  const [width, height] = size;
  const shown = element("img", { src: data.images[image], alt, decoding: "async",
    style: `width: ${Math.min(width, Math.round(480 * width / height))}px; aspect-ratio: ${width} / ${height}` });
  const button = element("button", { type: "button", className: "picture", title: "enlarge" }, shown);
  button.addEventListener("click", () => enlarge(title, shown.src, shown.alt, file));
  return button;
}

function altOf(run, iteration) {
  return `synthetic images of ${run.title}, a row for each class, at iteration ${iteration}; ${run.accuracy}`;
}

// The slider goes through the moments. Until it is moved, the picture is that of the whole set.
function slider(run, shown) {
  const steps = run.moments;
  const said = element("output", {});
  const input = element("input", { type: "range", min: 0, max: steps.length - 1, step: 1, value: steps.length - 1, "aria-label": `iteration of the images, ${run.title}` });
  const say = () => {
    said.textContent = `iteration ${steps[input.value].iteration} of ${run.iteration}`;
    input.setAttribute("aria-valuetext", said.textContent);
  };
  input.addEventListener("input", () => {
    const { iteration, image } = steps[input.value];
    Object.assign(shown, { src: data.images[image], alt: altOf(run, iteration) });
    say();
  });
  say();
  return element("div", { className: "moment" }, input, said);
}

function runPart(run) {
  const parts = [];
  if (run.image !== null) {
    const button = picture(run.title, run.image, altOf(run, run.iteration), run.size, run.file);
    parts.push(button, ...(run.moments.length ? [slider(run, button.firstElementChild)] : []));
  }
  const text = element("div", {}, element("h4", {}, run.name), element("p", { className: "worth" }, run.accuracy));
  if (run.facts.length) text.append(element("ul", { className: "facts" }, ...run.facts.map((fact) => element("li", {}, fact))));
  if (run.changed.length) {
    text.append(element("p", { className: "warn" }, "Not the recipe:"), element("ul", { className: "facts warn" }, ...run.changed.map((line) => element("li", {}, line))));
  }
  if (run.command) text.append(command(run.command));
  return element("div", { className: "run" }, ...parts, text);
}

function pairPart(card) {
  const { pair } = card;
  const text = element("div", {}, element("h4", {}, "What CMI adds"), element("p", { className: "worth" }, pair.text));
  if (pair.unlike) text.append(element("p", { className: "warn" }, pair.unlike));
  const parts = [];
  if (pair.image !== undefined) {
    parts.push(picture(`${card.title}: ${pair.caption}`, pair.image, `${pair.caption}, ${card.title}`, pair.size, null));
    text.append(element("p", { className: "hint" }, `The picture: ${pair.caption}.`));
  }
  return element("div", { className: "run" }, ...parts, text);
}

function fill(article) {
  const { card, runs } = article;
  const parts = runs.map(runPart);
  if (card.pair && runs.length === card.runs.length) parts.splice(2, 0, pairPart(card));
  const drawing = curves(runs, address().get("over") ?? "iterations");
  drawing?.classList.toggle("wide", parts.length > 1);
  article.append(element("div", { className: "body" }, ...parts, ...(drawing ? [drawing] : [])));
}

const near = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    fill(target);
  }
}, { rootMargin: "800px" });

function drawCards() {
  near.disconnect();
  let shown = 0;
  const articles = data.cards.flatMap((card) => {
    const runs = card.runs.map((number) => data.runs[number]).filter(passes);
    shown += runs.length;
    if (!runs.length) return [];
    const article = element("article", {}, element("h3", {}, card.title));
    Object.assign(article, { card, runs });
    return [article];
  });
  document.getElementById("runs").replaceChildren(...articles);
  articles.forEach((article) => near.observe(article));
  document.getElementById("count").textContent = `${shown} of ${data.runs.length} runs`;
}
