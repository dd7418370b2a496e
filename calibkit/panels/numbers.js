// The page's side of numbers.py: what is pointed at in the table is marked in the picture, and the other way round.

export function attach(view) {
  const { Bokeh, models, views, settings, facts, element } = view;
  const { table, picture, cells, mark } = models;
  const line = document.createElement("div");
  line.className = "ck-readout";
  line.setAttribute("aria-live", "polite");
  element.prepend(line);

  const column = (source, name) => Array.from((source.data.get ? source.data.get(name) : source.data[name]) ?? []);
  const ruler = document.createElement("canvas").getContext("2d");
  ruler.font = `100px ${models.text.glyph.text_font.value}`;
  /** Width of a text in parts of its font size, in the font that this page has. */
  const widthOf = (text) => Math.max(0.5, ruler.measureText(text).width / 100);
  let place = null;

  function tell() {
    const { x, y, unit, top, left, rows, columns } = { ...place, ...facts };
    const row = Math.round(y) - top;
    const col = Math.round(x) - left;
    const inside = place && row >= 0 && row < rows && col >= 0 && col < columns;
    line.textContent = inside
      ? `row ${top + row}, column ${left + col}: ${column(cells, "text")[row * columns + col]} ${unit}`.trimEnd()
      : "Point at a number or at a pixel.";
    const [px, py] = inside ? [[left + col], [top + row]] : [[], []];
    mark.setv({ data: new Map([["x", px], ["y", py]]) }, { sync: false });
    return inside ? [top + row, left + col] : null;
  }

  function paint() {
    const shade = column(cells, "shade");
    const fill = shade.map((s) => (settings.shades ? `rgb(${s},${s},${s})` : "white"));
    const ink = shade.map((s) => (settings.shades && s < 128 ? "white" : "black"));
    const text = column(cells, "text");
    const width = (table.inner_width ?? 600) / facts.columns;
    const height = (table.inner_height ?? 600) / facts.rows;
    // Each number as large as its pixel lets it be: the few of a star, which have more digits, are smaller than the rest.
    const size = text.map((t) => `${Math.min(15, (0.94 * width) / widthOf(t), 0.95 * height).toFixed(1)}px`);
    const look = { x: column(cells, "x"), y: column(cells, "y"), text, fill, ink, size };
    models.look.setv({ data: new Map(Object.entries(look)) }, { sync: false });
    tell();
  }

  for (const plot of [table, picture]) {
    plot.on_event("mousemove", ({ x, y }) => {
      place = { x, y };
      tell();
    });
    plot.on_event("mouseleave", () => {
      place = null;
      tell();
    });
    plot.on_event("tap", ({ x, y }) => {
      place = { x, y };
      const pixel = tell();
      if (pixel) view.send("point", { y: pixel[0], x: pixel[1] }, { every: true });
    });
  }
  cells.change.connect(paint);
  view.on("settings", paint);
  view.on("facts", paint);
  const observer = new ResizeObserver(() => requestAnimationFrame(paint));
  observer.observe(views.find_one(table).el);
  paint();
  return () => observer.disconnect();
}
