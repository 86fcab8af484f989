// Computes the contrast of every visible text on a page (WCAG 2.2, 1.4.3).

// Runs in the page. Returns the texts with too little contrast, each with its contrast ratio and its element.
function lowContrast() {
  const NORMAL = 4.5;
  const LARGE = 3;
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });

  // Returns red, green, blue (0 to 255) and alpha (0 to 1) of a CSS color.
  function parse(color) {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = canvas.getImageData(0, 0, 1, 1).data;
    return [red, green, blue, alpha / 255];
  }

  const over = ([r, g, b, a], under) => [r, g, b].map((value, index) => value * a + under[index] * (1 - a));

  function background(element) {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.unshift(parse(getComputedStyle(at).backgroundColor));
    return layers.reduce((under, layer) => over(layer, under), [255, 255, 255]);
  }

  function luminance(color) {
    const [red, green, blue] = color.map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  }

  function ratio(style, element) {
    const under = background(element);
    let [red, green, blue, alpha] = parse(style.color);
    for (let at = element; at; at = at.parentElement) alpha *= Number(getComputedStyle(at).opacity);
    const [first, second] = [luminance(over([red, green, blue, alpha], under)), luminance(under)];
    return (Math.max(first, second) + 0.05) / (Math.min(first, second) + 0.05);
  }

  function isVisible(element) {
    const { width, height } = element.getBoundingClientRect();
    return width > 1 && height > 1 && element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  }

  // Returns the styles of the texts of an element: its own text, and the placeholder of an empty field.
  function styles(element) {
    const own = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
    if (own || element.value) return [getComputedStyle(element)];
    return element.placeholder ? [getComputedStyle(element, "::placeholder")] : [];
  }

  const found = [];
  for (const element of document.body.querySelectorAll("*")) {
    if (element.disabled || ["SCRIPT", "STYLE", "NOSCRIPT", "OPTION"].includes(element.tagName)) continue;
    if (element.closest("svg") || !isVisible(element)) continue;
    for (const style of styles(element)) {
      const size = Number.parseFloat(style.fontSize);
      const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
      const value = ratio(style, element);
      if (value >= (isLarge ? LARGE : NORMAL)) continue;
      const text = (element.value || element.placeholder || element.textContent).trim().slice(0, 30);
      const path = [element.parentElement, element].map((one) => `${one.tagName}.${one.className}`).join(" > ");
      found.push(`${value.toFixed(2)} ${path}: ${text}`);
    }
  }
  return [...new Set(found)];
}

export const contrast = (page) => page.evaluate(lowContrast);
