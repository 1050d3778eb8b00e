// Elements made from values. Invariant: whatever a value holds, it becomes text or an attribute's text, never markup, and a
// link leads only into this gateway.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") {
      node.addEventListener(name.slice(2), value);
    } else if (name === "href" && !/^(#|\/(?![/\\]))/.test(value)) {
      throw new Error("a link leads only into this gateway");
    } else {
      node.setAttribute(name, value === true ? "" : String(value));
    }
  }
  append(node, children);
  return node;
}

function append(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false || child === "") continue;
    node.append(child instanceof Node ? child : String(child));
  }
}

// `el("p.note", {lang: "en"}, "text")`: a tag with classes, attributes (a function listens), children. Attributes may be left out.
export function el(name, attributes, ...children) {
  const [tag, ...classes] = name.split(".");
  const node = document.createElement(tag);
  if (classes.length) node.className = classes.join(" ");
  const given = attributes?.constructor === Object;
  return fill(node, given ? attributes : null, given ? children : [attributes, ...children]);
}

// The same for drawings.
export function draw(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

// A symbol of index.html; the words beside it say the same.
export function icon(name) {
  return draw("svg", { class: "icon", "aria-hidden": "true", focusable: "false" }, draw("use", { href: `#i-${name}` }));
}

// Makes `old` look like `fresh`, which has the same name and key, so that focus, selection and what is opened stay.
// What is marked `data-keep` is somebody else's, and a button at work stays as it is.
export function morph(old, fresh) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  if (old.dataset.keep !== undefined || old.ariaBusy === "true") return;
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  morphChildren(old, [...fresh.childNodes]);
}

const key = (node) => node.dataset?.key;

// Gives `parent` these children, each made from one that it has if that is the same thing.
export function morphChildren(parent, fresh) {
  const keyed = new Map([...parent.childNodes].filter(key).map((node) => [key(node), node]));
  let place = parent.firstChild;
  for (const wanted of fresh) {
    const same = key(wanted) ? keyed.get(key(wanted)) : place && !key(place) ? place : null;
    if (!same || same.nodeName !== wanted.nodeName) {
      parent.insertBefore(wanted, place);
      continue;
    }
    if (same === place) place = place.nextSibling;
    else parent.insertBefore(same, place);
    morph(same, wanted);
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

// Says it to those who do not see the page.
export function announce(text) {
  document.getElementById("announce").textContent = text;
}
