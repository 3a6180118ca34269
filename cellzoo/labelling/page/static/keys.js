// What mouse, touch and keys do on the page of `cellzoo label`; see label.js.
"use strict";

const NEAR_MOUSE = 9, NEAR_TOUCH = 20; // screen pixels in which a click means a dot that is there
const SHAKY = 12; // screen pixels that a click may move

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
  if (!frame || !inTime() || page.blinking) return;
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
