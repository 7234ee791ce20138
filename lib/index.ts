export type * from './otp-client.js';
