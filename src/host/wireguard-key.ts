/** The private key of this node's WireGuard: a file of root's alone, so that a new VPP, or a new life of this process, is the same peer. */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type JsonWebKey } from 'node:crypto';
import { closeSync, fchmodSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { Secret } from '../config/secret.js';
import { errorCode, makeDirectory, writeAtomic } from './files.js';

const root_alone = 0o600;
/** Base64 of 32 bytes, as `wg genkey` writes it. */
const key_form = /^[A-Za-z0-9+/]{43}=$/;

export interface KeyPair {
  readonly public_key: string;
  readonly private_key: Secret;
}

/** The keys in this file; where there is none it is made. Throws with the file, the cause and what to do: never with what is in it. */
export function wireguardKeys(path: string): KeyPair {
  const there = read(path);
  if (there !== undefined) return pairOf(there);
  const { privateKey } = generateKeyPairSync('x25519');
  const made = base64Of(privateKey.export({ format: 'jwk' }).d);
  try {
    makeDirectory(dirname(path));
    writeAtomic(path, `${made}\n`, root_alone);
  } catch (error) {
    throw new Error(
      `the key cannot be written to ${path} (${(error as Error).message}), and would be another one in the next life: see to that directory`,
      { cause: error },
    );
  }
  return pairOf(made);
}

function read(path: string): string | undefined {
  let text: string | undefined;
  try {
    text = readClosed(path)?.trim();
  } catch (error) {
    throw new Error(
      `the key cannot be read from ${path}, or its file cannot be closed to all but root (${(error as Error).message})`,
      { cause: error },
    );
  }
  if (text === undefined || key_form.test(text)) return text;
  throw new Error(`what is in ${path} is no WireGuard key: remove the file, and a new key is made`);
}

/** Undefined when there is no such file. One that others may read, as a copy or a restored one, is root's alone afterwards: the same file, whatever its name leads to. */
function readClosed(path: string): string | undefined {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  try {
    if ((fstatSync(fd).mode & 0o777) !== root_alone) fchmodSync(fd, root_alone);
    return readFileSync(fd, 'utf8');
  } finally {
    closeSync(fd);
  }
}

/** RFC 8410: what stands before the 32 bytes of a private key of X25519. */
const pkcs8_head = Buffer.from('302e020100300506032b656e04220420', 'hex');

function pairOf(private_key: string): KeyPair {
  const der = Buffer.concat([pkcs8_head, Buffer.from(private_key, 'base64')]);
  const key = createPublicKey(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }));
  const { x }: JsonWebKey = key.export({ format: 'jwk' });
  return { public_key: base64Of(x), private_key: new Secret(private_key) };
}

const base64Of = (base64url = ''): string => Buffer.from(base64url, 'base64url').toString('base64');
