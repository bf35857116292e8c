// Making and changing elements. What comes from outside (names, statements, log) goes in as text only, and
// what has not changed is not touched: selection, focus and screen readers depend on it.

/**
 * An element with attributes and children; strings become text. An attribute that is null or false is left
 * out.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, string | number | boolean | null>} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes))
    if (value !== null && value !== false) element.setAttribute(name, value === true ? '' : String(value))
  element.append(...children)
  return element
}

/**
 * An element of the page, which must be there.
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @returns {T}
 */
export function byId(id) {
  const found = document.getElementById(id)
  if (found === null) throw new Error(`no element ${id}`)
  return /** @type {T} */ (found)
}

/**
 * @param {Node} node
 * @param {string} text
 */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text
}

/**
 * @param {Element} element
 * @param {string} name
 * @param {string | null} value null: without it
 */
export function setAttribute(element, name, value) {
  if (element.getAttribute(name) === value) return
  if (value === null) element.removeAttribute(name)
  else element.setAttribute(name, value)
}

/**
 * @param {HTMLElement} element
 * @param {boolean} isShown
 */
export function show(element, isShown) {
  if (element.hidden === isShown) element.hidden = !isShown
}

/**
 * The only child of a cell, made when it is not there yet.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {HTMLElement} cell
 * @param {K} tag
 * @returns {HTMLElementTagNameMap[K]}
 */
export function only(cell, tag) {
  const found = cell.firstElementChild
  if (found !== null) return /** @type {HTMLElementTagNameMap[K]} */ (found)
  const made = h(tag)
  cell.replaceChildren(made)
  return made
}

/**
 * Lays a list of terms and what is to say of them into a `dl`, in place.
 * @param {HTMLElement} list
 * @param {readonly (readonly [term: string, text: string])[]} pairs
 */
export function setPairs(list, pairs) {
  while (list.children.length > pairs.length) list.lastElementChild?.remove()
  for (const [at, [term, text]] of pairs.entries()) {
    const row = list.children[at] ?? list.appendChild(h('div', {}, h('dt'), h('dd')))
    setText(/** @type {Node} */ (row.firstElementChild), term)
    setText(/** @type {Node} */ (row.lastElementChild), text)
  }
}

/**
 * Puts nodes into this order under a parent, moving only those that stand elsewhere.
 * @param {Element} parent
 * @param {readonly Element[]} nodes
 */
export function setOrder(parent, nodes) {
  for (const [at, node] of nodes.entries()) {
    const there = parent.children[at] ?? null
    if (there !== node) move(parent, node, there)
  }
}

/**
 * @param {Element} parent
 * @param {Element} node
 * @param {Element | null} before
 */
function move(parent, node, before) {
  // The newer way keeps the focus that is inside.
  if (node.parentNode === parent && 'moveBefore' in parent) {
    /** @type {{ moveBefore(node: Node, before: Node | null): void }} */
    parent.moveBefore(node, before)
  } else parent.insertBefore(node, before)
}
