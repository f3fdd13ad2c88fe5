"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const config = { responsive: true, displaylogo: false, toImageButtonOptions: { format: "svg" } };
  const base = { margin: { l: 60, r: 20, t: 20, b: 50 }, legend: { orientation: "h", y: -0.28 }, font: { size: 13 } };
  const ramp = ["#440154", "#3b528b", "#21918c", "#5ec962", "#fde725"];

  function withAxes(layout, chosen) {
    const xaxis = { automargin: true, ...layout.xaxis };
    if (chosen) xaxis.title = { text: chosen };
    return { ...base, ...layout, xaxis, yaxis: { automargin: true, ...layout.yaxis } };
  }

  // What a trace shows over one of the choices: its own values, or the same ones over something else.
  function under(trace, choice) {
    const meta = trace.meta || {};
    return { x: meta.xs ? meta.xs[choice] : trace.x, y: meta.ys ? meta.ys[choice] : trace.y };
  }

  function drawFigure(id) {
    const one = data.figures[id];
    const chosen = document.querySelector(`input[name="${id}-x"]:checked`);
    const panel = document.querySelector(`select[data-figure="${id}"]`);
    let traces = one.traces;
    if (chosen) traces = traces.map((t) => ({ ...t, ...under(t, chosen.value) }));
    if (panel) traces = one.panels[panel.value].map((at) => traces[at]);
    const layout = withAxes(one.layout, chosen ? one.choices[chosen.value] : null);
    Plotly.react(id, traces, layout, config);
  }

  function boundsOf(net) {
    const known = net.rates.flat().filter((r) => r !== null).sort((a, b) => a - b);
    return [0.2, 0.4, 0.6, 0.8].map((q) => known[Math.floor(q * known.length)]);
  }

  function drawNetwork(id) {
    const net = data.networks[id];
    const slider = document.querySelector(`input[data-network="${id}"]`);
    const at = Number(slider.value);
    const moment = `${net.moments[at]} ${net.unit}`;
    document.getElementById(`${id}-moment`).textContent = moment;
    slider.setAttribute("aria-valuetext", moment);
    const place = net.positions ? net.positions[at] : net;
    const rates = net.rates.length ? net.rates[at] : [];
    const bounds = net.bounds || (net.bounds = boundsOf(net));
    const groups = ramp.map(() => []).concat([[]]);
    net.links.forEach((link, n) => {
      const rate = rates[n];
      groups[rate == null ? ramp.length : bounds.filter((b) => rate > b).length].push(link);
    });
    const traces = groups.map((links, n) => {
      const x = [], y = [];
      links.forEach(([a, b]) => { x.push(place.x[a], place.x[b], null); y.push(place.y[a], place.y[b], null); });
      const idle = n === ramp.length;
      const low = n ? bounds[n - 1] : 0;
      return { type: "scatter", mode: "lines", x, y, hoverinfo: "skip", showlegend: links.length > 0,
        name: idle ? "nothing sent" : `over ${low.toPrecision(2)} Mbit/s`,
        line: { color: idle ? "#cccccc" : ramp[n], width: idle ? 1 : 2 } };
    }).reverse();
    const count = net.devices, dead = new Set(net.dead[at]);
    const text = net.device.slice(0, count).map((d, n) => {
      const owns = net.modalities[n] ? `, ${net.modalities[n]}` : "";
      return `device ${d}${owns}: ${net.values[at][n]} (${net.label})${dead.has(n) ? ", dead" : ""}`;
    });
    traces.push({ type: "scatter", mode: net.sides.length ? "markers+text" : "markers", x: place.x.slice(0, count),
      y: place.y.slice(0, count), text: net.device.slice(0, count).map(String), textposition: net.sides,
      hovertext: text, hoverinfo: "text", showlegend: false,
      marker: { size: count <= 100 ? 13 : 6, color: net.values[at], cmin: 0, cmax: net.top, colorscale: "Cividis",
        showscale: true, colorbar: { title: { text: net.label, side: "right" } }, line: { width: 1, color: "#000000" },
        symbol: net.device.slice(0, count).map((_, n) => (dead.has(n) ? "x" : "circle")) } });
    if (net.device.length > count) {
      traces.push({ type: "scatter", mode: "markers", x: place.x.slice(count), y: place.y.slice(count),
        name: "server", marker: { size: 15, symbol: "square", color: "#000000" } });
    }
    const layout = withAxes({ xaxis: { title: { text: "x [m]" }, zeroline: false }, uirevision: "same", hovermode: "closest",
      yaxis: { title: { text: "y [m]" }, scaleanchor: "x", zeroline: false }, height: 480 });
    Plotly.react(id, traces, layout, config);
  }

  const drawn = new Set();
  function draw(id) {
    drawn.add(id);
    if (data.networks[id]) drawNetwork(id); else drawFigure(id);
  }
  const seen = new IntersectionObserver((entries) => entries.forEach((entry) => {
    if (entry.isIntersecting && !drawn.has(entry.target.id)) draw(entry.target.id);
  }), { rootMargin: "200px" });
  document.querySelectorAll(".plot").forEach((plot) => seen.observe(plot));
  document.querySelectorAll("[data-figure]").forEach((e) => e.addEventListener("change", () => draw(e.dataset.figure)));
  document.querySelectorAll("[data-network]").forEach((e) => e.addEventListener("input", () => draw(e.dataset.network)));
  window.addEventListener("beforeprint", () => document.querySelectorAll(".plot").forEach((plot) => {
    if (!drawn.has(plot.id) && plot.offsetParent !== null) draw(plot.id);
  }));
  document.documentElement.dataset.ready = "yes";
})();
