// What two dependencies do not declare themselves. This file is not shipped: no declaration of ours mentions them.

declare module 'passport-strategy' {
  class Strategy {}
  export default Strategy;
}

declare module 'rate-limiter-flexible/lib/RateLimiterMemory.js' {
  export { RateLimiterMemory as default } from 'rate-limiter-flexible';
}
