import { generateKeyPairSync, sign } from 'node:crypto';

/** A certificate for an IPv4 address and localhost that signs itself, as DER written by hand: no program is needed for it. */
export interface Certificate {
  /** PEM; also its own CA. */
  readonly cert: string;
  readonly key: string;
}

function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const length =
    body.length < 128
      ? Buffer.from([body.length])
      : body.length < 256
        ? Buffer.from([0x81, body.length])
        : Buffer.from([0x82, body.length >> 8, body.length & 0xff]);
  return Buffer.concat([Buffer.from([tag]), length, body]);
}

const sequence = (...parts: readonly Buffer[]): Buffer => der(0x30, ...parts);
const whole = (value: number): Buffer => der(0x02, Buffer.from([value]));
const oid = (hex: string): Buffer => der(0x06, Buffer.from(hex, 'hex'));
const time = (text: string): Buffer => der(0x17, Buffer.from(text, 'latin1'));

const ecdsa_with_sha256 = sequence(oid('2a8648ce3d040302'));
const common_name = oid('550403');
const basic_constraints = oid('551d13');
const subject_alt_name = oid('551d11');
const yes = der(0x01, Buffer.from([0xff]));

export function selfSigned(address = '127.0.0.1'): Certificate {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const name = sequence(der(0x31, sequence(common_name, der(0x0c, Buffer.from('lab', 'latin1')))));
  const names = sequence(
    der(0x82, Buffer.from('localhost', 'latin1')),
    der(0x87, Buffer.from(address.split('.').map(Number))),
  );
  const body = sequence(
    der(0xa0, whole(2)),
    whole(1),
    ecdsa_with_sha256,
    name,
    sequence(time('200101000000Z'), time('491231235959Z')),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    der(
      0xa3,
      sequence(
        sequence(basic_constraints, yes, der(0x04, sequence(yes))),
        sequence(subject_alt_name, der(0x04, names)),
      ),
    ),
  );
  const signature = der(0x03, Buffer.from([0]), sign('sha256', body, privateKey));
  const base64 = sequence(body, ecdsa_with_sha256, signature).toString('base64');
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${base64.replace(/.{64}/g, '$&\n')}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
  };
}
