/** Many connections: a number of them, or a stream for as long as wanted. */

import { attempt } from "./attempt.mjs";

export async function connectMany({ count = 1, concurrency = 64, fromEach, firstPort, ...target }) {
  const outcomes = new Array(count);
  let next = 0;
  const worker = async () => {
    while (next < count) {
      const index = next++;
      outcomes[index] = await attempt({
        ...target,
        from: sourceOf(index, fromEach, target.from),
        ...(firstPort && { fromPort: firstPort + index }),
      });
    }
  };
  await Promise.all(Array.from({ length: Math.min(concurrency, count) }, worker));

  const answers = outcomes.filter(({ failure }) => failure === undefined);
  const failures = tally(outcomes.flatMap(({ failure }) => failure ?? []));
  return {
    answers,
    counts: tally(answers.map(({ address }) => address)),
    lost: count - answers.length,
    refused: failures.refused ?? 0,
    timedOut: failures.timeout ?? 0,
    failures,
  };
}

function sourceOf(index, fromEach, from) {
  return fromEach ? fromEach[index % fromEach.length] : from;
}

const streams = new Map();
let streamsBegun = 0;

/** Begins a stream of connections in the background and returns its number. */
export function startSteady({ every = 20, concurrency, fromEach, ...target }) {
  const began = performance.now();
  const stream = {
    began,
    running: true,
    count: 0,
    counts: {},
    lost: [],
    slow: 0,
    longestGap: 0,
    last: began,
  };
  const pending = new Set();
  const once = async () => {
    const from = sourceOf(stream.count, fromEach, target.from);
    stream.count += 1;
    const at = Math.round(performance.now() - began);
    const outcome = await attempt({ ...target, from });
    note(stream, at, outcome);
  };
  if (concurrency) {
    const loop = async () => {
      while (stream.running) await once();
    };
    stream.finish = Promise.all.bind(Promise, Array.from({ length: concurrency }, loop));
  } else {
    const begin = () => {
      const one = once().then(() => pending.delete(one));
      pending.add(one);
    };
    const timer = setInterval(begin, every);
    begin();
    stream.finish = () => {
      clearInterval(timer);
      return Promise.all(pending);
    };
  }
  streamsBegun += 1;
  streams.set(streamsBegun, stream);
  return streamsBegun;
}

/** Ends the stream, waits for what is under way and reports. */
export async function stopSteady(number) {
  const stream = streams.get(number);
  streams.delete(number);
  stream.running = false;
  await stream.finish();
  const { count, counts, lost, slow, longestGap } = stream;
  return { count, counts, lost, slow, longestGap: Math.round(longestGap) };
}

function note(stream, at, { failure, address, ms }) {
  if (failure !== undefined) {
    stream.lost.push({ at, failure });
    return;
  }
  const now = performance.now();
  stream.counts[address] = (stream.counts[address] ?? 0) + 1;
  stream.longestGap = Math.max(stream.longestGap, now - stream.last);
  stream.last = now;
  if (ms >= 1_000) stream.slow += 1;
}

function tally(values) {
  const counts = {};
  for (const value of values) counts[value] = (counts[value] ?? 0) + 1;
  return counts;
}
