// What all parts of the page use: its data, elements made of text, and the filters that stand in its address.
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const FILTERS = { dataset: "Data set", method: "Method", ipc: "Images per class" };

// Text from records only ever becomes text, never markup.
function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) key in made ? made[key] = value : made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function address() {
  return new URLSearchParams(location.hash.slice(1));
}

function setAddress(name, value) {
  const parameters = address();
  value ? parameters.set(name, value) : parameters.delete(name);
  location.hash = parameters.toString();
}

function passes(run) {
  const parameters = address();
  return Object.keys(FILTERS).every((name) => !parameters.get(name) || run[name] === undefined || String(run[name]) === parameters.get(name));
}

// The command with a button that copies it; where the browser keeps the clipboard to itself, it is marked instead.
function command(text) {
  const code = element("code", { tabIndex: 0 }, text);
  const button = element("button", { type: "button", className: "copy" }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = document.execCommand("copy") ? "Copied" : "Marked: press Ctrl+C";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 3000);
  });
  return element("div", { className: "command" }, code, button);
}

// Draws now and whenever the width changes, for a chart's text keeps its size.
const drawn = new ResizeObserver((entries) => {
  for (const { target, contentRect } of entries) {
    const width = Math.round(contentRect.width);
    if (!width || target.drawnAt === width) continue;
    target.drawnAt = width;
    target.replaceChildren(target.draw(width));
  }
});

function responsive(draw) {
  const box = element("div");
  box.draw = draw;
  drawn.observe(box);
  return box;
}
