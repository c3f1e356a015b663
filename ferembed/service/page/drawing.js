// Boxes on pictures, bars, and the timeline. Colours are told apart by people who see few of them.
import { nameOf, percent } from "/page/text.js";

const COLOURS = {
  angry: "#d1495b", disgust: "#6a9a3f", fear: "#8a6fd1", happy: "#e0a11b",
  sad: "#3a86c8", surprise: "#e2762f", neutral: "#8a93a0", contempt: "#a5673f",
};

export const colourOf = (label) => COLOURS[label] ?? "#35a99c";

export const largest = (faces) => {
  const area = ({ box: [x1, y1, x2, y2] }) => (x2 - x1) * (y2 - y1);
  return faces.reduce((best, face) => (best && area(best) >= area(face) ? best : face), null);
};

/**
 * A box and a label for each face, `scale` times as large as in the picture. Labels can be read
 * where the page shows the canvas smaller than it is. Numbers are those of the table.
 */
export function drawFaces(context, faces, scale, isNumbered = false) {
  const { width, height, clientWidth } = context.canvas;
  const smallest = clientWidth ? (12 * width) / clientWidth : 12;
  const letters = Math.round(Math.max(smallest, Math.min(width, height) / 24));
  context.font = `600 ${letters}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  for (const [i, face] of faces.entries()) {
    const [x1, y1, x2, y2] = face.box.map((value) => value * scale);
    for (const [colour, wide] of [["#000000", letters / 3], [colourOf(face.label), letters / 6]]) {
      context.strokeStyle = colour;
      context.lineWidth = Math.max(2, wide);
      context.strokeRect(x1, y1, x2 - x1, y2 - y1);
    }
    const number = isNumbered && faces.length > 1 ? `${i + 1}: ` : "";
    const text = `${number}${nameOf(face.label)} ${percent(face.probabilities[face.label])}`;
    const wide = context.measureText(text).width + letters;
    const left = Math.max(0, Math.min(x1, width - wide));
    const top = y1 > 1.6 * letters ? y1 - 1.6 * letters : Math.min(y2, height - 1.6 * letters);
    context.fillStyle = "rgba(10, 14, 20, 0.85)";
    context.fillRect(left, top, wide, 1.6 * letters);
    context.fillStyle = "#ffffff";
    context.fillText(text, left + letters / 2, top + 0.8 * letters);
  }
}

/** A bar per expression; `probabilities` null leaves them empty. */
export function drawBars(list, labels, probabilities) {
  if (list.children.length !== labels.length) {
    list.replaceChildren(...labels.map(() => {
      const row = document.createElement("li");
      row.innerHTML = '<span class="name"></span><span class="track" aria-hidden="true">'
        + '<span class="fill"></span></span><span class="share"></span>';
      return row;
    }));
  }
  const best = probabilities && labels.reduce((a, b) => (probabilities[a] >= probabilities[b] ? a : b));
  labels.forEach((label, i) => {
    const row = list.children[i];
    const share = probabilities?.[label] ?? 0;
    row.className = label === best ? "best" : "";
    row.querySelector(".name").textContent = nameOf(label);
    row.querySelector(".fill").style.width = `${100 * share}%`;
    row.querySelector(".fill").style.background = colourOf(label);
    row.querySelector(".share").textContent = probabilities ? percent(share) : "–";
  });
}

/** The shares of the expressions over the last seconds, stacked; gaps where nobody was seen. */
export function drawTimeline(canvas, labels, points, now, seconds) {
  const ratio = devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * ratio);
  const height = Math.round(canvas.clientHeight * ratio);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, width, height);
  const across = (time) => Math.round(width * (1 - (now - time) / seconds));
  for (let i = 0; i < points.length; i++) {
    const until = points[i + 1]?.time ?? now;
    const left = across(points[i].time);
    const right = across(Math.min(until, points[i].time + 1));
    let top = 0;
    for (const label of labels) {
      const high = (points[i].probabilities[label] ?? 0) * height;
      context.fillStyle = colourOf(label);
      context.fillRect(left, top, right - left, high);
      top += high;
    }
  }
}
