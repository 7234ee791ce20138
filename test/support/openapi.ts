import { readFileSync } from 'node:fs';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';

/**
 * Judges JSON bodies by the schemas of Infobip's OpenAPI document. Most of these accept any object, so each is closed
 * first (no property that it does not name, maps excepted), and what every example of the document shows is required.
 */

type Json = { [key: string]: unknown };

interface Operation {
  operationId: string;
  requestBody?: { content?: { 'application/json'?: { schema: Json } } };
  responses: Record<string, { content?: { 'application/json'?: { schema: Json } } }>;
}

/** A schema, as far as tests read it themselves. */
export interface BareSchema {
  type?: string;
  enum?: string[];
  properties?: Record<string, BareSchema>;
  required?: string[];
  items?: BareSchema;
  allOf?: BareSchema[];
  additionalProperties?: BareSchema;
  $ref?: string;
}

interface Document {
  components: { schemas: Record<string, BareSchema & Json> };
  paths: Record<string, Record<string, Operation>>;
  shown: Record<string, Record<string, string[]>>;
}

const document: Document = JSON.parse(
  readFileSync(new URL('../fixtures/2fa-schemas.json', import.meta.url), 'utf8'),
);

export const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({
    ...operation,
    method: method.toUpperCase(),
    pattern: new RegExp(`^${path.replace(/\{\w+\}/g, '[^/]+')}$`),
  })),
);

/** The operation that a request is for; a query counts for nothing. */
export function operationOf(method: string, path: string): (typeof operations)[number] | undefined {
  const [pathname = ''] = path.split('?');
  return operations.find((each) => each.method === method && each.pattern.test(pathname));
}

/** Without the hash in front that tells two schemas of one name apart, where the name alone does. */
function shortName(name: string): string {
  const short = name.replace(/^[0-9a-f]{64}\./, '');
  return name !== short && short in document.components.schemas ? `${name.slice(0, 4)}.${short}` : short;
}

/** All schemas by their short names. */
export const schemas: ReadonlyMap<string, BareSchema> = new Map(
  Object.entries(document.components.schemas).map(([name, schema]) => [shortName(name), schema]),
);

/** The schema that is meant where one stands for another. */
export function resolveSchema(schema: BareSchema): BareSchema {
  const [inner] = schema.allOf ?? [];
  if (inner !== undefined) return resolveSchema(inner);
  if (schema.$ref === undefined) return schema;
  const named = document.components.schemas[schema.$ref.replace('#/components/schemas/', '')];
  if (named === undefined) throw new Error(`${schema.$ref} is no schema of the document`);
  return resolveSchema(named);
}

function close(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(close);
  if (typeof schema !== 'object' || schema === null) return schema;
  const entries = Object.entries(schema).map(([key, value]) => [key, close(value)]);
  return { ...('properties' in schema && { additionalProperties: false }), ...Object.fromEntries(entries) };
}

/**
 * All schemas, closed. With `answerOf`, what all examples of that operation's answers show is required, but for
 * the `optional` properties that this one answer may lack.
 */
function closedSchemas(answerOf: string | undefined, optional: readonly string[]): Json {
  const shown = document.shown[answerOf ?? ''] ?? {};
  const closed = Object.entries(document.components.schemas).map(([name, schema]) => {
    const required = new Set([
      ...(Array.isArray(schema.required) ? schema.required : []),
      ...(shown[name] ?? []),
    ]);
    for (const each of optional) required.delete(each);
    return [name, close({ ...schema, ...(required.size > 0 && { required: [...required] }) })];
  });
  return Object.fromEntries(closed);
}

const compiled = new Map<string, ValidateFunction>();

function validator(
  key: string,
  answerOf: string | undefined,
  schema: Json,
  optional: readonly string[],
): ValidateFunction {
  const known = compiled.get(key);
  if (known) return known;
  const ajv = new Ajv2020({ allErrors: true, strict: true });
  formats.default(ajv);
  ajv.addKeyword('components');
  const made = ajv.compile({ ...schema, components: { schemas: closedSchemas(answerOf, optional) } });
  compiled.set(key, made);
  return made;
}

function errorsOf(validate: ValidateFunction, body: unknown): string[] {
  if (validate(body)) return [];
  return (validate.errors ?? []).map(
    ({ instancePath, message, params }) => `${instancePath || '/'} ${message} ${JSON.stringify(params)}`,
  );
}

/** What is wrong with an answer of the service; empty when nothing is. */
export function responseErrors(
  method: string,
  path: string,
  status: number,
  body: unknown,
  optional: readonly string[] = [],
): string[] {
  const operation = operationOf(method, path);
  if (!operation) return [`${method} ${path} is no operation`];
  const response = operation.responses[status] ?? operation.responses[`${Math.floor(status / 100)}XX`];
  const schema = response?.content?.['application/json']?.schema;
  if (!schema) return [`${operation.operationId} answers no ${status}`];
  const key = `${operation.operationId} ${status} ${optional.join(' ')}`;
  return errorsOf(validator(key, operation.operationId, schema, optional), body);
}

/** What is wrong with the body of a request; empty when nothing is. */
export function requestErrors(method: string, path: string, body: unknown): string[] {
  const operation = operationOf(method, path);
  if (!operation) return [`${method} ${path} is no operation`];
  const schema = operation.requestBody?.content?.['application/json']?.schema;
  if (!schema) return body === undefined ? [] : [`${operation.operationId} takes no body`];
  return errorsOf(validator(`${operation.operationId} request`, undefined, schema, []), body);
}
