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
  const update = (value, others) => {
    if (others) select.replaceChildren(...others.map((name) => make("option", { value: name }, name)));
    select.value = value;
    box.hidden = select.options.length < 2;
  };
  update(options[0], options);
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
