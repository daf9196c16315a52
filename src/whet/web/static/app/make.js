/** Create an element with text or children. */
export function make(tag, content = [], attributes = {}) {
  const element = Object.assign(document.createElement(tag), attributes);
  element.append(...(Array.isArray(content) ? content : [content]));
  return element;
}
