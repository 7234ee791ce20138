import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import express from 'express';
import type { CountryCode } from 'passport-sms-otp';
import { z } from 'zod';
import { StartupError } from './startup-error.js';

/** Everything the environment decides, read once at the start. */
export interface Settings {
  host: string;
  port: number;
  /** Where visitors find the site; when it is https, cookies are `Secure` and the SMS names the site. */
  publicUrl: URL | undefined;
  trustProxy: boolean | number | string;
  dataFolder: string;
  sessionSecret: string | undefined;
  /** ISO 3166 codes of the countries whose numbers may log in. */
  countries: CountryCode[] | 'all';
  /** Where PINs are made and sent; the site's own simulator when there is none. */
  infobip: InfobipSettings | undefined;
  simulatorPort: number;
}

export interface InfobipSettings {
  baseUrl: string;
  apiKey: string;
  applicationId: string | undefined;
  messageId: string | undefined;
}

const ownDataFolder = fileURLToPath(new URL('../data', import.meta.url));

const port = (name: string, fallback: number) =>
  z
    .string()
    .default(String(fallback))
    .refine(
      (text) => /^\d{1,5}$/.test(text) && Number(text) <= 65_535,
      `${name} must be a number from 0 to 65535, for instance ${name}=${fallback}.`,
    )
    .transform(Number);

const webAddress = (name: string, sentence: string) =>
  z
    .string()
    .transform((text, context) => {
      const address = URL.canParse(text) ? new URL(text) : undefined;
      if (address && /^https?:$/.test(address.protocol) && address.href === `${address.origin}/`)
        return address;
      context.addIssue({ code: 'custom', message: `${name} ${sentence}` });
      return z.NEVER;
    })
    .optional();

const environment = z
  .object({
    NODE_ENV: z.string().optional(),
    HOST: z.string().default('127.0.0.1'),
    PORT: port('PORT', 3000),
    SIMULATOR_PORT: port('SIMULATOR_PORT', 4010),
    PUBLIC_URL: webAddress(
      'PUBLIC_URL',
      'must be the address of the site without a path, for instance https://login.example.com.',
    ),
    TRUST_PROXY: z
      .string()
      .transform((text, context) => {
        const value = trustProxyFrom(text);
        if (isTrustProxy(value)) return value;
        context.addIssue({
          code: 'custom',
          message:
            'TRUST_PROXY must be a number of proxies, true, false, or addresses such as "loopback" or "10.0.0.0/8".',
        });
        return z.NEVER;
      })
      .default(false),
    DATA_DIR: z.string().default(ownDataFolder),
    SESSION_SECRET: z
      .string()
      .min(
        32,
        'SESSION_SECRET must have 32 characters or more: make one with `openssl rand -hex 32` and keep it.',
      )
      .optional(),
    SMS_COUNTRIES: z
      .string()
      .transform((text, context): CountryCode[] | 'all' => {
        const codes = text
          .toUpperCase()
          .split(/[\s,]+/)
          .filter(Boolean);
        if (codes.length === 1 && codes[0] === 'ALL') return 'all';
        if (codes.length > 0 && codes.every(mayBeCountry)) return codes;
        context.addIssue({
          code: 'custom',
          message:
            'SMS_COUNTRIES must list countries by their two letters, for instance SMS_COUNTRIES=HR,SI, or be "all".',
        });
        return z.NEVER;
      })
      .optional(),
    INFOBIP_BASE_URL: z.string().optional(),
    INFOBIP_API_KEY: z.string().optional(),
    INFOBIP_APPLICATION_ID: z.string().optional(),
    INFOBIP_MESSAGE_ID: z.string().optional(),
  })
  .superRefine((env, context) => {
    const refuse = (message: string) => context.addIssue({ code: 'custom', message });

    if (env.NODE_ENV === 'production' && env.SESSION_SECRET === undefined) {
      refuse(
        'SESSION_SECRET is required when NODE_ENV=production: make one with `openssl rand -hex 32` and keep it.',
      );
    }
    if (env.PORT !== 0 && env.PORT === env.SIMULATOR_PORT && env.INFOBIP_BASE_URL === undefined) {
      refuse(`PORT and SIMULATOR_PORT are both ${env.PORT}: give one of them another number.`);
    }
    if (env.INFOBIP_BASE_URL !== undefined && env.INFOBIP_API_KEY === undefined) {
      refuse('INFOBIP_BASE_URL is set without INFOBIP_API_KEY: set both, or neither to use the simulator.');
    }
    if (env.INFOBIP_API_KEY !== undefined && env.INFOBIP_BASE_URL === undefined) {
      refuse('INFOBIP_API_KEY is set without INFOBIP_BASE_URL: set both, or neither to use the simulator.');
    }
    if (env.INFOBIP_MESSAGE_ID !== undefined && env.INFOBIP_APPLICATION_ID === undefined) {
      refuse(
        'INFOBIP_MESSAGE_ID is set without INFOBIP_APPLICATION_ID: a template belongs to an application, set both.',
      );
    }
    if (
      env.SMS_COUNTRIES === undefined &&
      env.INFOBIP_BASE_URL !== undefined &&
      !isLoopback(env.INFOBIP_BASE_URL)
    ) {
      refuse(
        'SMS_COUNTRIES is required with a real service, which charges for each message: list the countries you serve, for instance SMS_COUNTRIES=HR,SI.',
      );
    }
  });

/**
 * Reads the settings; an empty variable counts as unset.
 *
 * @throws StartupError with one sentence for each value that cannot be used.
 */
export function readSettings(variables: NodeJS.ProcessEnv): Settings {
  const set = Object.fromEntries(Object.entries(variables).filter(([, value]) => value?.trim()));
  const result = environment.safeParse(set);
  if (!result.success) throw new StartupError(result.error.issues.map((issue) => issue.message).join('\n'));

  const env = result.data;
  return {
    host: env.HOST,
    port: env.PORT,
    publicUrl: env.PUBLIC_URL,
    trustProxy: env.TRUST_PROXY,
    dataFolder: resolve(env.DATA_DIR),
    sessionSecret: env.SESSION_SECRET,
    countries: env.SMS_COUNTRIES ?? 'all',
    infobip:
      env.INFOBIP_BASE_URL !== undefined && env.INFOBIP_API_KEY !== undefined
        ? {
            baseUrl: env.INFOBIP_BASE_URL,
            apiKey: env.INFOBIP_API_KEY,
            applicationId: env.INFOBIP_APPLICATION_ID,
            messageId: env.INFOBIP_MESSAGE_ID,
          }
        : undefined,
    simulatorPort: env.SIMULATOR_PORT,
  };
}

function trustProxyFrom(text: string): boolean | number | string {
  if (text === 'true' || text === 'false') return text === 'true';
  return /^\d+$/.test(text) ? Number(text) : text;
}

/** Express is the judge: the setting is its own. */
function isTrustProxy(value: boolean | number | string): boolean {
  try {
    express().set('trust proxy', value);
    return true;
  } catch {
    return false;
  }
}

/** Whether there is a country of this code is for the strategy to say. */
function mayBeCountry(code: string): code is CountryCode {
  return /^[A-Z]{2}$/.test(code);
}

function isLoopback(address: string): boolean {
  const withScheme = address.includes('://') ? address : `https://${address}`;
  if (!URL.canParse(withScheme)) return false;
  const { hostname } = new URL(withScheme);
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d+){3}$/.test(hostname);
}
