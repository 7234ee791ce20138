export type { Credentials } from './auth.js';
export {
  type CallOptions,
  Infobip2faClient,
  type InfobipPinVerification,
  type InfobipResendPinRequest,
  type InfobipSendPinRequest,
  type InfobipSentPin,
  type Verification,
  type VerificationStatusQuery,
} from './client.js';
export {
  type DiagnosedIds,
  diagnose2fa,
  type Finding,
  type FindingCode,
  type Severity,
  type SiteExpectations,
} from './diagnose.js';
export {
  InfobipError,
  type InfobipErrorCode,
  type InfobipErrorDetails,
  type InfobipViolation,
} from './errors.js';
export type { ClientSettings, Infobip2faClientOptions } from './options.js';
export { type PinShape, type SetUp, type SetUpPart, type SetUpPlan, setUp2fa } from './setup.js';
export type {
  Application,
  ApplicationConfiguration,
  ApplicationRequest,
  CreateEmailMessageTemplateRequest,
  CreateMessageTemplateRequest,
  EmailMessageTemplate,
  EmailStatus,
  IndiaDltOptions,
  Language,
  MessageTemplate,
  NcStatus,
  Open,
  PinType,
  RegionalOptions,
  UpdateEmailMessageTemplateRequest,
  UpdateMessageTemplateRequest,
} from './shapes.js';
