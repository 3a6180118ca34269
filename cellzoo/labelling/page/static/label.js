// The page of `cellzoo label`: one image at a time, dots or a count, each answer saved at once.
// draw.js, which is loaded before, has what is drawn and the state of the page; keys.js what keys do.
"use strict";

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

const inTime = () => page.frame.in_series && page.frame.before !== null;
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
      number: frame.number, before: frame.answer, token: said.token, why: page.why,
      chosen: page.chosen, dots: page.dots.length ? dotsAsPoints() : null,
    });
  }
  page.changed = false;
  const what = count === null ? "left out" : `${count} ${count === 1 ? "cell" : "cells"}`;
  const lost = points === null && page.dots.length
    ? ` Without its ${page.dots.length === 1 ? "dot" : `${page.dots.length} dots`}: undo brings them back.` : "";
  page.last = `Saved: ${frame.name}, ${what}${unsure ? ", unsure" : ""}.${lost}`;
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
  if (page.frame.repeat) return act(next);
  act(() => save({ count: page.frame.answer.count, points: page.frame.answer.points, unsure: true }));
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
  if ($("message").classList.contains("bad")) tell("");
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
  if (!inTime()) return tell("There is no frame before in time.", true);
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
    : page.changed && !page.dots.length ? "No dot is left: 0 if the image is empty."
      : page.changed ? `${page.dots.length} ${page.dots.length === 1 ? "dot" : "dots"}, not saved: Enter.`
      : saved !== null ? `Saved${frame.answer.points ? " with dots" : ""}${frame.answer.unsure ? ", unsure" : ""}.`
        : frame.answer.unsure ? "Left out as unsure." : "";
  $("before").disabled = frame.before === null;
  $("after").disabled = frame.after === null;
  $("carry").disabled = $("blink").disabled = !inTime();
  $("hide").setAttribute("aria-pressed", String(page.hideDots));
  $("model-toggle").hidden = !(frame.model && !frame.blind);
  $("model-toggle").setAttribute("aria-pressed", String(page.showModel));
  $("save").firstChild.textContent =
    page.typed === "" && !page.changed && saved === null && modelInView() ? "Accept its count " : "Save, next ";
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
  const { count, low, high, flag, rings } = frame.model;
  const shown = rings.length && rings.length < count ? ` Rings show ${rings.length} of ${count}.` : "";
  const interval = low === null ? ", without an interval" : ` (${Math.max(0, low).toFixed(1)} to ${high.toFixed(1)})`;
  return `${state && state.model ? state.model : "It"} counts ${count}${interval}.${shown}${flag ? ` Flagged: ${flag}` : ""}`;
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
  if (state.note) parts.push(state.note);
  $("error-line").textContent = parts.join(" ");
  $("training").textContent = training.running
    ? `Under way for ${training.seconds} s of ${training.budget}, on ${training.labels} labels. You can go on labelling.`
    : training.missing || training.message || (state.labelled < 20 ? "A training is possible; it is better from 20 labels." : "Ready to train on your labels.");
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
  $("curve").toggleAttribute("hidden", points.length < 2); // an SVG element has no `hidden`
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
