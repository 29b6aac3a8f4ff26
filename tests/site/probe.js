// What is wrong with how a page looks: a list of words, empty where all is well.
() => {
  const faults = [];
  const told = (element) => `<${element.tagName.toLowerCase()} class="${element.getAttribute("class") || ""}"> ` +
    (element.textContent || "").trim().slice(0, 40);
  const root = document.scrollingElement;
  if (root.scrollWidth > window.innerWidth) faults.push(`the page is ${root.scrollWidth} wide`);
  const content = document.querySelector(".content");
  if (content && content.scrollWidth > content.clientWidth) {
    faults.push(`the text is ${content.scrollWidth} wide in ${content.clientWidth}`);
  }
  for (const image of document.images) {
    if (!image.alt) faults.push(`a picture without words: ${image.src.slice(0, 120)}`);
    if (!image.complete || !image.naturalWidth) faults.push(`no picture: ${image.src.slice(0, 120)}`);
  }
  for (const formula of document.querySelectorAll("math")) {
    const box = formula.getBoundingClientRect();
    if (!box.height || !box.width) faults.push(`a formula of no size: ${told(formula)}`);
  }

  // Colours as the browser computes them: rgb() or rgba().
  const parts = (colour) => (colour.match(/[\d.]+/g) || []).map(Number);
  const over = (top, bottom) => {
    const alpha = top.length > 3 ? top[3] : 1;
    return [0, 1, 2].map((i) => alpha * top[i] + (1 - alpha) * bottom[i]);
  };
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      const colour = parts(getComputedStyle(at).backgroundColor);
      layers.push(colour);
      if (colour.length === 3) break;
    }
    return layers.reduceRight((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const luminance = (colour) => {
    const [r, g, b] = colour.map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const looks = new Map();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || element.closest("script, style, noscript, math, svg, sub, sup")) continue;
    if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    const style = getComputedStyle(element);
    const background = behind(element);
    const look = [style.color, style.fontSize, background].join();
    if (!looks.has(look)) looks.set(look, [element, style, background]);
  }
  for (const [element, style, background] of looks.values()) {
    // A hair below, as sizes are products of percentages.
    if (parseFloat(style.fontSize) < 13.99) faults.push(`text of ${style.fontSize}: ${told(element)}`);
    const ratio = contrast(over(parts(style.color), background), background);
    // WCAG 2.2, 1.4.3: what is readable.
    if (ratio < 4.5) faults.push(`contrast ${ratio.toFixed(2)}, ${style.color} on ${background}: ${told(element)}`);
  }
  return faults;
}
