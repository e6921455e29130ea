const find = (id) => document.getElementById(id);
const states = JSON.parse(find("states").textContent);
const decode = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const percents = states.percents.map(decode);
const cards = [...find("frames").children], bars = [...find("timeline").children];
const notSeen = 255;

function show() {
  const moment = Number(find("time").value), layer = Number(find("layer").value);
  const now = percents[layer].subarray(moment * cards.length, (moment + 1) * cards.length);
  now.forEach((percent, index) => {
    const card = cards[index], held = percent === notSeen ? 0 : percent;
    card.classList.toggle("future", percent === notSeen);
    card.querySelector("img").style.opacity = 0.25 + 0.0075 * held;
    card.querySelector(".held span").style.width = `${held}%`;
    card.querySelector("b").textContent = `${held} %`;
    bars[index].style.height = `${held}%`;
  });
  find("seconds").textContent = `${states.seconds[moment]} s`;
  const summaries = states.summaries[layer][moment], archived = states.host_frames[moment];
  const texts = states.texts[layer][moment];
  const where = layer ? `layer ${layer - 1} holds` : "a layer holds on average";
  find("summary").textContent =
    `After ${states.seconds[moment]} s ${where} ${states.tokens[layer][moment]} tokens of frames`
    + (texts ? `, ${texts} of their time stamps` : "")
    + (summaries ? ` and ${summaries} of summaries` : "")
    + (archived ? `; ${archived} frames lie in host memory` : "") + ".";
}

for (const id of ["time", "layer"]) find(id).addEventListener("input", show);
show();
