// The page of `cellzoo label`: one image at a time, dots or a count, each answer saved at once.
// draw.js, which is loaded before, has what is drawn, and the state of the page.
"use strict";

const NEAR_MOUSE = 9, NEAR_TOUCH = 20; // screen pixels in which a click means a dot that is there
const SHAKY = 12; // screen pixels that a click may move
const RETRY = 2000; // milliseconds
const MOST_KEPT = 24; // images whose pixels are kept

// Talking to the server ------------------------------------------------------------------------

async function ask(path, sent) {
  const options = sent === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(sent),
  };
  const response = await fetch(path, options);
  const said = await response.json();
  if (!response.ok) {
    const error = new Error(said.error || "That did not work.");
    error.said = true;
    error.code = response.status;
    throw error;
  }
  return said;
}

// Until the server has it: an answer must not be lost because the program was ended.
async function send(path, sent) {
  for (;;) {
    try {
      return await ask(path, sent);
    } catch (error) {
      if (error.said) throw error;
      tell("cellzoo does not answer. Your answer is kept here and sent again: if you ended the " +
        "program, start it again and open the address that it prints.", true);
      await new Promise((resolve) => setTimeout(resolve, RETRY));
    }
  }
}

function tell(text, bad = false) {
  $("message").textContent = text;
  $("message").classList.toggle("bad", bad);
}

// One action at a time; an error becomes a sentence.
async function act(work) {
  if (page.busy) return;
  page.busy = true;
  try {
    await work();
  } catch (error) {
    tell(error.said ? error.message : "cellzoo does not answer: is the program still running?", true);
    if (error.code === 409) await load(page.frame.number, page.chosen, page.why, true);
  } finally {
    page.busy = false;
  }
}

async function pixelsOf(number) {
  if (pixels.has(number)) return pixels.get(number);
  const response = await fetch(`/api/pixels/${number}`);
  if (!response.ok) {
    const error = new Error((await response.json()).error);
    error.said = true;
    throw error;
  }
  const of = (name) => Number(response.headers.get(name));
  const found = {
    width: of("X-Width"), height: of("X-Height"), low: of("X-Low"), high: of("X-High"),
    most: of("X-Most"), grey: new Uint16Array(await response.arrayBuffer()),
  };
  pixels.set(number, found);
  if (pixels.size > MOST_KEPT) pixels.delete(pixels.keys().next().value);
  return found;
}

// Frames ---------------------------------------------------------------------------------------

async function next() {
  await flushDraft();
  const said = await ask("/api/next");
  if (!said.frame) {
    tell(said.why);
    await refresh();
    return;
  }
  await show(said.frame, said.chosen, said.why);
}

async function load(number, chosen = "person", why = "You went here.", keepMessage = false) {
  await flushDraft();
  await show(await ask(`/api/frame/${number}`), chosen, why, keepMessage);
}

async function show(frame, chosen, why, keepMessage = false) {
  const image = await pixelsOf(frame.number);
  const alike = page.frame && page.frame.width === frame.width && page.frame.height === frame.height;
  Object.assign(page, { frame, chosen, why, typed: "", steps: [], assisted: false, cross: null });
  const kept = frame.draft || frame.answer.points;
  page.dots = (kept || []).map(([x, y]) => ({ x, y }));
  page.changed = Boolean(frame.draft);
  page.blinking = null;
  if (!alike) fit();
  paint(image);
  if (!keepMessage) tell("");
  render();
  if (frame.before !== null) pixelsOf(frame.before).catch(() => {});
}

let draftTimer = null;
function keepDraft() {
  clearTimeout(draftTimer);
  const { number, repeat } = page.frame;
  if (repeat) return;
  const points = page.changed ? page.dots.map(({ x, y }) => [x, y]) : null;
  draftTimer = setTimeout(() => {
    draftTimer = null;
    ask(`/api/draft/${number}`, { points }).catch(() =>
      tell("cellzoo does not answer: is the program still running? The dots are still here.", true));
  }, 200);
  flush = () => ask(`/api/draft/${number}`, { points });
}
let flush = null;
async function flushDraft() {
  if (draftTimer === null) return;
  clearTimeout(draftTimer);
  draftTimer = null;
  await flush();
}

// Answers --------------------------------------------------------------------------------------

const modelInView = () => page.showModel && page.frame.model !== null && !page.frame.blind;

async function save({ count, points = null, unsure = false, accepted = false }) {
  const { frame } = page;
  clearTimeout(draftTimer);
  draftTimer = null;
  const sent = {
    count, points, unsure, chosen: page.chosen, token: frame.token, repeat: frame.repeat,
    assisted: page.assisted || accepted || (frame.answer.assisted && frame.answer.count !== null),
  };
  const said = await send(`/api/answer/${frame.number}`, sent);
  if (!frame.repeat) {
    page.answered.push({
      number: frame.number, before: frame.answer, token: said.token, dots: points, why: page.why,
      chosen: page.chosen,
    });
  }
  page.changed = false;
  const what = count === null ? "left out" : `${count} ${count === 1 ? "cell" : "cells"}`;
  page.last = `Saved: ${frame.name}, ${what}${unsure ? ", unsure" : ""}.`;
  await next();
  tell(`${page.last} ${$("message").textContent}`.trim());
  refresh();
}

const dotsAsPoints = () => page.dots.map(({ x, y }) => [x, y]);

function enter() {
  const { frame } = page;
  if (!frame) return;
  if (page.typed !== "") return act(() => save({ count: Number(page.typed) }));
  if (page.dots.length && (page.changed || frame.answer.count === null)) {
    return act(() => save({ count: page.dots.length, points: dotsAsPoints() }));
  }
  if (page.changed) return tell("No dot is left: press 0 if the image is empty.", true);
  if (frame.answer.count !== null) return act(next);
  if (modelInView()) return act(() => save({ count: frame.model.count, accepted: true }));
  tell("Click the cells, type a count, or press 0 if the image is empty.", true);
}

function unsure() {
  if (page.typed !== "") return act(() => save({ count: Number(page.typed), unsure: true }));
  if (page.dots.length) {
    return act(() => save({ count: page.dots.length, points: dotsAsPoints(), unsure: true }));
  }
  act(() => save({ count: page.frame.answer.count, unsure: true }));
}

function undo() {
  if (page.typed !== "") {
    page.typed = "";
    return render();
  }
  if (page.steps.length) {
    const step = page.steps.pop();
    page.dots = step.dots;
    page.changed = step.changed;
    keepDraft();
    return render();
  }
  const last = page.answered.pop();
  if (!last) return tell("There is nothing to undo.");
  act(async () => {
    await send(`/api/answer/${last.number}`, {
      ...last.before, token: last.token, repeat: false,
    });
    await load(last.number, last.chosen, last.why);
    if (last.dots && !page.dots.length) {
      page.dots = last.dots.map(([x, y]) => ({ x, y }));
      page.changed = true;
      keepDraft();
    }
    tell(`Taken back: the answer to ${page.frame.name}.`);
    render();
    refresh();
  });
}

function change(work) {
  page.steps.push({ dots: page.dots.map((dot) => ({ ...dot })), changed: page.changed });
  page.typed = "";
  work();
  page.changed = true;
  keepDraft();
  render();
}

function dotAt(x, y, near) {
  const { frame } = page;
  if (x < -0.5 || y < -0.5 || x > frame.width - 0.5 || y > frame.height - 0.5) return;
  if (page.hideDots) toggleDots();
  let best = -1, least = near / page.view.scale;
  page.dots.forEach((dot, k) => {
    const distance = Math.hypot(dot.x - x, dot.y - y);
    if (distance < least) [best, least] = [k, distance];
  });
  change(() => {
    if (best >= 0) page.dots.splice(best, 1);
    else page.dots.push({ x: Math.round(x * 100) / 100, y: Math.round(y * 100) / 100 });
  });
}

function carry() {
  const { frame } = page;
  if (frame.before === null) return tell("There is no frame before.", true);
  act(async () => {
    const before = await ask(`/api/frame/${frame.before}`);
    const points = before.draft || before.answer.points;
    if (!points || !points.length) return tell("The frame before has no dots.", true);
    change(() => { page.dots = points.map(([x, y]) => ({ x, y })); });
    tell(`${points.length} dots of the frame before: correct them, then Enter.`);
  });
}

// Words ----------------------------------------------------------------------------------------

function render() {
  const { frame } = page;
  if (!frame) return;
  if (modelInView()) page.assisted = true;
  $("why").textContent = page.why;
  const [at, of] = frame.place;
  $("place").textContent = `${frame.name} · ${frame.in_series ? "frame" : "image"} ${at} of ${of}`;
  const saved = frame.answer.count;
  const shown = page.typed !== "" ? page.typed
    : page.changed || page.dots.length ? String(page.dots.length)
      : saved !== null ? String(saved) : "";
  $("count").value = shown;
  $("count-note").textContent = page.typed !== "" ? "Typed, not saved: Enter."
    : page.changed ? `${page.dots.length} ${page.dots.length === 1 ? "dot" : "dots"}, not saved: Enter.`
      : saved !== null ? `Saved${frame.answer.points ? " with dots" : ""}${frame.answer.unsure ? ", unsure" : ""}.`
        : frame.answer.unsure ? "Left out as unsure." : "";
  $("before").disabled = frame.before === null;
  $("after").disabled = frame.after === null;
  $("carry").disabled = $("blink").disabled = frame.before === null;
  $("hide").setAttribute("aria-pressed", String(page.hideDots));
  $("model-toggle").hidden = !(frame.model && !frame.blind);
  $("model-toggle").setAttribute("aria-pressed", String(page.showModel));
  $("save").firstChild.textContent =
    page.typed === "" && !page.changed && saved === null && modelInView() ? "Accept the model's count " : "Save, next ";
  $("model").textContent = modelWords();
  canvas.setAttribute("aria-label", `${frame.name}, ${page.dots.length} dots`);
  draw();
}

function modelWords() {
  const { frame, state } = page;
  if (frame.repeat) return "Hidden: this image measures how alike your own counts are.";
  if (frame.blind) return "Hidden: this image is kept to check the model.";
  if (state && state.error) return `The model does not count: ${state.error}`;
  if (state && state.counting && !frame.model) return `Counting: ${state.counted} of ${state.wanted}.`;
  if (!frame.model) return state && state.model ? "No count of this image." : "No model yet: label some images, then train.";
  if (!page.showModel) return "Hidden by you.";
  const { count, low, high, flag } = frame.model;
  const interval = low === null ? ", without an interval" : ` (${Math.max(0, low).toFixed(1)} to ${high.toFixed(1)})`;
  return `${state && state.model ? state.model : "It"} counts ${count}${interval}.${flag ? ` Flagged: ${flag}.` : ""}`;
}

let timer = null;
async function refresh() {
  clearTimeout(timer);
  let state;
  try {
    state = await ask("/api/state");
  } catch (error) {
    timer = setTimeout(refresh, 5000);
    return;
  }
  const before = page.state;
  page.state = state;
  const { training } = state;
  $("progress").textContent = `${state.labelled} of ${state.frames} labelled` +
    (state.unsure ? `, ${state.unsure} unsure` : "");
  const parts = [];
  if (state.random) parts.push(`${state.labelled} labels: ${state.random.sentence}`);
  if (state.own) parts.push(state.own);
  $("error-line").textContent = parts.join(" ");
  $("training").textContent = training.running
    ? `Under way for ${training.seconds} s, on ${training.labels} labels. You can go on labelling.`
    : training.missing || training.message || "Ready to train on your labels.";
  $("train").disabled = training.running || training.missing !== "";
  $("stop").hidden = !training.running;
  curve(training.curve);
  if (before && before.training.running && !training.running) tell(training.message);
  if (before && before.counting && !state.counting && page.frame && !page.busy) {
    // The model has changed: show what it says now, but never behind an answer under way.
    const number = page.frame.number;
    const frame = page.frame.repeat ? null : await ask(`/api/frame/${number}`).catch(() => null);
    if (frame && page.frame && page.frame.number === number) page.frame.model = frame.model;
  }
  render();
  timer = setTimeout(refresh, state.counting || training.running ? 1500 : 8000);
}

function curve(points) {
  $("curve").hidden = points.length < 2;
  if (points.length < 2) return;
  const most = Math.max(...points.map(([, error]) => error)) || 1;
  const end = points[points.length - 1][0] || 1;
  $("curve-line").setAttribute("points", points.map(([seconds, error]) =>
    `${(4 + (252 * seconds) / end).toFixed(1)},${(84 - (66 * error) / most).toFixed(1)}`).join(" "));
  const last = points[points.length - 1][1];
  $("curve-high").textContent = `at most ${most.toFixed(2)}`;
  $("curve-last").textContent = `now ${last.toFixed(2)}`;
  $("curve").setAttribute("aria-label", `Validation error of counts: ${last.toFixed(2)} cells now`);
}

// Mouse, touch, keys ---------------------------------------------------------------------------

const pointers = new Map();
let spaceDown = false, spaceDragged = false, pinch = null;

const local = (event) => {
  const box = canvas.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
};

canvas.addEventListener("pointerdown", (event) => {
  canvas.focus({ preventScroll: true });
  try { canvas.setPointerCapture(event.pointerId); } catch { /* of a test's pointer */ }
  const [x, y] = local(event);
  const pans = spaceDown || event.button === 1 || event.button === 2;
  pointers.set(event.pointerId, { x, y, x0: x, y0: y, pans, moved: false, touch: event.pointerType === "touch" });
  if (pointers.size === 2) {
    for (const pointer of pointers.values()) pointer.moved = true;
    pinch = spread();
  }
  event.preventDefault();
});

canvas.addEventListener("pointermove", (event) => {
  const pointer = pointers.get(event.pointerId);
  if (!pointer) return;
  const [x, y] = local(event);
  const [dx, dy] = [x - pointer.x, y - pointer.y];
  [pointer.x, pointer.y] = [x, y];
  if (Math.hypot(x - pointer.x0, y - pointer.y0) > SHAKY) pointer.moved = true;
  if (pointers.size === 2) {
    const now = spread();
    page.view.x += now.x - pinch.x;
    page.view.y += now.y - pinch.y;
    zoom(now.apart / Math.max(1, pinch.apart), now.x, now.y);
    pinch = now;
  } else if (pointer.pans || (pointer.touch && pointer.moved)) {
    if (spaceDown) {
      spaceDragged = true;
      endBlink();
    }
    page.view.x += dx;
    page.view.y += dy;
    draw();
  }
});

function spread() {
  const [a, b] = [...pointers.values()];
  return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, apart: Math.hypot(a.x - b.x, a.y - b.y) };
}

canvas.addEventListener("pointerup", (event) => {
  const pointer = pointers.get(event.pointerId);
  pointers.delete(event.pointerId);
  if (!pointer || pointer.pans || pointer.moved || event.button > 0 || !page.frame || page.busy) return;
  const { x, y } = toImage(pointer.x0, pointer.y0);
  dotAt(x, y, pointer.touch ? NEAR_TOUCH : NEAR_MOUSE);
});
canvas.addEventListener("pointercancel", (event) => pointers.delete(event.pointerId));
canvas.addEventListener("contextmenu", (event) => event.preventDefault());
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), ...local(event));
}, { passive: false });

async function blink() {
  const { frame } = page;
  if (!frame || frame.before === null || page.blinking) return;
  page.blinking = true;
  const mine = painted;
  try {
    const before = await pixelsOf(frame.before);
    if (page.blinking && before.width === mine.width && before.height === mine.height) {
      const auto = page.auto;
      page.auto = false;
      paint(before, mine);
      page.auto = auto;
      page.own = mine;
      $("blink-note").hidden = false;
    }
  } catch (error) {
    tell(error.message, true);
  }
}

function endBlink() {
  if (!page.blinking) return;
  page.blinking = null;
  $("blink-note").hidden = true;
  if (page.own) {
    const auto = page.auto;
    page.auto = false;
    paint(page.own);
    page.auto = auto;
    page.own = null;
  }
  draw();
}

function toggleDots() {
  page.hideDots = !page.hideDots;
  render();
}

function toggleModel() {
  page.showModel = !page.showModel;
  render();
}

function go(number) {
  if (number !== null) act(() => load(number));
}

function type(digit) {
  if (page.typed === "" && digit === "0") return act(() => save({ count: 0 }));
  if (page.typed.length < 6) page.typed += digit;
  render();
}

const KEYS = {
  Enter: enter, u: unsure, z: undo, n: () => act(next), c: carry, h: toggleDots, m: toggleModel,
  f: fit, "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8),
  "?": () => $("help").showModal(),
  ".": () => page.cross ? dotAt(page.cross.x, page.cross.y, NEAR_MOUSE) : moveCross(0, 0),
  ArrowLeft: () => go(page.frame.before), ArrowRight: () => go(page.frame.after),
  Backspace: () => { page.typed = page.typed.slice(0, -1); render(); },
  Escape: () => { page.typed = ""; page.cross = null; render(); },
};
const CROSS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

document.addEventListener("keydown", (event) => {
  if ($("help").open || event.ctrlKey || event.metaKey || event.altKey || !page.frame) return;
  const inside = event.target;
  const control = inside.matches("button, select, input");
  // A control keeps the keys that it needs itself.
  if (control && (event.key === "Tab" || event.key === " ")) return;
  if (inside.matches("button") && event.key === "Enter") return;
  if (inside.matches("select, input[type=range]") && /^(Arrow|Home|End|Page)/.test(event.key)) return;
  if (inside.id === "count" && /^(Arrow|Home|End|Delete)/.test(event.key)) return;
  if (event.shiftKey && CROSS[event.key]) {
    event.preventDefault();
    return moveCross(...CROSS[event.key]);
  }
  if (event.key === " ") {
    event.preventDefault();
    if (!event.repeat) {
      spaceDown = true;
      spaceDragged = false;
      blink();
    }
    return;
  }
  if (/^\d$/.test(event.key)) {
    event.preventDefault();
    if (!page.busy) type(event.key);
    return;
  }
  const work = KEYS[event.key] || KEYS[event.key.toLowerCase()];
  if (work && !(event.repeat && (event.key === "Enter" || event.key === "u" || event.key === "z"))) {
    event.preventDefault();
    work();
  }
});
document.addEventListener("keyup", (event) => {
  if (event.key === " ") {
    spaceDown = false;
    endBlink();
  }
});
window.addEventListener("blur", () => { spaceDown = false; endBlink(); });

// A tablet's keyboard sends no digits as keys.
$("count").addEventListener("input", () => {
  page.typed = $("count").value.replace(/\D/g, "").slice(0, 6);
  render();
});

function button(id, work) {
  $(id).addEventListener("click", (event) => {
    if (!page.frame && id !== "help-button") return;
    work();
    if (event.detail > 0 && !$("help").open) canvas.focus({ preventScroll: true }); // keys go on
  });
}
button("save", enter);
button("empty", () => act(() => save({ count: 0 })));
button("unsure", unsure);
button("undo", undo);
button("skip", () => act(next));
button("carry", carry);
button("hide", toggleDots);
button("before", () => go(page.frame.before));
button("after", () => go(page.frame.after));
button("fit", fit);
button("zoom-in", () => zoom(1.25));
button("zoom-out", () => zoom(0.8));
button("auto", () => { page.auto = true; paint(painted); });
button("help-button", () => $("help").showModal());
button("model-toggle", toggleModel);
button("train", () => act(async () => {
  await ask("/api/train", { budget: $("budget").value });
  tell("The training has begun: go on labelling meanwhile.");
  refresh();
}));
button("stop", () => act(async () => { await ask("/api/stop", {}); refresh(); }));
$("help-close").addEventListener("click", () => $("help").close());
$("blink").addEventListener("pointerdown", blink);
for (const end of ["pointerup", "pointerleave", "pointercancel"]) $("blink").addEventListener(end, endBlink);
$("blink").addEventListener("keydown", (event) => {
  if (event.key === " " || event.key === "Enter") { event.preventDefault(); blink(); }
});
$("blink").addEventListener("keyup", endBlink);
for (const id of ["black", "white"]) {
  $(id).addEventListener("input", () => {
    page[id] = Number($(id).value) / 1000;
    page.auto = false; // as the person set it, for the following images too
    if (painted) paint(painted);
  });
}
new ResizeObserver(() => { if (page.frame) fit(); }).observe(canvas);

act(async () => {
  await refresh();
  await next();
  canvas.focus({ preventScroll: true });
});
