// A host without any type package, not even Node's: the root entry stands alone.

import {
  type OtpClient,
  openChallenge,
  type Proof,
  type RequestLike,
  requireSmsOtp,
  type SmsOtpEvent,
  SmsOtpStrategy,
} from 'passport-sms-otp';

interface Request extends RequestLike {
  body: { phone?: string };
  tenant: string;
}

declare const client: OtpClient;
const events: SmsOtpEvent[] = [];

export const strategy = new SmsOtpStrategy<Request>(
  {
    client,
    applicationId: 'A',
    messageId: ({ req }) => req.tenant,
    countries: ['HR'],
    beforeSend: async ({ req, phoneNumber }) => req.tenant !== phoneNumber,
    onEvent: (event) => events.push(event),
  },
  (proof: Proof<Request>) => ({ id: proof.req.tenant }),
);

export const name: string = strategy.name;
export const guard = requireSmsOtp({ maxAgeSeconds: 60 });
export const open = async (req: Request): Promise<string | undefined> => (await openChallenge(req))?.to;
