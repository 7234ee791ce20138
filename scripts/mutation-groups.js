/** Which suites judge which sources: a mutant is tried against these and not against everything. */

const strategy = ['test/strategy.test.ts', 'test/strategy/*.test.ts', 'test/outcome.test.ts'];
const attacks = ['test/attacks/{browser,clients,late,logout,process,second-factor}.test.ts'];
const secondFactor = [
  'test/second-factor.test.ts',
  'test/second-factor/{between,guard,login,marks,nobody-gets-in}.test.ts',
];

/** @type {Record<string, { mutate: string[], tests: string[] }>} */
export const groups = {
  phone: {
    mutate: ['lib/phone.ts'],
    tests: ['test/{phone,outcome,options,test-numbers}.test.ts', 'test/second-factor/channels.test.ts'],
  },
  outcome: { mutate: ['lib/outcome.ts'], tests: ['test/outcome.test.ts'] },
  options: {
    mutate: ['lib/options.ts'],
    tests: ['test/{options,phone,strategy}.test.ts', 'test/options/settings.test.ts'],
  },
  budgets: {
    mutate: ['lib/budgets.ts'],
    tests: ['test/budgets.test.ts', 'test/budgets/*.test.ts'],
  },
  challenge: {
    mutate: ['lib/challenge.ts', 'lib/challenges.ts', 'lib/turns.ts', 'lib/session.ts', 'lib/ended.ts'],
    tests: [
      'test/{challenge,ended,strategy,turns}.test.ts',
      'test/{challenge/*,strategy/{sends,actions}}.test.ts',
      ...secondFactor,
      ...attacks,
    ],
  },
  'second-factor': {
    mutate: ['lib/second-factor.ts', 'lib/marks.ts'],
    tests: [...secondFactor, 'test/{challenge,challenge/late}.test.ts', ...attacks],
  },
  strategy: {
    mutate: ['lib/strategy.ts'],
    tests: [...strategy, ...secondFactor, ...attacks, 'test/options.test.ts'],
  },
  clicks: { mutate: ['lib/clicks.ts'], tests: ['test/clicks.test.ts'] },
  check: {
    mutate: ['lib/check.ts'],
    tests: [...strategy, 'test/{budgets,challenge,events,decoys}.test.ts', ...attacks],
  },
  verify: {
    mutate: ['lib/verify.ts'],
    tests: ['test/strategy/verify.test.ts', 'test/attacks/process.test.ts'],
  },
  delivery: {
    mutate: ['lib/delivery.ts'],
    tests: [
      ...strategy,
      'test/{budgets,challenge,events,decoys}.test.ts',
      'test/second-factor/channels.test.ts',
      ...attacks,
    ],
  },
  parts: {
    mutate: ['lib/parts.ts'],
    tests: ['test/{parts,events}.test.ts'],
  },
  decoy: { mutate: ['lib/decoy.ts'], tests: ['test/decoys.test.ts'] },
  recipient: {
    mutate: ['lib/recipient.ts'],
    tests: ['test/{recipient,phone,test-numbers}.test.ts'],
  },
  request: {
    mutate: ['lib/request.ts'],
    tests: ['test/{request,second-factor}.test.ts', 'test/request/*.test.ts'],
  },
  action: {
    mutate: ['lib/action.ts', 'lib/errors.ts'],
    tests: [...strategy, 'test/challenge.test.ts', ...attacks],
  },
  simulator: { mutate: ['lib/simulator/service.ts'], tests: ['test/simulator/service.test.ts'] },
};
