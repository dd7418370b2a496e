// Which part of the frame is seen: square pixels, zoom and pan, and the view that Python makes for it.

/** Handles the ranges that the `plots` share; `moved` is called when they change. */
function makeRegion({ view, plots, pictureView, moved }) {
  const [picture] = plots;
  const { facts, settings } = view;
  const [xr, yr] = [picture.x_range, picture.y_range];
  const inner = () => [Math.max(1, picture.inner_width ?? 1), Math.max(1, picture.inner_height ?? 1)];
  const now = () => [xr.start, xr.end, Math.min(yr.start, yr.end), Math.max(yr.start, yr.end)];
  const coversAll = ([a0, a1, b0, b1]) => {
    const [x0, x1, y0, y1] = facts.extent;
    const rounding = 0.25; // of a sensor pixel
    return a0 <= x0 + rounding && a1 >= x1 - rounding && b0 <= y0 + rounding && b1 >= y1 - rounding;
  };
  let fixing = false;
  let asked = "";
  let soon = null;
  let size = [0, 0];
  let home = true; // showing the whole frame: stay so when the size changes

  /** Show at least [x0, x1, y0, y1], with square pixels. */
  function show([x0, x1, y0, y1]) {
    const [width, height] = inner();
    const scale = Math.max((x1 - x0) / width, (y1 - y0) / height);
    const [cx, cy, hx, hy] = [(x0 + x1) / 2, (y0 + y1) / 2, (scale * width) / 2, (scale * height) / 2];
    fixing = true;
    xr.setv({ start: cx - hx, end: cx + hx }, { sync: false });
    yr.setv(facts.rows_upward ? { start: cy - hy, end: cy + hy } : { start: cy + hy, end: cy - hy }, { sync: false });
    fixing = false;
    changed();
  }

  const fit = () => show(facts.extent);

  function zoom(factor) {
    const [x0, x1, y0, y1] = now();
    const [cx, cy] = [(x0 + x1) / 2, (y0 + y1) / 2];
    show([cx + (x0 - cx) * factor, cx + (x1 - cx) * factor, cy + (y0 - cy) * factor, cy + (y1 - cy) * factor]);
  }

  function pan(dx, dy) {
    const [x0, x1, y0, y1] = now();
    const [sx, sy] = [dx * (x1 - x0), (facts.rows_upward ? -dy : dy) * (y1 - y0)];
    show([x0 + sx, x1 + sx, y0 + sy, y1 + sy]);
  }

  /** One screen pixel for one sensor pixel. */
  function natural() {
    const [width, height] = inner();
    const [x0, x1, y0, y1] = now();
    const [cx, cy] = [(x0 + x1) / 2, (y0 + y1) / 2];
    show([cx - width / 2, cx + width / 2, cy - height / 2, cy + height / 2]);
  }

  function changed() {
    if (fixing) return;
    home = coversAll(now());
    moved();
    soon ??= setTimeout(() => {
      soon = null;
      askForView();
    }, 50);
  }

  function askForView() {
    const [width, height] = inner();
    if (width < 2) return; // not laid out: hidden in a tab, perhaps
    const [x0, x1, y0, y1] = now();
    if (Math.abs((x1 - x0) / width / ((y1 - y0) / height) - 1) > 0.01) return show(now());
    const sharp = Math.min(window.devicePixelRatio || 1, Math.max(1, 1600 / width));
    const content = {
      region: home ? null : [x0, x1, y0, y1],
      width: Math.round(width * sharp),
      height: Math.round(height * sharp),
      screen: width / (x1 - x0),
    };
    const text = JSON.stringify(content);
    if (text === asked) return;
    asked = text;
    view.send("viewport", content);
  }

  /** As high as the page's width and the window allow, unless Python has said how high. */
  function fitHeight() {
    if (facts.height) return;
    const width = pictureView.root.el.getBoundingClientRect().width;
    const height = Math.round(Math.max(360, Math.min(0.55 * width, 0.62 * window.innerHeight, 800)));
    for (const plot of plots) if (plot.height !== height) plot.setv({ height }, { sync: false });
  }

  /** The picture has another size: the same zoom, or still the whole frame. */
  function resized() {
    fitHeight();
    const [width, height] = inner();
    if (width < 2 || (width === size[0] && height === size[1])) return;
    const first = size[0] === 0;
    const [x0, x1, y0, y1] = now();
    const half = (x1 - x0) / size[0] / 2;
    size = [width, height];
    if (first) settings.region ? show(settings.region) : fit();
    else if (home) fit();
    else {
      const [cx, cy] = [(x0 + x1) / 2, (y0 + y1) / 2];
      show([cx - half * width, cx + half * width, cy - half * height, cy + half * height]);
    }
  }

  for (const range of [xr, yr]) range.change.connect(changed);
  const observer = new ResizeObserver(() => requestAnimationFrame(resized));
  observer.observe(pictureView.el);

  return {
    show, fit, zoom, pan, natural, resized,
    /** Sensor x at a fraction of the picture's width. */
    at: (fraction) => xr.start + fraction * (xr.end - xr.start),
    /** The fraction of the picture's width at sensor x. */
    fractionOf: (x) => (x - xr.start) / (xr.end - xr.start),
    /** Screen pixels for one sensor pixel. */
    scale: () => inner()[0] / (xr.end - xr.start),
    close: () => {
      clearTimeout(soon);
      observer.disconnect();
    },
  };
}
