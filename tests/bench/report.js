// Turns samples into figures: medians, ratios per round, the Markdown table, and the verdict.

export const IDLE_LIMIT = 1536;

export function quantile(values, q) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))];
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** One result for a row: samples by server, their medians, and the ratios of each round. */
export function summarize(row, samples) {
  const { id, title, unit, against } = row;
  const result = { id, title, unit, against, medians: {}, ratios: {}, samples };
  for (const [name, list] of Object.entries(samples)) {
    if (list.length === 0) continue;
    result.medians[name] = median(list.map((sample) => sample.value));
    if (name === against || !samples[against]?.length) continue;
    const ratios = list.map((sample, round) => sample.value / samples[against][round].value);
    result.ratios[name] = {
      median: median(ratios), least: Math.min(...ratios), most: Math.max(...ratios),
    };
  }
  return result;
}

function figure(value) {
  if (value >= 1000) return Math.round(value).toLocaleString('en');
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

function cell(result, name) {
  if (result.medians[name] === undefined) return '–';
  const text = figure(result.medians[name]);
  if (result.id !== 'reload') return text;
  return `p50 ${text}, p99 ${figure(result.samples[name][0].p99)}`;
}

function ratioCell(result, name) {
  const ratio = result.ratios[name];
  if (!ratio) return '–';
  return `**${ratio.median.toFixed(2)}** (${ratio.least.toFixed(2)}–${ratio.most.toFixed(2)})`;
}

/** Of rows that are given against the same server. */
export function table(results, names) {
  const [{ against }] = results;
  const others = names.includes(against) ? names.filter((name) => name !== against) : [];
  const head = ['row', 'unit', ...names, ...others.map((name) => `${name} ÷ ${against}`)];
  const lines = results.map((result) => [
    result.title,
    result.unit,
    ...names.map((name) => cell(result, name)),
    ...others.map((name) => ratioCell(result, name)),
  ]);
  const rule = head.map((_, column) => (column < 2 ? '---' : '--:'));
  return [head, rule, ...lines].map((line) => `| ${line.join(' | ')} |`).join('\n');
}

/** Where the generator was busier than the server, the server may have waited for it. */
export function doubts(results) {
  return results.flatMap((result) => Object.entries(result.samples).flatMap(([name, list]) => {
    const busy = (key) => median(list.map((sample) => sample[key] ?? NaN));
    if (!(busy('server_busy') < 0.85 && busy('generator_busy') > 0.9)) return [];
    return [`${result.title}, ${name}: the generator was the bottleneck ` +
      `(server ${Math.round(busy('server_busy') * 100)} % busy)`];
  }));
}

/** What is beyond the limits that the project has set itself. */
export function failures(results, rows) {
  const found = [];
  for (const result of results) {
    const ratio = result.ratios.moonwire?.median;
    const { against, limit } = rows.find((row) => row.id === result.id);
    if (limit && ratio > limit) {
      found.push(`${result.title}: ${ratio.toFixed(2)} × ${against}, the limit is ${limit}`);
    }
    if (result.id === 'idle' && result.medians.moonwire > IDLE_LIMIT) {
      found.push(`${result.title}: ${Math.round(result.medians.moonwire)} B each, ` +
        `the limit is ${IDLE_LIMIT}`);
    }
  }
  return found;
}
