// Small line charts over the last two minutes, drawn by uPlot.

const POINTS_MAX = 120;
const COLORS = ['#3b82f6', '#ef4444', '#10b981', '#f59e0b', '#8b5cf6', '#64748b'];
const HEIGHT = 160;

/** A chart in an element; `add(seconds, values)` adds a point to each line. */
export function chart(element, names) {
  const axis = { stroke: 'gray', grid: { stroke: '#8883', width: 1 }, ticks: { show: false } };
  const series = names.map((label, i) => ({ label, stroke: COLORS[i], width: 1.5, points: { show: false } }));
  const data = [[], ...names.map(() => [])];
  const plot = new uPlot({
    width: element.clientWidth, height: HEIGHT, cursor: { show: false }, legend: { show: true, live: false },
    scales: { y: { range: (_, __, max) => [0, Math.max(max * 1.1, 1)] } },
    axes: [axis, { ...axis, size: 55 }], series: [{}, ...series],
  }, data, element);
  new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: HEIGHT })).observe(element);
  return {
    add(at, values) {
      [at, ...values].forEach((value, i) => data[i].push(value));
      if (data[0].length > POINTS_MAX) data.forEach((line) => line.shift());
      plot.setData(data);
    },
  };
}

/** A quantile of a histogram, within its bucket by straight line; null of nothing. */
export function quantile(bounds, counts, q) {
  const all = counts.reduce((sum, count) => sum + count, 0);
  if (all === 0) return null;
  let below = 0;
  for (const [i, count] of counts.entries()) {
    if (below + count >= q * all && count > 0) {
      const from = i === 0 ? 0 : bounds[i - 1];
      const to = bounds[Math.min(i, bounds.length - 1)];
      return from + (to - from) * ((q * all - below) / count);
    }
    below += count;
  }
  return bounds.at(-1);
}
