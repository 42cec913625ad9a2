const root = document.documentElement;

for (const figure of document.querySelectorAll("figure.chart")) {
  const curves = JSON.parse(figure.dataset.curves);
  const plot = figure.querySelector(".plot");
  const marker = figure.querySelector(".marker");
  const values = figure.querySelectorAll(".legend li:not(.at) b");
  const step = figure.querySelector(".legend .at b");
  const nearest = (points, left) => points.reduce((a, b) => (Math.abs(b[0] - left) < Math.abs(a[0] - left) ? b : a));
  const showValues = (chosen) => {
    chosen.forEach((point, k) => { values[k].textContent = point[2]; });
  };
  const last = step.textContent;
  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    const [left, label] = nearest(curves.flat(), 100 * (event.clientX - box.left) / box.width);
    showValues(curves.map((points) => nearest(points, left)));
    step.textContent = label;
    marker.style.setProperty("--at", left);
    marker.hidden = false;
  });
  plot.addEventListener("pointerleave", () => {
    showValues(curves.map((points) => points[points.length - 1]));
    step.textContent = last;
    marker.style.removeProperty("--at");
    marker.hidden = !root.style.getPropertyValue("--at");
  });
}
