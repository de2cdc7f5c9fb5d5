import type { Asked, Route } from './call.js';
import { control_ping } from './generated/memclnt.js';
import { header_size, type Message } from './message.js';
import type { MessageTable } from './message-table.js';
import { type MessageStats, messageStats } from './stats.js';

/** The messages that were asked for on this connection, each with what answers it. */
export class Routes {
  readonly #table: MessageTable;
  readonly #routes = new Map<object, Route>();
  readonly #stats = new Map<string, MessageStats>();
  /** Header size of the replies and details that routes expect, by message id; 0 for every other id. */
  readonly answer_header = new Uint8Array(1 << 16);

  constructor(table: MessageTable) {
    this.#table = table;
  }

  get stats(): readonly MessageStats[] {
    return [...this.#stats.values()];
  }

  /** Throws IncompatibleError. */
  of(message: Asked): Route {
    return this.#routes.get(message) ?? this.#add(message);
  }

  #add(message: Asked): Route {
    const id = this.#table.id(message);
    const reply =
      message.kind === 'one_way' ? undefined : message.kind === 'dump' ? control_ping.reply : message.reply;
    const details = message.kind === 'dump' || message.kind === 'stream' ? message.details : undefined;
    if (message.kind === 'dump') this.#table.id(control_ping);
    const stats = this.#stats.get(message.name) ?? messageStats(message.name);
    const route: Route = {
      message: message as Message<unknown>,
      kind: message.kind,
      id,
      reply,
      reply_id: this.#expect(reply),
      details,
      details_id: this.#expect(details),
      stats,
    };
    this.#stats.set(message.name, stats);
    this.#routes.set(message, route);
    return route;
  }

  #expect(answer: Message<unknown> | undefined): number {
    if (answer === undefined) return -1;
    const id = this.#table.id(answer);
    this.answer_header[id] = header_size[answer.header];
    return id;
  }
}
