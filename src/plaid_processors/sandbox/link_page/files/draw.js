// Pieces of the pane's views: plain elements, each with an accessible name.

export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

export const acts = (...buttons) => make("div", { className: "acts" }, ...buttons);
export const button = (text, onclick) => make("button", { type: "button", onclick }, text);
export const quiet = (text, onclick) => make("button", { type: "button", className: "quiet", onclick }, text);
export const alertOf = (error) =>
  error && make("p", { className: "bad", role: "alert" }, error.display_message || error.error_message);

export function field(label, properties) {
  return make(
    "div",
    { className: "field" },
    make("label", { htmlFor: properties.id }, label),
    make("input", { autocomplete: "off", autocapitalize: "none", spellcheck: false, ...properties }),
  );
}

export const valueOf = (id) => document.getElementById(id).value;

export function formOf(onsubmit, ...parts) {
  const submitted = (event) => {
    event.preventDefault();
    onsubmit();
  };
  return make("form", { onsubmit: submitted, noValidate: true }, ...parts);
}
