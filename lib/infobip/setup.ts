import type { Infobip2faClient } from './client.js';
import { misuse } from './errors.js';
import { refuseUnknown } from './options.js';
import {
  type Application,
  type ApplicationConfiguration,
  type CreateEmailMessageTemplateRequest,
  type CreateMessageTemplateRequest,
  isRecord,
  isString,
  type Language,
  type MessageTemplate,
  type PinType,
  type RegionalOptions,
} from './shapes.js';

/** The PIN that templates make. */
export interface PinShape {
  /** Default: 6. */
  length?: number;
  /** Default: NUMERIC. */
  type?: PinType;
}

/** What `setUp2fa` sees to. Channels that are left out are left alone. */
export interface SetUpPlan {
  /** Which application, by its name. Default: `passport-sms-otp`. */
  applicationName?: string;
  /** Over our defaults: 5 attempts or more, one verification, 10m, 5/1s checks, 10/1d sends to a number. */
  configuration?: ApplicationConfiguration;
  pin?: PinShape;
  /** When no channel is given: an SMS with a plain English text. */
  sms?: {
    /** Holds `{{pin}}`. */
    text: string;
    senderId?: string;
    regional?: RegionalOptions;
  };
  /** With the text of the SMS, the two share one template. */
  voice?: {
    text: string;
    senderId?: string;
    language?: Language;
    voiceName?: string;
    /** 0.5 to 2. */
    speechRate?: number;
    /** The keys that repeat the message, for instance `1#`. */
    repeatDTMF?: string;
  };
  email?: {
    /** The id of an e-mail made in Infobip's web interface, whose PIN placeholder is `{$pin}`. */
    emailTemplateId: number;
    from?: string;
    landingPageId?: string;
  };
}

/** What is set up now, and what that took. */
export interface SetUp {
  applicationId: string;
  /** The template of the first planned channel: SMS, else voice, else e-mail. */
  messageId: string;
  messageIds: { sms?: string; voice?: string; email?: string };
  /** What was made: `application`, `sms`, `voice`, `email`. Empty, like `updated`, when all was as planned. */
  created: SetUpPart[];
  updated: SetUpPart[];
}

export type SetUpPart = 'application' | 'sms' | 'voice' | 'email';

type SetUpClient = Pick<
  Infobip2faClient,
  | 'listApplications'
  | 'createApplication'
  | 'updateApplication'
  | 'listMessageTemplates'
  | 'createMessageTemplate'
  | 'updateMessageTemplate'
  | 'createEmailMessageTemplate'
  | 'updateEmailMessageTemplate'
>;

const OUR_APPLICATION = 'passport-sms-otp';
const OUR_TEXT = '{{pin}} is your login code. It is good for 10 minutes.';
const OUR_PIN = { length: 6, type: 'NUMERIC' } as const;
const OUR_CONFIGURATION = {
  pinAttempts: 5,
  allowMultiplePinVerifications: false,
  pinTimeToLive: '10m',
  verifyPinLimit: '5/1s',
  sendPinPerPhoneNumberLimit: '10/1d',
} as const;

/** What a plan may consist of. */
const PLAN_FIELDS = {
  applicationName: [],
  configuration: [
    'pinAttempts',
    'allowMultiplePinVerifications',
    'pinTimeToLive',
    'verifyPinLimit',
    'sendPinPerApplicationLimit',
    'sendPinPerPhoneNumberLimit',
  ],
  pin: ['length', 'type'],
  sms: ['text', 'senderId', 'regional'],
  voice: ['text', 'senderId', 'language', 'voiceName', 'speechRate', 'repeatDTMF'],
  email: ['emailTemplateId', 'from', 'landingPageId'],
} as const satisfies {
  [Part in keyof SetUpPlan]-?: readonly (string & keyof NonNullable<SetUpPlan[Part]>)[];
};

/**
 * Finds the planned application by its name and its templates by their texts, makes what is missing, and brings
 * back what has drifted. Doing it again changes nothing. What the plan does not speak of stays as it is: an
 * application that somebody disabled stays disabled. Infobip keeps no names unique: two processes that set up at
 * the same moment may make two applications, of which the first is found from then on.
 */
export async function setUp2fa(client: SetUpClient, plan: SetUpPlan = {}): Promise<SetUp> {
  refuseUnknown(plan, Object.keys(PLAN_FIELDS), 'setUp2fa', (part) => part);
  const parts: Readonly<Record<string, unknown>> = { ...plan };
  for (const [part, fields] of Object.entries(PLAN_FIELDS)) {
    const given = parts[part];
    if (isRecord(given)) {
      refuseUnknown(given, fields, 'setUp2fa', (field) => `${part}.${field}`);
    }
  }
  const templates = plannedTemplates(plan);
  const configuration = plannedConfiguration(plan);
  const name = plan.applicationName ?? OUR_APPLICATION;
  const created: SetUpPart[] = [];
  const updated: SetUpPart[] = [];

  const found = (await client.listApplications()).find((application) => application.name === name);
  const application = found ?? (await client.createApplication({ name, enabled: true, configuration }));
  const { applicationId } = application;
  if (found === undefined) {
    created.push('application');
  } else {
    const drifted = driftOf(found, configuration, plan.configuration?.pinAttempts !== undefined);
    if (Object.keys(drifted).length > 0) {
      await client.updateApplication(applicationId, {
        name,
        ...(found.enabled === undefined ? {} : { enabled: found.enabled }),
        // Whether Infobip keeps what a PUT leaves out is not documented: all of it is given.
        configuration: { ...found.configuration, ...drifted },
      });
      updated.push('application');
    }
  }

  const existing = found === undefined ? [] : await client.listMessageTemplates(applicationId);
  const messageIds: SetUp['messageIds'] = {};
  for (const { parts, wanted } of templates) {
    const match = existing.find((template) => isSameTemplate(template, wanted));
    let messageId = match?.messageId;
    if (messageId === undefined) {
      messageId = await createTemplate(client, applicationId, wanted);
      created.push(...parts);
    } else if (!holds(match, wanted)) {
      await updateTemplate(client, applicationId, messageId, wanted);
      updated.push(...parts);
    }
    for (const part of parts) {
      messageIds[part] = messageId;
    }
  }
  const messageId = messageIds.sms ?? messageIds.voice ?? messageIds.email ?? '';
  return { applicationId, messageId, messageIds, created, updated };
}

interface PlannedTemplate {
  parts: ('sms' | 'voice' | 'email')[];
  wanted: CreateMessageTemplateRequest | CreateEmailMessageTemplateRequest;
}

function plannedTemplates({ sms, voice, email, pin }: SetUpPlan): PlannedTemplate[] {
  const shape = { pinType: pin?.type ?? OUR_PIN.type, pinLength: pin?.length ?? OUR_PIN.length };
  const withText = ({ text, ...fields }: { text: string }, part: string) => {
    if (!isString(text) || !text.includes('{{pin}}')) {
      throw misuse('setUp2fa', `${part}.text must be a text with {{pin}} in it, for instance "${OUR_TEXT}".`);
    }
    return { ...fields, messageText: text, ...shape };
  };
  const planned: PlannedTemplate[] = [];
  const written = sms ?? (voice === undefined && email === undefined ? { text: OUR_TEXT } : undefined);
  if (written !== undefined && written.text === voice?.text) {
    planned.push({ parts: ['sms', 'voice'], wanted: withText({ ...voice, ...written }, 'sms') });
  } else {
    planned.push(...(written ? [{ parts: ['sms' as const], wanted: withText(written, 'sms') }] : []));
    planned.push(...(voice ? [{ parts: ['voice' as const], wanted: withText(voice, 'voice') }] : []));
  }
  if (email !== undefined) {
    if (!Number.isInteger(email.emailTemplateId)) {
      throw misuse('setUp2fa', 'email.emailTemplateId must be the number that Infobip shows for the e-mail.');
    }
    planned.push({ parts: ['email'], wanted: { ...email, ...shape } });
  }
  return planned;
}

async function createTemplate(
  client: SetUpClient,
  applicationId: string,
  wanted: PlannedTemplate['wanted'],
): Promise<string> {
  const { messageId } =
    'emailTemplateId' in wanted
      ? await client.createEmailMessageTemplate(applicationId, wanted)
      : await client.createMessageTemplate(applicationId, wanted);
  return messageId;
}

async function updateTemplate(
  client: SetUpClient,
  applicationId: string,
  messageId: string,
  wanted: PlannedTemplate['wanted'],
): Promise<void> {
  await ('emailTemplateId' in wanted
    ? client.updateEmailMessageTemplate(applicationId, messageId, wanted)
    : client.updateMessageTemplate(applicationId, messageId, wanted));
}

function isSameTemplate(template: MessageTemplate, wanted: PlannedTemplate['wanted']): boolean {
  return 'emailTemplateId' in wanted
    ? template.emailTemplateId === wanted.emailTemplateId
    : template.messageText === wanted.messageText;
}

/** Whether all that is wanted is there, whatever else is. */
function holds(found: unknown, wanted: unknown): boolean {
  return isRecord(wanted)
    ? isRecord(found) &&
        Object.entries(wanted).every(([key, value]) => value === undefined || holds(found[key], value))
    : found === wanted;
}

function plannedConfiguration({ configuration = {} }: SetUpPlan): ApplicationConfiguration {
  const given = Object.entries(configuration).filter(([, value]) => value !== undefined);
  for (const [option, value] of given) {
    const isRate = option.endsWith('Limit');
    if (isString(value) && parseLimit(value)?.isRate !== isRate) {
      const example = isRate ? '10/1d' : '10m';
      throw misuse('setUp2fa', `configuration.${option} is not readable. Write it like ${example}.`);
    }
  }
  return { ...OUR_CONFIGURATION, ...Object.fromEntries(given) };
}

/** The part of the wanted configuration that an application does not have. */
function driftOf(
  { configuration = {} }: Application,
  wanted: ApplicationConfiguration,
  isExact: boolean,
): ApplicationConfiguration {
  const has: Readonly<Record<string, unknown>> = { ...configuration };
  return Object.fromEntries(
    Object.entries(wanted).filter(([option, value]) => {
      const found = has[option];
      if (option === 'pinAttempts' && !isExact && typeof found === 'number' && found >= Number(value)) {
        return false;
      }
      return isString(value) && isString(found) ? !isSameLimit(found, value) : found !== value;
    }),
  );
}

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A duration, or a count within one. */
export interface Limit {
  isRate: boolean;
  count: number;
  ms: number;
}

/** Reads `10m`, `m`, `5/1h` and `5/h`. */
export function parseLimit(text: string): Limit | undefined {
  const [, count, length = '1', unit = ''] = /^(?:(\d+)\/)?(\d+)?(ms|s|m|h|d)$/.exec(text) ?? [];
  const unitMs = UNIT_MS[unit];
  return unitMs === undefined
    ? undefined
    : { isRate: count !== undefined, count: Number(count ?? 1), ms: Number(length) * unitMs };
}

function isSameLimit(a: string, b: string): boolean {
  const [left, right] = [parseLimit(a), parseLimit(b)];
  return a === b || (left !== undefined && holds(left, right));
}
