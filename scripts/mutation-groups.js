/** Which suites judge which sources: a mutant is tried against these and not against everything. */

const journeys = ['test/strategy.test.ts', 'test/strategy/*.test.ts', 'test/journeys/*.test.ts'];
const attacks = ['test/attacks/{clients,money,process,second-factor}.test.ts'];

/** @type {Record<string, { mutate: string[], tests: string[] }>} */
export const groups = {
  phone: { mutate: ['lib/phone.ts'], tests: ['test/phone.test.ts'] },
  outcome: {
    mutate: ['lib/outcome.ts', 'lib/action.ts', 'lib/errors.ts'],
    tests: ['test/outcome.test.ts', ...journeys, ...attacks],
  },
  options: { mutate: ['lib/options.ts'], tests: ['test/options.test.ts', 'test/strategy.test.ts'] },
  budgets: {
    mutate: ['lib/budgets.ts'],
    tests: ['test/budgets.test.ts', 'test/budgets/*.test.ts', ...attacks, ...journeys],
  },
  challenge: {
    mutate: ['lib/challenge.ts'],
    tests: ['test/challenge.test.ts', ...journeys, 'test/second-factor/*.test.ts'],
  },
  'second-factor': {
    mutate: ['lib/second-factor.ts'],
    tests: ['test/second-factor.test.ts', 'test/second-factor/*.test.ts', ...attacks],
  },
  request: {
    mutate: ['lib/request.ts', 'lib/recipient.ts'],
    tests: [
      'test/request.test.ts',
      'test/second-factor/*.test.ts',
      'test/phone.test.ts',
      ...journeys,
      ...attacks,
    ],
  },
  strategy: {
    mutate: ['lib/strategy.ts', 'lib/check.ts', 'lib/verify.ts'],
    tests: [
      'test/outcome.test.ts',
      'test/challenge.test.ts',
      'test/second-factor/*.test.ts',
      ...journeys,
      ...attacks,
    ],
  },
  delivery: {
    mutate: ['lib/delivery.ts', 'lib/parts.ts', 'lib/decoy.ts'],
    tests: [
      'test/{outcome,events,budgets,challenge}.test.ts',
      'test/decoy*.test.ts',
      'test/second-factor/*.test.ts',
      ...journeys,
      ...attacks,
    ],
  },
  simulator: {
    mutate: ['lib/simulator/service.ts'],
    tests: ['test/simulator/*.test.ts', 'test/journeys/*.test.ts'],
  },
};
