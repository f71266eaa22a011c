// Turns samples into figures: medians, ratios per round, the Markdown tables, and the verdict.

export function quantile(values, q) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))];
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The better of these servers' values in one round; undefined where one of them has none. */
function better(row, samples, names, round) {
  const values = names.map((name) => samples[row.id][name]?.[round]?.value);
  if (values.includes(undefined)) return undefined;
  return row.more ? Math.max(...values) : Math.min(...values);
}

/** moonwire's value in a row and round; with `over` in multiples of that server's. */
function ownValue(samples, id, round, over) {
  const value = samples[id]?.moonwire?.[round]?.value;
  return over ? value / samples[id]?.[over]?.[round]?.value : value;
}

function ratiosOf(row, target, samples) {
  return (samples[row.id].moonwire ?? []).map((_, round) => {
    const base = target.row
      ? ownValue(samples, target.row, round, target.over)
      : better(row, samples, target.of, round);
    return ownValue(samples, row.id, round, target.over) / base;
  }).filter(Number.isFinite);
}

/** What a target compares with, in words. */
function comparison(target) {
  if (target.below) return '–';
  if (target.row) {
    return `its own \`${target.row}\`${target.over ? `, both ÷ the ${target.over}` : ''}`;
  }
  return target.of.length > 1 ? `the better of ${target.of.join(' and ')}` : target.of[0];
}

function judge(row, target, samples) {
  const values = target.below
    ? (samples[row.id].moonwire ?? []).map(({ value }) => value)
    : ratiosOf(row, target, samples);
  if (values.length === 0) return null;
  const result = {
    against: comparison(target), ...target,
    median: median(values), least: Math.min(...values), most: Math.max(...values),
  };
  if (target.below) result.met = result.median < target.below;
  else if (target.atLeast) result.met = result.median >= target.atLeast;
  else result.met = result.median <= target.atMost;
  return result;
}

/** One result for a row: samples by server, their medians, and what became of its targets. */
export function summarize(row, samples) {
  const { id, title, group, unit } = row;
  const own = samples[id];
  const medians = Object.fromEntries(Object.entries(own)
    .filter(([, list]) => list.length > 0)
    .map(([name, list]) => [name, median(list.map(({ value }) => value))]));
  const targets = row.targets.map((target) => judge(row, target, samples)).filter(Boolean);
  return { id, title, group, unit, medians, targets, samples: own };
}

function figure(value) {
  if (value >= 1000) return Math.round(value).toLocaleString('en');
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

function markdown(head, lines, leading) {
  const rule = head.map((_, column) => (column < leading ? '---' : '--:'));
  return [head, rule, ...lines].map((line) => `| ${line.join(' | ')} |`).join('\n');
}

function named(target) {
  if (target.below) return `< ${target.below.toLocaleString('en')}`;
  return target.atLeast ? `≥ ${target.atLeast.toFixed(2)}` : `≤ ${target.atMost.toFixed(2)}`;
}

const ratio = (value) => value.toFixed(value < 0.2 ? 3 : 2);

function reached(target) {
  if (target.below) return `**${figure(target.median)}**`;
  const [middle, least, most] = [target.median, target.least, target.most].map(ratio);
  return `**${middle}** (${least}–${most})`;
}

/** A line for each target: what moonwire reached, in multiples of what it is compared with. */
export function verdictTable(results) {
  const lines = results.flatMap((result) => result.targets.map((target) => [
    result.title, `\`${result.id}\``, target.against, reached(target), named(target),
    target.met ? 'yes' : '**no**',
  ]));
  return markdown(['row', 'id', 'moonwire ÷', 'ratio', 'target', 'met'], lines, 3);
}

/** A cell: the median, and for CPU in multiples of the floor's where the floor was measured. */
function cell({ medians, unit }, name) {
  if (medians[name] === undefined) return '–';
  const text = figure(medians[name]);
  if (name === 'floor' || !medians.floor || !unit.startsWith('µs')) return text;
  return `${text} (${(medians[name] / medians.floor).toFixed(2)} ×)`;
}

/** A line for each row of a group: the median of each server. */
export function figuresTable(results) {
  const names = [...new Set(results.flatMap(({ medians }) => Object.keys(medians)))];
  const lines = results.map((result) => [
    result.title, result.unit, ...names.map((name) => cell(result, name)),
  ]);
  return markdown(['row', 'unit', ...names], lines, 2);
}

/** Where the generator was busier than the server, the server may have waited for it. */
export function doubts(results) {
  return results.flatMap((result) => Object.entries(result.samples).flatMap(([name, list]) => {
    const busy = (key) => median(list.map((sample) => sample[key] ?? NaN));
    if (!(busy('server_busy') < 0.85 && busy('generator_busy') > 0.9)) return [];
    return [`${result.group}, ${result.title}, ${name}: the generator was the bottleneck ` +
      `(server ${Math.round(busy('server_busy') * 100)} % busy)`];
  }));
}

/** The targets that were missed, by name. */
export function failures(results) {
  return results.flatMap((result) => result.targets.filter(({ met }) => !met).map((target) => (
    `${result.group}, ${result.title} (${result.id}): ` +
    `${target.below ? `${figure(target.median)} ${result.unit}` : `${ratio(target.median)} × ${target.against}`}` +
    `, the target is ${named(target)}`)));
}
