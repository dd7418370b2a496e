// Small controls in the page's own look, each with a label that a screen reader can say.

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** A drop-down list; `update` shows the value and, where given, offers other options. */
function choice(label, title, options, pick) {
  const select = make("select", { title, onchange: () => pick(select.value) });
  const box = make("label", { class: "ck-field" }, `${label} `, select);
  const update = (value, { others, disabled = false } = {}) => {
    select.disabled = disabled;
    if (others) select.replaceChildren(...others.map((name) => make("option", { value: name }, name)));
    select.value = value;
    box.hidden = select.options.length < 2;
  };
  update(options[0], { others: options });
  return { element: box, update };
}

/** Buttons of which one is pressed. */
function modes(label, options, pick) {
  const buttons = new Map(
    options.map(([value, title]) => [value, make("button", { type: "button", title, onclick: () => pick(value) }, value)]),
  );
  const update = (value, disabled = []) => {
    for (const [name, button] of buttons) {
      button.setAttribute("aria-pressed", name === value);
      button.disabled = disabled.includes(name);
    }
  };
  return { element: make("span", { class: "ck-modes", role: "group", "aria-label": label }, ...buttons.values()), update };
}

function toggle(label, title, pick) {
  const input = make("input", { type: "checkbox", title, onchange: () => pick(input.checked) });
  const update = (value) => {
    input.checked = value;
  };
  return { element: make("label", { class: "ck-field", title }, input, ` ${label}`), update };
}

function button(label, title, press) {
  const element = make("button", { type: "button", title, onclick: press }, label);
  return { element, update: (pressed) => element.setAttribute("aria-pressed", pressed) };
}

/** A number that is taken when it is typed and left, or when Enter is pressed. */
function number(label, title, take) {
  let shown = "";
  const read = () => {
    const text = input.value.trim();
    const value = Number(text.replace("−", "-").replace(",", "."));
    if (text === shown) return;
    if (text !== "" && Number.isFinite(value)) take(value);
    else input.value = shown;
  };
  const enter = (event) => {
    if (event.key !== "Enter") return;
    read();
    input.value = shown;
  };
  const input = make("input", { type: "text", inputmode: "decimal", title, size: 9, onchange: read, onkeydown: enter });
  const update = (value) => {
    const typing = input.getRootNode().activeElement === input && input.value !== shown;
    shown = textOf(value);
    if (!typing) input.value = shown;
  };
  return { element: make("label", { class: "ck-field" }, `${label} `, input), update };
}

/** The frame of a plot, measured from the corner of `element`; `page` is its left edge on the page. */
function frameOf(element, plotView) {
  const [outer, plot] = [element.getBoundingClientRect(), plotView.el.getBoundingClientRect()];
  const { left, top, width, height } = plotView.frame.bbox;
  return { left: plot.left - outer.left + left, top: plot.top - outer.top + top, width, height, page: plot.left + left };
}

/**
 * An upright line over a plot, to be dragged with the pointer or moved with the arrow keys.
 * `moved` gets the fraction of the frame's width. Lies over the page, so that a drag may begin as slowly as it likes.
 */
function handle(label, kind, { element, plotView, moved }) {
  let at = 0;
  const line = make("div", {
    class: `ck-handle ck-${kind}`, role: "slider", tabindex: 0, title: label, "aria-label": label,
    "aria-valuemin": 0, "aria-valuemax": 100,
  }, make("span"));
  line.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    line.setPointerCapture(event.pointerId);
    line.focus({ preventScroll: true });
    const { page, width } = frameOf(element, plotView);
    const offset = event.clientX - (page + at * width);
    const move = ({ clientX }) => moved((clientX - offset - page) / width);
    line.addEventListener("pointermove", move);
    line.addEventListener("lostpointercapture", () => line.removeEventListener("pointermove", move), { once: true });
  });
  line.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -0.01, ArrowRight: 0.01 }[event.key];
    if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    moved(at + (event.shiftKey ? 5 : 1) * step);
  });
  // What the pointer does to the plot below it does it here, too.
  line.addEventListener("wheel", (event) => {
    event.preventDefault();
    plotView.canvas_view.events_el.dispatchEvent(new WheelEvent("wheel", event));
  });
  element.append(line);
  const place = (fraction, visible) => {
    at = fraction;
    line.hidden = !visible || fraction < -0.001 || fraction > 1.001;
    if (line.hidden) return;
    const { left, top, width, height } = frameOf(element, plotView);
    Object.assign(line.style, { left: `${left + fraction * width}px`, top: `${top}px`, height: `${height}px` });
    line.setAttribute("aria-valuenow", Math.round(100 * fraction));
  };
  return { element: line, place };
}
