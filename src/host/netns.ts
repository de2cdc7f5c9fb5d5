import { closeSync, openSync } from 'node:fs';
import { OWN_NAMESPACE_PATH } from '../linux/network.js';
import { setns, unshareNetwork } from './libc.js';

/**
 * Entering network namespaces. setns moves only the calling thread, here always the main one, so that a stay is one
 * synchronous section: between going in and coming back nothing asynchronous may start. A thread of libuv's pool that is
 * born inside (the first use of asynchronous fs, dns, child_process …) would stay in that namespace for good.
 */

/** The namespace that the process was started in; open as long as the process lives. */
let home: number | undefined;
let away = false;

function homeDescriptor(): number {
  home ??= openSync(OWN_NAMESPACE_PATH, 'r');
  return home;
}

/** Opens the namespace at `path`. It lives as long as the descriptor: close it soon. ENOENT when there is none. */
export function openNamespace(path: string): number {
  return openSync(path, 'r');
}

/** Runs `run` in the namespace of this descriptor. EINVAL when it is no network namespace. */
export function enterNamespace<T>(fd: number, run: () => T): T {
  return excursion(() => setns(fd), run);
}

/** Runs `run` in a new namespace, which is destroyed afterwards unless `run` binds it to a file (inside, OWN_NAMESPACE_PATH is the new one). */
export function enterNewNamespace<T>(run: () => T): T {
  return excursion(unshareNetwork, run);
}

export function inNamespace<T>(path: string, run: () => T): T {
  const fd = openNamespace(path);
  try {
    return enterNamespace(fd, run);
  } finally {
    closeSync(fd);
  }
}

function excursion<T>(leave: () => void, run: () => T): T {
  if (away) throw new Error('already in another network namespace: leave it before entering the next');
  const back = homeDescriptor();
  leave();
  away = true;
  let result: T;
  try {
    result = run();
  } finally {
    comeBack(back);
  }
  if (isPromise(result))
    throw new TypeError('work in a network namespace must be synchronous, but it answered a promise');
  return result;
}

function comeBack(fd: number): void {
  try {
    setns(fd);
    away = false;
  } catch (error) {
    // Every later socket, file and child of this process would be in the wrong namespace: worse than a restart.
    process.stderr.write(`netns(leave) cannot return to the own network namespace: ${error}; aborting\n`);
    process.abort();
  }
}

function isPromise(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}
