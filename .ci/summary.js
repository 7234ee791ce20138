// Reads what vitest reported as JSON, once or for several Nodes, and ends with the line `N passed, N failed`. A skipped
// test is a failed one here: everything that a suite needs is installed.
//
//   node summary.js <exit status of vitest, the first that was not 0> <report> [<report> ...]

import { existsSync, readFileSync } from 'node:fs';

const [status = '1', ...reports] = process.argv.slice(2);

const results = reports.map((report) => {
  if (!existsSync(report)) return { passed: 0, problems: [`vitest wrote no report to ${report}`] };
  const { passed, problems } = read(JSON.parse(readFileSync(report, 'utf8')));
  return { passed, problems: passed + problems.length === 0 ? [`no test ran for ${report}`] : problems };
});
const passed = results.reduce((sum, result) => sum + result.passed, 0);
const problems = results.flatMap((result) => result.problems);
if (problems.length === 0 && status !== '0') problems.push(`vitest ended with status ${status}`);
if (results.length === 0) problems.push('no report was named');

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
