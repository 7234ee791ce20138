import type { Limiter, LimiterOptions } from 'passport-sms-otp';
import { RateLimiterSQLite } from 'rate-limiter-flexible';
import type { Database } from './database.js';

/** The strategy's `limiter` option: budgets, attempts and claims are counted in the site's own file. */
export function limitersIn(database: Database): (options: LimiterOptions) => Limiter {
  return ({ keyPrefix, points, duration }) =>
    new RateLimiterSQLite({
      storeClient: database,
      // libsql speaks as better-sqlite3 does.
      storeType: 'better-sqlite3',
      tableName: 'limits',
      tableCreated: true,
      keyPrefix,
      points,
      duration,
    });
}
