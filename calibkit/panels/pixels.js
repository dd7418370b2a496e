// From codes to colours: the stretch of stretch.py, done where it is seen. No kernel, no Bokeh, no page.

const NO_VALUE = 65535;
const CODES = 65536;
const CLIPPED_BLACK = 0xffff6b2b; // as 0xAABBGGRR: blue where cut off at black,
const CLIPPED_WHITE = 0xff1a8cff; // orange where cut off at white

/** The value of every code, NaN for none: the Scale of codes.py. */
function valuesOf([offset, scale, start, step]) {
  const values = new Float32Array(CODES);
  for (let code = 0; code < NO_VALUE; code++) {
    values[code] = offset + scale * (step ? Math.sinh(start + step * code) : code);
  }
  values[NO_VALUE] = NaN;
  return values;
}

/** Brightness 0 … 1 of a fraction 0 … 1; `table` is the brightness at even steps of the fraction's square root. */
function curveOf(name, midtone, table) {
  if (name === "ghs" && table) {
    const last = table.length - 1;
    return (x) => {
      const place = Math.sqrt(x) * last;
      const step = Math.min(last - 1, Math.floor(place));
      return table[step] + (place - step) * (table[step + 1] - table[step]);
    };
  }
  if (name === "mtf") return (x) => ((midtone - 1) * x) / ((2 * midtone - 1) * x - midtone);
  if (name === "asinh" && midtone < 0.5) {
    const s = 2 * Math.acosh(1 / (2 * midtone));
    return (x) => Math.asinh(x * Math.sinh(s)) / s;
  }
  return (x) => x;
}

/** Step 0 … 255 of every code; `balance` [gain, shift] brings one plane of a colour view to the others'. */
function shadesOf(values, [black, white, midtone], curve, [gain, shift] = [1, 0], table = null) {
  const shape = curveOf(curve, midtone, table);
  const shades = new Uint8Array(CODES);
  for (let code = 0; code < NO_VALUE; code++) {
    const x = (gain * values[code] + shift - black) / (white - black);
    shades[code] = Math.round(255 * shape(x <= 0 ? 0 : x >= 1 ? 1 : x));
  }
  return shades;
}

/** Colour (0xAABBGGRR) of every code of a single plane. */
function coloursOf(values, levels, curve, palette, mark, table = null) {
  const shades = shadesOf(values, levels, curve, [1, 0], table);
  const colours = new Uint32Array(CODES);
  for (let code = 0; code < NO_VALUE; code++) colours[code] = palette[shades[code]];
  if (mark) {
    for (let code = 0; code < NO_VALUE; code++) {
      if (values[code] <= levels[0]) colours[code] = CLIPPED_BLACK;
      else if (values[code] >= levels[1]) colours[code] = CLIPPED_WHITE;
    }
  }
  return colours;
}

/**
 * What paints columns from … to of rows of `width` of one layer into `out`.
 * A layer has `codes`, one array per plane, and `tables`, one colour table or three tables of shades.
 */
function paintLayer(out, width, from, to, { codes, tables }) {
  const size = out.length;
  if (codes.length === 1) {
    const [[plane], [table]] = [codes, tables];
    if (from === 0 && to === width) for (let i = 0; i < size; i++) out[i] = table[plane[i]];
    else for (let row = 0; row < size; row += width) for (let i = row + from; i < row + to; i++) out[i] = table[plane[i]];
    return;
  }
  const [[r, g, b], [red, green, blue]] = [codes, tables];
  for (let row = 0; row < size; row += width) {
    for (let i = row + from; i < row + to; i++) {
      const nothing = r[i] === NO_VALUE || g[i] === NO_VALUE || b[i] === NO_VALUE;
      out[i] = nothing ? 0 : 0xff000000 | (blue[b[i]] << 16) | (green[g[i]] << 8) | red[r[i]];
    }
  }
}

/** Paint after − before, of the mean of the planes where there are three. */
function paintDifference(out, before, after, [black, white], palette) {
  const planes = before.codes.length;
  const factor = 255 / (white - black);
  for (let i = 0; i < out.length; i++) {
    let difference = 0;
    for (let p = 0; p < planes; p++) difference += after.values[p][after.codes[p][i]] - before.values[p][before.codes[p][i]];
    const step = (difference / planes - black) * factor;
    out[i] = Number.isNaN(step) ? 0 : palette[step <= 0 ? 0 : step >= 255 ? 255 : Math.round(step)];
  }
}

/** Share of values at or below `value`, from quantiles: [probabilities, values], both rising. */
function shareBelow([probabilities, values], value) {
  let [low, high] = [0, values.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] <= value) low = middle + 1;
    else high = middle;
  }
  if (low === 0) return 0;
  if (low === values.length) return 1;
  const part = (value - values[low - 1]) / (values[low] - values[low - 1]);
  return probabilities[low - 1] + part * (probabilities[low] - probabilities[low - 1]);
}

/** Shares of the pixels that are shown entirely black and entirely white. */
const clippedOf = (quantiles, black, white) => [shareBelow(quantiles, black), 1 - shareBelow(quantiles, white)];

/** A number as one reads it: whole, or to six figures. */
function textOf(value) {
  if (!Number.isFinite(value)) return "no data";
  const text = Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(6)));
  return text.replace("-", "−");
}

function percentOf(fraction) {
  const percent = 100 * fraction;
  if (percent === 0) return "0 %";
  return percent < 0.01 ? "< 0.01 %" : `${Number(percent.toPrecision(2))} %`;
}
