// Reads what vitest reported as JSON and ends with the line `N passed, N failed`. A skipped test is a failed one here:
// everything that a suite needs is installed.
//
//   node summary.js <report> <exit status of vitest>

import { existsSync, readFileSync } from 'node:fs';

const [report = '', status = '1'] = process.argv.slice(2);

const { passed, problems } = existsSync(report)
  ? read(JSON.parse(readFileSync(report, 'utf8')))
  : { passed: 0, problems: [`vitest wrote no report to ${report}`] };
if (problems.length === 0 && status !== '0') problems.push(`vitest ended with status ${status}`);
if (problems.length === 0 && passed === 0) problems.push('no test ran');

for (const problem of problems) console.log(`failed: ${problem}`);
console.log(`${passed} passed, ${problems.length} failed`);
process.exitCode = problems.length === 0 ? 0 : 1;

function read({ testResults }) {
  const tests = testResults.flatMap(({ name, assertionResults }) =>
    assertionResults.map(({ fullName, status }) => ({ status, title: `${fullName} (${status}, ${name})` })),
  );
  // A file that cannot be loaded, and a hook that throws, fail without a failing test.
  const brokenFiles = testResults.filter(
    ({ status, assertionResults }) =>
      status !== 'passed' && assertionResults.every(({ status }) => status === 'passed'),
  );
  return {
    passed: tests.filter(({ status }) => status === 'passed').length,
    problems: [
      ...tests.filter(({ status }) => status !== 'passed').map(({ title }) => title),
      ...brokenFiles.map(({ name, message }) => `${name}: ${message}`),
    ],
  };
}
