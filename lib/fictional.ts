/** Telephone numbers that are kept for films and books, and so can never reach anybody. */

// What the regulators have published, in E.164. Only ranges that are dialled like a subscriber's.
const RANGES: readonly RegExp[] = [
  // North America: 555-0100 to 555-0199 in every area code (North American Numbering Plan Administrator).
  /^\+1[2-9]\d{2}55501\d{2}$/,
  // United Kingdom: mobile 07700 900, London, the area code 01632 of nowhere, the large cities (Ofcom, numbers for drama).
  /^\+44(?:7700900\d{3}|2079460\d{3}|1632960\d{3}|1(?:1[3-8]|[2-6]1)4960\d{3})$/,
  // Ireland: 020 91 (ComReg).
  /^\+3532091\d{5}$/,
  // France: five regions and mobile 06 39 98 (ARCEP).
  /^\+33(?:19900|26191|35301|46571|53649|63998)\d{4}$/,
  // Germany: five cities, and mobile numbers of three operators (Bundesnetzagentur, notice 148/2021).
  /^\+49(?:(?:3023125|6990009|4066969|2214710|8999998)\d{3}|(?:176040690|17139200)\d{2})$/,
  /^\+49(?:15228817386|15228895456|15254599371|1729925904|1729968532|172997318[56]|1729980752|1749091317|1749464308)$/,
  // Sweden: mobile 070-174 06 05 to 99 (PTS).
  /^\+46701740(?:60[5-9]|6[1-9]\d)$/,
  // Australia: geographic 5550 and 7010, and thirty mobile numbers (ACMA).
  /^\+61[2378](?:5550|7010)\d{4}$/,
  /^\+6149157(?:0(?:006|110|15[6-9]|313|737)|1(?:266|491|804)|2(?:549|665|983)|3(?:087|770)|4(?:118|632)|5(?:254|789)|6(?:398|801)|7(?:426|644)|8(?:148|888|957)|9(?:212|455|760))$/,
];

/** Whether a number (E.164) is kept for fiction. */
export function isFictional(phoneNumber: string): boolean {
  return RANGES.some((range) => range.test(phoneNumber));
}
