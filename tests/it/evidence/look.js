(() => {
  const width = document.documentElement.clientWidth;
  // On paper nothing can be scrolled, and the boxes do not.
  const inside = (element) => {
    const box = element.closest(".scroll");
    return box !== null && box !== element && getComputedStyle(box).overflowX !== "visible";
  };
  const name = (element) => element.tagName + "." + element.getAttribute("class") + ": " + element.textContent.trim().slice(0, 60);
  const wider = [...document.body.querySelectorAll("*")]
    .filter((element) => !inside(element) && element.getBoundingClientRect().right > width + 0.5).map(name);
  const parse = (color) => {
    const found = color.match(/[\d.]+/g);
    return found ? found.map(Number) : [0, 0, 0, 0];
  };
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if (color.length < 4 || color[3] > 0.99) return color;
    }
    return [255, 255, 255];
  };
  const faint = [];
  for (const element of document.body.querySelectorAll("*")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || element.closest("title")) continue;
    const style = getComputedStyle(element);
    const front = parse(element.closest("svg") ? style.fill : style.color);
    const [a, b] = [light(front), light(behind(element))].sort((x, y) => y - x);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && parseInt(style.fontWeight, 10) >= 700);
    if ((a + 0.05) / (b + 0.05) < (large ? 3 : 4.5)) faint.push(name(element));
  }
  return {
    viewport: window.innerWidth,
    scroll: Math.max(document.documentElement.scrollWidth, document.body.scrollWidth),
    wider: [...new Set(wider)].slice(0, 10),
    faint: [...new Set(faint)].slice(0, 10),
    bitten: window.bitten === true,
    scripts: document.scripts.length,
    images: document.images.length,
    headings: document.querySelectorAll("h1").length,
    captions: [...document.querySelectorAll("table")].every((table) => table.caption !== null),
    text: document.body.textContent,
  };
})()
