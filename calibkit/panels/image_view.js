// The page's side of image_view.py: stretch, split, blink, zoom and read-out without asking the kernel.

const BLINK_MS = 700;
const MODES = ["before", "after", "split", "side by side", "difference"];
const KEYS = {
  "1 … 5": "before, after, split, side by side, difference",
  b: "swap before and after",
  "[ ]": "move the divider",
  "+ −": "zoom",
  arrows: "pan",
  0: "the whole frame",
  p: "one screen pixel for one sensor pixel",
  a: "automatic stretch",
  c: "mark what is clipped",
};

export function attach(view) {
  const { Bokeh, models, views, element, settings, facts } = view;
  const { ndarray } = Bokeh.require("core/util/ndarray");
  const two = facts.layers.length === 2;
  const [before, after] = facts.layers.map(({ name }) => name);
  const palettes = Object.fromEntries(
    Object.entries(facts.palettes).map(([name, rgb]) => [name, Uint32Array.from(rgb, (c) => 0xff000000 | c)]),
  );
  const { picture, picture2 } = models;
  const pictureView = views.find_one(picture);
  let layers = []; // of each image: codes and values of its planes, colour tables
  let grid = { rows: 0, columns: 0, extent: [0, 1, 0, 1], block: 1 };
  let blinking = null;
  let swapped = null; // what a blink shows for the moment, instead of the mode

  const column = (source, name) => (source.data.get ? source.data.get(name) : source.data[name]) ?? [];
  const possible = (name) => name !== "difference" || facts.difference !== null;
  const mode = () => swapped ?? (two && possible(settings.mode) ? settings.mode : "before");

  /** Numbers of the levels that are seen and can be changed now. */
  function shownLevels() {
    if (mode() === "difference") return [2];
    return !two || settings.shared ? [0] : [0, 1];
  }

  const region = makeRegion({ view, plots: [picture, picture2].filter(Boolean), pictureView, moved: () => mode() === "split" && refresh() });
  const levels = makeLevels({ view, shown: shownLevels, changed: refresh });

  // ---- pixels ------------------------------------------------------------------------------------------

  function takeViews() {
    const all = column(models.views, "codes");
    if (!all.length) return;
    const [x0, x1, y0, y1, block] = ["x0", "x1", "y0", "y1", "block"].map((name) => column(models.views, name)[0]);
    const [planes, rows, columns] = all[0].shape;
    grid = { rows, columns, extent: [x0, x1, y0, y1], block };
    layers = Array.from(all, (array, n) => {
      const codes = new Uint16Array(array.buffer, array.byteOffset, array.length);
      const scales = column(models.views, "scales")[n];
      const each = Array.from({ length: planes }, (_, p) => p);
      return {
        codes: each.map((p) => codes.subarray(p * rows * columns, (p + 1) * rows * columns)),
        values: each.map((p) => valuesOf(scales[p])),
      };
    });
    for (const source of [models.pixels, models.pixels2]) if (source) source.painted = null;
  }

  /** A layer with the colour tables that its settings ask for. */
  function coloured(n) {
    const layer = layers[n];
    const key = JSON.stringify([levels.of(n), settings.curve, settings.palette, settings.mark_clipped]);
    if (layer.key !== key) {
      layer.key = key;
      const single = layer.codes.length === 1;
      const table = facts.curve_table ?? null; // of a curve that is not a formula of the midtone
      layer.tables = single
        ? [coloursOf(layer.values[0], levels.of(n), settings.curve, palettes[settings.palette], settings.mark_clipped, table)]
        : layer.values.map((values, p) => shadesOf(values, levels.of(n), settings.curve, facts.layers[n].balance[p], table));
    }
    return layer;
  }

  /** The column of the buffer at which after begins. */
  function dividedAt() {
    const { columns, extent: [x0, x1] } = grid;
    const place = Math.round(((region.at(settings.split) - x0) / (x1 - x0)) * columns);
    return Math.max(0, Math.min(columns, place));
  }

  function put(source, fill) {
    const { rows, columns, extent } = grid;
    const fresh = !source.painted;
    source.painted ??= new Uint32Array(rows * columns);
    fill(source.painted, columns);
    if (!fresh) return source.change.emit(); // the same array, so nothing is copied
    const image = ndarray(source.painted.buffer, { dtype: "uint32", shape: [rows, columns] });
    const [x0, x1, y0, y1] = extent;
    source.setv({ data: { image: [image], x: [x0], y: [y0], dw: [x1 - x0], dh: [y1 - y0] } }, { sync: false });
  }

  function paint() {
    if (!layers.length || !grid.rows) return;
    const whole = (n) => (out, width) => paintLayer(out, width, 0, width, coloured(n));
    const ways = {
      before: whole(0),
      "side by side": whole(0),
      after: whole(1),
      split: (out, width) => {
        const edge = dividedAt();
        paintLayer(out, width, 0, edge, coloured(0));
        paintLayer(out, width, edge, width, coloured(1));
      },
      difference: (out) => paintDifference(out, layers[0], layers[1], levels.of(2), palettes[facts.diverging]),
    };
    put(models.pixels, ways[mode()]);
    if (mode() === "side by side") put(models.pixels2, whole(1));
  }

  // ---- values: under the pointer, of the pixel that was clicked, in the pixels --------------------------------

  const here = make("div", { class: "ck-readout" });
  const exact = make("div", { class: "ck-readout", "aria-live": "polite" });
  let pointer = null;

  function valuesAt(n, { x, y }) {
    const { rows, columns, block, extent: [x0, x1, y0, y1] } = grid;
    const i = Math.floor(((x - x0) / (x1 - x0)) * columns);
    const j = Math.floor(((y - y0) / (y1 - y0)) * rows);
    if (!layers[n] || i < 0 || j < 0 || i >= columns || j >= rows) return null;
    return layers[n].codes.map((plane, p) => layers[n].values[p][plane[j * columns + i]]);
  }

  function readOut() {
    const found = pointer ? facts.layers.map((_, n) => valuesAt(n, pointer)) : [null];
    if (!found[0]) return (here.textContent = "");
    const say = (name, numbers, units) => [two && name, numbers.join(" / "), units].filter(Boolean).join(" ");
    const parts = facts.layers.map(({ name, units }, n) => say(name, found[n].map(textOf), units));
    if (facts.difference) {
      const differences = found[1].map((value, p) => textOf(value - found[0][p]));
      parts.push(say("difference", differences, facts.difference.units));
    }
    const { block } = grid;
    const kind = settings.reduce === "max" ? "largest" : "mean";
    parts.push(block > 1 ? `(${kind} of ${block} × ${block} pixels)` : "");
    here.textContent = [`x ${Math.round(pointer.x)}  y ${Math.round(pointer.y)}`, ...parts].join("   ");
  }

  function showNumbers() {
    const [x, y, size] = ["x", "y", "size"].map((name) => Array.from(column(models.numbers, name)));
    const texts = [0, 1, 2].map((n) => Array.from(column(models.numbers, `text${n}`)));
    const edge = region.at(settings.split ?? 0);
    const ways = { after: () => 1, difference: () => 2, split: (i) => (x[i] < edge ? 0 : 1) };
    const which = ways[mode()] ?? (() => 0);
    const write = (source, text) => {
      const key = JSON.stringify([x, y, text]);
      if (!source || source.key === key) return;
      source.key = key;
      source.setv({ data: { x, y, size, text } }, { sync: false });
    };
    write(models.labels, x.map((_, i) => texts[which(i)][i] ?? ""));
    write(models.labels2, texts[1]);
    const far = region.scale() < 12; // where the outline of one pixel is too small to be seen
    for (const cross of [models.cross, models.cross2]) {
      if (cross && cross.visible !== far) cross.setv({ visible: far }, { sync: false });
    }
  }

  // ---- divider ---------------------------------------------------------------------------------------------

  function moveDivider(split) {
    view.set({ split: Math.max(0, Math.min(1, split)) });
    refresh();
  }

  const divider = two && handle("Divider between before and after", "divider", { element, plotView: pictureView, moved: moveDivider });

  function placeDivider() {
    if (!two) return;
    const { columns, extent: [x0, x1] } = grid;
    // Where it is seen: on the edge of a column of the picture, as long as that is near.
    const edge = columns ? region.fractionOf(x0 + ((x1 - x0) * dividedAt()) / columns) : settings.split;
    divider.place(Math.abs(edge - settings.split) * columns < 1 ? edge : settings.split, mode() === "split");
  }

  // ---- controls --------------------------------------------------------------------------------------------

  const change = (name) => (value) => {
    view.set({ [name]: value });
    refresh();
  };

  function setMode(value) {
    if (!possible(value)) return;
    stopBlinking();
    change("mode")(value);
  }
  const swap = () => setMode(mode() === "before" ? "after" : "before");

  function stopBlinking() {
    clearInterval(blinking);
    blinking = swapped = null;
  }

  function toggleBlinking() {
    const next = () => {
      swapped = mode() === "before" ? "after" : "before";
      refresh();
    };
    if (blinking) {
      stopBlinking();
      refresh();
    } else {
      blinking = setInterval(next, BLINK_MS);
      next();
    }
  }

  const titles = [`${before} alone (1)`, `${after} alone (2)`, "left of the divider before, right of it after (3)",
    "both, with one zoom (4)", facts.no_difference || "after − before (5)"];
  const ui = {
    mode: two && modes("What is shown", MODES.map((name, i) => [name, titles[i]]), setMode),
    blink: two && button("blink", "before and after in turn; b swaps them once", toggleBlinking),
    channel: choice("channel", "which pixels of the colour grid are shown", facts.channels, change("channel")),
    curve: choice("stretch", "how brightness rises from black to white", facts.curves, change("curve")),
    auto: button("auto", "automatic stretch (a)", levels.reset),
    shared: two && toggle("one stretch for both", "the same black and white for before and after", change("shared")),
    mark: toggle("mark clipped", "blue: cut off at black; orange: cut off at white (c)", change("mark_clipped")),
    palette: choice("colours", "colour map", facts.maps, change("palette")),
    reduce: choice("zoomed out", "what stands for a block of pixels: their mean, or the largest, so that single hot pixels stay seen",
      ["mean", "max"], change("reduce")),
    fit: button("whole frame", "show the whole frame (0)", region.fit),
  };
  const help = Object.entries(KEYS).map(([key, what]) => `${key}: ${what}`).join("\n");
  const bar = make("div", { class: "ck-bar", role: "toolbar", "aria-label": "View" },
    ...Object.values(ui).filter(Boolean).map((control) => control.element),
    make("span", { class: "ck-help", tabindex: 0, title: help, "aria-label": help }, "keys"));

  function showControls() {
    if (two) {
      ui.mode.update(mode(), MODES.filter((name) => !possible(name)));
      ui.blink.update(blinking !== null);
      ui.shared.update(settings.shared);
      const both = mode() === "side by side";
      if (picture2.visible !== both) picture2.setv({ visible: both }, { sync: false });
    }
    const difference = mode() === "difference";
    for (const name of ["channel", "reduce"]) ui[name].update(settings[name]);
    ui.curve.update(settings.curve, { disabled: difference });
    ui.palette.update(settings.palette, { disabled: difference || layers[0]?.codes.length === 3 });
    ui.mark.update(settings.mark_clipped);
    const named = facts.layers.map(({ name, units }) => (units ? `${name} [${units}]` : name));
    const text = { after: named[1], split: named.join("  │  "), difference: `${after} − ${before} [${facts.difference?.units}]` };
    const write = (plot, title) => plot && plot.title.text !== title && plot.title.setv({ text: title }, { sync: false });
    write(picture, text[mode()] ?? named[0]);
    write(picture2, named[1]);
  }

  const keys = {
    "+": () => region.zoom(1 / 1.5), "=": () => region.zoom(1 / 1.5), "-": () => region.zoom(1.5),
    0: region.fit, p: region.natural, a: levels.reset, c: () => change("mark_clipped")(!settings.mark_clipped),
    ArrowLeft: () => region.pan(-0.1, 0), ArrowRight: () => region.pan(0.1, 0),
    ArrowUp: () => region.pan(0, -0.1), ArrowDown: () => region.pan(0, 0.1),
  };
  if (two) {
    Object.assign(keys, { b: swap, "[": () => moveDivider(settings.split - 0.02), "]": () => moveDivider(settings.split + 0.02) });
    MODES.forEach((name, i) => (keys[i + 1] = () => setMode(name)));
  }
  element.tabIndex = 0;
  element.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    const action = keys[event.key];
    if (!action) return;
    event.preventDefault();
    event.stopPropagation();
    action();
  });

  // ---- everything together ---------------------------------------------------------------------------------

  let drawing = false;
  let later = null;
  function refresh() {
    if (drawing) return;
    drawing = true;
    requestAnimationFrame(() => {
      drawing = false;
      if (!element.getClientRects().length) {
        clearTimeout(later);
        later = setTimeout(refresh, 100); // a cell off the page, as JupyterLab puts them: nothing on it can be measured
        return;
      }
      try {
        paint();
        showControls();
        levels.place();
        showNumbers();
        placeDivider();
        readOut();
        exact.textContent = facts.picked || "Click a pixel for its exact values.";
      } catch (error) {
        view.fail(error);
      }
    });
  }

  const [top, bottom] = view.document.roots().map((root) => views.find_one(root).el);
  element.prepend(bar);
  top.after(here, exact);
  bottom.before(levels.element);

  models.views.change.connect(() => {
    takeViews();
    refresh();
  });
  models.numbers.change.connect(refresh);
  for (const plot of [picture, picture2].filter(Boolean)) {
    plot.on_event("mousemove", ({ x, y }) => {
      pointer = { x, y };
      readOut();
    });
    plot.on_event("mouseleave", () => {
      pointer = null;
      readOut();
    });
    plot.on_event("reset", region.fit);
    plot.on_event("tap", ({ x, y }) => view.send("pick", { x, y }, { every: true }));
  }
  view.on("settings", (changes) => {
    if ("region" in changes) changes.region ? region.show(changes.region) : region.fit();
    refresh();
  });
  view.on("facts", () => {
    for (const layer of layers) layer.key = null;
    refresh();
  });
  const observer = new ResizeObserver(refresh); // lines over plots have to follow them
  observer.observe(element);
  for (const plot of levels.plots) observer.observe(plot.el);

  takeViews();
  region.resized();
  refresh();
  return () => {
    drawing = true; // nothing more
    clearTimeout(later);
    stopBlinking();
    region.close();
    observer.disconnect();
  };
}
