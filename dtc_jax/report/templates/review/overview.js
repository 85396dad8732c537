// The projections of the whole chest, with a mark at each lesion of the list.
const chest = document.querySelector("#overview canvas");
const pictures = content.overview.map(({ name, png, size: [width, height] }) => {
  const image = new Image();
  image.addEventListener("load", () => drawOverview());
  image.src = `data:image/png;base64,${png}`;
  return { name, image, width, height };
});
const MARKS = { accept: "#7ee0a1", reject: "#ffab91", "": OUTLINE };
const CHOSEN = "#ffcf66";
const GAP = 8; // CSS pixels between the pictures
const SMALL = 0.65; // CSS pixels a mm at which one picture is better than two
const REACH = 26; // CSS pixels from a mark at which a click still means it
const NUMBERED = 9; // marks that have their number on a small picture
let spots = []; // {lesion, x, y} of the marks as drawn, in CSS pixels

// Both pictures beside or below each other, whatever makes them larger; one alone if both are too small.
function arranged(room, height) {
  const add = (side) => pictures.reduce((sum, picture) => sum + picture[side], 0);
  const most = (side) => Math.max(...pictures.map((picture) => picture[side]));
  const beside = Math.min((room - GAP) / add("width"), height / most("height"));
  const below = Math.min(room / most("width"), (height - GAP) / add("height"));
  const isAlone = Math.max(beside, below) < SMALL;
  const shown = isAlone ? pictures.slice(0, 1) : pictures;
  const scale = isAlone ? Math.min(room / shown[0].width, height / shown[0].height) : Math.max(beside, below);
  const isBeside = !isAlone && beside >= below;
  const total = isAlone ? shown[0] : {
    width: isBeside ? add("width") : most("width"), height: isBeside ? most("height") : add("height"),
  };
  const gap = isAlone ? 0 : GAP;
  let x = (room - total.width * scale - (isBeside ? gap : 0)) / 2;
  let y = (height - total.height * scale - (isBeside ? 0 : gap)) / 2;
  return shown.map((picture) => {
    const place = { picture, x, y, scale };
    if (isBeside) x += picture.width * scale + gap;
    else y += picture.height * scale + gap;
    return place;
  });
}

function drawOverview() {
  if (!chest?.clientWidth) return;
  const pen = cleared(chest);
  spots = [];
  for (const { picture, x, y, scale } of arranged(chest.clientWidth, chest.clientHeight)) {
    const [width, height] = [picture.width * scale, picture.height * scale];
    pen.imageSmoothingQuality = "high";
    if (picture.image.complete) pen.drawImage(picture.image, x, y, width, height);
    label(pen, "R", x + 5, y + 5, "left", "top");
    label(pen, "L", x + width - 5, y + 5, "right", "top");
    // The first of the list are drawn last, above the others, and the chosen one above all.
    const listed = order.filter((lesion) => lesion.marks[picture.name]);
    const chosen = listed.filter((lesion) => lesion === state.lesion);
    for (const lesion of [...[...listed].reverse(), ...chosen]) {
      const [across, down] = lesion.marks[picture.name];
      const spot = { lesion, x: x + across * width, y: y + down * height };
      spots.push(spot);
      drawMark(pen, spot, scale >= 1 || order.indexOf(lesion) < NUMBERED);
    }
  }
  chest.setAttribute("aria-label", `The lungs with a mark at each of ${order.length} lesions; the list has them, too`);
}

function drawMark(pen, { lesion, x, y }, isNumbered) {
  const isChosen = lesion === state.lesion;
  const color = isChosen ? CHOSEN : MARKS[store.of(lesion.id).verdict];
  const ring = new Path2D();
  ring.arc(x, y, isChosen ? 8 : 4, 0, 2 * Math.PI);
  stroke(pen, ring, color, isChosen ? 2.5 : 1.5);
  if (isChosen || isNumbered) label(pen, lesion.id, x + (isChosen ? 12 : 7), y, "left", "middle", color, isChosen ? 14 : 11);
}

// The mark nearest to a pointer, if it is near at all; of equal ones the one drawn above.
function nearest({ clientX, clientY }) {
  const box = chest.getBoundingClientRect();
  const away = ({ x, y }) => Math.hypot(x - clientX + box.left, y - clientY + box.top);
  const best = spots.reduceRight((near, spot) => (!near || away(spot) < away(near) ? spot : near), null);
  return best && away(best) <= REACH ? best.lesion : null;
}

chest?.addEventListener("click", (event) => {
  const lesion = nearest(event);
  if (!lesion) return;
  if (state.main === "overview") setting("main", "axial");
  choose(lesion);
});
chest?.addEventListener("pointermove", (event) => { chest.style.cursor = nearest(event) ? "pointer" : "default"; });
