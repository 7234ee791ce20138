// Makes test/fixtures/2fa-schemas.json from Infobip's OpenAPI document of the 2FA API:
//
//   node scripts/bare-schemas.js path/to/2fa-openapi.json > test/fixtures/2fa-schemas.json
//
// What is kept: names, types and constraints of the JSON bodies and parameters, and `shown`: for each operation and
// each schema in its answers, the properties that every example of the document shows. No prose, no XML.

import { readFileSync } from 'node:fs';

const [file] = process.argv.slice(2);
if (file === undefined) {
  process.stderr.write('Give the path of the OpenAPI document.\n');
  process.exit(2);
}
const document = JSON.parse(readFileSync(file, 'utf8'));

const keywords = new Set(
  (
    'type format enum const default items allOf anyOf oneOf not $ref required additionalProperties readOnly writeOnly ' +
    'minimum maximum minLength maxLength minItems maxItems pattern'
  ).split(' '),
);

/** A schema without prose, and without the flags that only repeat a default. */
function bareSchema(schema) {
  if (Array.isArray(schema)) return schema.map(bareSchema);
  if (typeof schema !== 'object' || schema === null) return schema;
  const bare = {};
  for (const [key, value] of Object.entries(schema)) {
    if (key === 'properties') {
      bare.properties = Object.fromEntries(
        Object.entries(value).map(([name, each]) => [name, bareSchema(each)]),
      );
    } else if (keywords.has(key) && value !== false) {
      bare[key] = bareSchema(value);
    }
  }
  return bare;
}

function resolve(part) {
  if (part?.$ref === undefined) return part;
  return part.$ref
    .slice(2)
    .split('/')
    .reduce((at, name) => at[name], document);
}

function bareContent(part) {
  const json = resolve(part)?.content?.['application/json'];
  return json ? { content: { 'application/json': { schema: bareSchema(json.schema) } } } : {};
}

function bareOperation({ operationId, parameters = [], requestBody, responses }) {
  return {
    operationId,
    parameters: parameters.map(resolve).map(({ name, in: where, required, schema }) => ({
      name,
      in: where,
      ...(required && { required }),
      schema: bareSchema(schema),
    })),
    ...(requestBody && { requestBody: bareContent(requestBody) }),
    responses: Object.fromEntries(
      Object.entries(responses).map(([status, each]) => [status, bareContent(each)]),
    ),
  };
}

/** Notes for each schema on the way which properties this example shows. */
function noteShown(schema, value, shown) {
  if (schema.allOf) for (const each of schema.allOf) noteShown(each, value, shown);
  if (schema.$ref) {
    const name = schema.$ref.split('/').at(-1);
    if (typeof value === 'object') {
      const seen = Object.keys(value);
      shown[name] = shown[name]?.filter((key) => seen.includes(key)) ?? seen;
    }
    noteShown(resolve(schema), value, shown);
  }
  if (schema.items) for (const each of value) noteShown(schema.items, each, shown);
  for (const [key, each] of Object.entries(schema.properties ?? {})) {
    if (value[key] !== undefined) noteShown(each, value[key], shown);
  }
}

function shownBy({ responses }) {
  const shown = {};
  for (const response of Object.values(responses)) {
    const { schema, example, examples = {} } = resolve(response)?.content?.['application/json'] ?? {};
    const values = [example, ...Object.values(examples).map(({ value }) => value)];
    for (const value of values) if (schema && value !== undefined) noteShown(schema, value, shown);
  }
  return shown;
}

const paths = {};
const shown = {};
for (const [path, operations] of Object.entries(document.paths)) {
  paths[path] = {};
  for (const [method, operation] of Object.entries(operations)) {
    paths[path][method] = bareOperation(operation);
    shown[operation.operationId] = shownBy(operation);
  }
}
const schemas = Object.fromEntries(
  Object.entries(document.components.schemas).map(([name, schema]) => [name, bareSchema(schema)]),
);
process.stdout.write(`${JSON.stringify({ components: { schemas }, paths, shown }, null, 2)}\n`);
