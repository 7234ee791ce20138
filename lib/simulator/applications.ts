/** The set-up of an account: applications with their limits, and the message templates under them. */

import type { Behaviour } from './behaviour.js';
import { notFound } from './errors.js';
import { Fields } from './fields.js';
import { parseDuration, parseRate, type Rate } from './limits.js';
import { freshId, type Random } from './random.js';

/** A body as it goes out; what is undefined is left out there. */
export type JsonObject = Record<string, unknown>;

export interface Configuration {
  pinAttempts: number;
  allowMultiplePinVerifications: boolean;
  pinTimeToLive: string;
  verifyPinLimit: string;
  sendPinPerApplicationLimit: string;
  sendPinPerPhoneNumberLimit: string;
}

/** What the document of the service gives an application that asks for nothing. */
const serviceDefaults: Readonly<Configuration> = {
  pinAttempts: 10,
  allowMultiplePinVerifications: true,
  pinTimeToLive: '15m',
  verifyPinLimit: '1/3s',
  sendPinPerApplicationLimit: '10000/1d',
  sendPinPerPhoneNumberLimit: '3/1d',
};

const day = 86_400_000;
const year = 365 * day;
const int32 = 2_147_483_647;
const pinPlaceholder = '{{pin}}';

const pinTypes = ['NUMERIC', 'ALPHA', 'HEX', 'ALPHANUMERIC'] as const;
export type PinType = (typeof pinTypes)[number];

const languages = 'en es ca da nl fr de it ja ko no pl ru sv fi hr sl ro pt_pt pt_br zh_cn zh_tw'.split(' ');

export interface Application {
  applicationId: string;
  name: string;
  enabled: boolean;
  configuration: Configuration;
  limits: Limits;
  templates: Map<string, Template>;
}

/** The configuration's texts, parsed. */
interface Limits {
  timeToLiveMs: number;
  check: Rate;
  application: Rate;
  number: Rate;
}

interface TextTemplate {
  channel: 'text';
  messageId: string;
  messageText: string;
  pinLength: number;
  pinType: PinType;
  language: string | undefined;
  voiceName: string | undefined;
  senderId: string | undefined;
  repeatDTMF: string | undefined;
  speechRate: number | undefined;
  regional: object | undefined;
}

interface EmailTemplate {
  channel: 'email';
  messageId: string;
  pinLength: number;
  pinType: PinType;
  from: string | undefined;
  emailTemplateId: number;
  landingPageId: string | undefined;
}

export type Template = TextTemplate | EmailTemplate;

export interface SetUp {
  applicationId: string;
  messageId: string;
}

export interface ApplicationsOptions {
  random: Random;
  behaviour: () => Behaviour;
}

export class Applications {
  private readonly applications = new Map<string, Application>();
  private readonly options: ApplicationsOptions;

  constructor(options: ApplicationsOptions) {
    this.options = options;
  }

  clear(): void {
    this.applications.clear();
  }

  find(applicationId: string): Application | undefined {
    return this.applications.get(applicationId);
  }

  /** Puts an application with one SMS template there under ids of the caller's choice, as the account's owner would. */
  addSetUp(ids: SetUp, application: unknown, template: unknown): void {
    this.applications.delete(ids.applicationId);
    this.create(application, ids.applicationId);
    this.createTextTemplate(ids.applicationId, template, ids.messageId);
  }

  list(): JsonObject[] {
    return [...this.applications.values()].map((application) => this.showApplication(application));
  }

  create(body: unknown, applicationId = freshId(this.options.random, this.applications)): JsonObject {
    const fields = Fields.of(body);
    const application = {
      applicationId,
      name: fields.requiredString('name'),
      enabled: fields.boolean('enabled') ?? true,
      ...this.readConfiguration(fields, serviceDefaults),
      templates: new Map<string, Template>(),
    };
    fields.check();
    this.applications.set(applicationId, application);
    return this.showApplication(application);
  }

  get(applicationId: string): JsonObject {
    return this.showApplication(this.need(applicationId));
  }

  update(applicationId: string, body: unknown): JsonObject {
    const application = this.need(applicationId);
    const fields = Fields.of(body);
    const { updateConfiguration } = this.options.behaviour();
    const base = updateConfiguration === 'keep' ? application.configuration : serviceDefaults;
    const changes = {
      name: fields.requiredString('name'),
      enabled: fields.boolean('enabled') ?? application.enabled,
      ...this.readConfiguration(fields, base),
    };
    fields.check();
    return this.showApplication(Object.assign(application, changes));
  }

  listTemplates(applicationId: string): JsonObject[] {
    const application = this.need(applicationId);
    return [...application.templates.values()].map((template) => this.showTemplate(application, template));
  }

  getTemplate(applicationId: string, messageId: string): JsonObject {
    const application = this.need(applicationId);
    return this.showTemplate(application, this.needTemplate(application, messageId));
  }

  createTextTemplate(applicationId: string, body: unknown, messageId?: string): JsonObject {
    const application = this.need(applicationId);
    const fields = Fields.of(body);
    fields.requiredString('messageText');
    fields.requiredString('pinType');
    const template = this.readTextTemplate(fields, {
      channel: 'text',
      messageId: messageId ?? freshId(this.options.random, application.templates),
      messageText: '',
      pinLength: 4,
      pinType: 'NUMERIC',
      language: undefined,
      voiceName: undefined,
      senderId: undefined,
      repeatDTMF: undefined,
      speechRate: undefined,
      regional: undefined,
    });
    application.templates.set(template.messageId, template);
    return this.showTemplate(application, template, true);
  }

  updateTextTemplate(applicationId: string, messageId: string, body: unknown): JsonObject {
    const application = this.need(applicationId);
    const current = this.needTemplate(application, messageId);
    if (current.channel !== 'text') throw notFound(this.options.behaviour());
    const template = this.readTextTemplate(Fields.of(body), current);
    application.templates.set(messageId, template);
    return this.showTemplate(application, template, true);
  }

  createEmailTemplate(applicationId: string, body: unknown): JsonObject {
    const application = this.need(applicationId);
    const fields = Fields.of(body);
    fields.requiredInteger('emailTemplateId', emailTemplateIds);
    const template = this.readEmailTemplate(fields, {
      channel: 'email',
      messageId: freshId(this.options.random, application.templates),
      pinLength: 4,
      pinType: 'NUMERIC',
      from: undefined,
      emailTemplateId: 0,
      landingPageId: undefined,
    });
    application.templates.set(template.messageId, template);
    return this.showTemplate(application, template);
  }

  updateEmailTemplate(applicationId: string, messageId: string, body: unknown): JsonObject {
    const application = this.need(applicationId);
    const current = this.needTemplate(application, messageId);
    if (current.channel !== 'email') throw notFound(this.options.behaviour());
    const template = this.readEmailTemplate(Fields.of(body), current);
    application.templates.set(messageId, template);
    return this.showTemplate(application, template);
  }

  /** The application, or the 404 that it is not there. */
  need(applicationId: string): Application {
    const application = this.applications.get(applicationId);
    if (!application) throw notFound(this.options.behaviour());
    return application;
  }

  needTemplate(application: Application, messageId: string): Template {
    const template = application.templates.get(messageId);
    if (!template) throw notFound(this.options.behaviour());
    return template;
  }

  private showApplication({ applicationId, name, configuration, enabled }: Application): JsonObject {
    const shown = this.options.behaviour().limitsNormalised ? normalizeLimits(configuration) : configuration;
    return { applicationId, name, configuration: { ...shown }, enabled };
  }

  private showTemplate(application: Application, template: Template, written = false): JsonObject {
    const { messageId, channel, ...rest } = template;
    const shown = written || this.options.behaviour().pinPlaceholderInReads;
    const placeholder = channel === 'text' && shown ? { pinPlaceholder } : {};
    return { messageId, applicationId: application.applicationId, ...placeholder, ...rest };
  }

  private readTextTemplate(fields: Fields, base: TextTemplate): TextTemplate {
    const messageText = fields.string('messageText');
    if (messageText?.trim() === '') fields.refuse('messageText', 'must not be blank');
    else if (messageText?.includes(pinPlaceholder) === false)
      fields.refuse('messageText', `must contain ${pinPlaceholder}`);
    const template = {
      ...base,
      messageText: messageText ?? base.messageText,
      pinLength: this.readPinLength(fields) ?? base.pinLength,
      pinType: fields.oneOf('pinType', pinTypes) ?? base.pinType,
      language: fields.oneOf('language', languages) ?? base.language,
      voiceName: fields.string('voiceName') ?? base.voiceName,
      senderId: fields.string('senderId') ?? base.senderId,
      repeatDTMF: fields.string('repeatDTMF') ?? base.repeatDTMF,
      speechRate: fields.number('speechRate', { min: 0.5, max: 2 }) ?? base.speechRate,
      regional: readRegional(fields) ?? base.regional,
    };
    fields.check();
    return template;
  }

  private readEmailTemplate(fields: Fields, base: EmailTemplate): EmailTemplate {
    const from = fields.string('from');
    if (from !== undefined && !/^[^<>@\s]+@[^<>@\s]+$|^[^<>]*<[^<>@\s]+@[^<>@\s]+>$/.test(from)) {
      fields.refuse('from', 'must be an e-mail address, with or without a name');
    }
    const template = {
      ...base,
      pinLength: this.readPinLength(fields) ?? base.pinLength,
      pinType: fields.oneOf('pinType', pinTypes) ?? base.pinType,
      from: from ?? base.from,
      emailTemplateId: fields.integer('emailTemplateId', emailTemplateIds) ?? base.emailTemplateId,
      landingPageId: fields.string('landingPageId') ?? base.landingPageId,
    };
    fields.check();
    return template;
  }

  /** The configuration as it is shown, and its limits as they are used. */
  private readConfiguration(
    body: Fields,
    base: Readonly<Configuration>,
  ): { configuration: Configuration; limits: Limits } {
    const behaviour = this.options.behaviour();
    const fields = body.object('configuration') ?? new Fields({});
    const configuration: Configuration = {
      pinAttempts:
        fields.integer('pinAttempts', { min: behaviour.pinAttemptsLimited ? 1 : -int32, max: int32 }) ??
        base.pinAttempts,
      allowMultiplePinVerifications:
        fields.boolean('allowMultiplePinVerifications') ?? base.allowMultiplePinVerifications,
      pinTimeToLive: fields.string('pinTimeToLive') ?? base.pinTimeToLive,
      verifyPinLimit: fields.string('verifyPinLimit') ?? base.verifyPinLimit,
      sendPinPerApplicationLimit:
        fields.string('sendPinPerApplicationLimit') ?? base.sendPinPerApplicationLimit,
      sendPinPerPhoneNumberLimit:
        fields.string('sendPinPerPhoneNumberLimit') ?? base.sendPinPerPhoneNumberLimit,
    };
    const rate = (name: keyof Configuration, maxMs: number): Rate => {
      const parsed = parseRate(String(configuration[name]), behaviour);
      if (parsed && parsed.lengthMs <= maxMs) return parsed;
      const longest = maxMs === day ? 'one day' : 'one year';
      fields.refuse(name, `must be attempts/duration such as 5/1h, at most ${longest}`);
      return { points: 1, lengthMs: 1 };
    };
    const timeToLiveMs = parseDuration(configuration.pinTimeToLive, behaviour) ?? Number.POSITIVE_INFINITY;
    if (timeToLiveMs > year)
      fields.refuse('pinTimeToLive', 'must be a duration such as 15m, at most one year');
    const limits = {
      timeToLiveMs,
      check: rate('verifyPinLimit', day),
      application: rate('sendPinPerApplicationLimit', year),
      number: rate('sendPinPerPhoneNumberLimit', year),
    };
    return { configuration, limits };
  }

  private readPinLength(fields: Fields): number | undefined {
    // 1 to 8 is what version 1 of the API allowed. 100 only guards the simulator.
    return fields.integer('pinLength', { min: 1, max: this.options.behaviour().pinLengthLimited ? 8 : 100 });
  }
}

const emailTemplateIds = { min: Number.MIN_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER };

function readRegional(fields: Fields): object | undefined {
  const regional = fields.object('regional');
  const indiaDlt = regional?.object('indiaDlt');
  if (!indiaDlt) return regional && {};
  return {
    indiaDlt: {
      principalEntityId: indiaDlt.neededString('principalEntityId', { max: 30 }),
      contentTemplateId: indiaDlt.string('contentTemplateId', { max: 30 }),
      teleMarketerId: indiaDlt.string('teleMarketerId', { max: 255 }),
    },
  };
}

/** The texts of the configuration with every length written out: `5/h` as `5/1h`, `m` as `1m`. */
function normalizeLimits(configuration: Configuration): Configuration {
  const written = (text: string) => text.replace(/(^|\/)(?=[a-z])/, (start) => `${start}1`);
  return {
    ...configuration,
    pinTimeToLive: written(configuration.pinTimeToLive),
    verifyPinLimit: written(configuration.verifyPinLimit),
    sendPinPerApplicationLimit: written(configuration.sendPinPerApplicationLimit),
    sendPinPerPhoneNumberLimit: written(configuration.sendPinPerPhoneNumberLimit),
  };
}
