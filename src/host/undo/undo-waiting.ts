/** Steps that are of no use yet. Pure. */
import type { UndoStep } from './undo-step.js';

/** Names of the links that this PCI device is to come back as. */
export function linksOf(pci: string, steps: readonly UndoStep[]): string[] {
  const names = steps.flatMap((step) => ('link' in step && step.link.pci === pci ? [step.link.name] : []));
  return [...new Set(names)];
}

/** Is the step about one of these links? */
export function isAbout(step: UndoStep, names: ReadonlySet<string>): boolean {
  if ('link' in step) return names.has(step.link.name);
  if (step.kind === 'set_nexthop') {
    const { of, nexthop } = step;
    return names.has(of ?? '') || names.has(nexthop.hop?.link?.name ?? '');
  }
  if (step.kind !== 'add_route') return false;
  return names.has(step.of ?? '') || step.route.next_hops.some(({ link }) => names.has(link?.name ?? ''));
}
