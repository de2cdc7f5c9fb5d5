import { pino } from 'pino';
import type { Clock } from './clock.js';

/**
 * Where parts of the product write to. No method throws, or waits for more than a moment: nothing that is to be done depends on
 * whether it can be told. The text follows `object(verb) text`, such as `pod(add) ...`; what differs from one
 * line to the next goes into the fields, so that identical messages can be told.
 */
export interface Log {
  debug(fields: object, text: string): void;
  info(fields: object, text: string): void;
  warn(fields: object, text: string): void;
  error(fields: object, text: string): void;
  fatal(fields: object, text: string): void;
  child(fields: object): Log;
}

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal';
export type LogFormat = 'json' | 'pretty' | 'text';

/** The words that CALICOVPP_LOG_LEVEL takes: those of the Go implementation's logger. */
const LEVEL_WORDS: Readonly<Record<string, LogLevel>> = {
  panic: 'fatal',
  fatal: 'fatal',
  error: 'error',
  warn: 'warn',
  warning: 'warn',
  info: 'info',
  debug: 'debug',
  trace: 'trace',
};

/** The level that a word of the configuration means, in either case; undefined for any other word. */
export function parseLogLevel(word: string): LogLevel | undefined {
  const key = word.trim().toLowerCase();
  return Object.hasOwn(LEVEL_WORDS, key) ? LEVEL_WORDS[key] : undefined;
}

/** Identical messages that pass before they are thinned out, and how often one passes then. */
const BURST = 5;
const EVERY_MS = 10_000;
/** A message unheard of for so long is a new one. */
const FORGET_MS = 60_000;
/** Messages remembered; the oldest is forgotten first. */
const KEYS_MAX = 1000;

interface Seen {
  passed: number;
  suppressed: number;
  lastPassed_ms: number;
  last_ms: number;
}

/** Thins out identical messages: the first five pass, then one in ten seconds with the number of those left out. */
export class RateLimit {
  readonly #seen = new Map<string, Seen>();

  /** Number of messages left out since the last one that passed; undefined when this one is to be left out, too. */
  admit(key: string, now_ms: number): number | undefined {
    let seen = this.#seen.get(key);
    if (seen === undefined) {
      if (this.#seen.size >= KEYS_MAX) this.#seen.delete(this.#seen.keys().next().value!);
      seen = { passed: 0, suppressed: 0, lastPassed_ms: now_ms, last_ms: now_ms };
      this.#seen.set(key, seen);
    } else if (now_ms - seen.last_ms >= FORGET_MS) seen.passed = 0;
    seen.last_ms = now_ms;
    if (seen.passed >= BURST && now_ms - seen.lastPassed_ms < EVERY_MS) {
      seen.suppressed += 1;
      return undefined;
    }
    const { suppressed } = seen;
    seen.passed += 1;
    seen.suppressed = 0;
    seen.lastPassed_ms = now_ms;
    return suppressed;
  }
}

export interface LogOptions {
  readonly level: LogLevel;
  /** json: one object a line; text: key=value, readable by what parses the Go implementation's; pretty: for a terminal. */
  readonly format: LogFormat;
  readonly clock: Clock;
  /** Takes one line with its line end. Not to throw; false: the line is lost. */
  readonly write: (line: string) => boolean;
}

/** The root of all logs. Its level holds for all children and can be changed at run time. */
export interface RootLog extends Log {
  level: LogLevel;
}

interface Shared {
  level: LogLevel;
  readonly clock: Clock;
  readonly limit: RateLimit;
  /** Lines that could not be written since the last one that could. */
  lost: number;
}

class PinoLog implements RootLog {
  readonly #pino: pino.Logger;
  readonly #shared: Shared;
  readonly #actor: string;

  constructor(logger: pino.Logger, shared: Shared, actor: string) {
    this.#pino = logger;
    this.#shared = shared;
    this.#actor = actor;
  }

  get level(): LogLevel {
    return this.#shared.level;
  }

  set level(level: LogLevel) {
    this.#shared.level = level;
  }

  debug(fields: object, text: string): void {
    this.#write('debug', fields, text);
  }

  info(fields: object, text: string): void {
    this.#write('info', fields, text);
  }

  warn(fields: object, text: string): void {
    this.#write('warn', fields, text);
  }

  error(fields: object, text: string): void {
    this.#write('error', fields, text);
  }

  fatal(fields: object, text: string): void {
    this.#write('fatal', fields, text);
  }

  child(fields: object): Log {
    return new PinoLog(this.#pino.child(fields), this.#shared, actorOf(fields) ?? this.#actor);
  }

  #write(level: Exclude<LogLevel, 'trace'>, fields: object, text: string): void {
    const { levels } = pino;
    if (levels.values[level]! < levels.values[this.#shared.level]!) return;
    const key = `${level} ${actorOf(fields) ?? this.#actor} ${text}`;
    const suppressed = level === 'fatal' ? 0 : this.#shared.limit.admit(key, this.#shared.clock.now_ms());
    if (suppressed === undefined) return;
    const { lost } = this.#shared;
    const told = { ...fields, ...(suppressed > 0 && { suppressed }), ...(lost > 0 && { lost }) };
    try {
      this.#pino[level](told, text);
    } catch {
      // A field that cannot be rendered.
      this.#shared.lost += 1;
    }
  }
}

function actorOf(fields: object): string | undefined {
  const { actor } = fields as { actor?: unknown };
  return typeof actor === 'string' ? actor : undefined;
}

export function createLog(options: LogOptions): RootLog {
  const { clock, format, level } = options;
  const shared: Shared = { level, clock, limit: new RateLimit(), lost: 0 };
  const write = (line: string): void => {
    shared.lost = options.write(line) ? 0 : shared.lost + 1;
  };
  const render = { json: (line: string) => line, text: textLine, pretty: prettyLine }[format];
  const logger = pino(
    {
      level: 'trace',
      base: null,
      timestamp: () => `,"ts":"${new Date(clock.wall_ms()).toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: pino.stdSerializers.err },
    },
    { write: (line: string) => write(render(line)) },
  );
  return new PinoLog(logger, shared, '');
}

/** Fields that come first in a text line, before those of the message. */
interface Line {
  readonly ts: string;
  readonly level: string;
  readonly msg: string;
  readonly [field: string]: unknown;
}

/** `time="..." level=info msg="..." component=cni ...`: the order and the words that existing filters look for. */
function textLine(json: string): string {
  const { ts, level, msg, ...fields } = JSON.parse(json) as Line;
  const word = level === 'warn' ? 'warning' : level;
  return `time="${ts}" level=${word} msg=${JSON.stringify(msg)}${pairs(fields)}\n`;
}

const COLOURS: Readonly<Record<string, number>> = { debug: 90, info: 36, warn: 33, error: 31, fatal: 35 };

function prettyLine(json: string): string {
  const { ts: _ts, level, msg, ...fields } = JSON.parse(json) as Line;
  return `\x1b[${COLOURS[level]}m${level.toUpperCase().padEnd(5)}\x1b[0m ${msg}${pairs(fields)}\n`;
}

/** An error shows what it says; the stack is in the json format. */
function pairs(fields: Readonly<Record<string, unknown>>): string {
  return Object.entries(fields)
    .map(([key, value]) => {
      const shown = key === 'err' ? ((value as { message?: unknown }).message ?? value) : value;
      const word = typeof shown === 'string' ? shown : JSON.stringify(shown);
      return ` ${key}=${/^[\w./:@%+-]+$/.test(word) ? word : JSON.stringify(word)}`;
    })
    .join('');
}
