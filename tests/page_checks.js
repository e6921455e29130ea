// What of a page a reader cannot read; evaluated in the page, gives an object.
(() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = (colour) => {
    const linear = rgba(colour).slice(0, 3).map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const contrast = (one, other) => {
    const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
    return (light + 0.05) / (dark + 0.05);
  };
  const paper = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (rgba(colour)[3] > 0) return colour;
    }
    return "white";
  };
  const found = { small: [], pale: [], outside: [], clipped: [], texts: 0, drawnTexts: 0 };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (!text || !element.checkVisibility() || element.closest("script, style, title")) continue;
    const style = getComputedStyle(element), box = element.getBoundingClientRect();
    const drawing = element.closest("svg");
    const scale = drawing ? Math.hypot(element.getScreenCTM().a, element.getScreenCTM().b) : 1;
    if (parseFloat(style.fontSize) * scale < 11) found.small.push(text);
    if (contrast(drawing ? style.fill : style.color, paper(element)) < 4.5) found.pale.push(text);
    found.texts += 1;
    if (drawing) {
      const whole = drawing.getBoundingClientRect(), slack = 0.5;
      found.drawnTexts += 1;
      if (box.left < whole.left - slack || box.right > whole.right + slack
        || box.top < whole.top - slack || box.bottom > whole.bottom + slack) found.clipped.push(text);
    } else if (!element.closest(".scroll") && box.right > WIDTH + 0.5) found.outside.push(text);
  }
  found.width = document.documentElement.scrollWidth;
  return found;
})()
