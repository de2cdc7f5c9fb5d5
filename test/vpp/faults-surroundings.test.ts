/** What happens around them, on a real VPP. `npm run faults` repeats these, one or all. */
import { faults_of } from '../faults/faults.js';
import { testOnce } from '../faults/once.js';

testOnce(faults_of.surroundings);
