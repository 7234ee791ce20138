/** The recipes of docs/observability.md, cut out of the page and run on what they are for. */

import { execFile } from 'node:child_process';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { inspect, promisify } from 'node:util';
import { context, metrics, type Span, SpanStatusCode, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import type { SmsOtpEvent } from 'passport-sms-otp';
import { Infobip2faClient } from 'passport-sms-otp/infobip';
import { type Simulator, startSimulator } from 'passport-sms-otp/simulator';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createHost, type LooseOptions, OTHER_PHONE, PHONE } from './support/host.js';

const root = new URL('..', import.meta.url);
// Inside the repository, so that packages are found by their own names.
const folder = new URL('.cache/observability/', root);
const page = await readFile(new URL('docs/observability.md', root), 'utf8');
const recipes = new Map(
  [...page.matchAll(/^```js (\w+)\n([\s\S]*?)^```$/gm)].map(([, name = '', text = '']) => [name, text]),
);

type Json = Record<string, unknown>;
interface Recipes {
  createAudit(destination: Writable): (event: SmsOtpEvent) => void;
  telemetry(event: SmsOtpEvent): void;
  watchService(origin: string, tell: (what: Json) => void): void;
}
let recipe: Recipes;
let simulator: Simulator;
let client: Infobip2faClient;

const spans = new InMemorySpanExporter();
const measured = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
const reader = new PeriodicExportingMetricReader({ exporter: measured, exportIntervalMillis: 3_600_000 });

beforeAll(async () => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  trace.setGlobalTracerProvider(
    new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] }),
  );
  metrics.setGlobalMeterProvider(new MeterProvider({ readers: [reader] }));
  await mkdir(folder, { recursive: true });
  const modules: object[] = [];
  for (const [name, text] of recipes) {
    const file = new URL(`${name}.js`, folder);
    await writeFile(file, text);
    modules.push(await import(file.href));
  }
  recipe = Object.assign({}, ...modules);
  simulator = await startSimulator();
  client = new Infobip2faClient({ baseUrl: simulator.url, apiKey: simulator.apiKey });
});

afterAll(async () => {
  await client.close();
  await simulator.close();
  await reader.shutdown();
  trace.disable();
  metrics.disable();
  context.disable();
});

function site(onEvent: (event: SmsOtpEvent) => void, strategy: LooseOptions = {}, request?: () => Span) {
  const { applicationId, messageId } = simulator;
  return createHost(client, {
    strategy: { applicationId, messageId, onEvent, ...strategy },
    // What an HTTP instrumentation does: the request's handlers run within its span.
    before: [
      (_req, _res, next) =>
        request ? context.with(trace.setSpan(context.active(), request()), next) : next(),
    ],
  });
}

const pin = (to = PHONE) => simulator.lastMessageTo(to)?.pin ?? '';

describe('docs/observability.md', () => {
  it('lists every event that there is, and no other', async () => {
    const types = (text: string, quote: string) =>
      new Set(
        [...text.matchAll(new RegExp(`${quote}([a-z_]+\\.[a-z_]+)${quote}`, 'g'))].map(([, type]) => type),
      );
    const union = await readFile(new URL('lib/events.ts', root), 'utf8');
    const table = page.slice(page.indexOf('| `type` | when |'), page.indexOf('Two things are not events'));
    const told = [...types(table, '`')].filter((type) => !type?.startsWith('req.'));
    expect(told.sort()).toEqual([...types(union, "'")].sort());
  });

  it('has recipes that type-check', async () => {
    const config = {
      compilerOptions: {
        ...{
          checkJs: true,
          allowJs: true,
          noEmit: true,
          strict: true,
          noImplicitAny: false,
          skipLibCheck: true,
        },
        ...{ module: 'nodenext', target: 'es2023', types: ['node'] },
      },
      include: ['*.js'],
    };
    await writeFile(new URL('tsconfig.json', folder), JSON.stringify(config));
    const tsc = fileURLToPath(new URL('node_modules/typescript/bin/tsc', root));
    const { stdout } = await promisify(execFile)(process.execPath, [tsc, '-p', fileURLToPath(folder)]).catch(
      (failed: { stdout: string }) => failed,
    );
    expect(stdout).toBe('');
  });
});

describe('the audit log', () => {
  it('is a line for each event, with its level, and nothing that opens or names anybody', async () => {
    const lines: Json[] = [];
    const audit = recipe.createAudit(
      new Writable({
        write(chunk, _encoding, done) {
          lines.push(JSON.parse(String(chunk)));
          done();
        },
      }),
    );
    const browser = site(audit, { attempts: 1 }).browser();
    await browser.issue();
    const first = pin();
    await browser.check(first === '000000' ? '000001' : '000000');
    simulator.addFault({ operation: 'sendPin', status: 503 });
    await browser.issue(OTHER_PHONE);
    expect(lines).toMatchObject([
      { level: 30, type: 'pin.sent', recipient: '+385 \u2022\u2022\u2022 67', country: 'HR', channel: 'sms' },
      { level: 40, type: 'challenge.exhausted', code: 'attempts_exhausted' },
      { level: 50, type: 'pin.not_sent', reason: 'error', code: 'ERR_INFOBIP_UNAVAILABLE' },
    ]);
    for (const line of lines) expect(line.at).toMatch(/^\d{4}-\d\d-\d\dT/);
    expect(lines[0]?.recipientHash).toBe(lines[1]?.recipientHash);
    expect(JSON.stringify(lines)).not.toMatch(new RegExp(`${first}|${PHONE.slice(1)}|${simulator.apiKey}`));
  });
});

describe('the OpenTelemetry recipe', () => {
  it('hangs a span for each call of the service under the request, and the rest on it as events', async () => {
    spans.reset();
    const requests: Span[] = [];
    const request = () => {
      const span = trace.getTracer('http').startSpan('POST');
      requests.push(span);
      return span;
    };
    const browser = site((event) => recipe.telemetry(event), {}, request).browser();
    await browser.issue('+385911112233');
    await browser.issue('+385911112244');
    await browser.check(pin('+385911112244'));
    simulator.addFault({ operation: 'sendPin', status: 503 });
    await browser.issue('+385911112255');
    await browser.issue('+38641112255');
    for (const span of requests) span.end();

    const ours = spans.getFinishedSpans().filter(({ name }) => name.startsWith('sms_otp'));
    expect(
      ours.map(({ name, attributes, status }) => [name, attributes['sms_otp.event'], status.code]),
    ).toEqual([
      ['sms_otp send', 'pin.sent', SpanStatusCode.UNSET],
      ['sms_otp send', 'pin.sent', SpanStatusCode.UNSET],
      ['sms_otp check', 'pin.verified', SpanStatusCode.UNSET],
      ['sms_otp send', 'pin.not_sent', SpanStatusCode.ERROR],
    ]);
    for (const [index, span] of ours.entries()) {
      expect(span.parentSpanContext?.spanId).toBe(requests[index]?.spanContext().spanId);
      expect(span.duration[0] + span.duration[1] / 1e9).toBeLessThan(10);
      expect(span.duration[0] + span.duration[1] / 1e9).toBeGreaterThan(0);
    }
    const last = spans
      .getFinishedSpans()
      .filter(({ name }) => name === 'POST')
      .at(-1);
    expect(last?.events).toMatchObject([
      {
        name: 'request.refused',
        attributes: { 'sms_otp.code': 'phone_not_allowed', 'sms_otp.country': 'SI' },
      },
    ]);
    const written = JSON.stringify(
      spans.getFinishedSpans().map(({ attributes, events }) => [attributes, events]),
    );
    expect(written).not.toMatch(/38591|\u2022|recipient|subject/);
  });

  it('counts events and measures the service, by nothing that is different for every visitor', async () => {
    await reader.forceFlush();
    const found =
      measured
        .getMetrics()
        .at(-1)
        ?.scopeMetrics.flatMap((scope) => scope.metrics) ?? [];
    const points = (name: string) =>
      found.find(({ descriptor }) => descriptor.name === name)?.dataPoints ?? [];
    const sent = points('sms_otp.events').find(
      ({ attributes }) => attributes['sms_otp.event'] === 'pin.sent',
    );
    expect(sent).toMatchObject({
      value: 2,
      attributes: { 'sms_otp.strategy': 'sms-otp', 'sms_otp.channel': 'sms', 'sms_otp.country': 'HR' },
    });
    const sends = points('sms_otp.service.duration').find(
      ({ attributes }) => attributes['sms_otp.operation'] === 'send',
    );
    expect(sends?.value).toMatchObject({ count: 3 });
    const names = new Set(
      found.flatMap(({ dataPoints }) => dataPoints.flatMap((point) => Object.keys(point.attributes))),
    );
    expect([...names].filter((name) => /recipient|hash|subject|duration/i.test(name))).toEqual([]);
  });
});

describe("undici's own channels", () => {
  const channels = ['create', 'bodyChunkSent', 'headers', 'bodyChunkReceived'].map(
    (name) => `undici:request:${name}`,
  );

  it('hold what the page warns of, and the recipe lets none of it through', async () => {
    const raw = new Map<string, string>();
    const listen = (message: unknown, name: string | symbol) => {
      const { chunk, request } = message as { chunk?: Uint8Array; request?: { body?: Uint8Array | null } };
      const bodies = [chunk, request?.body].map((body) => (body ? Buffer.from(body).toString() : ''));
      const text = inspect(message, { depth: 3 }) + bodies.join();
      raw.set(String(name), (raw.get(String(name)) ?? '') + text);
    };
    for (const name of [...channels, 'undici:client:sendHeaders']) subscribe(name, listen);
    const told: Json[] = [];
    recipe.watchService(simulator.url, (what) => told.push(what));

    const { applicationId, messageId } = simulator;
    const to = '+385911119999';
    const { pinId } = await client.sendPin({ channel: 'sms', applicationId, messageId, to });
    await client.resendPin(pinId);
    await client.verifyPin(pinId, pin(to));
    await client.getVerificationStatus(applicationId, { msisdn: to });
    for (const name of [...channels, 'undici:client:sendHeaders']) unsubscribe(name, listen);

    const key = simulator.apiKey;
    const secrets: [channel: string, secrets: string[]][] = [
      ['undici:request:create', [pinId, to.slice(1)]],
      ['undici:client:sendHeaders', [pinId, to.slice(1)]],
      ['undici:request:bodyChunkReceived', [pinId, to.slice(1)]],
    ];
    for (const [channel, text] of raw) {
      for (const secret of [key, pin(to)]) expect(text.includes(secret), `${channel} ${secret}`).toBe(false);
    }
    for (const [channel, expected] of secrets) {
      for (const secret of expected)
        expect(raw.get(channel)?.includes(secret), `${channel} ${secret}`).toBe(true);
    }
    expect(told).toMatchObject([
      { method: 'POST', path: '/2fa/2/pin', status: 200 },
      { method: 'POST', path: '/2fa/2/pin/{pinId}/resend', status: 200 },
      { method: 'POST', path: '/2fa/2/pin/{pinId}/verify', status: 200 },
      { method: 'GET', path: `/2fa/2/applications/${applicationId}/verifications`, status: 200 },
    ]);
    expect(JSON.stringify(told)).not.toMatch(new RegExp([key, pinId, to.slice(1), pin(to)].join('|')));
  });
});
