import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { Database } from './database.js';

export interface User {
  id: string;
  /** E.164. */
  phoneNumber: string;
}

declare global {
  namespace Express {
    // Passport's way to say what `req.user` is.
    interface User {
      id: string;
      phoneNumber: string;
    }
  }
}

export interface Users {
  /** The user with this number; a number that was never seen makes one. */
  findOrCreate(phoneNumber: string): User;
  find(id: string): User | undefined;
}

const userRow = z
  .object({ id: z.string(), phone_number: z.string() })
  .transform((row): User => ({ id: row.id, phoneNumber: row.phone_number }));

export function usersIn(database: Database): Users {
  // The unique number decides who is first when two logins of a new number finish at once.
  const insert = database.prepare(
    'INSERT INTO users (id, phone_number, created_at) VALUES (?, ?, ?) ON CONFLICT (phone_number) DO NOTHING',
  );
  const byNumber = database.prepare('SELECT id, phone_number FROM users WHERE phone_number = ?');
  const byId = database.prepare('SELECT id, phone_number FROM users WHERE id = ?');

  return {
    findOrCreate(phoneNumber) {
      insert.run(randomUUID(), phoneNumber, Date.now());
      return userRow.parse(byNumber.get(phoneNumber));
    },
    find(id) {
      return userRow.optional().parse(byId.get(id));
    },
  };
}
