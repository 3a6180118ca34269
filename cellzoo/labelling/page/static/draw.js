// What the page of `cellzoo label` shows: the image, its contrast, dots and rings. See label.js.
"use strict";

const $ = (id) => document.getElementById(id);
const canvas = $("canvas");
const context = canvas.getContext("2d");
const bitmap = document.createElement("canvas");

const page = {
  frame: null, // what the server says of the image
  why: "", chosen: "",
  dots: [], changed: false, steps: [], // dots before each change, for undo
  typed: "", // digits
  assisted: false,
  answered: [], // for undo: {number, before, token}
  hideDots: false, showModel: true,
  view: { scale: 1, x: 0, y: 0 },
  black: 0, white: 1, // of the range between the image's least and most useful grey level
  cross: null,
  blinking: null, // pixels of the frame before while they are shown
  busy: false, state: null, toTell: false,
};
const pixels = new Map();

// Drawing --------------------------------------------------------------------------------------

function range(image) {
  // Sliders reach a little beyond what nearly all pixels have.
  const span = image.high - image.low;
  return { least: Math.max(0, image.low - 0.5 * span), most: image.high + span };
}

function autoContrast(image) {
  const { least, most } = range(image);
  page.black = (image.low - least) / (most - least);
  page.white = (image.high - least) / (most - least);
}

let painted = null;
function paint(image, like = null) {
  if (painted === null || page.auto !== false) {
    autoContrast(like || image);
    $("black").value = Math.round(1000 * page.black);
    $("white").value = Math.round(1000 * page.white);
  }
  painted = image;
  const { least, most } = range(like || image);
  const low = least + page.black * (most - least);
  const high = Math.max(low + 1, least + page.white * (most - least));
  const table = new Uint8Array(image.most + 1);
  for (let k = 0; k <= image.most; k++) {
    table[k] = Math.max(0, Math.min(255, Math.round((255 * (k - low)) / (high - low))));
  }
  bitmap.width = image.width;
  bitmap.height = image.height;
  const into = bitmap.getContext("2d");
  const data = into.createImageData(image.width, image.height);
  const four = new Uint32Array(data.data.buffer);
  for (let k = 0; k < image.grey.length; k++) four[k] = 0xff000000 | (table[image.grey[k]] * 0x010101);
  into.putImageData(data, 0, 0);
  draw();
}

function fit() {
  const { frame } = page, box = canvas.getBoundingClientRect();
  if (!frame) return;
  const scale = 0.97 * Math.min(box.width / frame.width, box.height / frame.height);
  page.view = {
    scale, x: (box.width - frame.width * scale) / 2, y: (box.height - frame.height * scale) / 2,
  };
  draw();
}

function zoom(factor, x, y) {
  const { view } = page, box = canvas.getBoundingClientRect();
  x ??= box.width / 2;
  y ??= box.height / 2;
  const scale = Math.max(0.02, Math.min(80, view.scale * factor));
  view.x = x - ((x - view.x) * scale) / view.scale;
  view.y = y - ((y - view.y) * scale) / view.scale;
  view.scale = scale;
  draw();
}

const toImage = (x, y) => ({
  x: (x - page.view.x) / page.view.scale - 0.5, y: (y - page.view.y) / page.view.scale - 0.5,
});
const toScreen = ({ x, y }) => [
  (x + 0.5) * page.view.scale + page.view.x, (y + 0.5) * page.view.scale + page.view.y,
];

let asked = false;
function draw() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    const box = canvas.getBoundingClientRect(), fine = window.devicePixelRatio || 1;
    canvas.width = Math.round(box.width * fine);
    canvas.height = Math.round(box.height * fine);
    context.setTransform(fine, 0, 0, fine, 0, 0);
    context.clearRect(0, 0, box.width, box.height);
    const { frame, view } = page;
    if (!frame) return;
    context.imageSmoothingEnabled = view.scale < 2;
    context.drawImage(bitmap, view.x, view.y, frame.width * view.scale, frame.height * view.scale);
    if (page.blinking) return;
    if (modelInView()) {
      for (const [x, y] of frame.model.rings) ring(x, y);
    }
    if (!page.hideDots) page.dots.forEach(dot);
    if (page.cross) crossHair();
  });
}

function ring(x, y) {
  const [left, top] = toScreen({ x, y });
  circle(left, top, 11, 3, "rgb(0 0 0 / .45)");
  circle(left, top, 11, 1.3, "rgb(120 220 255 / .8)");
}

function dot(at) {
  const [left, top] = toScreen(at);
  circle(left, top, 5, 4.5, "#000");
  circle(left, top, 5, 2.2, "#ffd21f");
  context.fillStyle = "#ffd21f";
  context.fillRect(left - 0.75, top - 0.75, 1.5, 1.5);
}

function circle(x, y, radius, width, colour) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.lineWidth = width;
  context.strokeStyle = colour;
  context.stroke();
}

function crossHair() {
  const [x, y] = toScreen(page.cross);
  for (const [width, colour] of [[4, "#000"], [1.6, "#ff5ac8"]]) {
    context.beginPath();
    for (const [a, b] of [[4, 14], [-4, -14]]) {
      context.moveTo(x + a, y); context.lineTo(x + b, y);
      context.moveTo(x, y + a); context.lineTo(x, y + b);
    }
    context.lineWidth = width;
    context.strokeStyle = colour;
    context.stroke();
  }
}

function moveCross(dx, dy) {
  const { frame } = page, box = canvas.getBoundingClientRect();
  const step = 12 / page.view.scale;
  const from = page.cross || toImage(box.width / 2, box.height / 2);
  page.cross = {
    x: Math.max(0, Math.min(frame.width - 1, from.x + dx * step)),
    y: Math.max(0, Math.min(frame.height - 1, from.y + dy * step)),
  };
  const [x, y] = toScreen(page.cross);
  if (x < 20) page.view.x += 40;
  if (y < 20) page.view.y += 40;
  if (x > box.width - 20) page.view.x -= 40;
  if (y > box.height - 20) page.view.y -= 40;
  draw();
}
