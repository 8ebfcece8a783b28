(function () {
  "use strict";
  var tip = document.createElement("div");
  tip.className = "tip";
  document.body.appendChild(tip);
  function nearest(xs, x) {
    var low = 0, high = xs.length - 1;
    while (high - low > 1) {
      var middle = (low + high) >> 1;
      if (xs[middle] < x) { low = middle; } else { high = middle; }
    }
    return Math.abs(xs[low] - x) <= Math.abs(xs[high] - x) ? low : high;
  }
  function words(value, percent) {
    if (value === null || value === undefined) { return "–"; }
    if (percent) { return (100 * value).toFixed(1) + " %"; }
    var size = Math.abs(value);
    return size >= 1000 ? Math.round(value).toLocaleString("en") : size !== 0 && size < 0.001 ? value.toExponential(1) : String(Number(value.toPrecision(3)));
  }
  document.querySelectorAll("svg[data-chart]").forEach(function (svg) {
    var data = JSON.parse(svg.getAttribute("data-chart"));
    function hide() { tip.style.display = "none"; }
    svg.addEventListener("pointerleave", hide);
    svg.addEventListener("pointermove", function (event) {
      var box = svg.getBoundingClientRect();
      var scale = svg.viewBox.baseVal.width / box.width;
      var x = (event.clientX - box.left) * scale;
      if (x < data.box[0] - 4 || x > data.box[2] + 4) { hide(); return; }
      var at = data.range[0] + (x - data.box[0]) / (data.box[2] - data.box[0]) * (data.range[1] - data.range[0]);
      tip.textContent = "";
      var head = document.createElement("div");
      head.textContent = data.unit === "step" ? "step " + Math.round(at).toLocaleString("en") : Number(at.toPrecision(3)) + " " + data.unit;
      tip.appendChild(head);
      data.series.forEach(function (series) {
        if (!series.x.length) { return; }
        var row = document.createElement("div");
        var colour = document.createElement("i");
        colour.className = "c" + series.c;
        row.appendChild(colour);
        row.appendChild(document.createTextNode(series.label + " " + words(series.y[nearest(series.x, at)], data.percent)));
        tip.appendChild(row);
      });
      tip.style.display = "block";
      var left = event.clientX + 14;
      if (left + tip.offsetWidth > window.innerWidth - 8) { left = event.clientX - tip.offsetWidth - 14; }
      tip.style.left = Math.max(4, left) + "px";
      tip.style.top = Math.max(4, event.clientY - tip.offsetHeight - 10) + "px";
    });
  });
})();
