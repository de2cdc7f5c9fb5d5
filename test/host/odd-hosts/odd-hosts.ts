import { addresses_hosts } from './addresses.js';
import { links_hosts } from './links.js';
import type { OddHost } from './odd-host.js';
import { other_links_hosts } from './other-links.js';
import { routes_hosts } from './routes.js';

export const odd_hosts: readonly OddHost[] = [
  ...addresses_hosts,
  ...routes_hosts,
  ...links_hosts,
  ...other_links_hosts,
];
