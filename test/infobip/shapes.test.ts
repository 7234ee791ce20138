import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { beforeAll, describe, expect, it } from 'vitest';
import { type BareSchema, resolveSchema, schemas } from '../support/openapi.js';

/** Infobip's schemas and the types of ours that say the same. */
const REQUESTS: Record<string, string> = {
  ApplicationConfiguration: 'ApplicationConfiguration',
  ApplicationRequest: 'ApplicationRequest',
  CreateSmsOrVoiceMessageRequest: 'CreateMessageTemplateRequest',
  UpdateSmsOrVoiceMessageRequest: 'UpdateMessageTemplateRequest',
  CreateEmailMessageRequest: 'CreateEmailMessageTemplateRequest',
  UpdateEmailMessageRequest: 'UpdateEmailMessageTemplateRequest',
  RegionalOptions: 'RegionalOptions',
  IndiaDltOptions: 'IndiaDltOptions',
  StartAuthenticationRequest: 'InfobipSendPinRequest',
  StartEmailAuthenticationRequest: 'InfobipSendPinRequest',
  ResendPinRequest: 'InfobipResendPinRequest',
  ResendPinRequestViaEmail: 'InfobipResendPinRequest',
};
const ANSWERS: Record<string, string> = {
  ApplicationResponse: 'Application',
  Message: 'MessageTemplate',
  SmsOrVoiceMessage: 'MessageTemplate',
  EmailMessage: 'EmailMessageTemplate',
  StartAuthenticationResponse: 'InfobipSentPin',
  StartEmailAuthenticationResponse: 'InfobipSentPin',
  EmailStatus: 'EmailStatus',
  VerifyPinResponse: 'InfobipPinVerification',
  Verification: 'Verification',
};
/** Said in another way: arguments of their own, lists, sets of strings, and the envelopes of errors. */
const ELSEWHERE = [
  'VerifyPinRequest',
  'VerificationResponse',
  'PinType',
  'Language',
  ...[...schemas.keys()].filter((name) => /Api(Exception|RequestError|RequestErrorDetails)$/.test(name)),
];
/** What our types add to Infobip's, and the two times that become dates. */
const OURS = ['channel', 'ncNeeded', 'sent', 'reason', 'test'];
const DATES = ['verifiedAt', 'sentAt'];
/** What a request of ours needs besides. */
const ALSO_REQUIRED: Record<string, string> = { InfobipSendPinRequest: "channel: 'sms'" };

/** Expressions of the type that a schema means. */
function samplesOf(schema: BareSchema): string[] {
  const {
    type,
    enum: values,
    properties,
    required = [],
    additionalProperties,
    items,
  } = resolveSchema(schema);
  if (values !== undefined) {
    return values.map((value) => `'${value}'`);
  }
  if (additionalProperties !== undefined) {
    return [`{ any: ${samplesOf(additionalProperties)[0]} }`];
  }
  if (properties !== undefined) {
    return [`{ ${required.map((name) => `${name}: ${samplesOf(properties[name] ?? {})[0]}`).join(', ')} }`];
  }
  const samples: Record<string, string> = { string: "'x'", integer: '7', number: '0.5', boolean: 'true' };
  return [items === undefined ? (samples[type ?? ''] ?? 'no sample') : `[${samplesOf(items)[0]}]`];
}

function wrongSampleOf(schema: BareSchema): string {
  const { type, enum: values, additionalProperties } = resolveSchema(schema);
  if (additionalProperties !== undefined) {
    return '{ any: Symbol() }';
  }
  return type === 'string' && values === undefined ? '7' : "'none of these'";
}

interface Check {
  what: string;
  code: string;
  compiles: boolean;
}

function checksOf(): Check[] {
  const checks: Check[] = [];
  const add = (what: string, compiles: boolean, code: string): void => {
    checks.push({ what, compiles, code });
  };
  for (const [schemaName, type] of Object.entries(REQUESTS)) {
    const { properties = {}, required = [] } = resolveSchema(schemas.get(schemaName) ?? {});
    const filled = (except?: string, ...more: string[]): string =>
      [
        ...required
          .filter((name) => name !== except)
          .map((name) => `${name}: ${samplesOf(properties[name] ?? {})[0]}`),
        ...(ALSO_REQUIRED[type] === undefined ? [] : [ALSO_REQUIRED[type]]),
        ...more,
      ].join(', ');
    add(`${type} with what ${schemaName} requires`, true, `const it: ours.${type} = { ${filled()} };`);
    for (const name of required) {
      add(`${type} without ${name}`, false, `const it: ours.${type} = { ${filled(name)} };`);
    }
    for (const [name, schema] of Object.entries(properties)) {
      for (const sample of samplesOf(schema)) {
        add(`${type}.${name} = ${sample}`, true, `const it: Required<ours.${type}>['${name}'] = ${sample};`);
      }
      add(
        `${type}.${name} of another type`,
        false,
        `const it: Required<ours.${type}>['${name}'] = ${wrongSampleOf(schema)};`,
      );
      const misspelt = `${name.slice(0, -1)}_`;
      add(
        `${type}.${misspelt}`,
        false,
        `const it: ours.${type} = { ${filled('', `${misspelt}: ${samplesOf(schema)[0]}`)} };`,
      );
    }
  }
  for (const [schemaName, type] of Object.entries(ANSWERS)) {
    for (const [name, schema] of Object.entries(
      resolveSchema(schemas.get(schemaName) ?? {}).properties ?? {},
    )) {
      const read = (code: string): string => `void ((it: ours.${type}) => { ${code} });`;
      const { type: json = '', properties } = resolveSchema(schema);
      const types: Record<string, string> = { integer: 'number', object: 'object' };
      const known = DATES.includes(name) ? 'Date' : (types[json] ?? json);
      add(`${type}.${name} is ${known}`, true, read(`const field: ${known} | undefined = it.${name};`));
      add(`${type}.${name} is no bigint`, false, read(`const field: bigint | undefined = it.${name};`));
      add(`${type}.${name}_`, false, read(`void it.${name}_;`));
      for (const inner of Object.keys(properties ?? {})) {
        add(`${type}.${name}.${inner}`, true, read(`void it.${name}?.${inner};`));
      }
    }
  }
  return checks;
}

describe('the types', () => {
  const checks = checksOf();
  let failed: Set<number>;
  let propertiesOf: (type: string) => string[];

  beforeAll(() => {
    const fileName = fileURLToPath(new URL('./shapes-of-infobip.ts', import.meta.url));
    const lines = checks.map(({ code }) => `{ ${code} }`);
    const names = [...new Set([...Object.values(REQUESTS), ...Object.values(ANSWERS)])];
    const text = [
      "import type * as ours from '../../lib/infobip/index.js';",
      ...lines,
      ...names.map((name) => `export type Own${name} = ours.${name};`),
    ].join('\n');
    const options: ts.CompilerOptions = {
      target: ts.ScriptTarget.ES2023,
      lib: ['lib.es2023.d.ts'],
      module: ts.ModuleKind.NodeNext,
      moduleResolution: ts.ModuleResolutionKind.NodeNext,
      types: ['node'],
      strict: true,
      noUncheckedIndexedAccess: true,
      exactOptionalPropertyTypes: true,
      skipLibCheck: true,
      noEmit: true,
    };
    const host = ts.createCompilerHost(options);
    const { getSourceFile, fileExists } = host;
    host.getSourceFile = (name, ...more) =>
      name === fileName
        ? ts.createSourceFile(name, text, ts.ScriptTarget.ES2023)
        : getSourceFile.call(host, name, ...more);
    host.fileExists = (name) => name === fileName || fileExists.call(host, name);
    const program = ts.createProgram([fileName], options, host);
    const source = program.getSourceFile(fileName);
    const problems = source === undefined ? [] : program.getSemanticDiagnostics(source);
    const syntax = source === undefined ? [] : program.getSyntacticDiagnostics(source);
    expect(syntax.map(({ messageText }) => messageText)).toEqual([]);
    failed = new Set(
      problems.map(({ start = 0 }) => (source?.getLineAndCharacterOfPosition(start).line ?? 0) - 1),
    );
    const checker = program.getTypeChecker();
    propertiesOf = (type) => {
      const alias = source?.statements.find(
        (statement): statement is ts.TypeAliasDeclaration =>
          ts.isTypeAliasDeclaration(statement) && statement.name.text === `Own${type}`,
      );
      expect(alias, type).toBeDefined();
      return alias === undefined
        ? []
        : checker.getPropertiesOfType(checker.getTypeAtLocation(alias)).map(({ name }) => name);
    };
  });

  it('say all that Infobip\u2019s schemas say', () => {
    const said = [...Object.keys(REQUESTS), ...Object.keys(ANSWERS), ...ELSEWHERE].sort();
    expect(said).toEqual([...schemas.keys()].sort());
  });

  it('compile where the schema holds, and only there', () => {
    expect(checks.length).toBeGreaterThan(300);
    const wrong = checks.filter(({ compiles }, line) => compiles === failed.has(line));
    expect(wrong.map(({ what, compiles }) => `${what}: should ${compiles ? '' : 'not '}compile`)).toEqual([]);
  });

  it('say nothing that no schema says, but for what is ours', () => {
    const told: Record<string, Set<string>> = {};
    for (const [schemaName, type] of [...Object.entries(REQUESTS), ...Object.entries(ANSWERS)]) {
      told[type] ??= new Set(OURS);
      for (const name of Object.keys(resolveSchema(schemas.get(schemaName) ?? {}).properties ?? {})) {
        told[type].add(name);
      }
    }
    for (const [type, names] of Object.entries(told)) {
      const own = propertiesOf(type);
      expect(own.length, type).toBeGreaterThan(0);
      expect(
        own.filter((name) => !names.has(name)),
        type,
      ).toEqual([]);
    }
  });
});
