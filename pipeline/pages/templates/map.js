"use strict";
// The before/after map of an evidence page. It draws what the page carries and asks nothing of any other computer.
// Nothing from the data is ever used as markup: words go into the page as text alone.
(() => {
  const map = document.getElementById("map");
  const data = JSON.parse(document.getElementById("map-data").textContent);
  const canvas = map.querySelector("canvas");
  const told = document.getElementById("map-told");
  const slider = document.getElementById("blend");
  const ink = canvas.getContext("2d");
  const unit = data.unit;
  const [west, south, east, north] = data.extent;
  const LOOKS = { // beside its colour each status has a line and a mark of its own
    moved: { width: 1.7, dash: [], mark: "circle" },
    unmoved: { width: 1.2, dash: [2, 2.5], mark: "ring" },
    fixed: { width: 2.4, dash: [9, 3], mark: "square" },
    open: { width: 2.4, dash: [], mark: "triangle" },
  };
  for (const [status, colour] of Object.entries(data.statuses)) LOOKS[status].colour = colour;
  const STATUSES = Object.keys(data.statuses);
  const OLD = "#5d6268", DARK = "#1f2328";

  const walk = (steps) => {
    const places = new Float64Array(steps.length);
    for (let i = 0, e = 0, n = 0; i < steps.length; i += 2) {
      e += steps[i]; n += steps[i + 1];
      places[i] = e * unit; places[i + 1] = n * unit;
    }
    return places;
  };
  const along = (parts, step) => parts.map((part) => part.map((value, i) => value + step[i % 2] * unit));
  const boundsOf = (parts) => {
    const box = [Infinity, Infinity, -Infinity, -Infinity];
    for (const part of parts) for (let i = 0; i < part.length; i += 2) {
      box[0] = Math.min(box[0], part[i]); box[2] = Math.max(box[2], part[i]);
      box[1] = Math.min(box[1], part[i + 1]); box[3] = Math.max(box[3], part[i + 1]);
    }
    return box;
  };
  const features = data.features.map(([row, status, reference, shift, error, kind, old, now]) => {
    const before = old.map(walk);
    const after = now === 0 ? before : typeof now[0] === "number" ? along(before, now) : now.map(walk);
    const a = boundsOf(before), b = boundsOf(after);
    const box = [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[2], b[2]), Math.max(a[3], b[3])];
    return { row, status: STATUSES[status], reference, shift, error, kind, before, after, box, stays: now === 0 };
  });
  // Open and fixed ones last, so that they lie on top.
  const order = ["unmoved", "moved", "fixed", "open"];
  const painted = [...features].sort((p, q) => order.indexOf(p.status) - order.indexOf(q.status));
  const byRow = new Map(features.map((feature) => [feature.row, feature]));
  const lines = (list) => list.map((steps) => ({ part: walk(steps), box: boundsOf([walk(steps)]) }));
  const breaks = lines(data.breaks), ground = lines(data.ground);
  const arrows = data.arrows.map(([e, n, de, dn]) => [e * unit, n * unit, de / 100, dn / 100]);
  const longest = Math.max(0.5, ...arrows.map(([, , de, dn]) => Math.hypot(de, dn)));

  let width = 0, height = 0, scale = 1, centre = [0, 0], chosen = null, whole = 1;
  const shown = (box) => {
    const w = width / 2 / scale, h = height / 2 / scale;
    return box[0] <= centre[0] + w && box[2] >= centre[0] - w && box[1] <= centre[1] + h && box[3] >= centre[1] - h;
  };
  const px = (e) => width / 2 + (e - centre[0]) * scale;
  const py = (n) => height / 2 - (n - centre[1]) * scale;

  const trace = (parts, closed) => {
    ink.beginPath();
    for (const part of parts) {
      for (let i = 0; i < part.length; i += 2) ink[i ? "lineTo" : "moveTo"](px(part[i]), py(part[i + 1]));
      if (closed) ink.closePath();
    }
  };
  const hatches = {};
  const hatch = (status) => { // a second sign beside colour: open areas are hatched, fixed ones dotted
    if (hatches[status]) return hatches[status];
    const tile = document.createElement("canvas"), pen = tile.getContext("2d");
    tile.width = tile.height = 8;
    pen.strokeStyle = pen.fillStyle = LOOKS[status].colour;
    pen.globalAlpha = 0.55;
    if (status === "open") {
      pen.beginPath(); pen.moveTo(-2, 10); pen.lineTo(10, -2); pen.moveTo(-2, 2); pen.lineTo(2, -2);
      pen.moveTo(6, 10); pen.lineTo(10, 6); pen.stroke();
    } else pen.fillRect(3, 3, 2, 2);
    return (hatches[status] = ink.createPattern(tile, "repeat"));
  };
  const mark = (x, y, look, size, hollow) => {
    ink.beginPath();
    if (look.mark === "square") ink.rect(x - size, y - size, 2 * size, 2 * size);
    else if (look.mark === "triangle") {
      ink.moveTo(x, y - 1.3 * size); ink.lineTo(x + 1.2 * size, y + size); ink.lineTo(x - 1.2 * size, y + size); ink.closePath();
    } else ink.arc(x, y, size, 0, 7);
    ink.setLineDash([]);
    if (hollow || look.mark === "ring") { ink.lineWidth = 1.3; ink.stroke(); } else ink.fill();
  };
  const arrow = (x, y, dx, dy, head) => {
    const length = Math.hypot(dx, dy) || 1, ux = dx / length, uy = dy / length, tip = [x + dx, y + dy];
    ink.beginPath(); ink.moveTo(x, y); ink.lineTo(...tip); ink.stroke();
    ink.beginPath(); ink.moveTo(...tip);
    ink.lineTo(tip[0] - head * ux + 0.45 * head * uy, tip[1] - head * uy - 0.45 * head * ux);
    ink.lineTo(tip[0] - head * ux - 0.45 * head * uy, tip[1] - head * uy + 0.45 * head * ux);
    ink.closePath(); ink.fill();
  };
  const middle = (parts) => {
    const box = boundsOf(parts);
    return [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
  };
  const isOn = (name) => map.querySelector(`[data-show="${name}"]`)?.checked ?? true;

  const paint = (feature, time, strength) => {
    if (strength <= 0) return;
    const look = LOOKS[feature.status], parts = feature[time], isOld = time === "before" && !feature.stays;
    ink.globalAlpha = strength;
    ink.strokeStyle = ink.fillStyle = isOld ? OLD : look.colour;
    const size = (feature.box[2] - feature.box[0] + feature.box[3] - feature.box[1]) * scale;
    const heavy = feature === chosen ? 1.6 : 1;
    if (feature.kind === 0) {
      for (const part of parts) for (let i = 0; i < part.length; i += 2) mark(px(part[i]), py(part[i + 1]), look, (scale > 0.6 ? 4 : 2.6) * heavy, isOld);
      return;
    }
    if (size < 7) { const [e, n] = middle(parts); mark(px(e), py(n), look, 2.4 * heavy, isOld); return; }
    trace(parts, feature.kind === 2);
    if (feature.kind === 2 && !isOld && (feature.status === "open" || feature.status === "fixed")) {
      ink.fillStyle = hatch(feature.status); ink.fill("evenodd");
    }
    ink.lineWidth = (isOld ? 1.3 : look.width) * heavy;
    ink.setLineDash(isOld ? [4, 3] : look.dash);
    ink.stroke();
  };
  const furthest = (feature) => { // the two ends of the longest move of a vertex, else of the middles
    let best = [middle(feature.before), middle(feature.after)], length = -1;
    feature.before.forEach((part, k) => {
      const other = feature.after[k];
      if (!other || other.length !== part.length) return;
      for (let i = 0; i < part.length; i += 2) {
        const far = Math.hypot(other[i] - part[i], other[i + 1] - part[i + 1]);
        if (far > length + 1e-6) { length = far; best = [[part[i], part[i + 1]], [other[i], other[i + 1]]]; }
      }
    });
    return best;
  };
  const bar = () => {
    const wish = width / 5 / scale, power = 10 ** Math.floor(Math.log10(wish));
    const metres = [5, 2, 1].find((step) => step * power <= wish) * power, long = metres * scale;
    ink.globalAlpha = 0.9; ink.fillStyle = "#fff"; ink.fillRect(8, height - 36, long + 20, 28);
    ink.globalAlpha = 1; ink.fillStyle = DARK; ink.fillRect(18, height - 17, long, 3);
    ink.font = "12px sans-serif"; ink.textAlign = "left";
    ink.fillText(metres >= 1000 ? `${metres / 1000} km` : `${metres} m`, 18, height - 21);
  };
  const draw = () => {
    const blend = slider.value / 100;
    ink.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    ink.globalAlpha = 1; ink.fillStyle = "#fff"; ink.fillRect(0, 0, width, height);
    if (isOn("ground") && scale > 0.12) {
      ink.strokeStyle = "#98a0a8"; ink.lineWidth = 0.8; ink.setLineDash([]);
      for (const line of ground) if (shown(line.box)) { trace([line.part], false); ink.stroke(); }
    }
    if (isOn("breaks")) {
      ink.strokeStyle = DARK; ink.lineWidth = 1.6; ink.setLineDash([12, 3, 2, 3]);
      for (const line of breaks) if (shown(line.box)) { trace([line.part], false); ink.stroke(); }
      ink.setLineDash([]);
    }
    if (isOn("arrows")) { // over the map: enlarged, so that metres show in kilometres
      const times = Math.max(1, 30 / (longest * scale));
      ink.globalAlpha = scale > 1.5 ? 0.35 : 0.55; ink.strokeStyle = ink.fillStyle = "#7d4e9e"; ink.lineWidth = 1.1;
      for (const [e, n, de, dn] of arrows)
        if (shown([e, n, e, n])) arrow(px(e), py(n), de * scale * times, -dn * scale * times, 5);
    }
    const seen = painted.filter((feature) => shown(feature.box));
    for (const feature of seen) if (!feature.stays) paint(feature, "before", Math.min(1, 2 - 2 * blend) * 0.85);
    for (const feature of seen) paint(feature, "after", feature.stays ? 1 : Math.min(1, 2 * blend));
    ink.globalAlpha = 1;
    if (isOn("arrows")) {
      ink.strokeStyle = ink.fillStyle = DARK; ink.lineWidth = 1.2; ink.setLineDash([]);
      for (const feature of seen) {
        if (feature.stays || (feature.shift || 200) / 100 * scale < 9) continue;
        const [from, to] = furthest(feature);
        arrow(px(from[0]), py(from[1]), (to[0] - from[0]) * scale, (from[1] - to[1]) * scale, 7);
      }
    }
    if (chosen) {
      const box = chosen.box;
      ink.strokeStyle = DARK; ink.lineWidth = 2; ink.setLineDash([]);
      ink.strokeRect(px(box[0]) - 9, py(box[3]) - 9, (box[2] - box[0]) * scale + 18, (box[3] - box[1]) * scale + 18);
    }
    bar();
  };
  let waiting = false;
  const redraw = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; draw(); });
  };

  const fit = (box, most) => {
    centre = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
    scale = Math.min(most, width / Math.max(box[2] - box[0], 1), height / Math.max(box[3] - box[1], 1));
    redraw();
  };
  const fitAll = () => { fit([0, 0, east - west, north - south], 1e9); whole = scale; };
  const zoom = (times, x = width / 2, y = height / 2) => {
    const e = centre[0] + (x - width / 2) / scale, n = centre[1] - (y - height / 2) / scale;
    const next = Math.min(80, Math.max(whole / 2, scale * times));
    centre = [e - (x - width / 2) / next, n + (y - height / 2) / next];
    scale = next;
    redraw();
  };
  const pan = (x, y) => { centre = [centre[0] - x / scale, centre[1] + y / scale]; redraw(); };

  const metres = (centimetres) => (centimetres === null ? "–" : (centimetres / 100).toFixed(2) + " m");
  const tell = (feature) => {
    told.replaceChildren();
    const head = document.createElement("b"), facts = document.createElement("span");
    head.textContent = feature.reference || `row ${feature.row}`;
    facts.textContent = ` – ${feature.status}, ${feature.status === "open" ? "shift by the field" : "shift"} ${metres(feature.shift)}, standard error ${metres(feature.error)}. `;
    told.append(head, facts);
    const story = document.getElementById(`story-${feature.row}`);
    if (story) {
      const why = document.createElement("span");
      why.textContent = [...story.querySelectorAll(".why, .decided")].map((cell) => cell.textContent.trim().replace(/\s+/g, " ")).join(" ");
      told.append(why);
    }
  };
  const choose = (feature, go) => {
    chosen = feature;
    if (!feature) { told.textContent = "Nothing is drawn there."; redraw(); return; }
    if (go) {
      const box = feature.box, room = Math.max(box[2] - box[0], box[3] - box[1], 25) * 0.5;
      fit([box[0] - room, box[1] - room, box[2] + room, box[3] + room], 12);
    }
    tell(feature); redraw();
  };
  const step = (by) => {
    const rows = data.reviewed.filter((row) => byRow.has(row));
    if (!rows.length) { told.textContent = "No feature of this layer was given to an officer."; return; }
    const now = chosen ? rows.indexOf(chosen.row) : -1;
    const next = now < 0 ? (by > 0 ? 0 : rows.length - 1) : (now + by + rows.length) % rows.length;
    choose(byRow.get(rows[next]), true);
  };
  const distance = (feature, x, y) => { // to the nearest edge, in pixels; halved inside an area
    let best = Infinity, inside = false;
    for (const parts of feature.stays ? [feature.after] : [feature.before, feature.after]) for (const part of parts) {
      const end = part.length - 2;
      for (let i = 0; i <= end; i += 2) {
        const j = i < end ? i + 2 : feature.kind === 2 ? 0 : i;
        const ax = px(part[i]), ay = py(part[i + 1]), bx = px(part[j]), by = py(part[j + 1]);
        const square = (bx - ax) ** 2 + (by - ay) ** 2;
        const share = square ? Math.max(0, Math.min(1, ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / square)) : 0;
        best = Math.min(best, Math.hypot(x - ax - share * (bx - ax), y - ay - share * (by - ay)));
        if (feature.kind === 2 && (ay > y) !== (by > y) && x < ax + ((y - ay) / (by - ay)) * (bx - ax)) inside = !inside;
      }
    }
    return inside ? Math.min(best, 6) : best;
  };
  const pick = (x, y) => {
    let best = null, least = 9;
    for (const feature of painted) {
      const box = feature.box;
      if (px(box[0]) > x + 9 || px(box[2]) < x - 9 || py(box[1]) < y - 9 || py(box[3]) > y + 9) continue;
      const far = distance(feature, x, y);
      if (far <= least) { least = far; best = feature; }
    }
    choose(best, false);
  };

  const held = new Map();
  let dragged = 0;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId); held.set(event.pointerId, [event.offsetX, event.offsetY]); dragged = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const from = held.get(event.pointerId);
    if (!from) return;
    const to = [event.offsetX, event.offsetY];
    dragged += Math.hypot(to[0] - from[0], to[1] - from[1]);
    if (held.size === 1) pan(to[0] - from[0], to[1] - from[1]);
    else { // two fingers: zoom about the other one
      const other = [...held].find(([id]) => id !== event.pointerId)[1];
      const was = Math.hypot(from[0] - other[0], from[1] - other[1]), is = Math.hypot(to[0] - other[0], to[1] - other[1]);
      if (was > 0) zoom(is / was, ...other);
    }
    held.set(event.pointerId, to);
  });
  canvas.addEventListener("pointerup", (event) => {
    held.delete(event.pointerId);
    if (dragged < 5) pick(event.offsetX, event.offsetY);
  });
  canvas.addEventListener("pointercancel", (event) => held.delete(event.pointerId));
  canvas.addEventListener("wheel", (event) => {
    if (document.activeElement !== canvas && !event.ctrlKey) return; // the page scrolls until the map is clicked
    event.preventDefault();
    zoom(2 ** (-event.deltaY / 300), event.offsetX, event.offsetY);
  }, { passive: false });
  const deeds = {
    in: () => zoom(1.6), out: () => zoom(1 / 1.6), whole: fitAll, next: () => step(1), previous: () => step(-1),
    before: () => { slider.value = 0; redraw(); }, both: () => { slider.value = 50; redraw(); }, after: () => { slider.value = 100; redraw(); },
  };
  const keys = {
    ArrowLeft: () => pan(60, 0), ArrowRight: () => pan(-60, 0), ArrowUp: () => pan(0, 60), ArrowDown: () => pan(0, -60),
    "+": deeds.in, "=": deeds.in, "-": deeds.out, 0: deeds.whole, Home: deeds.whole, n: deeds.next, p: deeds.previous,
    b: deeds.before, o: deeds.both, a: deeds.after,
  };
  canvas.addEventListener("keydown", (event) => {
    const deed = event.ctrlKey || event.metaKey || event.altKey ? null : keys[event.key];
    if (deed) { event.preventDefault(); deed(); }
  });
  for (const button of map.querySelectorAll("[data-do]")) button.addEventListener("click", deeds[button.dataset.do]);
  for (const box of map.querySelectorAll("[data-show]")) box.addEventListener("change", redraw);
  slider.addEventListener("input", redraw);
  for (const button of document.querySelectorAll("button[data-row]")) {
    const feature = byRow.get(Number(button.dataset.row));
    if (!feature) { button.disabled = true; continue; }
    button.addEventListener("click", () => { choose(feature, true); canvas.focus({ preventScroll: true }); map.scrollIntoView({ block: "start" }); });
  }

  const filter = document.getElementById("filter"), wanted = document.getElementById("filter-status"), found = document.getElementById("filter-found");
  const stories = [...document.querySelectorAll("#stories tbody tr")];
  const sift = () => {
    const words = filter.value.trim().toLowerCase();
    let count = 0;
    for (const story of stories) {
      const isWanted = (!wanted.value || story.dataset.status === wanted.value) && story.textContent.toLowerCase().includes(words);
      story.hidden = !isWanted;
      count += isWanted;
    }
    found.textContent = `${count} of ${stories.length} shown`;
  };
  if (filter) { filter.addEventListener("input", sift); wanted.addEventListener("change", sift); }

  document.documentElement.classList.add("scripted");
  let first = true;
  new ResizeObserver(() => {
    const box = canvas.getBoundingClientRect();
    if (!box.width) return;
    width = box.width; height = box.height;
    canvas.width = Math.round(width * devicePixelRatio); canvas.height = Math.round(height * devicePixelRatio);
    if (first) { first = false; fitAll(); } else redraw();
  }).observe(canvas);
})();
